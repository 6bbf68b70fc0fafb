"""A checkpoint pruned: each weight by itself or all together, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from sao_cli import catalog
from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.data.nm_pattern import NMPattern
from sao_cli.io.checkpoints import Checkpoint
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import shown
from sao_cli.masks.degrees import density_of
from sao_cli.models.audit.reasons import NO_WEIGHT
from sao_cli.models.ends import dense_ends, kept_dense, warn_of_ends
from sao_cli.models.left import Tracer
from sao_cli.models.on_paths import OnPathsPruner
from sao_cli.models.opened import aside, opened
from sao_cli.models.prune_facts import require_paths, with_facts
from sao_cli.models.prune_run import PruneRun, Watch
from sao_cli.models.prune_whole import count_unchanged, in_context, signals_of, summary_of
from sao_cli.models.rewrite import rewritten
from sao_cli.models.score_pruning import Scored, ScorePruner
from sao_cli.models.select import Selection, read_or_reason, weights_asked_for
from sao_cli.pruning.keep import warn_of_collapse, warn_of_death
from sao_cli.pruning.pruner import Pruner
from sao_cli.pruning.rules import RulePruner
from sao_cli.reports.changes import Changes, PrunedWeight, PruneSummary
from sao_cli.reports.frames import Reports

if TYPE_CHECKING:
    from concurrent.futures import Executor


def prune_checkpoint(
    model: Path | Checkpoint,
    out: Path,
    *,
    method: str = "lmp",
    scores: Scored | None = None,
    sparsity: float | None = None,
    d: int | None = None,
    pattern: str | None = None,
    rounds: int | None = None,
    unit: str = "weight",
    within: str = "random",
    control: str | None = None,
    effective: bool = False,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    groups: Sequence[tuple[str, int]] = (),
    transpose: str | Sequence[str] = (),
    skip_ends: bool | None = None,
    facts: bool = True,
    executor: Executor | None = None,
    network: Tracer | None = None,
    watch: Watch | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Changes[PrunedWeight, PruneSummary]:
    """Prune the matrices and convolution kernels of a checkpoint, write it to `out`, and tell of each.

    `model` is what open_checkpoint takes, or gave; `out` a file that ends in .safetensors, written whole or not at all,
    or "-" for standard output. All other tensors are copied as they are, under the same names; a weight that has
    several names is pruned once. Methods, of which those without scores or densities drop whole kernels, but for "nm":

    - "lmp": the largest magnitudes of each weight; a kernel's are root mean squares;
    - "gmp": the largest magnitudes of all weights together;
    - "lrp": random places, by `seed` and the weight's number in the order of names;
    - "sao": the SAO mask that keeps most of the squared norm, as projected_mask finds it, of the nearest feasible
      degree; weights that have none near are skipped;
    - "nm": the N largest magnitudes of each M consecutive inputs of a row, N:M the `pattern`, 2:4 without one, which
      takes the place of `sparsity` and `d`; of kernels single numbers, the groups being of input channels at each tap;
      weights whose inputs M does not divide are skipped;
    - a name of catalog.SCORES: the largest `scores` of all weights together, which score_checkpoint of
      sao_cli.nets.scores finds; those that need no samples are found here, of a `unit`, SynFlow's in `rounds`;
    - a name of catalog.DENSITIES: so many of each layer, `within` it at "random" places or the largest.

    `scores` by name, of the shapes of the weights or of their 2-D kernels, are any that you have, whatever the
    `method` is called; weights without a score stay as they are. By scores and densities all layers are pruned, and
    exactly kappa weights stay. The `control` "shuffle" puts what stays at random places of its layer, "fresh" draws the
    weights anew, "invert" keeps the lowest scores.

    With `effective` weights that then lie on no path go too, whatever chose them: of the `network`, or without one of a
    plain stack of matrices. Fewer stay then than the sparsity leaves.

    Either `sparsity`, from 0 to below 1, of which kappa = round((1 - sparsity) P) of P numbers stay, or `d`, the ones
    of a row on the mean. `include` and `exclude` are patterns of names, `groups` and `transpose` what is said by such
    patterns of layouts, which a file can't tell. With `skip_ends` the first and the last weight in the order of names
    stay dense, as they do by default unless scores or densities choose. `facts` are measured of each weight before and
    after, which takes most of the time; an `executor`, as sao_cli.executor opens, measures one a job once `out` is
    written, and reads both files by their paths. Linear algebra has one thread for each, so that the rows are the same.

    What is left is told too: the `effective` weights of each, which lie on a path from an input to an output, and who
    reaches whom. With a `network`, a nets.tracing.pruned_network.PrunedNetwork, it is what runs with the pruned
    weights, and tensors that multiply nothing there, such as positions, stay as they are; without, it is told of
    matrices whose names number a plain stack, and null elsewhere, `reason` saying why.
    `watch` is called with the name of each pruned matrix and kernel and where it is not zero, outputs first, for
    pictures of it.

    A SaoWarning tells of weights of which nothing is left, of a network that no signal passes, of ends that names do
    not tell, and of what could not be written as it was. Raises SaoError, before anything is written, for what can't be
    opened or pruned so, for patterns that match nothing, where nothing is left to prune, and for weights that are not
    the network's; FileError for an `out` that can't be written, or that `model` reads. Time: O(numbers), "sao" that of
    projected_mask, and audit_weight's with `facts`. Memory: one weight, what its facts need, and a bit a number.

    >>> import numpy as np
    >>> from sao_cli.io.checkpoints import write_checkpoint
    >>> write_checkpoint({f"net.{layer}.weight": np.eye(4) + layer for layer in range(3)}, "dense.safetensors")
    >>> rows, summary = prune_checkpoint("dense.safetensors", "sparse.safetensors", sparsity=0.75)
    >>> [(row.name, row.after["nnz"]) for row in rows if isinstance(row, PrunedWeight)], summary.sparsity
    ([('net.1.weight', 4)], 0.75)
    """
    groups_of = _groups_of(method, pattern, sparsity, d)
    sparsity = sparsity if groups_of is None else groups_of.sparsity
    _require_target(sparsity, d)
    asked: dict[str, Any] = {"sparsity": sparsity, "seed": seed, "progress": progress}
    pruner: Pruner
    if scores is not None or method in catalog.SCORED:
        if sparsity is None:
            raise SaoError(f"--d {d}: scores and densities keep a share of all weights; give --sparsity")
        asked |= {"rounds": rounds, "unit": unit, "within": within, "control": control}
        pruner = ScorePruner(method, scores, **asked)
    elif control is not None:
        raise SaoError(f"--control {control} is of scores and densities, and {method} is none")
    else:
        pruner = RulePruner(method, d=d, pattern=groups_of, **asked)
    selection = Selection.of(include, exclude, groups, transpose)
    with opened(model, out) as checkpoint, aside(out, network is not None) as written:
        if facts and executor is not None:
            require_paths(checkpoint, out)
        runs = None if network is None else network.require(checkpoint)  # what does not fit is said now
        structure = selection.structure(checkpoint)
        run = PruneRun(checkpoint, structure, pruner, facts and executor is None)
        run.watch = watch
        by_scores = isinstance(pruner, ScorePruner)
        ends = dense_ends(structure) if (not by_scores if skip_ends is None else skip_ends) else {}
        choice = weights_asked_for(structure, selection)
        choice = choice.without(lambda entry: None if runs is None or entry.name in runs else NO_WEIGHT)
        choice = choice.without(lambda entry: kept_dense(structure, entry, ends)).without(run.why_not)
        if isinstance(pruner, ScorePruner):
            choice = pruner.fitting(checkpoint, structure, selection, choice)
        else:
            choice = choice.without(lambda entry: read_or_reason(checkpoint, entry, no_numbers))
        choice.require_any("prune")
        if effective:
            run.pruner = OnPathsPruner(pruner, checkpoint, structure, network)
        run.pruner.prepare([run.prunable(entry) for entry in choice.entries])
        unchanged = count_unchanged(checkpoint, structure, choice.entries)
        found = rewritten(checkpoint, structure, choice, run.change, written, run.provenance(), progress)
        if facts and executor is not None:
            found = with_facts(found, checkpoint, out, structure.layout, seed, executor, progress)
        left = run.left(written, network)
    rows = Reports(in_context(row, left) for row in found)
    pruned = [row for row in rows if isinstance(row, PrunedWeight)]
    summary = summary_of(run, pruned, len(choice.skipped), ends, unchanged, left)
    warn_of_collapse([shown(row.name) for row in pruned if row.collapsed], signals_of(summary))
    warn_of_death(summary.reachable, summary.collapsed_layers)
    warn_of_ends(structure, ends)
    return Changes(rows, summary)


def no_numbers(weight: NDArray[Any]) -> str | None:
    """Why an array is no weight."""
    return None if weight.dtype.kind in "iuf" else f"its numbers are of type {weight.dtype}"


def _groups_of(method: str, pattern: str | None, sparsity: float | None, d: int | None) -> NMPattern | None:
    """The pattern of the method that has one, which tells how much is kept."""
    if method not in catalog.PRUNING or "pattern" not in catalog.PRUNING[method].takes:
        if pattern is not None:
            raise SaoError(f"--pattern {pattern} is of method nm, and {method} has none")
        return None
    if sparsity is not None or d is not None:
        raise SaoError(f"--{'d' if sparsity is None else 'sparsity'}: the --pattern of nm says how much is kept")
    return NMPattern.parse(pattern or catalog.PATTERN)


def _require_target(sparsity: float | None, d: int | None) -> None:
    if (sparsity is None) == (d is None):
        raise SaoError("give --sparsity or --d, one of them: how much is to be kept")
    if sparsity is not None:
        density_of(sparsity)
    if d is not None and d < 1:
        raise InfeasibleError(f"--d {d}; a row keeps 1 at least")
