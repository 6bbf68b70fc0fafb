"""The audit of a checkpoint as it goes: tensors one at a time or a few at once, read, measured, forgotten."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import format_bytes
from sao_cli.base.progress import Progress, silent

if TYPE_CHECKING:
    from sao_cli.io.checkpoints import Checkpoint, Entry
    from sao_cli.io.checkpoints.layouts import Layout
    from sao_cli.io.checkpoints.structure import Structure
    from sao_cli.models.audit.checks import Check
    from sao_cli.reports.audits import AuditChain, AuditRow, AuditSummary, CheckFailure

BAR = 16  # characters


class Audit:
    """One checkpoint's audit: `stream` gives its rows, and at its end the rest is there.

    `rows` has all of them, `chains` and `summary` are of these, and `failures` are what fails `checks`.
    """

    chains: list[AuditChain]
    summary: AuditSummary

    def __init__(self, path: str, checks: Sequence[Check] = ()) -> None:
        self.path, self.checks = path, checks
        self.rows: list[AuditRow] = []
        self.failures: list[CheckFailure] = []

    @property
    def failed(self) -> dict[str, list[str]]:
        """The checks that rows fail, by their names."""
        found: dict[str, list[str]] = {}
        for failure in self.failures:
            found.setdefault(failure.name, []).append(failure.check)
        return found

    def stream(
        self,
        *,
        include: Sequence[str],
        exclude: Sequence[str],
        jobs: int,
        progress: Progress = silent,
        groups: Sequence[tuple[str, int]] = (),
        transpose: Sequence[str] = (),
        **asked: Any,
    ) -> Iterator[AuditRow]:
        """The rows, one as soon as it is there; `asked` are the options of models.audit.row.audit_weight.

        They come in the natural order of names. `groups` and `transpose` are what is said of layouts.

        Raises SaoError for what can't be opened, and for patterns that match nothing.
        """
        from sao_cli.io.checkpoints import open_checkpoint
        from sao_cli.io.checkpoints.layouts import Said
        from sao_cli.io.checkpoints.structure import structure_of
        from sao_cli.models.audit.chains import audit_summary, named_chains
        from sao_cli.models.audit.checks import check

        said = Said(tuple(groups), tuple(transpose))
        with open_checkpoint(self.path) as checkpoint:
            structure = structure_of(checkpoint, said=said, include=include)
            entries = structure.chosen(include, exclude)
            for row in audited_rows(checkpoint, structure, entries, jobs=jobs, progress=progress, **asked):
                self.rows.append(row)
                yield row
        order = structure.order
        left_out = set(order.names) - {row.name for row in self.rows}
        self.chains = named_chains(self.rows, order.stacks, order.why_not, left_out=left_out, progress=progress)
        self.summary = audit_summary(self.rows, self.chains)
        if self.summary.rows:
            self.failures = [failure for one in self.checks for failure in check(self.rows, one.text)]

    def require_rows(self) -> None:
        """Raise SaoError where every tensor was skipped."""
        from sao_cli.io.output import shown

        if not self.summary.rows:
            largest = max(self.rows, key=lambda row: math.prod(row.shape or ()))
            why = shown(largest.reason or "")
            told = f"all of its {self.summary.skipped} tensors are skipped, the largest since: {why}"
            raise SaoError(f"nothing in {shown(self.path)} was audited: {told}")


def audited_rows(
    checkpoint: Checkpoint,
    structure: Structure,
    entries: Sequence[Entry],
    *,
    jobs: int,
    progress: Progress,
    **asked: Any,
) -> Iterator[AuditRow]:
    """The row of each entry, in their order, as soon as it is there; `asked` are the options of audit_weight.

    A tensor that can't be read or measured is a skipped row with the reason. With `jobs` above 1 so many threads read
    and measure, each of one tensor and with one thread of BLAS: memory is that of so many tensors.
    """
    measure = functools.partial(_told_row, checkpoint, structure, asked=asked)
    total, done = sum(map(_cost, entries)), 0
    with contextlib.closing(_in_order(measure, entries, jobs, progress)) as rows:
        for number, (entry, row) in enumerate(zip(entries, rows, strict=True), 1):
            yield row
            done += _cost(entry)
            progress(f"{_bar(done, total)}: tensor", number, len(entries))


def _in_order(
    measure: Callable[..., AuditRow], entries: Sequence[Entry], jobs: int, progress: Progress
) -> Generator[AuditRow, None, None]:
    if jobs == 1:
        yield from (measure(entry, progress=progress) for entry in entries)
        return
    from sao_cli.base.threads import one_thread

    waiting: deque[Future[AuditRow]] = deque()
    pool = ThreadPoolExecutor(jobs)
    with one_thread():  # around all of them: each that limits BLAS by itself would undo what another has set
        try:
            for entry in entries:
                waiting.append(pool.submit(measure, entry, progress=silent))
                if len(waiting) == 2 * jobs:  # rows are small; a slow tensor leaves the other threads something to do
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _told_row(
    checkpoint: Checkpoint, structure: Structure, entry: Entry, *, progress: Any, asked: dict[str, Any]
) -> AuditRow:
    """The row of an entry, with what the file tells of it besides its numbers."""
    layout = structure.layout(entry)
    row = _row(checkpoint, entry, layout, progress, asked)
    tied, masked_by = structure.tied_with(entry), entry.masked_by
    if row.skipped:
        return dataclasses.replace(row, tied_with=tied, masked_by=masked_by)
    reason = "; ".join(filter(None, (row.reason, layout.reason))) or None
    assumed = ", ".join(layout.assumed) or None
    return dataclasses.replace(row, tied_with=tied, masked_by=masked_by, assumed=assumed, reason=reason)


def _row(checkpoint: Checkpoint, entry: Entry, layout: Layout, progress: Any, asked: dict[str, Any]) -> AuditRow:
    from sao_cli.io.output import shown
    from sao_cli.models.audit.row import UNMEASURED, audit_weight, said, skipped_row, too_large

    if entry.kind == "skipped":
        shape = entry.shape if entry.numbers is not None else None
        return skipped_row(entry.name, shape, entry.dtype, entry.reason or "no weight", kind=entry.unread)
    reason = too_large(entry.shape, asked["max_size"])
    if reason is None:
        try:
            # numpy lacks bfloat16, so that only the entry tells what the weights are
            dtype = entry.dtype if entry.dtype == "bfloat16" else None
            told: dict[str, Any] = {"dtype": dtype, "groups": layout.groups, "transposed": layout.transposed}
            return audit_weight(checkpoint.read(entry), name=entry.name, progress=progress, **told, **asked)
        except UNMEASURED as error:
            where = f"{checkpoint.name}: tensor {shown(entry.name)}"  # said by the row itself
            reason = said(error).removeprefix(where).lstrip(": ")
    return skipped_row(entry.name, entry.shape, entry.dtype, reason, kind=entry.kind)


def _cost(entry: Entry) -> int:
    return 0 if entry.kind == "skipped" else entry.bytes


def _bar(done: int, total: int) -> str:
    filled = BAR * done // total if total else BAR
    return f"[{'#' * filled}{'.' * (BAR - filled)}] {format_bytes(done)} of {format_bytes(total)}"
