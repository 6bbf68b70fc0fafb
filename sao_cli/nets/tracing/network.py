"""A network as it ran: which weights lie on a path from input to output, and who reaches whom."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sao_cli.base.errors import SaoError, unknown_name
from sao_cli.base.names import check
from sao_cli.catalog import NORMS
from sao_cli.nets.tracing.bits import Propagation
from sao_cli.nets.tracing.recording import Bits, Operation, Recording, record, unwrapped
from sao_cli.nets.tracing.unit_axes import by_unit, unit_axis
from sao_cli.nets.tracing.unit_sets import Sets
from sao_cli.nets.tracing.weight_uses import NetworkWeight, WeightUse, network_weights
from sao_cli.nets.tracing.wiring import network_edges
from sao_cli.reports.networks import NetworkDepth, NetworkEdges, NetworkFacts, NetworkLayer

_SWEEP_BYTES = 2**27  # of the bits that one operation of a sweep makes, for many sets side by side


@dataclass(frozen=True, kw_only=True)
class NetworkSummary:
    """The facts of a whole network; `lost_inputs` and `unreached_outputs` are numbers of units, from 0.

    `reachable` is the fraction of pairs of an input and an output unit that a path joins, `effective_sparsity` that of
    the numbers of all weights that lie on none, None where there is no weight. `collapsed` are the weights with no
    number on a path. Where `unknown` names operations, all facts are upper bounds; `discrete` names those that chose by
    what depends on the input, and went as the example has it.
    """

    inputs: int
    outputs: int
    lost_inputs: tuple[int, ...]
    unreached_outputs: tuple[int, ...]
    reachable: float
    effective_sparsity: float | None
    collapsed: tuple[str, ...]
    unknown: tuple[str, ...]
    discrete: tuple[str, ...]
    norms: str
    example: str

    @property
    def facts(self) -> NetworkFacts:
        """The same as a line of a report, where units are counted."""
        counted = {"lost_inputs": len(self.lost_inputs), "unreached_outputs": len(self.unreached_outputs)}
        return NetworkFacts(**{**vars(self), **counted})


class Network:
    """A module as it ran on an example: facts of its weights in context, and of who reaches whom.

    Facts hold for weights that are what they are in their zeros and arbitrary otherwise, and for inputs of this
    example's shape. A unit is a channel, axis 1, of images, and a feature, the last axis, of all else. `norms` "unit"
    passes each unit of a norm to itself, its mean and variance counting as constants; "strict" lets each read its whole
    group.

    >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> with torch.no_grad():
    ...     _ = net[0].weight.copy_(torch.eye(2, 3)), net[2].weight.copy_(torch.eye(1, 2))
    >>> network = Network.from_module(net, torch.zeros(1, 3))
    >>> network.summary.lost_inputs, network.effective("0.weight").tolist()
    ((1, 2), [[True, False, False], [False, False, False]])
    """

    def __init__(self, recording: Recording, norms: str = "unit") -> None:
        check("norms", norms, NORMS)
        self.recording, self.norms = recording, norms
        self.weights = network_weights(recording)
        recording.keep({weight.root for weight in self.weights} - set(recording.tensors.values()))
        self._bits = Propagation(recording, norms)
        self._contexts = {weight.name: _Context(weight, self._bits) for weight in self.weights}
        self._uses = {use.operation: (weight, use) for weight in self.weights for use in weight.uses}
        ends = {number: torch.ones_like(self._bits.known(number)) for number in recording.outputs}
        self._live = self._bits.lived(ends, self._account)
        self._axes = {number: unit_axis(number, recording) for number in (*recording.inputs, *recording.outputs)}

    @classmethod
    def from_module(cls, module: nn.Module, *inputs: Tensor, norms: str = "unit") -> Network:
        """The network that `module` is on `inputs`, run once in eval mode; the module is left as it was.

        Raises SaoError where the module can't take the inputs or draws random numbers, and for unknown norms;
        FormatError for weights that are not finite and for answers without real numbers. The cost is some 20 forward
        passes, the memory that of all activations of one and their bits.
        """
        if not inputs:
            raise SaoError("a network is recorded on an example input: Network.from_module(module, x)")
        return cls(record(unwrapped(module), inputs), norms)

    @functools.cached_property
    def layers(self) -> tuple[NetworkLayer, ...]:
        """A row for each weight that reads what depends on the input, in the order run."""
        return tuple(self._contexts[weight.name].row() for weight in self.weights)

    @functools.cached_property
    def edges(self) -> NetworkEdges:
        """Which of the layers reads what another gives, and where shortcuts join; O(operations)."""
        return network_edges(self.recording, self.weights)

    @functools.cached_property
    def summary(self) -> NetworkSummary:
        """The network's facts; `reachable` takes a sweep for each input or output unit, whichever are fewer."""
        pairs = self.pairs()
        kept, size = sum(row.effective for row in self.layers), sum(row.parameters for row in self.layers)
        return NetworkSummary(
            inputs=pairs.shape[0],
            outputs=pairs.shape[1],
            lost_inputs=self._without(self._live, self.recording.inputs),
            unreached_outputs=self._without(self._bits.depends, self.recording.outputs),
            reachable=float(pairs.mean()) if pairs.size else 0.0,
            effective_sparsity=1 - kept / size if size else None,
            collapsed=tuple(row.name for row in self.layers if not row.effective),
            unknown=self._bits.unknown,
            discrete=self._bits.choices,
            norms=self.norms,
            example=", ".join(self._shape(number) for number in self.recording.inputs),
        )

    def effective(self, name: str) -> NDArray[np.bool_]:
        """Which numbers of the weight `name` lie on a path from input to output; booleans of its shape.

        Raises SaoError for unknown names.
        """
        if name not in self._contexts:
            raise SaoError(unknown_name("no weight", name, self._contexts))
        return _array(self._contexts[name].effective)

    def influence(self, name: str) -> NDArray[np.bool_]:
        """Which numbers of the parameter or buffer `name` an output would depend on; booleans of its shape.

        Those of biases, scales and pruned places too: they tell what would matter if it grew again. Raises SaoError
        for unknown names.
        """
        if name not in self.recording.tensors:
            raise SaoError(unknown_name("no parameter", name, self.recording.tensors))
        number = self.recording.tensors[name]
        shape = self.recording.values[number].shape
        return _array(self._live.get(number, torch.zeros(shape, dtype=torch.bool)))

    def pairs(self) -> NDArray[np.bool_]:
        """Which output units (columns) each input unit (rows) reaches; (inputs, outputs) booleans.

        A sweep through the network for each unit of the side that has fewer, many at a time.
        """
        return self._pairs

    def reach(self) -> tuple[NetworkDepth, ...]:
        """For each weight, in the order run, who of the network's inputs reaches the units that it writes.

        Any use of the weight is one. A sweep for each input unit.
        """
        return self._reach

    @functools.cached_property
    def _reach(self) -> tuple[NetworkDepth, ...]:
        found: dict[str, list[Tensor]] = defaultdict(list)
        for seeds in self._seeds(self.recording.inputs):
            for name, parts in self._forward(seeds)[1].items():
                found[name].append(torch.cat([*parts.values()], 1))
        order = [weight.name for weight in self.weights]
        return tuple(_depth(number, name, torch.cat(found[name])) for number, name in enumerate(order, 1))

    @functools.cached_property
    def _pairs(self) -> NDArray[np.bool_]:
        inputs, outputs = self.recording.inputs, self.recording.outputs
        if self._count(inputs) <= self._count(outputs):
            return _array(torch.cat([self._forward(seeds)[0] for seeds in self._seeds(inputs)]))
        return _array(torch.cat([self._backward(seeds) for seeds in self._seeds(outputs)])).T

    def _seeds(self, numbers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
        """Sets (S, ...) of bits, each that of one unit, in the order of units."""
        largest = max(bits.numel() for bits in self._bits.nonzero if bits is not None)
        together = max(1, _SWEEP_BYTES // (8 * largest))
        for number in numbers:
            shape, axis = self._bits.known(number).shape, self._axes[number]
            units = 1 if axis is None else shape[axis]
            for units_now in torch.arange(units).split(together):
                seeds = torch.zeros(len(units_now), *shape, dtype=torch.bool, device=self._bits.known(number).device)
                for place, unit in enumerate(units_now.tolist()):
                    (seeds[place] if axis is None else seeds[place].select(axis, unit)).fill_(True)
                yield {number: seeds}

    def _forward(self, seeds: Mapping[int, Tensor]) -> tuple[Tensor, dict[str, dict[Any, Tensor]]]:
        """The output units (S, outputs) that each set reaches, and the units that each weight writes, by its parts."""
        sets = Sets(seeds)
        found, last = sets.bits, self._last_reads
        seen: dict[str, dict[Any, Tensor]] = defaultdict(dict)
        for place, operation in enumerate(self.recording.operations):
            if any(number in found for number in operation.operands) and self._bits.is_dynamic(operation):
                found |= self._bits.swept(operation, found)  # in place
            if operation in self._uses:
                weight, use = self._uses[operation]
                answer = found.get(use.answer, self._nothing(use.answer, sets.count))
                bits = sets.of_all(by_unit(answer, use.writes, 1))
                key = self._contexts[weight.name].key(use)
                seen[weight.name][key] = seen[weight.name].get(key, torch.zeros_like(bits)) | bits
            for number in last.get(place, ()):
                found.pop(number, None)
            if operation in self._uses:
                sets.merge()
        return sets.of_all(self._joined(found, self.recording.outputs, sets.count)), seen

    def _backward(self, seeds: Mapping[int, Tensor]) -> Tensor:
        """The input units (S, inputs) that reach each set."""
        sets = Sets(seeds)
        live = sets.bits
        for operation in reversed(self.recording.operations):
            made = [number for number in operation.outputs if number is not None and number in live]
            if not made or not self._bits.is_dynamic(operation):
                continue
            for number, bits in self._bits.swept_back(operation, live, sets.count).items():
                live[number] = live[number] | bits if number in live else bits
            for number in made:
                if number not in self.recording.inputs:
                    del live[number]
            if operation in self._uses:
                sets.merge()
        return sets.of_all(self._joined(live, self.recording.inputs, sets.count))

    def _joined(self, found: Mapping[int, Tensor], numbers: Sequence[int], sets: int) -> Tensor:
        """The units (S, all of them) of some values, one value after another."""
        bits = (found.get(number, self._nothing(number, sets)) for number in numbers)
        return torch.cat([self._units(one, number) for one, number in zip(bits, numbers, strict=True)], 1)

    @functools.cached_property
    def _last_reads(self) -> dict[int, list[int]]:
        """For each operation, by its place, the values that none after it reads."""
        last = {number: place for place, one in enumerate(self.recording.operations) for number in one.operands}
        found: dict[int, list[int]] = defaultdict(list)
        for number, place in last.items():
            if number not in self.recording.outputs:
                found[place].append(number)
        return found

    def _nothing(self, number: int, sets: int) -> Tensor:
        bits = self._bits.known(number)
        return torch.zeros(sets, *bits.shape, dtype=torch.bool, device=bits.device)

    def _units(self, bits: Tensor, number: int) -> Tensor:
        """Bits (S, ...) of a value as bits (S, units)."""
        axis = self._axes[number]
        return by_unit(bits, () if axis is None else (axis,), 1)

    def _count(self, numbers: Sequence[int]) -> int:
        return sum(self._units(self._nothing(number, 1), number).shape[1] for number in numbers)

    def _without(self, bits: Mapping[int, Bits] | Sequence[Bits | None], numbers: Sequence[int]) -> tuple[int, ...]:
        """The units of some values, counted through, that have no bit."""
        found = []
        for number in numbers:
            held = bits.get(number) if isinstance(bits, Mapping) else bits[number]
            found.append(self._units(self._nothing(number, 1) if held is None else held[None], number)[0])
        return tuple(torch.cat(found).logical_not().nonzero().flatten().tolist())

    def _shape(self, number: int) -> str:
        """The shape of an input as --example takes it."""
        value = self.recording.values[number]
        return ("" if value.is_real else "ids:") + "x".join(map(str, value.shape))

    def _account(self, operation: Operation, live: Mapping[int, Bits], read: Mapping[int, Bits]) -> None:
        if operation in self._uses:
            weight, use = self._uses[operation]
            self._contexts[weight.name].add(use, live, read)


class _Context:
    """What is known of a weight's numbers and of the units that it reads and writes, any of its uses counting."""

    def __init__(self, weight: NetworkWeight, bits: Propagation) -> None:
        self._weight, self._bits = weight, bits
        self.effective = torch.zeros_like(bits.known(weight.root))
        self._units: dict[Any, list[Tensor]] = {}
        for use in weight.uses:
            reached = self._reads(use, bits.depends[use.data]), by_unit(bits.reached(use.answer), use.writes)
            nothing = [torch.zeros_like(one) for one in reached]
            before = self._units.get(self.key(use), [*nothing, *nothing])
            self._units[self.key(use)] = [before[0] | reached[0], before[1] | reached[1], *before[2:]]

    def key(self, use: WeightUse) -> Any:
        """Which part of the weight a use reads: slices have units of their own."""
        value = self._bits.recording.values[use.factor]
        return (*value.shape, *value.layout)

    def add(self, use: WeightUse, live: Mapping[int, Bits], read: Mapping[int, Bits]) -> None:
        """Count what a use reads of its operands where its answer is `live`."""
        units = self._units[self.key(use)]
        is_table = use.operation.name == "embedding"
        units[2] |= read[use.factor].any(-1) if is_table else by_unit(read[use.data], use.reads)
        units[3] |= by_unit(live[use.answer], use.writes)
        depends, nonzero = self._bits.depends[use.data], self._bits.known(use.data)
        on_path = read[use.factor]
        if depends is None or not torch.equal(depends, nonzero):
            on_path = self._bits.pulled(use.operation, live, depending=True)[use.factor]
        on_path = on_path & self._bits.known(use.factor)
        number = use.factor
        for view in use.views:
            on_path = self._bits.pulled(view, {number: on_path})[view.operands[0]]
            number = view.operands[0]
        self.effective |= on_path

    def row(self) -> NetworkLayer:
        """The weight's facts."""
        size, kept = self.effective.numel(), int(self.effective.sum())
        units = [torch.cat([part[place] for part in self._units.values()]) for place in range(4)]
        reads, writes, lives_in, lives_out = units
        return NetworkLayer(
            name=self._weight.name,
            shape=tuple(self.effective.shape),
            inputs=len(reads),
            outputs=len(writes),
            parameters=size,
            nnz=int(self._bits.known(self._weight.root).sum()),
            effective=kept,
            effective_sparsity=1 - kept / size if size else None,
            unreached_inputs=int((~reads).sum()),
            unreached_outputs=int((~writes).sum()),
            lost_inputs=int((~lives_in).sum()),
            lost_outputs=int((~lives_out).sum()),
        )

    def _reads(self, use: WeightUse, bits: Bits | None) -> Tensor:
        if use.operation.name == "embedding":
            table = self._bits.known(use.factor)
            return torch.ones(table.shape[0], dtype=torch.bool, device=table.device)
        return by_unit(self._bits.known(use.data).logical_not() if bits is None else bits, use.reads)


def _depth(number: int, name: str, pairs: Tensor) -> NetworkDepth:
    """Who reaches whom, of `pairs` (inputs, units)."""
    return NetworkDepth(
        layer=number,
        name=name,
        inputs=pairs.shape[0],
        outputs=pairs.shape[1],
        reachable=float(pairs.float().mean()),
        unreached_outputs=int((~pairs.any(0)).sum()),
        lost_inputs=int((~pairs.any(1)).sum()),
        full=bool(pairs.all()),
        pairs=_array(pairs),
    )


def _array(bits: Tensor) -> NDArray[np.bool_]:
    array: NDArray[np.bool_] = bits.cpu().numpy()
    return array
