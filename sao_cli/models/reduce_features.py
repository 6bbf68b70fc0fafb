"""The chains of a checkpoint without the units that are not needed: which layers they are, and their new tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from sao_cli.base.errors import SaoError, unknown_name
from sao_cli.io.checkpoints import Checkpoint, Entry, Lazy
from sao_cli.io.checkpoints.copies import stored_names
from sao_cli.io.checkpoints.order import NUMBERED, PLAIN_STACK, WAY_OUT, Sides, follows
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.output import shown
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.measure.redundancy.features import FeatureLayer, StatedBetween, reduce_features
from sao_cli.models.layer_tensors import LayerTensors, bias_beside
from sao_cli.models.stack import AS_NAMED

CHAIN_WAY_OUT = f"--chain NAME,NAME names layers in the order in which they run; {WAY_OUT}"


@dataclass(frozen=True, eq=False)
class ReducedLayer:
    """A layer of a chain: its `entry`, the smaller `weight` with its outputs first, and `bias`, None where it has none.

    `merged`, `constant` and `unread` count the units of its own that are gone, `unread_inputs` the inputs of the chain
    that a first layer does not read, which stay.
    """

    entry: Entry
    weight: NDArray[Any]
    bias: NDArray[Any] | None
    bias_entry: Entry | None = None
    merged: int = 0
    constant: int = 0
    unread: int = 0
    unread_inputs: int = 0

    @property
    def makes_bias(self) -> bool:
        """Whether it has a bias that it had not, for a constant."""
        return self.bias is not None and self.bias_entry is None

    @property
    def removed(self) -> int:
        """How many of its units are gone."""
        return self.merged + self.constant + self.unread


@dataclass(frozen=True, eq=False)
class ReducedStacks:
    """The `layers` of all chains by name, and the `reasons` why those of others may not go, by the layer they are of.

    `stacks` are the names of the layers in the order in which they run, and `order` how that is known.
    """

    layers: Mapping[str, ReducedLayer]
    reasons: Mapping[str, str]
    order: str
    assumed: str | None
    stacks: tuple[tuple[str, ...], ...] = field(repr=False)


def reduce_stacks(
    checkpoint: Checkpoint,
    structure: Structure,
    activation: str | ActivationFunction,
    *,
    chain: Sequence[str] = (),
) -> ReducedStacks:
    """What reduce_features leaves of each chain of a checkpoint, as ReducedStacks; nothing is written.

    The chains are those of `chain`, names of layers in the order in which they run, or else the plain stacks that the
    names number (`assumed` says so). The `activation` stands between all of them, and maybe a pooling after kernels:
    there, only positive multiples are merged and only units that are 0 count as constant, as the file tells neither
    the pooling nor the padding. No unit goes between two layers of which one has several names or unknown groups of
    channels, or between which another tensor stands, as a norm's; the reason names it.

    Raises SaoError for a name or a width that does not fit, and where no chain is told. Memory: the chains in float64.

    >>> import numpy as np
    >>> from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint
    >>> from sao_cli.io.checkpoints.structure import structure_of
    >>> write_checkpoint({"0.weight": np.diag([1.0, 2.0, 0.0]), "2.weight": np.ones((2, 3))}, "chain.safetensors")
    >>> with open_checkpoint("chain.safetensors") as checkpoint:
    ...     reduced = reduce_stacks(checkpoint, structure_of(checkpoint), "relu")
    >>> [(name, layer.weight.shape, layer.constant) for name, layer in reduced.layers.items()]
    [('0.weight', (2, 3), 1), ('2.weight', (2, 2), 0)]
    """
    function = ActivationFunction.of(activation)
    stacks = stacks_of(checkpoint, structure, chain)
    tensors = LayerTensors(checkpoint, structure)
    layers: dict[str, ReducedLayer] = {}
    reasons: dict[str, str] = {}
    for stack in stacks:
        for part, reason in _parts(tensors, stack):
            if reason is not None:
                reasons[part[-1].name] = reason
            if len(part) > 1:
                layers |= _reduced(tensors, part, function)
    names = tuple(tuple(entry.name for entry in stack) for stack in stacks)
    return ReducedStacks(layers, reasons, AS_NAMED if chain else NUMBERED, None if chain else PLAIN_STACK, names)


def stacks_of(checkpoint: Checkpoint, structure: Structure, chain: Sequence[str] = ()) -> tuple[tuple[Entry, ...], ...]:
    """The layers of each chain of a checkpoint: of `chain`, by their names, or else of each plain stack of numbers.

    Raises SaoError for a name or a width that does not fit, and where no chain is told.
    """
    return (_named(structure, chain),) if chain else _numbered(checkpoint, structure)


def reduced_tensors(
    checkpoint: Checkpoint, structure: Structure, layers: Mapping[str, ReducedLayer]
) -> tuple[dict[Entry, Lazy], dict[str, Lazy]]:
    """The tensors of `layers` as they are stored: in place of entries, for changed_tensors, and by stored name.

    The latter are biases that are made, and the masks that stay beside weights, 1 where a weight is not 0.
    """
    changes: dict[Entry, Lazy] = {}
    added: dict[str, Lazy] = {}
    names = stored_names(checkpoint, [layer.entry for layer in layers.values()])
    for layer in layers.values():
        entry = layer.entry
        stored = structure.layout(entry).outputs_first(layer.weight)
        changes[entry] = _lazy(stored, entry.dtype)
        if (mask := entry.masked_by) is not None:
            added[mask] = _lazy(stored != 0, checkpoint.file.stored[mask].dtype)
        if layer.bias is not None and layer.bias_entry is not None:
            changes[layer.bias_entry] = _lazy(layer.bias, layer.bias_entry.dtype)
        elif layer.bias is not None:
            added[bias_beside(names[entry])] = _lazy(layer.bias, entry.dtype)
    return changes, added


def _lazy(array: NDArray[Any], dtype: str) -> Lazy:
    return Lazy(array.shape, dtype, lambda: array)


def _named(structure: Structure, chain: Sequence[str]) -> tuple[Entry, ...]:
    weights = {entry.name: entry for entry in structure.entries if entry.kind != "skipped"}
    for name in chain:
        if (named := _weight_of(name, weights)) is None:
            raise SaoError(unknown_name("--chain: no weight", name, weights))
    found = tuple(weights[named] for name in chain if (named := _weight_of(name, weights)))
    if len(set(found)) < len(found) or len(found) < 2:
        raise SaoError(f"--chain {','.join(chain)}: a chain is two layers or more, each once")
    sides = [_sides(structure, entry) for entry in found]
    for before, after in pairwise(sides):
        if not follows(before, after):
            reads = f"{shown(after.name)} reads {after.n} inputs"
            raise SaoError(f"--chain: {reads}, and {shown(before.name)} before it gives {before.m} outputs")
    return found


def _weight_of(name: str, weights: Mapping[str, Entry]) -> str | None:
    """The weight of that name, or of the layer of that name."""
    return next((one for one in (name, f"{name}.weight") if one in weights), None)


def _numbered(checkpoint: Checkpoint, structure: Structure) -> tuple[tuple[Entry, ...], ...]:
    weights = {entry.name: entry for entry in structure.entries}
    stacks = tuple(tuple(weights[name] for name in stack) for stack in structure.order.stacks)
    if not stacks:
        reason = structure.order.reason or "it has one layer"
        raise SaoError(f"{checkpoint.name}: its layers are no chain: {reason}; {CHAIN_WAY_OUT}")
    return stacks


def _sides(structure: Structure, entry: Entry) -> Sides:
    return Sides(entry.name, entry.kind, *structure.layout(entry).sides(entry.shape))


def _parts(tensors: LayerTensors, stack: Sequence[Entry]) -> Iterator[tuple[tuple[Entry, ...], str | None]]:
    """Runs of layers between which units may go, each with the reason why it ends; None at the end of the stack."""
    start = 0
    for place in range(1, len(stack)):
        if (reason := tensors.why_not(stack[place - 1], stack[place])) is not None:
            yield tuple(stack[start:place]), reason
            start = place
    yield tuple(stack[start:]), None


def _reduced(tensors: LayerTensors, entries: Sequence[Entry], function: ActivationFunction) -> dict[str, ReducedLayer]:
    """The layers of a chain between all of which units may go."""
    given: list[FeatureLayer] = []
    for entry in entries:
        given.append(tensors.layer(entry, len(given[-1].weight) if given else None))
    kernels = [entry.kind == "kernel" for entry in entries]
    between = [StatedBetween(function, before, before or after) for before, after in pairwise(kernels)]
    found = reduce_features(given, between)
    layers: dict[str, ReducedLayer] = {}
    for place, (entry, layer) in enumerate(zip(entries, found.layers, strict=True)):
        layers[entry.name] = ReducedLayer(
            entry,
            layer.weight if entry.kind == "kernel" else layer.weight.reshape(len(layer.weight), -1),
            layer.bias,
            tensors.bias(entry),
            found.merged[place],
            found.constant[place],
            found.unread[place],
            0 if place else found.unread_inputs,
        )
    return layers
