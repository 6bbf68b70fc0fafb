"""The runs of a sweep: what each asks, what came of it, and its rows as the sweep tells them."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NamedTuple

from sao_cli import __version__
from sao_cli.base.errors import LostJobError, SaoError
from sao_cli.base.in_order import run_in_order
from sao_cli.base.progress import Progress, silent
from sao_cli.reports.sweeps import RunFailure

if TYPE_CHECKING:
    from sao_cli.study.sweep_folder import SweepFolder

COMMAND = "sao_cli.cli.shared.one_run:run_command"  # what a worker calls
HELD, FAILS = 0, 1  # exit codes of runs that have a result
BUG = 70
TIMED = "seconds"  # the key that another call would give another value, which rows of a sweep leave out

Row = dict[str, Any]


class Run(NamedTuple):
    """One point of the grid: its number from 1, its parameters, and the command line that it is."""

    number: int
    over: dict[str, Any]
    arguments: tuple[str, ...]
    seed: int = 0
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"run {self.number} ({', '.join(f'{name}={value}' for name, value in self.over.items())})"


class Outcome(NamedTuple):
    """What a worker gives back of a run: exit code (None where its process died), stdout and stderr."""

    code: int | None
    out: bytes
    said: str


class Finished(NamedTuple):
    """A run's result: its rows, as the sweep tells them, or the bytes of its matrices; `reason` where it failed."""

    run: Run
    code: int | None
    rows: tuple[Row, ...] = ()
    stream: bytes = b""
    reason: str | None = None
    warnings: tuple[str, ...] = ()


def swept(
    runs: Sequence[Run],
    executor: Executor,
    folder: SweepFolder | None = None,
    progress: Progress = silent,
    *,
    matrices: bool = False,
) -> Generator[Finished, None, None]:
    """Each run's result, in the order of the runs; those that `folder` has are read, and the others kept in it.

    A run is kept as soon as it is done. Runs that failed are not, so that another call tries them again. The rows of
    a run have their `run` and `over`, and no timings, so that the same runs give the same bytes wherever they ran.
    """
    missing = [run for run in runs if folder is None or not folder.has(run)]
    ready: dict[int, Finished] = {}

    def finished(index: int, outcome: Outcome) -> None:
        done = result_of(missing[index], outcome, matrices)
        if folder is not None and done.reason is None:
            folder.keep(done)
        ready[done.run.number] = done

    def lost(_: int, error: LostJobError) -> Outcome:
        return Outcome(None, b"", str(error))

    jobs = [{"arguments": run.arguments, "files": run.files} for run in missing]
    results = run_in_order(executor, COMMAND, jobs, progress, finished=finished, lost=lost)
    to_come = {run.number for run in missing}
    try:
        for run in runs:
            if run.number in to_come:
                next(results)
                yield ready.pop(run.number)
            elif folder is not None:
                yield folder.read(run)
    finally:
        results.close()


def result_of(run: Run, outcome: Sequence[Any], matrices: bool) -> Finished:
    """What came of a run; its failure as a row."""
    code, out, said = outcome
    if code not in (HELD, FAILS):
        reason = _reason(code, said)
        return Finished(run, code, (failure_row(run, code, reason),), reason=reason)
    warnings = tuple(line for line in said.splitlines() if "warning: " in line)
    if matrices:
        return Finished(run, code, stream=out, warnings=warnings)
    return Finished(run, code, tuple(_told(row, run) for row in _parsed(run, out)), warnings=warnings)


def failure_row(run: Run, code: int | None, reason: str) -> Row:
    """The line of a run that failed."""
    head = {"command": run.arguments[0], "version": __version__, "seed": run.seed, "source": None}
    failure = RunFailure(run=run.number, over=run.over, exit_code=code, reason=reason).to_dict()
    return {"record": failure.pop("record")} | head | failure


def line_of(row: Row) -> bytes:
    """A row as it is kept in a folder."""
    return (json.dumps(row, allow_nan=False) + "\n").encode()


def _parsed(run: Run, out: bytes) -> list[Row]:
    try:
        return [json.loads(line) for line in out.splitlines()]
    except ValueError:
        raise SaoError(f"`sao {run.arguments[0]}` prints no rows of JSON, so that a sweep can't tell of them") from None


def _told(row: Row, run: Run) -> Row:
    """The row, its run and parameters after what every line begins with; what takes time is left out."""
    head = {key: row[key] for key in ("record", "command", "version", "seed", "source") if key in row}
    rest = {key: value for key, value in row.items() if key not in head and key != TIMED}
    return head | {"run": run.number, "over": run.over} | rest


def _reason(code: int | None, said: str) -> str:
    """The last line of stderr; of a bug the line before, which tells the error."""
    lines = [line for line in said.splitlines() if line.strip()] or [f"it said nothing, and its exit code is {code}"]
    return lines[-2] if code == BUG and len(lines) > 1 else lines[-1]
