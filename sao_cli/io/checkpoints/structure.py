"""A checkpoint as a network, as far as a file tells: its weights in the order of their names, layouts and ties."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sao_cli.base.errors import SaoError
from sao_cli.io.checkpoints.checkpoint import Checkpoint
from sao_cli.io.checkpoints.entries import LORA, SKIPPED, Entry, as_weight
from sao_cli.io.checkpoints.layouts import Layout, Said, layouts_of
from sao_cli.io.checkpoints.lora import Pairs, joined_pairs
from sao_cli.io.checkpoints.order import Order, Sides, natural, order_of
from sao_cli.io.checkpoints.ties import Tie
from sao_cli.io.output import shown

SEARCHED = 5000  # names among which the nearest to a pattern is looked for


@dataclass(frozen=True)
class Structure:
    """The `entries` of a checkpoint in the natural order of their names, and what is known of the weights among them.

    `layouts` by name, `order` of all weights, also those that can't be read, `ties` by each of a weight's names, and
    `origins`, the provenance that the file has, by the names of its tensors.
    """

    entries: tuple[Entry, ...]
    layouts: Mapping[str, Layout]
    order: Order
    ties: Mapping[str, Tie]
    origins: Mapping[str, dict[str, Any]]

    def layout(self, entry: Entry) -> Layout:
        """The layout of an entry, also of one that is no weight."""
        return self.layouts.get(entry.name, Layout())

    def provenance(self, entry: Entry) -> dict[str, Any] | None:
        """Where the file says that a weight came from, None where it says nothing."""
        return next((self.origins[name] for name in (entry.name, *entry.parts) if name in self.origins), None)

    def tied_with(self, entry: Entry) -> tuple[str, ...]:
        """The other names of the same weight."""
        tie = self.ties.get(entry.name)
        return () if tie is None else tuple(name for name in tie.names if name != entry.name)

    def others(self, entry: Entry) -> list[tuple[Entry, tuple[int, ...]]]:
        """The entries that are one weight with `entry`, each with the order of the entry's axes that it has."""
        tie = self.ties.get(entry.name)
        if tie is None:
            return []
        axes = {tie.first.name: tuple(range(len(entry.shape))), **tie.others}
        own = axes[entry.name]
        tied = {name: tuple(own.index(axis) for axis in order) for name, order in axes.items() if name != entry.name}
        return [(other, tied[other.name]) for other in self.entries if other.name in tied]

    def chosen(self, include: Sequence[str], exclude: Sequence[str]) -> list[Entry]:
        """The entries with chosen_names."""
        names = chosen_names([entry.name for entry in self.entries], include, exclude)
        return [entry for entry in self.entries if entry.name in names]


def chosen_names(names: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> set[str]:
    """The names that match a pattern of `include` (or any, where there is none) and none of `exclude`.

    Raises SaoError for a pattern that matches no name, and where nothing is left.
    """
    for pattern in (*include, *exclude):
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise SaoError(_unmatched(pattern, names))
    chosen = {name for name in names if (not include or _matches(name, include)) and not _matches(name, exclude)}
    if not chosen:
        raise SaoError(f"--include and --exclude leave none of {len(names)} tensors; loosen one of them")
    return chosen


def structure_of(
    checkpoint: Checkpoint, *, said: Said | None = None, include: Iterable[str] = (), pairs: bool = False
) -> Structure:
    """What the names, the shapes and the bytes of a checkpoint tell; `said` goes before what they do.

    Patterns of `include` that name embeddings make them weights, and with `pairs` lora_A and lora_B are one matrix,
    their product, which has no place in the order of layers. O(tensors log tensors), and what ties_of reads.
    """
    named = tuple(include)
    entries = [as_weight(entry, named) for entry in checkpoint.entries]
    found = joined_pairs(entries) if pairs else Pairs(entries, {}, {})
    entries = found.entries
    stored = checkpoint.file.stored.values()
    layouts = layouts_of(entries, said=said, as_registered=any(tensor.storage is not None for tensor in stored))
    for name, text in found.assumed.items():
        layouts[name] = replace(layouts[name], assumed=(text,))
    for name, reason in found.reasons.items():
        layouts[name] = replace(layouts[name], reason=reason)
    ordered = tuple(sorted(entries, key=lambda entry: natural(entry.name)))
    order = order_of(_sides(entry, layouts) for entry in ordered if entry.kind != SKIPPED or entry.unread)
    ties = {name: tie for tie in checkpoint.ties for name in tie.names}
    return Structure(ordered, layouts, order, ties, checkpoint.file.origins())


def _sides(entry: Entry, layouts: Mapping[str, Layout]) -> Sides:
    layout = layouts.get(entry.name)
    sides = (None, None) if layout is None else layout.sides(entry.shape)
    name = entry.parts[0] if entry.form == LORA else entry.name  # a product's own may be a layer's number
    return Sides(name, entry.unread or entry.kind, *sides)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _unmatched(pattern: str, names: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(pattern, names[:SEARCHED], 3, cutoff=0.4) or names[:3]
    told = ", ".join(map(shown, near))
    return f"the pattern {pattern!r} matches none of {len(names)} names; the nearest are {told}, and * is any text"
