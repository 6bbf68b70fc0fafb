"""The audit of a checkpoint as it goes: tensors one at a time or some at once, read, measured, forgotten."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor
from functools import cached_property
from typing import Any, cast

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import format_bytes
from sao_cli.base.progress import Progress, silent
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.layouts import Layout
from sao_cli.io.checkpoints.order import WAY_OUT
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import shown
from sao_cli.io.source import source_name
from sao_cli.measure.values.by_array import Solver
from sao_cli.models.audit.chains import audit_summary, named_chains
from sao_cli.models.audit.checks import Check, check
from sao_cli.models.audit.comparison import compare_measured
from sao_cli.models.audit.heavy_tail import require_powerlaw
from sao_cli.models.audit.row import skipped_row, too_large
from sao_cli.models.audit.tensor_jobs import entry_row, rows_elsewhere, rows_in_threads, unmeasured
from sao_cli.models.opened import opened
from sao_cli.models.places import CheckpointPlace
from sao_cli.models.select import Selection
from sao_cli.reports.audits import (
    AuditChain,
    AuditComparison,
    AuditRow,
    AuditSummary,
    CheckFailure,
    ContextFacts,
)
from sao_cli.reports.frames import Framed
from sao_cli.reports.report import facts_of

# what a check asks of chains: no row has it, or only one that ran in its network
_OF_CHAINS = facts_of(AuditChain).keys() - (facts_of(AuditRow).keys() - facts_of(ContextFacts).keys())

BAR = 16  # characters


def audit_checkpoint(
    model: Path | Checkpoint,
    *,
    checks: str | Sequence[str] = (),
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    groups: Sequence[tuple[str, int]] = (),
    transpose: str | Sequence[str] = (),
    threshold: float = 0.0,
    image: int | Sequence[int] | None = None,
    padding: str | int = "zeros",
    stride: int | Sequence[int] = 1,
    max_size: int | None = None,
    heavy_tail: bool = False,
    fast: bool = False,
    solver: Solver | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Audit:
    """The Audit of every weight matrix and convolution kernel of a checkpoint, and of the chains of layers they are.

    `model` is what open_checkpoint takes, or gave, which has to stay open until the rows are there. It is opened now,
    and measured as the Audit is iterated or asked: a tensor is read, measured as audit_weight tells, and forgotten.

    `checks` are conditions such as "sigma_min>0.1" on the rows, and "reachable>0" on the chains. `include` and
    `exclude` are patterns of names; the first may name embeddings. `groups` and `transpose` are what is said by such
    patterns of layouts, which a file can't tell. `threshold`, `image`, `padding`, `stride`, `max_size`, `heavy_tail`,
    `fast`, `solver` and `seed` are audit_weight's.

    An `executor` of concurrent.futures, as sao_cli.executor opens for processes or a cluster, measures one tensor a
    job: a path travels, and a row comes back, so that its workers must see the file under the same path; each measures
    one at a time. Without one, so many `jobs` are threads of this process, which share its interpreter: they gain where
    tensors are large. With `heavy_tail` that is always one, whose fit silences warnings and standard output of the
    whole process. Wherever a tensor is measured, its BLAS has one thread: the rows are the same bits, in the same
    order.

    Raises SaoError for what can't be opened, for patterns that match nothing, for checks that are none and for both
    jobs and an executor, or an executor and what has no path; ExecutorError where a worker does not see the file. A
    tensor that can't be read or measured is a skipped row with its reason, and so is one whose worker dies each time.
    Time: audit_weight's for each tensor. Memory: that of so many tensors as are measured at once, and each row's
    singular values.

    >>> import numpy as np
    >>> from sao_cli.io.checkpoints import write_checkpoint
    >>> write_checkpoint({"net.0.weight": np.eye(4), "net.2.weight": np.ones((2, 4))}, "model.safetensors")
    >>> audit = audit_checkpoint("model.safetensors", checks=["rank>=2"])
    >>> [(row.name, row.rank) for row in audit]
    [('net.0.weight', 4), ('net.2.weight', 1)]
    >>> audit.summary.rank_deficient, [failure.name for failure in audit.failures], audit.chains[0].reachable
    (('net.2.weight',), ['net.2.weight'], 1.0)
    """
    conditions = [Check.of(text, AuditRow, AuditChain) for text in ([checks] if isinstance(checks, str) else checks)]
    jobs = allowed_jobs(jobs, heavy_tail)
    measure: dict[str, Any] = {"threshold": threshold, "image": image, "padding": padding, "stride": stride}
    measure |= {"max_size": max_size, "heavy_tail": heavy_tail, "fast": fast, "solver": solver, "seed": seed}
    selection = Selection.of(include, exclude, groups, transpose)
    if executor is None:
        return Audit(model, conditions, selection, measure, progress, jobs=jobs)
    _require_path(model, jobs)
    return Audit(model, conditions, selection, measure, progress, executor=executor)


def _require_path(model: Path | Checkpoint, jobs: int) -> None:
    """Raise SaoError for what an executor's workers can't read."""
    if jobs > 1:
        raise SaoError(f"jobs {jobs} are threads of this process, and an executor has workers of its own; give one")
    if isinstance(model, Checkpoint) or model == "-":
        told = f"{model.name} is open here" if isinstance(model, Checkpoint) else f"{source_name(model)} is read here"
        raise SaoError(f"{told}, and workers read a file by its path: save it where they see it, and name that")


def allowed_jobs(jobs: int, heavy_tail: bool) -> int:
    """How many tensors are measured at once: one where heavy tails are fitted, which SaoError is raised without."""
    if jobs < 1:
        raise SaoError(f"jobs {jobs}; it is how many tensors are measured at once, 1 or more")
    if heavy_tail:
        require_powerlaw()
    return 1 if heavy_tail else jobs


class Audit(Framed):
    """One checkpoint's audit, as audit_checkpoint makes it.

    Iterated it gives its rows, in the natural order of names, each as soon as it is there; all else that it is asked
    for waits for the last of them.
    """

    def __init__(
        self,
        model: Path | Checkpoint,
        checks: Sequence[Check],
        selection: Selection,
        measure: dict[str, Any],
        progress: Progress,
        *,
        jobs: int = 1,
        executor: Executor | None = None,
    ) -> None:
        self.name = model.name if isinstance(model, Checkpoint) else source_name(model)
        self.checks, self._progress = checks, progress
        self._rows: list[AuditRow] = []
        self._complete = False
        self._coming = self._measured(model, selection, measure, {"jobs": jobs, "executor": executor})
        self._order = next(self._coming)  # so that what can't be opened is said now

    def __iter__(self) -> Iterator[AuditRow]:
        """The rows: those that are there, and then each that is measured."""
        number = 0
        while number < len(self._rows) or self._goes_on():
            yield self._rows[number]
            number += 1

    @property
    def rows(self) -> list[AuditRow]:
        """All rows."""
        return list(self)

    @cached_property
    def chains(self) -> list[AuditChain]:
        """Who reaches whom through the chains of layers that names tell; see models.audit.chains.named_chains."""
        rows, order = self.rows, self._order
        left_out = set(order.names) - {row.name for row in rows}
        return named_chains(rows, order.stacks, order.why_not, left_out=left_out, progress=self._progress)

    @cached_property
    def summary(self) -> AuditSummary:
        """All rows and chains in one."""
        return audit_summary(self.rows, self.chains)

    @cached_property
    def failures(self) -> list[CheckFailure]:
        """What fails the checks, check by check, of the rows and of the chains.

        What a file tells of chains alone is no row's; where it tells of none, that fails. Raises SaoError where there
        is a check, and no row was audited.
        """
        return [failure for one in self.checks for failure in self._failures(one)]

    def _failures(self, one: Check) -> list[CheckFailure]:
        if one.field not in _OF_CHAINS:
            return check(self.rows, one.text)
        self.require_rows()
        if not self.chains:
            told = f"can't tell: the names number no chain of layers; {WAY_OUT}"
            return [CheckFailure(name="chain", check=one.text, field=one.field, value=None, reason=told)]
        found = [one.fails_of(f"chain {chain.chain}", chain, chain.reason) for chain in self.chains]
        return [failure for failure in found if failure is not None]

    def since(self, earlier: Audit) -> list[AuditComparison]:
        """What changed since an `earlier` checkpoint of the network, of tensors that one of both audits measured.

        Raises SaoError where one of them measured none, and as compare_measured does.
        """
        for one in (earlier, self):
            one.require_rows()
        return compare_measured(earlier.rows, self.rows)

    def require_rows(self) -> None:
        """Raise SaoError where every tensor was skipped."""
        if not self.summary.rows:
            largest = max(self.rows, key=lambda row: math.prod(row.shape or ()))
            why = shown(largest.reason or "")
            told = f"all of its {self.summary.skipped_tensors} tensors are skipped, the largest since: {why}"
            raise SaoError(f"nothing in {self.name} was audited: {told}")

    def _goes_on(self) -> bool:
        """Measure another row; False where there is none."""
        if self._complete:
            return False
        row = next(self._coming, None)
        if row is None and not self._complete:
            raise SaoError(f"the audit of {self.name} was broken off after {len(self._rows)} tensors; begin it anew")
        self._rows += [] if row is None else [row]
        return row is not None

    def _measured(
        self, model: Path | Checkpoint, selection: Selection, measure: dict[str, Any], where: dict[str, Any]
    ) -> Generator[Any, None, None]:
        """What the names tell of the order of layers, then the rows."""
        with opened(model) as checkpoint:
            structure = selection.structure(checkpoint, pairs=True)
            entries = structure.chosen(selection.include, selection.exclude)
            here = where["executor"] is None or isinstance(model, Checkpoint)
            where |= {"place": None if here else CheckpointPlace.of(cast(Path, model)), "progress": self._progress}
            yield structure.order
            yield from audited_rows(checkpoint, structure, entries, **where, **measure)
        self._complete = True


def audited_rows(
    checkpoint: Checkpoint,
    structure: Structure,
    entries: Sequence[Entry],
    *,
    executor: Executor | None,
    place: CheckpointPlace | None,
    jobs: int,
    progress: Progress,
    **asked: Any,
) -> Iterator[AuditRow]:
    """The row of each entry, in their order, as soon as it is there; `asked` are the options of audit_weight.

    A tensor that can't be read or measured is a skipped row with the reason. An `executor` reads them from the `place`,
    one a job; else so many `jobs` are threads here, each of one tensor: memory is that of those in flight.
    """
    weights = [(entry, structure.layout(entry)) for entry in entries if _unmeasured(entry, asked["max_size"]) is None]

    def here(weight: tuple[Entry, Layout], progress: Progress) -> AuditRow:
        return entry_row(checkpoint, *weight, progress=progress, **asked)

    done = _Done(entries, progress)
    if executor is None or place is None:
        coming = rows_in_threads(here, weights, jobs, progress)
    else:
        coming = rows_elsewhere(executor, place, weights, asked, done.count)
    with contextlib.closing(coming) as rows:
        for entry in entries:
            row = _unmeasured(entry, asked["max_size"]) or next(rows)
            yield _told_row(row, structure, entry)
            done.count(entry)


class _Done:
    """The entries that are measured, each counted once, whether when its worker ends or when its row is given."""

    def __init__(self, entries: Sequence[Entry], progress: Progress) -> None:
        self._total, self._count, self._progress = sum(map(_cost, entries)), len(entries), progress
        self._names: set[str] = set()
        self._bytes = 0

    def count(self, entry: Entry) -> None:
        if entry.name in self._names:
            return
        self._names.add(entry.name)
        self._bytes += _cost(entry)
        self._progress(f"{_bar(self._bytes, self._total)}: tensor", len(self._names), self._count)


def _told_row(row: AuditRow, structure: Structure, entry: Entry) -> AuditRow:
    """The row of an entry, with what the file tells of it besides its numbers."""
    layout = structure.layout(entry)
    row = dataclasses.replace(
        row,
        tied_with=structure.tied_with(entry),
        masked_by=entry.masked_by,
        provenance=structure.provenance(entry),
    )
    if row.skipped:
        return row
    reason = "; ".join(filter(None, (row.reason, layout.reason))) or None
    assumed = ", ".join(layout.assumed) or None
    return dataclasses.replace(row, assumed=assumed, reason=reason)


def _unmeasured(entry: Entry, max_size: int | None) -> AuditRow | None:
    """The skipped row of what need not be read; None of what is to be measured."""
    if entry.kind == "skipped":
        shape = entry.shape if entry.numbers is not None else None
        return skipped_row(entry.name, shape, entry.dtype, entry.reason or "no weight", kind=entry.unread)
    reason = too_large(entry.shape, max_size)
    return None if reason is None else unmeasured(entry, reason)


def _cost(entry: Entry) -> int:
    return 0 if entry.kind == "skipped" else entry.bytes


def _bar(done: int, total: int) -> str:
    filled = BAR * done // total if total else BAR
    return f"[{'#' * filled}{'.' * (BAR - filled)}] {format_bytes(done)} of {format_bytes(total)}"
