"""`sao prune`: make a checkpoint sparse."""

from typing import TYPE_CHECKING, Any

import click

from sao_cli.catalog import PRUNING, lines
from sao_cli.cli.shared.changes import emit_changes, pattern_options, require_output, say_tied
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.failures import FAILS, check_option, name_failures
from sao_cli.cli.shared.inputs import required_model
from sao_cli.cli.shared.networks import asked_tracer
from sao_cli.cli.shared.options import common_options, module_options
from sao_cli.cli.shared.paths import Model
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named

if TYPE_CHECKING:
    from sao_cli.reports.changes import PruneSummary


@help_tells(methods=lines(PRUNING))
@click.command(cls=SaoCommand)
@click.argument("model", metavar="[MODEL]", type=Model(), required=False)
@click.option("--method", type=Named("method", PRUNING), default="lmp", show_default=True, help="What stays.")
@click.option("--sparsity", type=float, help="Share of each weight (gmp: of them all) that becomes zero.")
@click.option("--d", type=int, help="Ones in each row, on the mean, instead of a sparsity.")
@pattern_options
@click.option(
    "--skip-ends/--all",
    "skip_ends",
    default=True,
    show_default=True,
    help="Keep the first and the last weight dense, in the order of names (net.2 before net.10), or prune all.",
)
@click.option(
    "--facts/--no-facts",
    default=True,
    show_default=True,
    help="Measure each weight before and after; most of the time.",
)
@check_option("What is left must satisfy, of each weight or of all, as in 'reachable>0'")
@module_options
@common_options
@click.pass_obj
def prune(
    talk: Talk,
    /,
    model: str | None,
    checks: tuple[str, ...],
    module: str | None,
    examples: tuple[str, ...],
    norms: str,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> int | None:
    """Prune the matrices and convolution kernels of a checkpoint, and write it to -o OUT.safetensors.

    MODEL is what `sao audit` reads, from stdin too. Of a kernel whole 2-D kernels are dropped, by their root mean
    square. All other tensors are copied as they are, under the same names; a weight that has several names is pruned
    once. The report, a row for each weight, goes to stdout: the facts of `sao audit` before and after, and kept_norm,
    the share of the squared Frobenius norm that is left.

    \b
    Methods:
      {methods}

    sao takes the best mask of those it finds, of small layers the best of all; kept_norm_bound is what none exceeds.
    Weights that have no SAO mask near to the sparsity are skipped.

    What is left is told too: effective weights lie on a path from an input to an output, and reachable is the share of
    input-output pairs that some path joins. Matrices whose names number a plain stack tell it; else it is null, unless
    a --module says what runs on the --example. A --check that fails makes the exit code 1; the file is written.

    Example: sao prune model.safetensors --method sao --sparsity 0.9 -o sparse.safetensors | jq .kept_norm
    """
    from sao_cli.models.prune import prune_checkpoint
    from sao_cli.models.prune_checks import prune_checks, prune_failures
    from sao_cli.reports.changes import PrunedWeight

    conditions = prune_checks(checks)
    model, output = required_model(model), require_output(output)
    network = None if module is None else asked_tracer(module, examples, norms, seed)
    changes = prune_checkpoint(model, output, network=network, seed=seed, progress=talk, **asked)
    say_tied(changes, talk)
    _say_achieved(changes.summary, talk)
    emit_changes("prune", seed, model, changes, PrunedWeight, as_json, output)
    failures = prune_failures(changes, conditions)
    name_failures(failures, talk)
    return FAILS if failures else None


def _say_achieved(summary: "PruneSummary", talk: Talk) -> None:
    """Say what came of the sparsity that was asked for, where it is another, by a weight at least."""
    asked, pruned = summary.asked_sparsity, summary.pruned
    both = [(summary.sparsity, summary.weights), (summary.overall_sparsity, summary.all_weights)]
    if asked is None or all(abs(sparsity - asked) * size < 1 for sparsity, size in both):
        return
    which = "the weight that was pruned" if pruned == 1 else f"the {pruned} weights that were pruned"
    told = f"{summary.sparsity:.6g} in {which}, {summary.overall_sparsity:.6g} in all weights together"
    talk.say(f"asked for sparsity {asked:.6g}, achieved {told}")
