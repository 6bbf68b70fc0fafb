"""Which weights of a checkpoint are meant, and what is said of them that its file does not tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sao_cli.base.errors import SaoError
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.entries import ALONE
from sao_cli.io.checkpoints.layouts import Said
from sao_cli.io.checkpoints.structure import Structure, structure_of
from sao_cli.io.output import shown

NAMED = 5  # weights that a message names


class Selection(NamedTuple):
    """Patterns of names: of those that are meant, those that are not, and those of which a layout is said."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]
    said: Said

    @classmethod
    def of(
        cls,
        include: str | Sequence[str],
        exclude: str | Sequence[str],
        groups: Sequence[tuple[str, int]] = (),
        transpose: str | Sequence[str] = (),
    ) -> Selection:
        """The selection by these patterns; a text is one pattern."""
        return cls(_patterns(include), _patterns(exclude), Said(tuple(groups), _patterns(transpose)))

    def structure(self, checkpoint: Checkpoint, *, pairs: bool = False) -> Structure:
        """What the checkpoint tells of itself, and what is said of it; with `pairs` LoRA's are one matrix each."""
        return structure_of(checkpoint, said=self.said, include=self.include, pairs=pairs)


def _patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


@dataclass(frozen=True)
class Choice:
    """The weights of a checkpoint that are to change, and why the others among those asked for are not, by name."""

    entries: list[Entry]
    skipped: dict[str, str] = field(default_factory=dict)

    def without(self, why: Callable[[Entry], str | None]) -> Choice:
        """The choice without those entries for which there is a reason."""
        kept, skipped = [], dict(self.skipped)
        for entry in self.entries:
            reason = why(entry)
            if reason is None:
                kept.append(entry)
            else:
                skipped[entry.name] = reason
        return Choice(kept, skipped)

    def require_any(self, what: str) -> None:
        """Raise SaoError, with the reasons, where no entry is left."""
        if self.entries:
            return
        told = [f"{shown(name)}: {reason}" for name, reason in list(self.skipped.items())[:NAMED]]
        rest = len(self.skipped) - NAMED
        reasons = "; ".join(told) + (f"; and {rest} more" if rest > 0 else "")
        raise SaoError(f"nothing to {what}: {reasons or 'there is no matrix and no kernel'}")


def weights_asked_for(structure: Structure, selection: Selection) -> Choice:
    """The matrices and kernels that the patterns let through; SaoError for a pattern that matches nothing.

    One weight under several names is asked for by each of them, and left out by each.
    """
    include, exclude = selection.include, selection.exclude
    chosen = structure.chosen(include, exclude)
    names = {entry.name for entry in structure.chosen((), exclude)} if exclude else None
    weights: list[Entry] = []
    skipped: dict[str, str] = {}
    for entry in chosen:
        tied = structure.tied_with(entry)
        if entry.kind == "skipped":
            if include or entry.reason == ALONE:  # which would be a kernel but for its name
                skipped[entry.name] = entry.reason or "no weight"
        elif names is not None and (kept := next((name for name in tied if name not in names), None)):
            skipped[entry.name] = f"one weight with {kept}, which --exclude leaves as it is"
        elif not any(other.name in tied for other in weights):
            weights.append(entry)
    return Choice(weights, skipped)


def read_or_reason(checkpoint: Checkpoint, entry: Entry, look: Callable[[Any], str | None]) -> str | None:
    """Why the entry can't be read, or what `look` says against the array that it is."""
    try:
        return look(checkpoint.read(entry))
    except SaoError as error:
        where = f"{checkpoint.name}: tensor {shown(entry.name)}"
        return str(error).removeprefix(where).lstrip(": ")
