"""`sao rank`: redundancy in the rank of a checkpoint's parameters."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.names import lines, one_of
from sao_cli.catalog import PLAIN_ACTIVATIONS, RANK_PICTURES
from sao_cli.cli.rank_pictures import RankPicture
from sao_cli.cli.shared.changes import pattern_options
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.failures import FAILS, check_option, name_failures
from sao_cli.cli.shared.inputs import required_model
from sao_cli.cli.shared.options import common_options
from sao_cli.cli.shared.paths import Model
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.render import Row, emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named
from sao_cli.reports.report import origin

if TYPE_CHECKING:
    from sao_cli.models.rank import RankReport

LISTED = 10  # skipped tensors that a table names
HEADINGS = {"Ranks and pairs": "tau tau_relative tau_cos tau_euc floor pairs activation"}


@help_tells(pictures=lines(RANK_PICTURES))
@click.command(cls=SaoCommand, headings=HEADINGS)
@click.argument("model", metavar="[MODEL]", type=Model(), required=False)
@click.option("--tau", type=float, help="Slack of the soft ranks, absolute.")
@click.option("--tau-relative", type=float, help="The same as a share of each layer's sigma_max.  [default: 0.01]")
@click.option(
    "--tau-cos", type=float, default=1e-4, show_default=True, help="Fuse vectors up to this 1 - |cos| apart ..."
)
@click.option("--tau-euc", type=float, default=0.1, show_default=True, help="... and no farther apart than this.")
@click.option(
    "--floor",
    type=float,
    default=1e-3,
    show_default=True,
    help="Vectors up to this share of the longest count as zero, and are in no pair.",
)
@click.option(
    "--pairs",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="Nearest pairs of rows, and of columns, to tell, whatever the thresholds.",
)
@click.option(
    "--activation",
    type=Named("activation", PLAIN_ACTIVATIONS),
    help=f"What stands between layers, for units that merge: {one_of(PLAIN_ACTIVATIONS)}.  [default: equal units only]",
)
@pattern_options
@check_option("What each layer must satisfy, as in 'soft_rank>100' or 'rows.max_cosine<0.999', or the summary")
@plot_option
@click.option(
    "--picture",
    type=Named("picture", RANK_PICTURES),
    default="cosines",
    show_default=True,
    help="What --plot draws.",
)
@common_options
@click.pass_obj
def rank(
    talk: Talk,
    /,
    model: str | None,
    tau: float | None,
    tau_relative: float | None,
    checks: tuple[str, ...],
    plot: PictureFile | None,
    picture: str,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> int | None:
    """Tell how redundant the weights of a checkpoint are: their ranks, rows and columns that are nearly parallel, what
    fusing them would save and cost, and the units that the next layer can do without.

    MODEL is what `sao audit` reads, from stdin too; nothing is changed: `sao reduce` does that. Ranks are of W and of
    [W, b]; the soft ones up to a slack: singular values that are no less (soft_rank), and columns that QR with column
    pivoting takes (mlis_soft), which is another number. A kernel is the matrix (c_out, c_in k_1 ...). What is skipped
    is a row with its reason.

    Exit codes: 0 measured, 1 a --check fails for some layer, as all do for one that can't be read, 2 bad input, or
    nothing in it to measure.

    \b
    Pictures, of --plot:
      {pictures}

    Example: sao rank model.safetensors --pairs 5 --json | jq -c '[.name, .soft_rank, .columns.pairs]'
    """
    if tau is not None and tau_relative is not None:
        raise click.UsageError("--tau and --tau-relative exclude each other; give one of them")
    model = required_model(model)
    from sao_cli.measure.redundancy.ranks import TAU_RELATIVE
    from sao_cli.models.rank import rank_checkpoint
    from sao_cli.reports.redundancies import RankRow

    share = TAU_RELATIVE if tau_relative is None else tau_relative
    drawn = None if plot is None else RankPicture(plot, picture, asked, seed, talk)
    asked |= {"tau": tau, "tau_relative": share, "watch": None if drawn is None else drawn.watch}
    found = rank_checkpoint(model, checks=checks, progress=talk, **asked)
    as_table = as_json is False or (as_json is None and output is None and sys.stdout.isatty())
    rows = _in_table(found) if as_table else _lines(found)
    emit("rank", seed, rows, as_json=not as_table, output=output, source=model, report=RankRow)
    if drawn is not None:
        drawn.save()
    name_failures(found.failures, talk)
    return FAILS if found.failures else None


def _lines(found: RankReport) -> list[Row]:
    return [*(row.to_dict() | origin(row.provenance) for row in found.rows), found.summary.to_dict()]


def _in_table(found: RankReport) -> list[Row]:
    measured = [row.to_dict() | {"shape": "x".join(map(str, row.shape or ()))} for row in found.rows if not row.skipped]
    skipped = [row for row in found.rows if row.skipped]
    told = [{"summary": True, "skipped": row.name, "reason": row.reason} for row in skipped[:LISTED]]
    if (more := len(skipped) - LISTED) > 0:
        told.append({"summary": True, "skipped": f"{more} more, which --json lists"})
    return [*measured, *told, found.summary.to_dict()]
