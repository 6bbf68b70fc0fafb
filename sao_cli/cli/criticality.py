"""`sao criticality`: where signals neither die nor explode."""

from typing import Any

import click

from sao_cli.base.names import lines, one_of
from sao_cli.catalog import ACTIVATIONS, CRITICALITY_PICTURES, ENSEMBLES
from sao_cli.cli.criticality_pictures import draw, require_drawable
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.critical import critical_options
from sao_cli.cli.shared.options import common_options
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.render import emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named

DEFAULT_DEPTH, CHAINS = 30, 400
HEADINGS = {
    "Activation": "activation tau clip",
    "Edge of chaos": "",
    "Network": "depths width chains weights d",
    "Result": "check",
}


@help_tells(pictures=lines(CRITICALITY_PICTURES))
@click.command(cls=SaoCommand, headings=HEADINGS)
@click.option("--activation", type=Named("activation", ACTIVATIONS), help=f"{', '.join(ACTIVATIONS)}.")
@critical_options
@click.option(
    "--depth",
    "depths",
    type=int,
    multiple=True,
    default=[DEFAULT_DEPTH],
    help=f"Weight matrices, the last among them; may be repeated.  [default: {DEFAULT_DEPTH}]",
)
@click.option("--width", type=int, help="Units of a layer: follow q through random networks of that width.")
@click.option("--chains", type=int, help=f"How many of these networks.  [default: {CHAINS}]")
@click.option(
    "--weights",
    type=Named("weights", ENSEMBLES),
    default=next(iter(ENSEMBLES)),
    show_default=True,
    help="Law of the weights.",
)
@click.option("--d", "-d", type=int, help="Ones in each row of a sparse mask.  [default: dense]")
@click.option("--check", is_flag=True, help="Exit with 1 unless a network of every depth is trainable.")
@plot_option
@click.option(
    "--picture",
    type=Named("picture", CRITICALITY_PICTURES),
    default="map",
    show_default=True,
    help="What --plot draws.",
)
@common_options
@click.pass_obj
def criticality(
    talk: Talk,
    /,
    activation: str | None,
    q_star: float | None,
    width: int | None,
    chains: int | None,
    check: bool,
    plot: PictureFile | None,
    picture: str,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> int:
    """Tell where a deep network's signals neither die nor explode, and whether it can be trained from there.

    For h = W phi(h) + b with weights of variance sigma_w^2/fan-in and biases of variance sigma_b^2, q is the variance
    of h. At the edge of chaos V(q*) = q* and chi_1 = 1: squared gradients keep their mean. A row is a depth, with all
    fixed points of q, how fast q and correlations settle, the Jacobian's squared singular values, and a verdict with
    its reasons. With --width q is followed through random networks; `escape` is the share of them that leaves q*.

    Where there is no edge of chaos at q*, the exit code is 2 and the line says what sigma_b^2 would be.

    \b
    Pictures, of --plot:
      {pictures}

    Example: sao criticality --activation cst --activation-sparsity 0.85 --slope 0.7 --width 300 | jq .verdict
    """
    if activation is None:
        raise click.UsageError(f"--activation NAME says what follows each layer: {one_of(ACTIVATIONS)}")
    if chains is not None and width is None:
        raise click.UsageError("--chains is of networks of some --width, and none is named")
    require_drawable(picture, plot, activation)
    from sao_cli.measure.criticality.criticality import criticality as examined
    from sao_cli.reports.criticalities import Criticality

    count = CHAINS if chains is None else chains
    asked["q_star"] = 1.0 if q_star is None else q_star
    rows = examined(activation, **asked, width=width, chains=count, seed=seed, progress=talk)
    told = [row.to_dict() for row in rows]
    emit("criticality", seed, told, as_json=as_json, output=output, report=Criticality)
    for reason in dict.fromkeys(reason for row in rows for reason in row.reasons):
        talk.say(reason)
    if plot is not None:
        draw(rows, picture, plot, seed=seed, talk=talk)
    return int(check and not all(row.trainable for row in rows))
