"""Which layer of a record reads what another gives, and where what one gives joins what another does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sao_cli.nets.tracing.recording import Operation, Recording
from sao_cli.nets.tracing.weight_uses import NetworkWeight
from sao_cli.reports.networks import NetworkEdges


class _Latest(NamedTuple):
    """When the last layer on the way to a value ran, and its place."""

    time: int
    place: int


def network_edges(recording: Recording, weights: Sequence[NetworkWeight]) -> NetworkEdges:
    """The edges between the places of `weights`, in the order run; 0 is the inputs' place, the one past them outputs'.

    O(operations): a value is told by the last layer on the way to it, since by all of them the sums of a residual
    network have quadratically many edges.
    """
    uses = {use.operation: (place, use.data) for place, weight in enumerate(weights, 1) for use in weight.uses}
    latest = {number: _Latest(-1, 0) for number in recording.inputs}
    reads: dict[tuple[int, int], None] = {}
    joins: dict[tuple[int, int], None] = {}
    for time, operation in enumerate(_used(recording, set(uses))):
        met = {number: latest[number] for number in operation.operands if number in latest}
        if not met:
            continue
        last = max(met.values())
        if operation in uses:
            place, data = uses[operation]
            last = _Latest(time, place)
            reads[met.pop(data).place, place] = None
        joins |= {(one.place, last.place): None for one in met.values() if one.place != last.place}
        latest |= dict.fromkeys(_moving(operation, recording), last)
    ends = [latest[number].place for number in recording.outputs if number in latest]
    reads |= {(place, len(weights) + 1): None for place in ends}
    return NetworkEdges(reads=tuple(sorted(reads)), joins=tuple(sorted(joins)))


def _used(recording: Recording, layers: set[Operation]) -> list[Operation]:
    """The operations that are layers, or make what a layer or the network's answer is made of."""
    needed, found = set(recording.outputs), []
    for operation in reversed(recording.operations):
        if operation in layers or not needed.isdisjoint(operation.outputs):
            needed.update(operation.operands)
            found.append(operation)
    return found[::-1]


def _moving(operation: Operation, recording: Recording) -> list[int]:
    """What an operation makes that depends on the input."""
    return [made for made in operation.outputs if made is not None and recording.values[made].dynamic]
