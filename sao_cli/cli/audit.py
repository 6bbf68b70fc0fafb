"""`sao audit`: a checkpoint, layer by layer."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from sao_cli import __version__
from sao_cli.cli import audit_table
from sao_cli.cli.shared.changes import pattern_options
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.failures import FAILS, check_option, name_failures
from sao_cli.cli.shared.inputs import required_model
from sao_cli.cli.shared.networks import asked_run, chain_units, say_cut_off, unit_lists
from sao_cli.cli.shared.options import common_options, executor_options, list_option, module_options
from sao_cli.cli.shared.paths import Model, OutputFile
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.render import Row, emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Device, Padding, Sizes
from sao_cli.cli.shared.workers import asked_executor, refuse_module, refuse_pipes
from sao_cli.reports.report import origin

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from sao_cli.measure.values.by_array import Solver
    from sao_cli.models.audit.stream import Audit
    from sao_cli.nets.tracing.audited import ModuleAudit
    from sao_cli.reports.audits import AuditComparison, AuditRow

OF_FILES = ("image", "padding", "stride", "groups", "transpose")
HEADINGS = {
    "Weights that are read": "threshold max_size",
    "Kernels": "image padding stride",
    "Further facts": "compare heavy_tail fast",
}


@click.command(cls=SaoCommand, headings=HEADINGS)
@click.argument("model", metavar="[MODEL]", type=Model(), required=False)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Count magnitudes up to this as zeros.",
)
@click.option("--image", type=Sizes(), help="Sides of the images that kernels are applied to, as in 32 or 32x24.")
@click.option(
    "--padding",
    type=Padding(),
    default="zeros",
    show_default=True,
    help="Padding of the kernels' images, as in `sao spectrum`; zeros are what most networks are trained with.",
)
@click.option("--stride", type=Sizes(), default="1", show_default=True, help="Stride of the kernels.")
@click.option("--max-size", type=click.IntRange(min=1), help="Skip tensors of more numbers than this.")
@pattern_options
@executor_options
@check_option("What each layer must satisfy, as in 'sigma_min>0.1', or the network, as in 'reachable>0'")
@click.option(
    "--compare",
    metavar="OTHER",
    type=Model(),
    help="Tell what changed since OTHER, an earlier checkpoint of the network.",
)
@click.option(
    "--heavy-tail", is_flag=True, help="Add the power law, other laws of the tail, and the edges of random matrices."
)
@click.option(
    "--fast",
    is_flag=True,
    help="Estimate the singular values of matrices of more than 1024 rows and columns: sigma_max from below, and their "
    "density with its error; an eighth of the time, and less where they are larger.",
)
@click.option(
    "--device",
    type=Device(),
    default="cpu",
    show_default=True,
    help="Where dense matrices have their singular values found: cpu, cuda, cuda:N, or auto, a GPU if there is one.",
)
@click.option("--html", metavar="FILE", type=OutputFile(), help="Write a self-contained page to FILE.")
@module_options
@list_option
@plot_option
@common_options
@click.pass_obj
def audit(
    talk: Talk,
    /,
    model: str | None,
    checks: tuple[str, ...],
    jobs: int,
    cluster: str | None,
    module: str | None,
    examples: tuple[str, ...],
    norms: str,
    listed: bool,
    compare: str | None,
    device: str,
    html: str | None,
    plot: PictureFile | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> int | None:
    """Audit every weight matrix and convolution kernel of a checkpoint, and the chains of layers that they are.

    MODEL is a .safetensors file, a torch state dict (.pt, .bin, .pth; nothing in it is executed), an .npz, a stack of
    ours (.mtx), any of them in gzip, the index of a sharded checkpoint, a folder with one of these, or a run of `sao
    train`; without MODEL such a file is read from stdin, as for -. Each tensor is read, measured and forgotten: a row
    of facts on its mask (connected, regular, dead inputs, eigenvalue conditions) and on its singular values, compared
    with a dense orthogonal layer's. Kernels are measured as maps of images of the size --image. Then a row for each
    chain of layers whose names number a plain stack, as net.0 and net.2, and a summary. What is skipped is a row with
    its reason. A file does not tell all of a network: what is assumed is said, and what is not known is null.

    With --module all is known: a row for each weight that ran on the --example, in the order run, measured as it was
    used, and what of it lies on a path through the network; then the network's record. Without MODEL, and nothing on
    stdin, the module's own weights count. --include and --exclude tell whose rows are shown and checked; the network
    stays whole.

    --jobs and --cluster measure a tensor a job, and change nothing in what is printed: linear algebra has one thread
    everywhere. Memory is that of the tensors that are measured at once. What travels is the file's path, never a
    tensor: the workers of a cluster see MODEL under the same path. Standard input and a --module's weights are
    measured in threads of this process, which --jobs counts too.

    With --device cuda dense matrices have their Gram matrix and its eigenvalues on a GPU, and the rest is found here.
    Its free memory is looked at first: 24 bytes for each number of a Gram matrix, 400 MB at 4096 rows, and 1 GB.

    Exit codes: 0 audited, 1 a --check fails for some layer, as all do for one that can't be read, 2 bad input, or
    nothing in it to audit.

    Example: sao audit model.safetensors --check "dead_inputs==0" --json | jq -r '[.name, .sigma_min] | @tsv'
    """
    model = required_model(model) if module is None else model
    if model == compare == "-":
        raise click.UsageError("MODEL and --compare both are standard input; name one of them")
    from sao_cli.models.audit.stream import audit_checkpoint
    from sao_cli.reports.audits import AuditComparison, AuditRow

    asked["solver"] = _solver(device, asked["fast"])
    with _jobs_of(jobs, cluster, module, model, compare) as executor:

        def measured(model: str | None, checks: tuple[str, ...] = ()) -> Any:
            options = asked | {"checks": checks, "seed": seed, "progress": talk}
            if module is not None:
                return _of_module(model, module, examples, norms, jobs=jobs, **options)
            if executor is None or model == "-":
                return audit_checkpoint(model or "", jobs=jobs, **options)
            return audit_checkpoint(model or "", executor=executor, **options)

        found: Audit | ModuleAudit = measured(model, checks)
        as_table = not as_json and (as_json is False or (output is None and sys.stdout.isatty()))
        shown: dict[str, Any] = {"as_json": not as_table, "output": output}
        changes: list[AuditComparison] = []
        earlier: Any = None
        if compare is not None:
            earlier = measured(compare)
            changes = found.since(earlier)
            rows = _changed(found, changes, earlier, as_table)
            shown |= {"report": AuditComparison}
        else:
            rows = _rows(found, as_table, listed)
            shown |= {"report": AuditRow, "columns": ()}  # those that the rows have
        emit("audit", seed, rows, source=model, **shown)
        _say_cut_off(found, talk, listed)
        found.summary  # noqa: B018 - whose rows need the workers, where a closed pipe stopped the printing
    if html is not None:
        _write_page(html, model or str(module), found, changes, compare, [] if earlier is None else earlier.rows)
    found.require_rows()
    if plot is not None:
        from sao_cli.plots import audit_figure

        plot.save(audit_figure(found.rows, [] if earlier is None else earlier.rows))
    name_failures(found.failures, talk)
    return FAILS if found.failures else None


def _solver(device: str, fast: bool) -> Solver | None:
    """What finds singular values on the device; None for the processor, which needs no torch."""
    if device == "cpu":
        return None
    if fast:
        raise click.UsageError(f"--fast estimates on the processor, and --device {device} is exact; leave out one")
    from sao_cli.nets.device_solver import DeviceSolver

    return DeviceSolver.of(device)


def _jobs_of(
    jobs: int, cluster: str | None, module: str | None, *models: str | None
) -> AbstractContextManager[Executor | None]:
    """The executor that measures; None where this process does, of whose threads --jobs tells then."""
    if cluster is not None:
        refuse_module(jobs, cluster, module)
        refuse_pipes(cluster, *models)
    return asked_executor(1 if module is not None or set(models) <= {"-", None} else jobs, cluster)


def _of_module(model: str | None, module: str, examples: tuple[str, ...], norms: str, **asked: Any) -> ModuleAudit:
    from sao_cli.nets.tracing.audited import audit_model

    run, inputs = asked_run(model, module, examples, asked["seed"], OF_FILES)
    kept = {key: value for key, value in asked.items() if key not in OF_FILES}
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints
        return audit_model(run, *inputs, norms=norms, **kept)


def _rows(found: Audit | ModuleAudit, as_table: bool, listed: bool) -> Iterator[Row]:
    if as_table:
        failed = _failed(found) if found.checks else None
        yield from audit_table.table_rows(found.rows, found.chains, found.summary, failed, listed)
        if network := _network(found, listed):
            yield {"summary": True, **network}
        return
    yield from (row.to_dict() | origin(row.provenance) for row in found.rows)
    yield from (chain.to_dict() | (chain_units(chain) if listed else {}) for chain in found.chains)
    if network := _network(found, listed):
        yield network
    yield found.summary.to_dict()


def _say_cut_off(found: Audit | ModuleAudit, talk: Talk, listed: bool) -> None:
    if (whole := getattr(found, "recorded", None)) is not None:
        say_cut_off(whole.summary.lost_inputs, whole.summary.unreached_outputs, talk, listed=listed)
    for chain in found.chains:
        where = f"chain {chain.chain}: " if len(found.chains) > 1 else ""
        say_cut_off(chain.lost_input_units, chain.unreached_output_units, talk, where=where, listed=listed)


def _network(found: Audit | ModuleAudit, listed: bool) -> Row:
    """The record of the network; empty without a module."""
    whole = getattr(found, "recorded", None)
    if whole is None:
        return {}
    told: Row = whole.summary.facts.to_dict()
    return told | unit_lists(whole.summary.lost_inputs, whole.summary.unreached_outputs) if listed else told


def _failed(found: Audit | ModuleAudit) -> dict[str, list[str]]:
    """The checks that rows fail, by their names."""
    failed: dict[str, list[str]] = {}
    for failure in found.failures if found.summary.rows else ():
        failed.setdefault(failure.name, []).append(failure.check)
    return failed


def _changed(found: Any, changes: list[AuditComparison], earlier: Any, as_table: bool) -> Iterator[Row]:
    from sao_cli.reports.audits import ComparisonSummary

    counts = Counter(one.status for one in changes)
    whole = [found.network_since(earlier)] if hasattr(found, "network_since") else []
    if as_table:
        yield from audit_table.change_rows(changes)
        yield {"summary": True, **counts}
        yield from ({"summary": True, **row} for row in audit_table.change_rows(whole))
        return
    yield from (one.to_dict() for one in (*changes, *whole))
    yield ComparisonSummary(**vars(found.summary), statuses=counts).to_dict()


def _write_page(
    path: str,
    model: str,
    found: Audit | ModuleAudit,
    changes: list[AuditComparison],
    compared: str | None,
    earlier: Sequence[AuditRow],
) -> None:
    from sao_cli.io.output import atomic_output
    from sao_cli.io.source import STDIN
    from sao_cli.pages.audit import AuditReport, audit_page
    from sao_cli.pages.bins import histogram

    skipped: dict[str, list[str]] = {}
    for row in found.rows:
        if row.skipped:
            skipped.setdefault(row.reason or "", []).append(row.name)
    audited = [row for row in found.rows if not row.skipped]
    page = audit_page(
        AuditReport(
            model=STDIN if model == "-" else model,
            rows=audited,
            skipped=skipped,
            chains=found.chains,
            summary=found.summary,
            histograms={row.name: histogram(row.singular_values) for row in audited if row.singular_values is not None},
            checks=[check.text for check in found.checks],
            failed=_failed(found),
            changes=changes,
            compared=compared or "",
            earlier=earlier,
            made=_made(),
            **_network_of(found),
        )
    )
    with contextlib.suppress(BrokenPipeError), atomic_output(path) as file:  # a pipe's reader may stop early
        file.write(page.encode())


def _network_of(found: Audit | ModuleAudit) -> dict[str, Any]:
    """The network, its layers and the edges between them; empty without a module."""
    whole = getattr(found, "recorded", None)
    return {} if whole is None else {"network": whole.summary.facts, "layers": whole.layers, "edges": whole.edges}


def _made() -> list[tuple[str, str]]:
    """How the report came about, for whoever wants it again."""
    context = click.get_current_context()
    return [
        ("command", _command(context)),
        ("version", f"sao {__version__}"),
        ("seed", str(context.params["seed"])),
    ]


def _command(context: click.Context) -> str:
    parts = [*context.command_path.split(), *filter(None, [context.params["model"]])]
    for option in context.command.params:
        name = option.name or ""
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if not isinstance(option, click.Option) or not given or name not in context.params:
            continue
        value = context.params[name]
        if option.is_flag:
            parts += option.opts if value else option.secondary_opts
            continue
        for one in value if option.multiple else [value]:
            parts += [option.opts[0], "x".join(map(str, one)) if isinstance(one, tuple) else str(one)]
    return shlex.join(parts)
