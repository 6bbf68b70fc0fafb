"""`sao repair`: bring the weights of a checkpoint towards isometries on the masks that they have."""

import math
from typing import TYPE_CHECKING, Any

import click

from sao_cli import __version__
from sao_cli.cli.shared.changes import emit_changes, pattern_options, require_output, say_tied
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.options import common_options
from sao_cli.cli.shared.paths import Model
from sao_cli.cli.shared.render import Row
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Gain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sao_cli.io.checkpoints import Entry

SMALL, LEAST = (
    0.1,
    0.5,
)  # gains, of all weights multiplied and of one, below which a network shrinks signals: our choice
FACTS = ("residual", "effective_ones", "sigma_min", "sigma_max")  # that a table shows before and after


@click.command(cls=SaoCommand)
@click.argument("model", metavar="MODEL", type=Model())
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
    model: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    groups: tuple[tuple[str, int], ...],
    transpose: tuple[str, ...],
    gain: float | None,
    steps: int,
    seed: int,
    as_json: bool | None,
    output: str | None,
) -> None:
    """Bring each matrix of a checkpoint as near to an isometry as its mask allows, and write it to -o OUT.safetensors.

    MODEL is what `sao audit` reads. A dense matrix becomes its polar factor, exactly; so does each complete component,
    as an SAO mask's. On any other mask a few alternating projections start from the values that are there; zeros stay
    zeros. Convolutions are copied as they are, unless only their centre tap is live, as of 1 x 1; so is all else.

    The report, a row for each matrix, goes to stdout: the residual ||W W^T - I|| of W / gain with the least that the
    mask allows (residual_floor), effective ones a row (1 is a permutation: near to an isometry, and of no use), least
    and largest singular value, each before and after, and how much the weights changed.

    Example: sao repair pruned.safetensors -o repaired.safetensors | jq '[.name, .after.sigma_min]'
    """
    from sao_cli.data.kernel import all_channels, own_channels
    from sao_cli.io.checkpoints import open_checkpoint
    from sao_cli.io.checkpoints.layouts import Said
    from sao_cli.io.checkpoints.structure import structure_of
    from sao_cli.models.rewrite import read_or_reason, told_of, weights_asked_for, write_changed
    from sao_cli.weights.repair import repair as repaired
    from sao_cli.weights.repair import whole_matrix

    output = require_output(output)
    rows: dict[str, Row] = {}

    def change(entry: "Entry", weight: "NDArray[Any]") -> "NDArray[Any]":
        dtype = entry.dtype if entry.dtype == "bfloat16" else None  # which numpy lacks
        groups = structure.layout(entry).groups or 1
        whole = all_channels(weight, groups)
        found = repaired(whole, dtype=dtype, gain=gain, max_steps=steps, progress=talk)
        rows[entry.name] = told_of(structure, entry) | found.to_dict()
        return own_channels(found.weight, groups)

    with open_checkpoint(model) as checkpoint:
        structure = structure_of(checkpoint, said=Said(groups, transpose), include=include)
        choice = weights_asked_for(structure, include, exclude)
        choice = choice.without(lambda entry: read_or_reason(checkpoint, entry, whole_matrix))
        choice = choice.without(lambda entry: structure.layout(entry).reason)
        choice.require_any("repair")
        told = {"version": __version__, "command": "repair", "gain": "keep" if gain is None else gain, "steps": steps}
        write_changed(
            checkpoint, structure, choice.entries, change, output, dict.fromkeys(_names(choice.entries), told), talk
        )
        say_tied(rows.values(), talk)
        gains = [row["gain"] for row in rows.values()]
        if gain is None:
            _say_small(gains, talk)
        through = sum(map(math.log10, gains))
        summary = {"summary": True, "repaired": len(rows), "skipped": len(choice.skipped), "log10_gain": through}
        emit_changes("repair", seed, structure, choice, rows, summary, FACTS, as_json, output)


def _say_small(gains: "list[float]", talk: Talk) -> None:
    """Say where the sizes that are kept are far below one, as pruning at initialisation leaves them."""
    through = sum(map(math.log10, gains))
    if through > math.log10(SMALL) and min(gains) >= LEAST:
        return
    many = "the weight keeps" if len(gains) == 1 else f"the {len(gains)} weights keep"
    told = f"{many} a root mean square singular value of {min(gains):.3g} at the least"
    told += f" ({10**through:.3g} through all of them one after another)" if len(gains) > 1 and through > -300 else ""
    talk.say(
        f"{told}, which is far below 1: --gain keep is for trained weights; --gain 1 repairs a network pruned at init"
    )


def _names(entries: "list[Entry]") -> list[str]:
    return [entry.name for entry in entries]
