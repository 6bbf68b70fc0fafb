"""What pruned weights are, before and after: measured where they are pruned, or read again by an executor's workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import LostJobError, SaoError
from sao_cli.base.in_order import run_in_order
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import one_thread
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.layouts import Layout
from sao_cli.io.formats.tensor_file import Path
from sao_cli.models.audit.row import audit_weight
from sao_cli.models.opened import opened
from sao_cli.models.places import CheckpointPlace
from sao_cli.reports.audits import WeightFacts
from sao_cli.reports.changes import PrunedWeight, SkippedWeight
from sao_cli.reports.frames import Reports
from sao_cli.reports.report import facts_of, plain

if TYPE_CHECKING:
    from concurrent.futures import Executor


def counted(weight: NDArray[Any]) -> dict[str, Any]:
    """How much of a weight is not zero."""
    nnz = int(np.count_nonzero(weight))
    return {"nnz": nnz, "sparsity": 1 - nnz / weight.size}


def weight_facts(
    weight: NDArray[Any], entry: Entry, groups: int | None, seed: int, progress: Progress = silent
) -> dict[str, Any]:
    """The WeightFacts of a weight (out, in/groups, ...), or of a bias of one column; counts and the reason without.

    The linear algebra has one thread, so that they are the same bits wherever they are measured.
    """
    told: dict[str, Any] = {"dtype": entry.dtype} if entry.dtype == "bfloat16" else {}  # which numpy lacks
    try:
        with one_thread():
            row = audit_weight(weight, name=entry.name, progress=progress, groups=groups, seed=seed, **told)
    except SaoError as error:  # a weight too large to measure can be pruned all the same
        return {**counted(weight), "reason": str(error)}
    return {key: plain(getattr(row, key)) for key in (*facts_of(WeightFacts), "reason")}


def placed_facts(place: CheckpointPlace, entry: Entry, layout: Layout, of: Entry, seed: int) -> dict[str, Any]:
    """The `weight_facts` of an entry that lies there, which is what was pruned `of` another, or that one itself."""
    weight = layout.outputs_first(place.opened().read(entry))
    return weight_facts(weight if weight.ndim > 1 else weight[:, None], of, layout.groups, seed)


def require_paths(checkpoint: Checkpoint, out: Path) -> None:
    """Raise SaoError for what an executor's workers can't read again."""
    if checkpoint.path is None or out == "-":
        what = checkpoint.name if checkpoint.path is None else "standard output"
        raise SaoError(
            f"{what} is read or written once, and workers read both checkpoints again to measure them: name files, or "
            "leave out --jobs and --cluster; --no-facts measures nothing"
        )


def with_facts(
    rows: Sequence[PrunedWeight | SkippedWeight],
    checkpoint: Checkpoint,
    out: Path,
    layout: Callable[[Entry], Layout],
    seed: int,
    executor: Executor,
    progress: Progress,
) -> Reports[PrunedWeight | SkippedWeight]:
    """The rows with what an executor measures, a weight a job: of the checkpoint all that were pruned, then of `out`.

    Paths travel, and facts come back. One whose worker dies whenever it is tried has that reason.
    """
    pruned = [row for row in rows if isinstance(row, PrunedWeight)]
    entries = {entry.name: entry for entry in checkpoint.entries}
    with opened(out) as changed:
        written = {entry.name: entry for entry in changed.entries}
    jobs: list[dict[str, Any]] = []
    for place, there in ((CheckpointPlace.of(checkpoint.path or ""), entries), (CheckpointPlace.of(out), written)):
        for row in pruned:
            of = entries[row.name]
            jobs.append({"place": place, "entry": there[row.name], "layout": layout(of), "of": of, "seed": seed})

    def lost(number: int, error: LostJobError) -> dict[str, Any]:
        row = pruned[number % len(pruned)]
        return {**(row.before if number < len(pruned) else row.after), "reason": str(error)}

    found = run_in_order(executor, f"{__name__}:placed_facts", jobs, progress, what="weights", lost=lost)
    told = dict(zip([(name, row.name) for name in ("before", "after") for row in pruned], found, strict=True))
    return Reports(
        replace(row, before=told["before", row.name], after=told["after", row.name])
        if isinstance(row, PrunedWeight)
        else row
        for row in rows
    )
