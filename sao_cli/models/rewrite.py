"""A checkpoint written anew with some of its weights changed: what pruning and repair have in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic

from sao_cli.base.errors import SaoWarning
from sao_cli.base.progress import Progress, silent
from sao_cli.io.checkpoints import Checkpoint, Entry, Lazy, write_checkpoint
from sao_cli.io.checkpoints.copies import changed_tensors, stored_names
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.provenance import named_provenance, provenance_json
from sao_cli.models.select import Choice
from sao_cli.reports.changes import Changed, SkippedWeight
from sao_cli.reports.frames import Reports

_PROVENANCE = "sao"


def rewritten(
    checkpoint: Checkpoint,
    structure: Structure,
    choice: Choice,
    change: Callable[[Entry, Any], tuple[Any, Changed]],
    out: Path,
    told: Mapping[str, Any],
    progress: Progress = silent,
) -> Reports[Changed | SkippedWeight]:
    """Write `checkpoint` to `out` with the chosen weights changed, each in its own dtype; the rows, in order of names.

    `change` takes weights with their outputs first, and gives them so, each with its row. Where a weight has several
    names it is changed once, and all of them have it. All else is copied, names and metadata too. `told` is the
    provenance of each. SaoWarnings tell of what could not be written as it was.
    Memory: one weight, and what `change` needs for it; of weights with several names as long as they are written.
    """
    made = _Made(checkpoint, structure, choice.entries, change, progress)
    changes = {entry: Lazy(entry.shape, entry.dtype, partial(made, entry)) for entry in choice.entries}
    for entry in choice.entries:
        for other, axes in structure.others(entry):
            changes[other] = Lazy(other.shape, other.dtype, partial(made, entry, axes))
    write_changes(checkpoint, changes, out, told)
    warn_of_form(checkpoint, list(changes))
    return in_order(structure, made.rows, choice.skipped)


def write_changes(
    checkpoint: Checkpoint,
    changes: Mapping[Entry, Lazy],
    out: Path,
    told: Mapping[str, Any],
    added: Mapping[str, Lazy] | None = None,
) -> None:
    """Write `checkpoint` to `out` with `changes` in place of its entries, of any shapes, and all else as it is.

    `added` are tensors by their stored names, in place of those of the same name, such as a mask beside a weight, or
    new ones. `told` is the provenance of each changed entry. Memory: one tensor, and what the Lazy ones hold.
    """
    own = dict.fromkeys(stored_names(checkpoint, changes).values(), told)
    tensors = {**changed_tensors(checkpoint, changes), **(added or {})}
    write_checkpoint(tensors, out, _metadata(checkpoint, own))


def in_order(
    structure: Structure, rows: Mapping[str, Changed], skipped: Mapping[str, str]
) -> Reports[Changed | SkippedWeight]:
    """The rows by name, and one for each weight that was `skipped`, for that reason, in the order of names."""
    found: dict[str, Changed | SkippedWeight] = dict(rows)
    for entry in structure.entries:
        if (reason := skipped.get(entry.name)) is not None:
            found[entry.name] = SkippedWeight(**told_of(structure, entry), reason=reason)
    return Reports(found[entry.name] for entry in structure.entries if entry.name in found)


class _Made(Generic[Changed]):
    """The changed weights as they are written, and their `rows` by name."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        structure: Structure,
        entries: Sequence[Entry],
        change: Callable[[Entry, Any], tuple[Any, Changed]],
        progress: Progress,
    ) -> None:
        self.checkpoint, self.structure, self.change, self.progress = checkpoint, structure, change, progress
        self.rows: dict[str, Changed] = {}
        self._held: dict[str, Any] = {}  # what others that are not yet written are, too
        self._left = {entry.name: 1 + len(structure.others(entry)) for entry in entries}

    def __call__(self, entry: Entry, axes: tuple[int, ...] | None = None) -> Any:
        """The changed weight as it is stored, or with its axes in another order, as a tied one has them."""
        if entry.name not in self._held:
            self.progress("changing weights", len(self.rows), len(self._left))
            layout = self.structure.layout(entry)
            changed, self.rows[entry.name] = self.change(entry, layout.outputs_first(self.checkpoint.read(entry)))
            self._held[entry.name] = layout.outputs_first(changed)
        self._left[entry.name] -= 1
        made = self._held[entry.name] if self._left[entry.name] else self._held.pop(entry.name)
        return made if axes is None else made.transpose(axes)


def told_of(structure: Structure, entry: Entry) -> dict[str, Any]:
    """What a row says of a weight itself: name, shape, dtype, and what the file tells and does not."""
    layout = structure.layout(entry)
    return {
        "name": entry.name,
        "kind": entry.kind,
        "shape": entry.shape,
        "dtype": entry.dtype,
        "groups": layout.groups if entry.kind == "kernel" else None,
        "transposed": layout.transposed,
        "assumed": ", ".join(layout.assumed) or None,
        "masked_by": entry.masked_by,
        "tied_with": structure.tied_with(entry),
        "provenance": structure.provenance(entry),
    }


def warn_of_form(checkpoint: Checkpoint, entries: Sequence[Entry]) -> None:
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
