"""What `sao sensitivity` and `sao prune` share: the options of scores, and the scores that they ask for."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sao_cli import catalog
from sao_cli.base.names import one_of
from sao_cli.cli.shared.activations import asked_activation, threshold_options
from sao_cli.cli.shared.options import data_options
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sao_cli.io.checkpoints import Checkpoint
    from sao_cli.models.stored_scores import StoredScores

F = TypeVar("F", bound=Callable[..., Any] | click.Command)
OPTIONS = (
    *("activation", "tau", "clip", "data", "data_folder", "samples", "labels", "temperature"),
    *("rounds", "unit", "biases", "train_mode", "fresh_batches"),
)


def score_options(command: F) -> F:
    """What scores of weights depend on; a method does not read what it does not need."""
    options = [
        click.option(
            "--activation",
            type=Named("activation", catalog.ACTIVATIONS),
            help="What follows each matrix of a chain but the last; the folder of a run tells its own.",
        ),
        threshold_options,
        data_options,
        click.option(
            "--labels",
            type=Named("labels", catalog.LABELS),
            default="true",
            show_default=True,
            help=f"Whose: {one_of(catalog.LABELS)}.",
        ),
        click.option(
            "--temperature", type=float, help="Logits are divided by it.  [default: 1; grasp, grasp-abs: 200]"
        ),
        click.option("--rounds", type=click.IntRange(1), help="Of methods in rounds.  [default: 60; synflow: 100]"),
        click.option(
            "--unit",
            type=Named("unit", catalog.UNITS),
            default="weight",
            show_default=True,
            help="What has one score: a number, or a 2-D kernel.",
        ),
        click.option("--biases", is_flag=True, help="Score biases too, of methods with samples."),
        click.option("--train-mode", is_flag=True, help="Batch norms use the samples' own statistics."),
        click.option("--fresh-batches", is_flag=True, help="itersnip, force: each round reads --samples N others."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def asked_scores(
    checkpoint: "Checkpoint",
    model: str,
    method: str,
    run: "tuple[nn.Module, Sequence[Tensor]] | None",
    *,
    activation: str | None,
    tau: float | None,
    clip: float | None,
    seed: int,
    talk: Talk,
    **asked: Any,
) -> "StoredScores":
    """The scores of the open checkpoint, which `model` names, as what runs with its weights, or as a chain."""
    if not catalog.SCORES[method].chain or run is not None:
        from sao_cli.nets.scores.checkpoint_scores import of_run, score_checkpoint

        if run is not None:
            asked |= {"module": run[0], "example": _one_input(run[1])}
        elif activation is None:
            asked |= of_run(model)
        asked = {"activation": asked_activation(activation, tau, clip)} | asked
        with contextlib.redirect_stdout(sys.stderr):
            return score_checkpoint(checkpoint, method, seed=seed, progress=talk, **asked)
    from sao_cli.models.stored_scores import score_stored

    read = ("sparsity", "rounds", "unit", "include", "exclude", "groups", "transpose")
    told = {name: asked[name] for name in read if name in asked}
    return score_stored(checkpoint, method, seed=seed, progress=talk, **told)


def asked_module(module: str, examples: Sequence[str], seed: int) -> "tuple[nn.Module, Sequence[Tensor]]":
    """The module, which a checkpoint's weights are still to be put into, and its inputs."""
    from sao_cli.nets.tracing.loading import load_run

    with contextlib.redirect_stdout(sys.stderr):
        return load_run(module, examples, None, seed)


def _one_input(inputs: "Sequence[Tensor]") -> "Tensor":
    if len(inputs) > 1 or not inputs[0].is_floating_point():
        told = "several inputs" if len(inputs) > 1 else "whole numbers"
        raise click.UsageError(f"--example: scores are of a network of one input of real numbers, and not of {told}")
    return inputs[0]
