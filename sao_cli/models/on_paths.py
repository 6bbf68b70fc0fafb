"""Which of the kept weights of a checkpoint lie on a path, before they are written: for dropping the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Booleans
from sao_cli.data.mask import Mask
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.order import WAY_OUT
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.output import shown
from sao_cli.measure.reach.effective import effective_weights
from sao_cli.models.left import Tracer
from sao_cli.pruning.pruner import Prunable, Pruner
from sao_cli.pruning.units import mask_of, spread

Masks = Mapping[str, Booleans]  # of the weights' shapes, outputs first, by name


class OnPathsPruner(Pruner):
    """The masks of another pruner without those weights that lie on no path of what is left, from input to output.

    By the `network`, or where there is none by names that number a plain stack of matrices; weights that are not pruned
    count where they are not zero. Raises SaoError for other names, and, prepared, where nothing lies on a path.
    Memory: a byte a number.
    """

    def __init__(
        self, pruner: Pruner, checkpoint: Checkpoint, structure: Structure, network: Tracer | None = None
    ) -> None:
        asked: dict[str, Any] = {"seed": pruner.seed, "progress": pruner.progress}
        super().__init__(pruner.method, d=pruner.d, sparsity=pruner.sparsity, **asked)
        self._pruner, self._checkpoint, self._structure, self._network = pruner, checkpoint, structure, network
        self._stack = _stack(structure) if network is None else ()
        self._masks: dict[str, Booleans] = {}

    def prepare(self, weights: Sequence[Prunable]) -> None:
        """Find the masks of all weights, and what of them lies on a path."""
        self._pruner.prepare(weights)
        self.ties_at_threshold, self.zero_scores = self._pruner.ties_at_threshold, self._pruner.zero_scores
        self._masks = {weight.name: self._whole(weight) for weight in weights}
        found = self._in_stack() if self._network is None else self._in_network(self._network)
        if not any(one.any() for one in found.values()):
            raise SaoError("--effective: no kept weight lies on a path from an input to an output; prune less")
        self._masks |= {name: self._masks[name] & one for name, one in found.items() if name in self._masks}

    def mask(self, weight: Prunable, values: NDArray[Any]) -> Mask:
        """What is kept of a weight (m, n, ...): (m, n) of a matrix, of a kernel (m, n taps)."""
        return mask_of(self._masks[weight.name].reshape(values.shape))

    def drawn(self, weight: Prunable, values: NDArray[Any]) -> NDArray[Any]:
        """As the other pruner has it."""
        return self._pruner.drawn(weight, values)

    def _whole(self, weight: Prunable) -> Booleans:
        """What the other pruner keeps of a weight, in its shape; a bias is a matrix of one column."""
        values = weight.read().reshape(weight.m, weight.n, *weight.shape[2:])
        kept = self._pruner.mask(weight, values).to_dense()
        whole = kept.reshape(values.shape) if kept.size == values.size else spread(kept, values.shape)
        return whole.reshape(weight.shape)

    def _in_stack(self) -> dict[str, Booleans]:
        named = {entry.name: entry for entry in self._structure.entries}
        masks = [self._masks[one] if one in self._masks else self._nonzero(named[one]) for one in self._stack]
        return dict(zip(self._stack, effective_weights(masks), strict=True))

    def _nonzero(self, entry: Entry) -> Booleans:
        stored = self._checkpoint.read(entry)
        nonzero: Booleans = self._structure.layout(entry).outputs_first(stored) != 0
        return nonzero

    def _in_network(self, network: Tracer) -> dict[str, Booleans]:
        """Of the weights that run; biases, which join nothing, are not among them."""
        stored, entries = dict[str, Booleans](), [one for one in self._structure.entries if one.name in self._masks]
        for entry in (one for one in entries if len(one.shape) > 1):
            stored[entry.name] = self._structure.layout(entry).outputs_first(self._masks[entry.name])
            for other, axes in self._structure.others(entry):
                stored[other.name] = stored[entry.name].transpose(axes)
        found = network.effective(self._checkpoint, stored)
        layouts = {entry.name: self._structure.layout(entry) for entry in entries if entry.name in found}
        return {name: layout.outputs_first(found[name]) for name, layout in layouts.items()}


def _stack(structure: Structure) -> tuple[str, ...]:
    """The names of a plain stack of matrices. Raises SaoError where the checkpoint is none."""
    weights = [entry for entry in structure.entries if entry.kind != "skipped"]
    kernel = next((f"{shown(entry.name)} is a kernel" for entry in weights if entry.kind != "matrix"), None)
    tied = next((f"{shown(entry.name)} is tied" for entry in weights if structure.others(entry)), None)
    if (reason := structure.order.reason or kernel or tied) is not None:
        raise SaoError(f"--effective is of plain stacks of matrices: {reason}; {WAY_OUT}")
    return tuple(entry.name for entry in weights)
