"""What an item of a paper is made of: cells, each a number that is printed, and parts, each what one call measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DRAWN, EXACT, LAW, CLAIM = "drawn", "exact", "law", "claim"
Measured = Mapping[str, float | None]  # what a call gives, by key; None is no number


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number as a paper prints it, whose digits tell how it is rounded, and under which key a part measures it.

    `kind` is how the two are compared: "drawn" of a random number, "exact" of one that no seed changes, "law" of one
    that the paper says of all networks, and "claim" of a statement, 1 where it holds, as the paper says, and 0 where
    not. `group` names those among which the order is compared, and `evidence` is a format string of what the part
    measures, of its first seed, or makes the words of it, which a refutation tells. `pooled` makes one number of what
    all seeds have measured, as a p-value is.
    """

    label: str
    paper: str | None = "1"
    key: str = ""
    unit: str | None = None
    kind: str = DRAWN
    group: str = ""
    evidence: str | Callable[[Measured], str] = ""
    pooled: Callable[[Sequence[Measured]], float | None] | None = None

    @property
    def measured(self) -> str:
        """The key of what is measured."""
        return self.key or self.label

    def witness(self, measured: Measured) -> str:
        """The evidence of one seed, in words."""
        return self.evidence.format(**measured) if isinstance(self.evidence, str) else self.evidence(measured)


@dataclass(frozen=True, kw_only=True)
class CellGroup:
    """Cells that one call measures: `function`, as "package.module:name", with `keywords` and, where drawn, a seed.

    It gives a mapping of keys to numbers, None for what is no number. `data` are those of the call, `own_data` the
    paper's; `scale` is how much less than the paper it does, None where that is as much. What can't be run says what is
    `missing` and is not called.
    """

    cells: tuple[Cell, ...]
    function: str = ""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 0  # how many; 0 calls it once, without a seed
    data: str | None = None
    own_data: str | None = None
    scale: str | None = None
    missing: str | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user asks of an item."""

    full: bool = False
    data: str | None = None
    folder: str | None = None
    depths: tuple[int, ...] = ()
    seeds: int | None = None

    def count(self, usual: int) -> int:
        """How many seeds: those asked for, or the usual."""
        return usual if self.seeds is None else self.seeds

    def data_of(self, own: str, at_hand: str = "digits") -> str:
        """The data to use: those asked for, the paper's `own` where a folder has them, or what is at hand."""
        return self.data or (own if self.folder is not None else at_hand)
