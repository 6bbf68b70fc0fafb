"""`sao sensitivity`: how much each weight matters before training."""

import sys
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.names import lines
from sao_cli.catalog import SCORE_PICTURES, SCORES
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.inputs import required_model
from sao_cli.cli.shared.options import common_options, module_options
from sao_cli.cli.shared.paths import Model
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.render import emit
from sao_cli.cli.shared.scoring import asked_module, asked_scores, score_options
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named

if TYPE_CHECKING:
    from sao_cli.models.stored_scores import StoredScores

BY_ROUNDS = 0.9  # what the scores of methods in rounds go down to where no sparsity is asked for
HEADINGS = {
    "Scores": "method activation tau clip labels temperature rounds unit biases train_mode fresh_batches sparsity",
}


@help_tells(methods=lines(SCORES))
@click.command(cls=SaoCommand, headings=HEADINGS)
@click.argument("model", metavar="[MODEL]", type=Model(), required=False)
@click.option("--method", type=Named("method", SCORES), default="snip", show_default=True, help="What scores.")
@score_options
@click.option(
    "--sparsity",
    "-s",
    type=float,
    help=f"What methods in rounds go down to.  [default: {BY_ROUNDS}; synflow: one round, of all weights]",
)
@module_options
@plot_option
@click.option(
    "--picture",
    type=Named("picture", SCORE_PICTURES),
    default="layers",
    show_default=True,
    help="What --plot draws: the shares by layer, or histograms of log10 |score|.",
)
@common_options
@click.pass_obj
def sensitivity(
    talk: Talk,
    /,
    model: str | None,
    method: str,
    module: str | None,
    examples: tuple[str, ...],
    norms: str,
    sparsity: float | None,
    plot: PictureFile | None,
    picture: str,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> None:
    """Score how much each weight of a checkpoint matters before it is trained; of all scores, the largest are kept.

    MODEL is what `sao audit` reads, from stdin too, or the folder of a run of `sao train`; it stays as it is. It is
    a chain of matrices with their biases, of the --activation, unless a --module says what runs on the --example.
    Layers and weights are told apart by the sum of their absolute scores; -o writes all of them, float64, by the
    weights' names, for `sao prune --scores`.

    \b
    Methods:
      {methods}

    synflow, magnitude and random read no --data. Of methods in rounds the scores are those of the last round, in which
    what was dropped before has 0.

    Example: sao sensitivity model.safetensors --method snip --data digits --activation tanh -o scores.safetensors
    """
    from sao_cli.io.checkpoints.saving import require_suffix

    if output is not None:
        require_suffix(output)
    if sparsity is None and SCORES[method].rounds and SCORES[method].data:
        talk.say(f"{method} drops weights in rounds, here down to --sparsity {BY_ROUNDS}")
        sparsity = BY_ROUNDS
    model = required_model(model)
    from sao_cli.io.checkpoints import open_checkpoint

    run = None if module is None else asked_module(module, examples, seed)
    with open_checkpoint(model) as checkpoint:
        found = asked_scores(checkpoint, model, method, run, sparsity=sparsity, seed=seed, talk=talk, **asked)
    if plot is not None:
        _draw(found, plot, picture)
    _deliver(found, model, seed, as_json, output)


def _draw(found: "StoredScores", plot: PictureFile, picture: str) -> None:
    from sao_cli.plots import score_histogram_figure, score_share_figure

    plot.save((score_share_figure if picture == "layers" else score_histogram_figure)(found.scores))


def _deliver(found: "StoredScores", model: str, seed: int, as_json: bool | None, output: str | None) -> None:
    """The scores to `output`, and what is told of them to stdout, unless that has the scores."""
    from sao_cli.models.score_facts import layer_facts, summary_facts
    from sao_cli.reports.sensitivities import SensitivityLayer

    if output is not None:
        from sao_cli.models.score_facts import write_scores

        write_scores(found, output)
    if output == "-":
        return
    rows, summary = layer_facts(found), summary_facts(found).to_dict()
    told = [row.to_dict() for row in rows]
    if as_json is False or (as_json is None and sys.stdout.isatty()):
        told = [one | {"shape": "x".join(map(str, row.shape))} for one, row in zip(told, rows, strict=True)]
        pooled = summary.pop("jacobian") or {}
        summary |= {f"jacobian.{key}": value for key, value in pooled.items()}
    emit(
        *("sensitivity", seed, [*told, summary]),
        as_json=as_json,
        output=None,
        source=model,
        report=SensitivityLayer,
    )
