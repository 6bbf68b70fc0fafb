"""One tensor a job, wherever it runs: a file's path, an entry of it and plain numbers travel, and a row comes back."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from sao_cli.base.errors import LostJobError
from sao_cli.base.in_order import run_in_order
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import one_thread
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.entries import LORA
from sao_cli.io.checkpoints.layouts import Layout
from sao_cli.io.output import shown
from sao_cli.models.audit.reasons import UNMEASURED, said
from sao_cli.models.audit.row import audit_weight, skipped_row
from sao_cli.models.places import CheckpointPlace
from sao_cli.reports.audits import AuditRow


def measured_entry(place: CheckpointPlace, entry: Entry, layout: Layout, **asked: Any) -> AuditRow:
    """The row of an entry of the checkpoint at `place`, as `entry_row` has it: a job of an executor's worker.

    The file stays open for the next job. Raises FileError and FormatError where it is not what it was.
    """
    return entry_row(place.opened(), entry, layout, **asked)


def entry_row(
    checkpoint: Checkpoint, entry: Entry, layout: Layout, *, progress: Progress = silent, **asked: Any
) -> AuditRow:
    """The row of a matrix or kernel, as its numbers and `layout` have it; a skipped one where it can't be measured.

    `asked` are the options of audit_weight. Its linear algebra has one thread, in whose order all sums are taken, so
    that the row is the same bits wherever it is measured and however many are at once.
    """
    # numpy lacks bfloat16, so that only the entry tells what the weights are
    dtype = entry.dtype if entry.dtype == "bfloat16" else None
    told: dict[str, Any] = {"dtype": dtype, "groups": layout.groups, "transposed": layout.transposed}
    try:
        with one_thread():
            weight = checkpoint.read_product(entry) if entry.form == LORA else checkpoint.read(entry)
            return audit_weight(weight, name=entry.name, progress=progress, **told, **asked)
    except UNMEASURED as error:
        where = f"{checkpoint.name}: tensor {shown(entry.name)}"  # said by the row itself
        return unmeasured(entry, said(error).removeprefix(where).lstrip(": "))


def unmeasured(entry: Entry, reason: str) -> AuditRow:
    """The skipped row of a matrix or kernel."""
    return skipped_row(entry.name, entry.shape, entry.dtype, reason, kind=entry.kind)


def rows_elsewhere(
    executor: Executor,
    place: CheckpointPlace,
    weights: Sequence[tuple[Entry, Layout]],
    asked: dict[str, Any],
    finished: Callable[[Entry], None],
) -> Generator[AuditRow, None, None]:
    """The `measured_entry` of each, in their order; a skipped row of one whose worker dies whenever it is tried.

    Those that take longest are handed out first, so that no long one is left for the end, when the other workers have
    nothing to do; `finished` is called as soon as one is done. Rows that wait for their turn are rows that the audit
    keeps anyway.
    """
    order = sorted(range(len(weights)), key=lambda number: -_work(weights[number][0]))

    def lost(turn: int, error: LostJobError) -> AuditRow:
        return unmeasured(weights[order[turn]][0], str(error))

    def done(turn: int, row: AuditRow) -> None:
        finished(weights[order[turn]][0])

    jobs = [{"place": place, "entry": weights[number][0], "layout": weights[number][1], **asked} for number in order]
    job = "sao_cli.models.audit.tensor_jobs:measured_entry"
    with contextlib.closing(run_in_order(executor, job, jobs, lost=lost, finished=done)) as coming:
        rows: dict[int, AuditRow] = {}
        turns = iter(order)
        for number in range(len(weights)):
            while number not in rows:
                rows[next(turns)] = next(coming)
            yield rows.pop(number)


def _work(entry: Entry) -> int:
    """What the singular values of a matrix take, or of a kernel that is reshaped to one, but for a factor."""
    size = math.prod(entry.shape)
    return size * min(entry.shape[0], size // max(1, entry.shape[0]))


def rows_in_threads(
    measure: Callable[..., AuditRow], weights: Sequence[Any], jobs: int, progress: Progress
) -> Generator[AuditRow, None, None]:
    """`measure` of each weight, in their order: of so many `jobs` at once, in threads, then silently."""
    if jobs == 1:
        yield from (measure(weight, progress=progress) for weight in weights)
        return
    with ThreadPoolExecutor(jobs) as pool:
        asked = [{"weight": weight, "progress": silent} for weight in weights]
        with contextlib.closing(run_in_order(pool, functools.partial(_given, measure), asked)) as rows:
            yield from rows


def _given(measure: Callable[..., AuditRow], weight: Any, progress: Progress) -> AuditRow:
    return measure(weight, progress=progress)
