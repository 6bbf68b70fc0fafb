"""The audit of a checkpoint as it goes: tensors one at a time or a few at once, read, measured, forgotten."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sao_cli.cli.talk import Talk
from sao_cli.errors import SaoError
from sao_cli.memory import format_bytes

if TYPE_CHECKING:
    from sao_cli.io.checkpoints import Checkpoint, Entry
    from sao_cli.measure.auditing.checks import Check
    from sao_cli.results import AuditChain, AuditRow, AuditSummary, CheckFailure

BAR = 16  # characters
SEARCHED = 5000  # names among which the nearest to a pattern is looked for


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
        self, *, include: Sequence[str], exclude: Sequence[str], jobs: int, talk: Talk, **asked: Any
    ) -> Iterator[AuditRow]:
        """The rows, one as soon as it is there; `asked` are the options of measure.auditing.audit.audit_weight.

        Raises SaoError for what can't be opened, and for patterns that match nothing.
        """
        from sao_cli.io.checkpoints import open_checkpoint
        from sao_cli.measure.auditing.chains import audit_chain, audit_summary
        from sao_cli.measure.auditing.checks import check

        with open_checkpoint(self.path) as checkpoint:
            entries = chosen_entries(checkpoint, include, exclude)
            for row in audited_rows(checkpoint, entries, jobs=jobs, talk=talk, **asked):
                self.rows.append(row)
                yield row
        self.chains = audit_chain(self.rows, progress=talk)
        self.summary = audit_summary(self.rows, self.chains)
        if self.summary.rows:
            self.failures = [failure for one in self.checks for failure in check(self.rows, one.text)]

    def require_rows(self) -> None:
        """Raise SaoError where every tensor was skipped."""
        from sao_cli.io.files import shown

        if not self.summary.rows:
            reason, count = next(iter(self.summary.skipped_reasons.items()))
            told = f"all of its {self.summary.skipped} tensors are skipped, {count} of them since: {shown(reason)}"
            raise SaoError(f"nothing in {shown(self.path)} was audited: {told}")


def audited_rows(
    checkpoint: Checkpoint, entries: Sequence[Entry], *, jobs: int, talk: Talk, **asked: Any
) -> Iterator[AuditRow]:
    """The row of each entry, in their order, as soon as it is there; `asked` are the options of audit_weight.

    A tensor that can't be read or measured is a skipped row with the reason. With `jobs` above 1 so many threads read
    and measure, each of one tensor and with one thread of BLAS: memory is that of so many tensors.
    """
    measure = functools.partial(_row, checkpoint, asked=asked)
    total, done = sum(map(_cost, entries)), 0
    with contextlib.closing(_in_order(measure, entries, jobs, talk)) as rows:
        for number, (entry, row) in enumerate(zip(entries, rows, strict=True), 1):
            yield row
            done += _cost(entry)
            talk(f"{_bar(done, total)}: tensor", number, len(entries))


def chosen_entries(checkpoint: Checkpoint, include: Sequence[str], exclude: Sequence[str]) -> list[Entry]:
    """The entries whose names match a pattern of `include` (or any, where there is none) and none of `exclude`.

    Raises SaoError for a pattern that matches no name, and where nothing is left.
    """
    names = [entry.name for entry in checkpoint.entries]
    for pattern in (*include, *exclude):
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise SaoError(_unmatched(pattern, names))
    chosen = [
        entry
        for entry in checkpoint.entries
        if (not include or _matches(entry.name, include)) and not _matches(entry.name, exclude)
    ]
    if not chosen:
        raise SaoError(f"--include and --exclude leave none of {len(names)} tensors; loosen one of them")
    return chosen


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _unmatched(pattern: str, names: Sequence[str]) -> str:
    import difflib

    from sao_cli.io.files import shown

    near = difflib.get_close_matches(pattern, names[:SEARCHED], 3, cutoff=0.4) or names[:3]
    told = ", ".join(map(shown, near))
    return f"the pattern {pattern!r} matches none of {len(names)} names; the nearest are {told}, and * is any text"


def _in_order(
    measure: Callable[..., AuditRow], entries: Sequence[Entry], jobs: int, talk: Talk
) -> Generator[AuditRow, None, None]:
    if jobs == 1:
        yield from (measure(entry, progress=talk) for entry in entries)
        return
    from sao_cli.progress import silent
    from sao_cli.threads import one_thread

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


def _row(checkpoint: Checkpoint, entry: Entry, *, progress: Any, asked: dict[str, Any]) -> AuditRow:
    from sao_cli.io.files import shown
    from sao_cli.measure.auditing.audit import UNMEASURED, audit_weight, said, skipped_row, too_large

    if entry.kind == "skipped":
        return skipped_row(entry.name, entry.shape, entry.dtype, entry.reason or "no weight")
    reason = too_large(entry.shape, asked["max_size"])
    if reason is None:
        try:
            # numpy lacks bfloat16, so that only the entry tells what the weights are
            dtype = entry.dtype if entry.dtype == "bfloat16" else None
            return audit_weight(checkpoint.read(entry), name=entry.name, dtype=dtype, progress=progress, **asked)
        except UNMEASURED as error:
            where = f"{checkpoint.name}: tensor {shown(entry.name)}"  # said by the row itself
            reason = said(error).removeprefix(where).lstrip(": ")
    return skipped_row(entry.name, entry.shape, entry.dtype, reason, kind=entry.kind)


def _cost(entry: Entry) -> int:
    return 0 if entry.kind == "skipped" else entry.bytes


def _bar(done: int, total: int) -> str:
    filled = BAR * done // total if total else BAR
    return f"[{'#' * filled}{'.' * (BAR - filled)}] {format_bytes(done)} of {format_bytes(total)}"
