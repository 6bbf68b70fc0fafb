"""A checkpoint written anew with some of its weights changed: what pruning and repair have in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sao_cli.base.errors import SaoError, SaoWarning
from sao_cli.base.progress import Progress, silent
from sao_cli.io.checkpoints import Checkpoint, Entry, Lazy, write_checkpoint
from sao_cli.io.checkpoints.copies import changed_tensors, stored_names
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.output import shown
from sao_cli.io.provenance import named_provenance, provenance_json

NAMED = 5  # weights that a message names
_PROVENANCE = "sao"


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


def weights_asked_for(structure: Structure, include: Sequence[str], exclude: Sequence[str]) -> Choice:
    """The matrices and kernels that the patterns let through; SaoError for a pattern that matches nothing.

    One weight under several names is asked for by each of them, and left out by each.
    """
    chosen = structure.chosen(include, exclude)
    names = {entry.name for entry in structure.chosen((), exclude)} if exclude else None
    weights: list[Entry] = []
    skipped: dict[str, str] = {}
    for entry in chosen:
        tied = structure.tied_with(entry)
        if entry.kind == "skipped":
            if include:
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


def write_changed(
    checkpoint: Checkpoint,
    structure: Structure,
    entries: Sequence[Entry],
    change: Callable[[Entry, Any], Any],
    output: str,
    told: Mapping[str, Mapping[str, Any]],
    progress: Progress = silent,
) -> None:
    """Write `checkpoint` to `output`, each of `entries` as `change` makes it of what it was, in its own dtype.

    `change` takes and gives weights with their outputs first. Where a weight has several names it is changed once, and
    all of them have it. All else is copied, names and metadata too. `told` is the provenance of each entry, by name.
    Memory: one weight, and what `change` needs for it; of weights with several names as long as they are written.
    """
    done = 0
    made: dict[str, Any] = {}  # what others that are not yet written are, too
    left = {entry.name: len(structure.others(entry)) for entry in entries}

    def make(entry: Entry) -> Any:
        nonlocal done
        if entry.name not in made:
            progress("changing weights", done, len(entries))
            done += 1
            layout = structure.layout(entry)
            made[entry.name] = layout.outputs_first(change(entry, layout.outputs_first(checkpoint.read(entry))))
        left[entry.name] -= 1
        return made[entry.name] if left[entry.name] >= 0 else made.pop(entry.name)

    changes = {entry: Lazy(entry.shape, entry.dtype, partial(make, entry)) for entry in entries}
    first = {entry.name: entry for entry in entries}
    for entry in entries:
        for other, axes in structure.others(entry):
            first[other.name] = entry
            changes[other] = Lazy(other.shape, other.dtype, partial(_in_order, partial(make, entry), axes))
    names = stored_names(checkpoint, changes)
    own = {names[entry]: dict(told[first[entry.name].name]) for entry in changes}
    write_checkpoint(changed_tensors(checkpoint, changes), output, _metadata(checkpoint, own))
    _warn_of_form(checkpoint, list(changes))


def _in_order(make: Callable[[], Any], axes: tuple[int, ...]) -> Any:
    return make().transpose(axes)


def told_of(structure: Structure, entry: Entry) -> dict[str, Any]:
    """What a row says of a weight itself: name, shape, dtype, and what the file tells and does not."""
    layout = structure.layout(entry)
    return {
        "name": entry.name,
        "kind": entry.kind,
        "shape": list(entry.shape),
        "dtype": entry.dtype,
        "groups": layout.groups if entry.kind == "kernel" else None,
        "transposed": layout.transposed,
        "assumed": ", ".join(layout.assumed) or None,
        "masked_by": entry.masked_by,
        "tied_with": list(structure.tied_with(entry)),
    }


def _warn_of_form(checkpoint: Checkpoint, entries: Sequence[Entry]) -> None:
    """Say which weights are one tensor now, and what was left out."""
    joined = sum(len(entry.parts) > 1 and entry.masked_by is None for entry in entries)
    if joined:
        told = f"{joined} {'weight' if joined == 1 else 'weights'} that several tensors made are one dense tensor each"
        warnings.warn(told, SaoWarning, stacklevel=4)
    for entry in checkpoint.entries:
        if not entry.parts:
            warnings.warn(f"left out: {entry.reason}", SaoWarning, stacklevel=4)


def _metadata(checkpoint: Checkpoint, own: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The metadata of the checkpoint, and provenance by tensor under "sao", as write_safetensors keeps it."""
    before = named_provenance(checkpoint.metadata.get(_PROVENANCE, ""))
    return {**checkpoint.metadata, _PROVENANCE: provenance_json({**before, **own})}
