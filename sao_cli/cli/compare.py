"""`sao compare`: runs or checkpoints side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.inputs import required_source
from sao_cli.cli.shared.options import NAMES, common_options, repeated_options
from sao_cli.cli.shared.paths import Model
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.render import Row, emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import SummedField

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sao_cli.study.comparing import SideBySide


@click.command(cls=SaoCommand, headings={"What is compared": "fields weights include exclude"})
@click.argument("sources", metavar="[RUN|MODEL]...", type=Model(), nargs=-1)
@click.option(
    "--field",
    "fields",
    type=SummedField(),
    multiple=True,
    help="Of runs, what is compared, as test_accuracy or jacobian.mean; may be repeated.  [default: what there is]",
)
@click.option("--weights", is_flag=True, help="Compare the networks that folders of `sao train` hold, layer by layer.")
@repeated_options(NAMES)
@plot_option
@common_options
@click.pass_obj
def compare(
    talk: Talk,
    /,
    sources: tuple[str, ...],
    plot: PictureFile | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> None:
    """Compare runs or checkpoints side by side, each with its difference from the first.

    Of checkpoints: each layer's sparsity, singular values and dead units, the overlap of the masks, and how far the
    numbers are from the first one's, as they are stored; then a line for each checkpoint. Of runs: folders of `sao
    train`, folders that hold such, folders of `sao sweep`, and reports of JSON lines, of which - is one on stdin. Those
    that are alike but for the seed are one group; a row is a field of a group at the end of its runs (or of each of
    their layers), with mean and spread.

    A difference of two groups has its 95 % confidence interval and p-value by Welch's t-test, Holm's correction for all
    that the report tests, and the p-value of the Mann-Whitney test (`pvalue_rank`). A group of one run has no spread:
    these are null, and `reason` gives both n. Epochs of one run are no repetitions.

    --plot draws learning curves by epoch with a band from the least to the largest seed, fields without epochs side by
    side, or the facts of checkpoints by layer.

    Exit codes: 0 compared, 2 bad input, or fewer than two things to compare.

    Example: sao compare runs/sao runs/snip --field test_accuracy --json | jq '[.over, .mean, .pvalue]'

    Example: sao compare dense.safetensors pruned.safetensors repaired.safetensors --plot layers.png
    """
    from sao_cli.study.comparing import compare as compared

    found = compared(*(sources or [required_source(None, "sao sweep ...")]), **asked, seed=seed, progress=talk)
    rows = [one.to_dict() for one in found.rows]
    kind = type(found.rows[0])
    emit("compare", seed, rows, as_json=as_json, output=output, report=kind, columns=_columns(rows, kind.table))
    if plot is not None:
        plot.save(_figure(found))


def _columns(rows: list[Row], table: Sequence[str]) -> list[str]:
    """The columns of a table: each parameter of the groups, and what tells rows of one run apart, has its own."""
    inner = {key: dict.fromkeys(f"{key}.{name}" for row in rows for name in row.get(key, ())) for key in ("over", "of")}
    return [column for key in table for column in inner.get(key, (key,))]


def _figure(found: SideBySide) -> Figure:
    from sao_cli.plots.comparison_figures import curves_figure, fields_figure, layers_figure
    from sao_cli.reports.comparisons import ComparedField, ComparedLayer

    if found.curves:
        return curves_figure(found.curves)
    fields = [row for row in found.rows if isinstance(row, ComparedField)]
    return (
        fields_figure(fields)
        if fields
        else layers_figure([one for one in found.rows if isinstance(one, ComparedLayer)])
    )
