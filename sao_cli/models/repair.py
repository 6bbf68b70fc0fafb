"""A checkpoint repaired: its matrices brought towards isometries on the masks that they have."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from numpy.typing import NDArray

from sao_cli import __version__
from sao_cli.base.errors import SaoWarning
from sao_cli.base.progress import Progress, silent
from sao_cli.data.kernel import all_channels, own_channels
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.formats.tensor_file import Path
from sao_cli.models.opened import opened
from sao_cli.models.rewrite import rewritten, told_of
from sao_cli.models.select import Selection, read_or_reason, weights_asked_for
from sao_cli.reports.changes import Changes, RepairedWeight, RepairSummary
from sao_cli.reports.weights import RepairFacts
from sao_cli.weights.isometry import MAX_STEPS
from sao_cli.weights.repair_weight import repair, whole_matrix

# Gains, of all weights multiplied and of one, below which a network shrinks signals: our choice.
SMALL, LEAST = 0.1, 0.5


def repair_checkpoint(
    model: Path | Checkpoint,
    out: Path,
    *,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    groups: Sequence[tuple[str, int]] = (),
    transpose: str | Sequence[str] = (),
    gain: float | None = None,
    steps: int = MAX_STEPS,
    progress: Progress = silent,
) -> Changes[RepairedWeight, RepairSummary]:
    """Bring each matrix of a checkpoint as near to an isometry as its mask allows, write it to `out`, and tell of each.

    `model` and `out`, `include`, `exclude`, `groups` and `transpose` are as prune_checkpoint has them; `gain` (None
    keeps the root mean square singular value), `steps` at most, and the rows as sao_cli.repair has them. Convolutions
    are copied as they are, unless only their centre tap is live, as of 1 x 1; so is all else.

    A SaoWarning tells of gains that are kept and far below 1, and of what could not be written as it was. Raises
    SaoError, before anything is written, for what can't be opened, patterns that match nothing, a gain or a number of
    steps out of range, and where nothing is left to repair; FileError for an `out` that can't be written, or that
    `model` reads. Time: repair's for each weight. Memory: one weight, and what its repair needs.

    >>> import numpy as np
    >>> from sao_cli.io.checkpoints import write_checkpoint
    >>> write_checkpoint({"net.0.weight": np.array([[2.0, 1.0], [0.5, 1.0]])}, "pruned.safetensors")
    >>> rows, summary = repair_checkpoint("pruned.safetensors", "repaired.safetensors", gain=1.0)
    >>> rows[0].after.sigma_max < 1 + 1e-9, summary.log10_gain
    (True, 0.0)
    """
    told = {"version": __version__, "command": "repair", "gain": "keep" if gain is None else gain, "steps": steps}
    selection = Selection.of(include, exclude, groups, transpose)
    with opened(model, out) as checkpoint:
        structure = selection.structure(checkpoint)

        def change(entry: Entry, weight: NDArray[Any]) -> tuple[NDArray[Any], RepairedWeight]:
            dtype = entry.dtype if entry.dtype == "bfloat16" else None  # which numpy lacks
            channels = structure.layout(entry).groups or 1
            whole = all_channels(weight, channels)
            found = repair(whole, dtype=dtype, gain=gain, max_steps=steps, progress=progress)
            facts = {field.name: getattr(found, field.name) for field in fields(RepairFacts)}
            return own_channels(found.weight, channels), RepairedWeight(**told_of(structure, entry), **facts)

        choice = weights_asked_for(structure, selection)
        choice = choice.without(lambda entry: read_or_reason(checkpoint, entry, whole_matrix))
        choice = choice.without(lambda entry: structure.layout(entry).reason)
        choice.require_any("repair")
        rows = rewritten(checkpoint, structure, choice, change, out, told, progress)
    gains = [row.gain for row in rows if isinstance(row, RepairedWeight)]
    if gain is None:
        _warn_of_small(gains)
    through = sum(map(math.log10, gains))
    return Changes(rows, RepairSummary(repaired=len(gains), skipped_tensors=len(choice.skipped), log10_gain=through))


def _warn_of_small(gains: Sequence[float]) -> None:
    """Say where the sizes that are kept are far below one, as pruning at initialisation leaves them."""
    through = sum(map(math.log10, gains))
    if through > math.log10(SMALL) and min(gains) >= LEAST:
        return
    many = "the weight keeps" if len(gains) == 1 else f"the {len(gains)} weights keep"
    told = f"{many} a root mean square singular value of {min(gains):.3g} at the least"
    told += f" ({10**through:.3g} through all of them one after another)" if len(gains) > 1 and through > -300 else ""
    advice = "--gain keep is for trained weights; --gain 1 repairs a network pruned at init"
    warnings.warn(f"{told}, which is far below 1: {advice}", SaoWarning, stacklevel=3)
