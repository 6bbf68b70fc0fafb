"""`sao prune`: make a checkpoint sparse."""

from typing import TYPE_CHECKING

import click

from sao_cli.cli.shared.changes import emit_changes, pattern_options, require_output, say_tied
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.options import common_options
from sao_cli.cli.shared.paths import Model
from sao_cli.cli.shared.render import Row
from sao_cli.cli.shared.talk import Talk
from sao_cli.io.output import shown

if TYPE_CHECKING:
    from sao_cli.io.checkpoints import Entry
    from sao_cli.io.checkpoints.structure import Structure

FACTS = ("sparsity", "components", "dead", "sigma_max", "sigma_min")  # that a table shows before and after


@click.command(cls=SaoCommand)
@click.argument("model", metavar="MODEL", type=Model())
@click.option("--method", default="lmp", show_default=True, help="lmp, gmp, lrp or sao.")
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
    groups: tuple[tuple[str, int], ...],
    transpose: tuple[str, ...],
    skip_ends: bool,
    facts: bool,
    seed: int,
    as_json: bool | None,
    output: str | None,
) -> None:
    """Prune the matrices and convolution kernels of a checkpoint, and write it to -o OUT.safetensors.

    MODEL is what `sao audit` reads. Of a kernel whole 2-D kernels are dropped, by their root mean square. All other
    tensors are copied as they are, under the same names; a weight that has several names is pruned once. The report,
    a row for each weight, goes to stdout: the facts of `sao audit` before and after, and kept_norm, the share of the
    squared Frobenius norm that is left.

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
    from sao_cli.io.checkpoints.layouts import Said
    from sao_cli.io.checkpoints.structure import structure_of
    from sao_cli.models.prune import PruneTask, no_numbers
    from sao_cli.models.rewrite import read_or_reason, weights_asked_for, write_changed

    output = require_output(output)
    with open_checkpoint(model) as checkpoint:
        structure = structure_of(checkpoint, said=Said(groups, transpose), include=include)
        task = PruneTask(method, sparsity, d, seed, facts, structure, talk)
        choice = weights_asked_for(structure, include, exclude)
        ends = _ends(structure) if skip_ends else {}
        choice = choice.without(lambda entry: _kept_dense(structure, entry, ends))
        choice = choice.without(task.why_not).without(lambda entry: read_or_reason(checkpoint, entry, no_numbers))
        choice.require_any("prune")
        task.prepare(checkpoint, choice.entries)
        write_changed(checkpoint, structure, choice.entries, task.change, output, task.told(choice.entries), talk)
        say_tied(task.rows.values(), talk)
        _say_ends(structure, ends, talk)
        summary = task.summary(choice, checkpoint, list(ends))
        _say_achieved(summary, talk)
        emit_changes("prune", seed, structure, choice, task.rows, summary, FACTS, as_json, output)


def _ends(structure: "Structure") -> dict[str, str]:
    """The first and the last weight in the order of names, kept dense as the paper and most recipes do."""
    names = structure.order.names
    return dict.fromkeys(names[-1:], "last") | dict.fromkeys(names[:1], "first")


def _kept_dense(structure: "Structure", entry: "Entry", ends: dict[str, str]) -> str | None:
    name = next((name for name in (entry.name, *structure.tied_with(entry)) if name in ends), None)
    if name is None:
        return None
    also = "" if name == entry.name else f" ({shown(name)})"
    return f"the {ends[name]} weight in the order of names{also}, kept dense; --all prunes it too"


def _say_ends(structure: "Structure", ends: dict[str, str], talk: Talk) -> None:
    """Say where the names do not tell which weights are the ends."""
    reason = structure.order.reason
    if ends and reason is not None:
        kept = " and ".join(shown(name) for name in sorted(ends, key=lambda name: ends[name]))
        told = f"the names tell no order of layers ({reason}), so that the first and the last of them are kept dense"
        talk.warn(f"{told}: {kept}; --all prunes them, and --all with --exclude keeps others")


def _say_achieved(summary: Row, talk: Talk) -> None:
    """Say what came of the sparsity that was asked for, where it is another, by a weight at least."""
    asked, pruned = summary["asked_sparsity"], summary["pruned"]
    both = [(summary["sparsity"], summary["weights"]), (summary["overall_sparsity"], summary["all_weights"])]
    if asked is None or all(abs(sparsity - asked) * size < 1 for sparsity, size in both):
        return
    which = "the weight that was pruned" if pruned == 1 else f"the {pruned} weights that were pruned"
    told = f"{summary['sparsity']:.6g} in {which}, {summary['overall_sparsity']:.6g} in all weights together"
    talk.say(f"asked for sparsity {asked:.6g}, achieved {told}")
