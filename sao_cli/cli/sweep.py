"""`sao sweep`: a grid of runs of any command, here or on a cluster."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.progress import TimeLeft
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.failures import FAILS, NAMED
from sao_cli.cli.shared.options import executor_options, sweep_folder_options
from sao_cli.cli.shared.picture_options import Look, PictureFile, look_options
from sao_cli.cli.shared.render import emit
from sao_cli.cli.shared.run_plan import STREAMS, plan_runs
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Axis, AxisNames, DrawnField, SummedField
from sao_cli.io.output import standard_output

if TYPE_CHECKING:
    from sao_cli.study.sweep_folder import SweepFolder
    from sao_cli.study.sweep_runs import Finished, Run

Row = dict[str, Any]
HEADINGS = {"Grid": "axes zipped fields"}


@click.command(cls=SaoCommand, headings=HEADINGS, context_settings={"allow_interspersed_args": False})
@click.option(
    "--over",
    "axes",
    type=Axis(),
    multiple=True,
    required=True,
    metavar="NAME=VALUES",
    help="A parameter and its values: a,b,c, 0..4 (both ends), 0..20:5; repeated, the last varies fastest.",
)
@click.option(
    "--zip",
    "zipped",
    type=AxisNames(),
    multiple=True,
    is_flag=False,
    flag_value="",
    metavar="[NAMES]",
    help="Parameters, as in m,n, that take one step together; all of them without names.",
)
@click.option(
    "--summary",
    "fields",
    type=SummedField(),
    multiple=True,
    metavar="FIELD",
    help="Add the field's mean, std, least and largest over the seeds; may be repeated.",
)
@click.option(
    "--plot",
    "drawn",
    type=DrawnField(),
    metavar="FIELD[=FILE]",
    help="Draw the field against the first parameter.  [default: to FIELD.png, in -o's folder]",
)
@look_options("drawn")
@executor_options
@sweep_folder_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [OPTION]...")
@click.pass_context
def sweep(
    ctx: click.Context,
    /,
    axes: tuple[tuple[str, tuple[Any, ...]], ...],
    zipped: tuple[tuple[str, ...], ...],
    fields: tuple[str, ...],
    drawn: tuple[str, str | None] | None,
    jobs: int,
    cluster: str | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
    command: tuple[str, ...],
    look: Look,
) -> int | None:
    """Run a command for every combination of some parameters' values, and print all rows in the grid's order.

    Each parameter is an option of the command (a flag is true or false), or fills in {NAME} where the command has that.
    Rows are the command's, with the number of the `run` and its parameters, `over`; they hold no timings, so that the
    same sweep gives the same bytes in this process, in several, and on a cluster. A run that fails is a row, too (its
    record is failure), and makes the exit code 1, as does a run whose --check fails. mask, weights and kernel give one
    stream of matrices, in order, unless rows are asked for by --json, --table, --summary or --plot; then stderr tells
    which runs failed.

    All runs are looked at before the first begins: an unknown option, a bad value and two runs that write one file are
    refused. --seed is that of runs that name none. With -o each run is kept as soon as it is done; a second call does
    those that are missing, or failed, and prints all. A run keeps rows and no network: `train -o nets/{method}-{seed}`
    keeps that, too.

    --cluster sends names, numbers and paths to a scheduler of Dask, whose workers have the same versions installed and
    see the same files. Needs distributed: pip install 'sao-cli[cluster]'.

    Example: sao sweep --over method=sao,rg-n --over seed=0..4 --jobs 2 -o runs -- train --data digits --epochs 5

    Example: sao sweep --over d=2..16:2 --summary lambda_2 -- mask --json
    """
    from sao_cli.study.grid import grid
    from sao_cli.study.sweep_folder import SweepFolder

    talk: Talk = ctx.ensure_object(Talk)
    over = _axes(axes)
    groups = [group or tuple(over) for group in zipped]
    own_seed = seed if ctx.get_parameter_source("seed") == click.core.ParameterSource.COMMANDLINE else None
    as_rows = as_json is not None or bool(fields) or drawn is not None or sys.stdout.isatty()
    runs = plan_runs(command, grid(over, groups), seed=own_seed, rows=as_rows)
    matrices = command[0] in STREAMS and not any("--json" in run.arguments for run in runs)
    told = {"command": command, "over": over, "zip": groups, "seed": own_seed, "matrices": matrices}
    folder = SweepFolder(output, told, STREAMS[command[0]] if matrices else ".jsonl") if output is not None else None
    verdict = _Verdict(talk, len(runs))
    with _results(runs, folder, matrices, jobs, cluster, talk) as results:
        if matrices:
            _stream(verdict.of(results, each=True), command[0], to_the_end=folder is not None)
        else:
            rows = _Rows(verdict.of(results), fields, drawn[0] if drawn else None)
            _print(rows, list(over), seed, as_json)
            if drawn is not None:
                path = drawn[1] or os.path.join(output or "", f"{drawn[0]}.png")
                _draw(rows.summaries(drawn[0]), list(over), PictureFile(path, look), talk)
    return verdict.code()


def _axes(axes: Sequence[tuple[str, tuple[Any, ...]]]) -> dict[str, list[Any]]:
    """The parameters by name, each of which is given once."""
    over = {name: list(values) for name, values in axes}
    if len(over) < len(axes):
        raise click.UsageError("--over names a parameter twice; give all of its values at once")
    for name, values in over.items():
        if len(set(values)) < len(values):
            raise click.UsageError(f"--over {name} has a value twice, which would be one run; give each once")
    return over


@contextlib.contextmanager
def _results(
    runs: "Sequence[Run]", folder: "SweepFolder | None", matrices: bool, jobs: int, cluster: str | None, talk: Talk
) -> "Iterator[Iterator[Finished]]":
    """The results of the runs, in order; an executor is opened where some are missing."""
    from sao_cli.study.executors import executor
    from sao_cli.study.sweep_runs import swept

    with contextlib.ExitStack() as stack:
        if folder is not None:
            stack.enter_context(folder.held())
            talk.parting = lambda: f"{folder.count(runs)} of {len(runs)} runs are kept; the same call does the others"
            if kept := folder.count(runs):
                others = ", and the others are done now" if kept < len(runs) else ""
                talk.say(f"{kept} of {len(runs)} runs are kept in {folder.path}{others}")
        to_do = folder is None or folder.count(runs) < len(runs)
        where = stack.enter_context(executor(jobs, cluster) if to_do else executor())
        yield swept(runs, where, folder, TimeLeft(talk), matrices=matrices)


class _Verdict:
    """What stderr tells of runs that failed or warned, and the exit code."""

    def __init__(self, talk: Talk, total: int) -> None:
        self._talk, self._total = talk, total
        self._failed: list[str] = []
        self._warned: dict[str, list[int]] = {}
        self._unheld = 0

    def of(self, results: "Iterable[Finished]", each: bool = False) -> "Iterator[Finished]":
        """The results as they come; where nothing else tells of `each` that failed, a line does, of the first ten."""
        for done in results:
            self._unheld += done.code == FAILS
            for line in done.warnings:
                self._warned.setdefault(line, []).append(done.run.number)
            if done.reason is not None:
                self._failed.append(f"{done.run} failed: {done.reason}")
                if each and len(self._failed) <= NAMED:
                    self._talk.say(self._failed[-1])
            yield done

    def code(self) -> int | None:
        """FAILS where a run failed, or a check of one; before, what there is to say of them."""
        for line, numbers in self._warned.items():
            self._talk.say(f"{line} (in {len(numbers)} runs; the first is run {numbers[0]})")
        if count := len(self._failed):
            self._talk.say(f"{count} of {self._total} runs failed; the first: {self._failed[0]}")
        if self._unheld:
            self._talk.say(f"a check of {self._unheld} of {self._total} runs failed")
        return FAILS if self._failed or self._unheld else None


class _Rows:
    """The rows of all runs, one by one, and then the summaries; what these need is held."""

    def __init__(self, results: "Iterable[Finished]", fields: Sequence[str], drawn: str | None) -> None:
        self._results, self._fields = results, fields
        self._holds = bool(fields) or drawn is not None
        self._held: list[Row] = []

    def __iter__(self) -> Iterator[Row]:
        for done in self._results:
            if self._holds:
                self._held += done.rows
            yield from done.rows
        for field in self._fields:
            yield from (one.to_dict() for one in self.summaries(field))

    def summaries(self, field: str) -> list[Any]:
        """The field over the seeds."""
        from sao_cli.study.seed_summaries import summarise

        return summarise(field, self._held)


def _print(rows: Iterable[Row], over: Sequence[str], seed: int, as_json: bool | None) -> None:
    """The rows as lines, as they come, or as a table of the parameters and what is their own."""
    columns: list[str] = []
    if as_json is False or (as_json is None and sys.stdout.isatty()):
        rows = list(rows)
        columns = ["run", *(f"over.{name}" for name in over), *_columns(rows, over)]
    emit("sweep", seed, rows, as_json=as_json, output=None, columns=columns)


def _columns(rows: Sequence[Row], over: Sequence[str]) -> list[str]:
    """The columns of the tables of the kinds of reports that the rows are."""
    from sao_cli.reports.declared import kinds
    from sao_cli.reports.report import facts_of

    tables = [(kind, facts_of(kind)) for kind in kinds() if kind.record and kind.table]
    found: dict[str, None] = {}
    for shape in {(row["record"], *row) for row in rows if "summary" not in row}:
        fit = [(len(facts.keys() & set(shape)), kind.table) for kind, facts in tables if kind.record == shape[0]]
        found |= dict.fromkeys(max(fit)[1] if fit else shape[1:])
    return [key for key in found if key not in (*over, "run", "over")]


def _stream(results: "Iterable[Finished]", command: str, to_the_end: bool) -> None:
    """The matrices of all runs as one stack; where its reader goes away, runs go on `to_the_end`, for their folder."""
    if command == "kernel":
        _stack(results)
        return
    with standard_output() as file:
        for done in results:
            with contextlib.suppress(BrokenPipeError) if to_the_end else contextlib.nullcontext():
                file.write(done.stream)
                file.flush()


def _stack(results: "Iterable[Finished]") -> None:
    """Kernels as one safetensors file, which tells of all its tensors at its beginning."""
    import io

    from sao_cli.io import read_weights, write_weights

    kernels = [one for done in results if done.stream for one in read_weights(io.BytesIO(done.stream))]
    if kernels:
        write_weights(kernels, "-")


def _draw(summaries: Sequence[Any], over: Sequence[str], file: PictureFile, talk: Talk) -> None:
    from sao_cli.plots.sweep_figures import sweep_figure

    against = next((name for name in over if name != "seed"), None)
    file.save(sweep_figure(summaries, against))
    talk.say(f"the picture is {file.path}")
