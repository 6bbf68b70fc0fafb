"""What pruning left of a network: which weights still lie on a path, and who reaches whom."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from sao_cli.data.arrays import Booleans
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.order import PLAIN_STACK, WAY_OUT
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.models.audit.chains import chain_facts, effective_counts
from sao_cli.models.audit.connections import Pattern
from sao_cli.models.audit.reasons import UNMEASURED, said
from sao_cli.models.audit.tensor import Layer

OF_TAPS = f"which taps of a kernel read padding alone, and are not effective, depends on the image; {WAY_OUT}"
OF_TIES = f"one weight stands at several places, and what of it lies on a path at any of them is not counted; {WAY_OUT}"


@dataclass(frozen=True, kw_only=True)
class WhatIsLeft:
    """`effective` weights by name, and the network's `reachable`, `lost_inputs` and `unreached_outputs`.

    None, or an absent name, stands for what can't be told, and `reason` says why. Where `unknown` names operations all
    of it is a bound. `assumed` is what a file alone does not tell.
    """

    effective: Mapping[str, int] = field(default_factory=dict)
    reachable: float | None = None
    lost_inputs: int | None = None
    unreached_outputs: int | None = None
    unknown: tuple[str, ...] = ()
    assumed: str | None = None
    reason: str | None = None


class Tracer(Protocol):
    """A network that runs: nets.tracing.pruned_network.PrunedNetwork, of which this room knows no more."""

    def require(self, checkpoint: Checkpoint) -> Collection[str]:
        """The names of the weights that run; SaoError where they are not the network's, or it can't run with them."""

    def left(self, checkpoint: Checkpoint) -> WhatIsLeft:
        """Take them, and tell what is left, by the names of the checkpoint's entries."""

    def effective(self, checkpoint: Checkpoint, masks: Mapping[str, Booleans]) -> Mapping[str, Booleans]:
        """Take them but for what `masks`, by name, drop, and tell which lie on a path; all as they are stored."""


class StackLink(NamedTuple):
    """A layer of a plain stack: "matrix" or "kernel", its sides, and where its weights are."""

    kind: str
    m: int
    n: int
    pattern: Pattern


class PlainStack:
    """The weights of a checkpoint whose names number one plain stack, as they are after pruning.

    `why_not` says why it is none, None where it is one. Each weight is kept as its pattern: a bit a number, or less.
    """

    def __init__(self, structure: Structure) -> None:
        order = structure.order
        self._structure, self._links = structure, dict[str, StackLink]()
        self._stack: tuple[str, ...] = order.stacks[0] if order.stacks and order.reason is None else ()
        told = order.reason or "the names number no stack of layers"
        self.why_not = None if self._stack else f"{told}; {WAY_OUT}"

    def add(self, entry: Entry, layer: Layer) -> None:
        """Take a pruned weight, and others that are one with it."""
        for name, axes in [(entry.name, ()), *((other.name, axes) for other, axes in self._structure.others(entry))]:
            if list(axes) != sorted(axes):
                self.why_not = f"{name} is {entry.name} with its axes in another order; {WAY_OUT}"
            if self.why_not is None and name in self._stack:
                self._links[name] = StackLink(layer.kind, *layer.sides, layer.pattern)

    def left(self, read: Callable[[Entry], Layer]) -> WhatIsLeft:
        """The facts of the stack, `read` giving those weights that were not pruned."""
        if self.why_not is not None:
            return WhatIsLeft(reason=self.why_not)
        try:
            for entry in self._structure.entries:
                if entry.name in self._stack and entry.name not in self._links:
                    self.add(entry, read(entry))
            found = left_of_stack(self._stack, [self._links[name] for name in self._stack])
        except UNMEASURED as error:
            return WhatIsLeft(reason=said(error))
        tied = [name for entry in self._structure.entries for name in self._structure.tied_with(entry)]
        once = {name: count for name, count in found.effective.items() if name not in tied}
        reason = OF_TIES if len(once) < len(found.effective) else found.reason
        return replace(found, effective=once, reason=reason)


def left_of_stack(names: Sequence[str], links: Sequence[StackLink]) -> WhatIsLeft:
    """The facts of layers, by `names`, each of which reads what the one before writes. As chain_facts costs."""
    facts: dict[str, Any] = chain_facts(links)
    counts = effective_counts(links)
    return WhatIsLeft(
        effective={} if counts is None else dict(zip(names, counts, strict=True)),
        **{key: facts[key] for key in ("reachable", "lost_inputs", "unreached_outputs")},
        assumed=PLAIN_STACK,
        reason=OF_TAPS if counts is None else None,
    )
