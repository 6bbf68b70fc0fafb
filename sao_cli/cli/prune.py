"""`sao prune`: make a checkpoint sparse."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from sao_cli.cli.options import common_options
from sao_cli.cli.prune_weights import PruneTask, no_numbers
from sao_cli.cli.rewriting import (
    emit_changes,
    pattern_options,
    read_or_reason,
    require_output,
    weights_asked_for,
    write_changed,
)
from sao_cli.cli.talk import Talk

if TYPE_CHECKING:
    from sao_cli.io.checkpoints import Checkpoint, Entry

FACTS = ("sparsity", "components", "dead", "sigma_max", "sigma_min")  # that a table shows before and after


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--method", default="lmp", show_default=True, help="lmp, gmp, lrp or sao.")
@click.option("--sparsity", type=float, help="Share of each weight (gmp: of them all) that becomes zero.")
@click.option("--d", type=int, help="Ones in each row, on the mean, instead of a sparsity.")
@pattern_options
@click.option(
    "--skip-ends/--all",
    "skip_ends",
    default=True,
    show_default=True,
    help="Keep the first and the last weight of the file dense, or prune all.",
)
@click.option(
    "--facts/--no-facts",
    default=True,
    show_default=True,
    help="Measure each weight before and after; most of the time.",
)
@common_options
@click.pass_obj
def prune(
    talk: Talk,
    /,
    model: str,
    method: str,
    sparsity: float | None,
    d: int | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    skip_ends: bool,
    facts: bool,
    seed: int,
    as_json: bool | None,
    output: str | None,
) -> None:
    """Prune the matrices and convolution kernels of a checkpoint, and write it to -o OUT.safetensors.

    MODEL is what `sao audit` reads. Of a kernel whole 2-D kernels are dropped, by their root mean square. All other
    tensors are copied as they are, under the same names. The report, a row for each weight, goes to stdout: the facts
    of `sao audit` before and after, and kept_norm, the share of the squared Frobenius norm that is left.

    \b
    Methods:
      lmp   the largest magnitudes of each weight (the default)
      gmp   the largest magnitudes of all weights together
      lrp   random places
      sao   the SAO mask, of those found, that keeps most of the squared norm (small layers: of
            all; kept_norm_bound is what none exceeds); of the nearest feasible degree, and
            weights that have none near are skipped

    Example: sao prune model.safetensors --method sao --sparsity 0.9 -o sparse.safetensors | jq .kept_norm
    """
    from sao_cli.io.checkpoints import open_checkpoint

    task = PruneTask(method, sparsity, d, seed, facts, talk)
    output = require_output(model, output)
    with open_checkpoint(model) as checkpoint:
        choice = weights_asked_for(checkpoint, include, exclude)
        if skip_ends:
            choice = choice.without(_ends(checkpoint))
        choice = choice.without(task.why_not).without(lambda entry: read_or_reason(checkpoint, entry, no_numbers))
        choice.require_any("prune")
        task.prepare(checkpoint, choice.entries)
        write_changed(checkpoint, choice.entries, task.change, output, task.told(choice.entries), talk)
        emit_changes("prune", seed, checkpoint, choice, task.rows, task.summary(choice), FACTS, as_json)


def _ends(checkpoint: "Checkpoint") -> "Callable[[Entry], str | None]":
    """Why the first and the last weight of the file are kept dense, as the paper and most recipes do."""
    weights = [entry.name for entry in checkpoint.entries if entry.kind != "skipped"]
    ends = dict.fromkeys(weights[-1:], "last") | dict.fromkeys(weights[:1], "first")
    return lambda entry: (
        f"the {ends[entry.name]} weight of the file, kept dense; --all prunes it too" if entry.name in ends else None
    )
