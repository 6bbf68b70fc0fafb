"""`sao prune`: make a checkpoint sparse."""

import contextlib
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.names import lines, one_of
from sao_cli.catalog import CONTROLS, DENSITIES, PATTERN, PRUNE_METHODS, PRUNE_PICTURES, PRUNING, SCORED, SCORES, WITHIN
from sao_cli.cli.prune_pictures import PrunePicture, class_scores, require_classes, require_drawable
from sao_cli.cli.shared.changes import emit_changes, pattern_options, require_output, say_tied
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.failures import FAILS, check_option, name_failures
from sao_cli.cli.shared.inputs import options_given, required_model
from sao_cli.cli.shared.networks import asked_tracer
from sao_cli.cli.shared.options import common_options, executor_options, module_options
from sao_cli.cli.shared.paths import InputFile, Model
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.scoring import OPTIONS, asked_scores, score_options
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named, Pattern, Sizes
from sao_cli.cli.shared.workers import asked_executor

if TYPE_CHECKING:
    from sao_cli.models.stored_scores import StoredScores
    from sao_cli.reports.changes import PruneSummary
HEADINGS = {
    "What stays": "method scores_file sparsity d pattern within control effective",
    "Weights that are read": "skip_ends",
    "Scores": "activation tau clip labels temperature rounds unit biases train_mode fresh_batches",
    "Data": "",
    "Result": "facts",
    "Picture": "image",
}


@help_tells(
    methods=lines(PRUNING),
    scores=lines(SCORES, default=False),
    densities=lines(DENSITIES, default=False),
    pictures=lines(PRUNE_PICTURES),
)
@click.command(cls=SaoCommand, headings=HEADINGS)
@click.argument("model", metavar="[MODEL]", type=Model(), required=False)
@click.option("--method", type=Named("method", PRUNE_METHODS), default="lmp", show_default=True, help="What stays.")
@click.option(
    "--scores",
    "scores_file",
    metavar="FILE",
    type=InputFile(),
    help="Keep the largest of these scores, by the weights' names, instead of a method.",
)
@click.option(
    "--sparsity",
    "-s",
    type=float,
    help="Share of each weight (gmp, scores and densities: of them all) that becomes zero.",
)
@click.option("--d", "-d", type=int, help="Ones in each row, on the mean, instead of a sparsity.")
@click.option(
    "--pattern",
    type=Pattern(),
    metavar="N:M",
    help=f"Of --method nm: N of each M inputs stay, instead of a sparsity.  [default: {PATTERN}]",
)
@score_options
@click.option(
    "--within",
    type=Named("places", WITHIN),
    default="random",
    show_default=True,
    help="What stays of a layer, of densities.",
)
@click.option(
    "--control", type=Named("control", CONTROLS), help=f"Compare with another mask: {one_of(CONTROLS)}, of scores."
)
@click.option("--effective", is_flag=True, help="Drop what then lies on no path too.")
@pattern_options
@click.option(
    "--skip-ends/--all",
    "skip_ends",
    default=None,
    help="Keep the first and the last weight dense, in the order of names (net.2 before net.10), or prune all.  "
    "[default: skip-ends; scores, densities: all]",
)
@click.option(
    "--facts/--no-facts",
    default=True,
    show_default=True,
    help="Measure each weight before and after; most of the time.",
)
@executor_options
@check_option("What is left must satisfy, of each weight or of all, as in 'reachable>0'")
@module_options
@plot_option
@click.option(
    "--picture",
    type=Named("picture", PRUNE_PICTURES),
    default="layers",
    show_default=True,
    help="What --plot draws.",
)
@click.option(
    "--image", type=Sizes(), help="Sides of the image of --picture inputs and classes, HxW.  [default: a square]"
)
@common_options
@click.pass_obj
def prune(
    talk: Talk,
    /,
    model: str | None,
    method: str,
    scores_file: str | None,
    checks: tuple[str, ...],
    jobs: int,
    cluster: str | None,
    module: str | None,
    examples: tuple[str, ...],
    norms: str,
    plot: PictureFile | None,
    picture: str,
    image: int | tuple[int, ...] | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> int | None:
    """Prune the matrices and convolution kernels of a checkpoint, and write it to -o OUT.safetensors.

    MODEL is what `sao audit` reads, from stdin too, or the folder of a run of `sao train`. All other tensors are copied
    as they are, under the same names; a weight that has several names is pruned once. The report, a row for each
    weight, goes to stdout: the facts of `sao audit` before and after, and kept_norm, the share of the squared Frobenius
    norm that is left.

    \b
    Methods:
      {methods}

    Of a kernel they drop whole 2-D kernels, by their root mean square. sao takes the best mask of those it finds, of
    small layers the best of all; kept_norm_bound is what none exceeds. Weights that have no SAO mask near to the
    sparsity are skipped.

    \b
    Scores of all weights together, of which exactly round((1 - s) P) stay, as `sao sensitivity` has them:
      {scores}

    \b
    Densities of the layers, which give as many:
      {densities}

    They prune all layers, the first and the last too, and of kernels single numbers.

    What is left is told too: effective weights lie on a path from an input to an output, and reachable is the share of
    input-output pairs that some path joins. Matrices whose names number a plain stack tell it; else it is null, unless
    a --module says what runs on the --example. A --check that fails makes the exit code 1; the file is written.

    \b
    Pictures, of --plot:
      {pictures}

    --jobs and --cluster measure a weight a job, which reads MODEL and OUT again, and change nothing in what is printed:
    linear algebra has one thread everywhere. The workers of a cluster see both files under the same paths.

    Where --image does not say it, the first layer's inputs must be a square number, or 3 of them.

    Example: sao prune model.safetensors --method sao --sparsity 0.9 -o sparse.safetensors | jq .kept_norm
    """
    model, output = required_model(model), require_output(output)
    from sao_cli.io.checkpoints import open_checkpoint
    from sao_cli.models.prune import prune_checkpoint
    from sao_cli.models.prune_checks import prune_checks, prune_failures
    from sao_cli.reports.changes import PrunedWeight

    conditions = prune_checks(checks)
    scoring = {name: asked.pop(name) for name in OPTIONS}
    _require_scored(method, scores_file, asked)
    require_drawable(picture, image, plot, method, scores_file)
    require_classes(picture, plot, method, scores_file, asked)
    network = None if module is None else asked_tracer(module, examples, norms, seed)
    asked |= {"network": network, "rounds": scoring["rounds"], "unit": scoring["unit"]}
    if scores_file is not None or method in SCORED:
        _say_all("--scores" if scores_file is not None else method, asked["skip_ends"], talk)
        method = "scores" if scores_file is not None else method
    classes: Iterable[tuple[int, StoredScores]] = ()
    with open_checkpoint(model) as checkpoint:
        if scores_file is not None:
            from sao_cli.models.score_pruning import read_scores

            asked["scores"] = read_scores(scores_file)
        elif method in SCORES:
            found = partial(
                asked_scores,
                checkpoint,
                model,
                method,
                None if network is None else (network.module, network.inputs),
                sparsity=None if asked["control"] == "invert" and not SCORES[method].data else asked["sparsity"],
                jacobian=False,
                seed=seed,
                talk=talk,
                **scoring,
                **{name: asked[name] for name in ("groups", "transpose")},
            )
            asked["scores"] = found()
            if plot is not None and picture == "classes":
                classes = class_scores(found, scoring, seed)
        drawn = None if plot is None else PrunePicture(plot, picture, image, checkpoint, asked, classes)
        watch = None if drawn is None else drawn.watch
        with asked_executor(jobs, cluster) if asked["facts"] else contextlib.nullcontext() as executor:
            asked |= {"executor": executor, "seed": seed, "progress": talk}
            changes = prune_checkpoint(checkpoint, output, method=method, watch=watch, **asked)
        if drawn is not None:
            drawn.save(changes)
    say_tied(changes, talk)
    _say_achieved(changes.summary, talk)
    emit_changes("prune", seed, model, changes, PrunedWeight, as_json, output)
    failures = prune_failures(changes, conditions)
    name_failures(failures, talk)
    return FAILS if failures else None


def _require_scored(method: str, scores_file: str | None, asked: dict[str, Any]) -> None:
    """Raise UsageError for what scores and densities exclude, and for scores without a share to keep."""
    given = options_given(click.get_current_context(), "method")
    if scores_file is not None and given:
        raise click.UsageError("--scores are those of a method of your own; leave out --method")
    if (scores_file is not None or method in SCORED) and asked["sparsity"] is None:
        raise click.UsageError("scores and densities keep a share of all weights together; give --sparsity")


def _say_all(method: str, skip_ends: bool | None, talk: Talk) -> None:
    if skip_ends is None:
        talk.say_at_the_end(f"{method} prunes all layers, the first and the last too (--all); --skip-ends keeps them")


def _say_achieved(summary: "PruneSummary", talk: Talk) -> None:
    """Say what came of the sparsity that was asked for, where it is another, by a weight at least."""
    asked, pruned = summary.asked_sparsity, summary.pruned
    both = [(summary.sparsity, summary.weights), (summary.overall_sparsity, summary.all_weights)]
    if asked is None or all(abs(sparsity - asked) * size < 1 for sparsity, size in both):
        return
    which = "the weight that was pruned" if pruned == 1 else f"the {pruned} weights that were pruned"
    told = f"{summary.sparsity:.6g} in {which}, {summary.overall_sparsity:.6g} in all weights together"
    talk.say(f"asked for sparsity {asked:.6g}, achieved {told}")
