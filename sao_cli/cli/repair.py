"""`sao repair`: bring the weights of a checkpoint towards isometries on the masks that they have."""

from typing import Any

import click

from sao_cli.cli.shared.changes import emit_changes, pattern_options, require_output, say_tied
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.inputs import required_model
from sao_cli.cli.shared.options import common_options
from sao_cli.cli.shared.paths import Model
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Gain

HEADINGS = {"Repair": "gain steps"}


@click.command(cls=SaoCommand, headings=HEADINGS)
@click.argument("model", metavar="[MODEL]", type=Model(), required=False)
@pattern_options
@click.option(
    "--gain",
    type=Gain(),
    default="keep",
    show_default=True,
    help="What each weight is to be an isometry times; keep: its root mean square singular value, for trained weights. "
    "1 is for a network pruned at initialisation, which has lost norm.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=50, show_default=True, help="Alternating projections at most."
)
@common_options
@click.pass_obj
def repair(
    talk: Talk,
    /,
    model: str | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> None:
    """Bring each matrix of a checkpoint as near to an isometry as its mask allows, and write it to -o OUT.safetensors.

    MODEL is what `sao audit` reads, from stdin too. A dense matrix becomes its polar factor, exactly; so does each
    complete component, as an SAO mask's. On any other mask a few alternating projections start from the values that are
    there; zeros stay zeros. Convolutions are copied as they are, unless only their centre tap is live, as of 1 x 1; so
    is all else.

    The report, a row for each matrix, goes to stdout: the residual ||W W^T - I|| of W / gain with the least that the
    mask allows (residual_floor), effective ones a row (1 is a permutation: near to an isometry, and of no use), least
    and largest singular value, each before and after, and how much the weights changed.

    Example: sao repair pruned.safetensors -o repaired.safetensors | jq '[.name, .after.sigma_min]'
    """
    model, output = required_model(model), require_output(output)
    from sao_cli.models.repair import repair_checkpoint
    from sao_cli.reports.changes import RepairedWeight

    changes = repair_checkpoint(model, output, progress=talk, **asked)
    say_tied(changes, talk)
    emit_changes("repair", seed, model, changes, RepairedWeight, as_json, output)
