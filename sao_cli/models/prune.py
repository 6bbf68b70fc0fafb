"""A checkpoint pruned: each weight by itself or all together, and what is told of it."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli import __version__, catalog
from sao_cli.base.errors import InfeasibleError, SaoError, SaoWarning
from sao_cli.base.progress import Progress, silent
from sao_cli.data.mask import Mask
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import atomic_output, refuse_terminal, shown
from sao_cli.masks.degrees import density_of, kappa
from sao_cli.models.audit.row import NO_WEIGHT, UNMEASURED, audit_weight, said
from sao_cli.models.audit.tensor import Layer
from sao_cli.models.left import PlainStack, Tracer, WhatIsLeft
from sao_cli.models.opened import opened
from sao_cli.models.rewrite import rewritten, told_of
from sao_cli.models.score_pruning import Scored, ScorePruner
from sao_cli.models.select import Selection, read_or_reason, weights_asked_for
from sao_cli.pruning.keep import warn_of_collapse
from sao_cli.pruning.pruner import Prunable, Pruner
from sao_cli.pruning.rules import RulePruner
from sao_cli.pruning.scores.magnitude import unit_magnitudes
from sao_cli.pruning.units import keep_units
from sao_cli.reports.audits import WeightFacts
from sao_cli.reports.changes import Changes, PrunedWeight, PruneSummary
from sao_cli.reports.report import facts_of, plain

OF_BIASES = "paths are of weights, and biases are pruned too"
Watch = Callable[[str, NDArray[np.bool_]], None]
_OF_NETWORK = ("reachable", "lost_inputs", "unreached_outputs", "unknown", "assumed", "reason")


def prune_checkpoint(
    model: Path | Checkpoint,
    out: Path,
    *,
    method: str = "lmp",
    scores: Scored | None = None,
    sparsity: float | None = None,
    d: int | None = None,
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
    network: Tracer | None = None,
    watch: Watch | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Changes[PrunedWeight, PruneSummary]:
    """Prune the matrices and convolution kernels of a checkpoint, write it to `out`, and tell of each.

    `model` is what open_checkpoint takes, or gave; `out` a file that ends in .safetensors, written whole or not at all,
    or "-" for standard output. All other tensors are copied as they are, under the same names; a weight that has
    several names is pruned once. Methods, of which those without scores or densities drop whole 2-D kernels:

    - "lmp": the largest magnitudes of each weight; a kernel's are root mean squares;
    - "gmp": the largest magnitudes of all weights together;
    - "lrp": random places, by `seed` and the weight's number in the order of names;
    - "sao": the SAO mask that keeps most of the squared norm, as projected_mask finds it, of the nearest feasible
      degree; weights that have none near are skipped;
    - a name of catalog.SCORES: the largest `scores` of all weights together, which score_checkpoint of
      sao_cli.nets.scores finds; those that need no samples are found here, of a `unit`, SynFlow's in `rounds`;
    - a name of catalog.DENSITIES: so many of each layer, `within` it at "random" places or the largest.

    `scores` by name, of the shapes of the weights or of their 2-D kernels, are any that you have, whatever the
    `method` is called; weights without a score stay as they are. By scores and densities all layers are pruned, and
    exactly kappa weights stay. The `control` "shuffle" puts what stays at random places of its layer, "fresh" draws the
    weights anew, "invert" keeps the lowest scores. With `effective` those that then lie on no path go too, of a plain
    stack of matrices, so that fewer than kappa stay.

    Either `sparsity`, from 0 to below 1, of which kappa = round((1 - sparsity) P) of P numbers stay, or `d`, the ones
    of a row on the mean. `include` and `exclude` are patterns of names, `groups` and `transpose` what is said by such
    patterns of layouts, which a file can't tell. With `skip_ends` the first and the last weight in the order of names
    stay dense, as they do by default unless scores or densities choose. `facts` are measured of each weight before and
    after, which takes most of the time.

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

    >>> from sao_cli.io.checkpoints import write_checkpoint
    >>> write_checkpoint({f"net.{layer}.weight": np.eye(4) + layer for layer in range(3)}, "dense.safetensors")
    >>> rows, summary = prune_checkpoint("dense.safetensors", "sparse.safetensors", sparsity=0.75)
    >>> [(row.name, row.after["nnz"]) for row in rows if isinstance(row, PrunedWeight)], summary.sparsity
    ([('net.1.weight', 4)], 0.75)
    """
    _require_target(sparsity, d)
    asked: dict[str, Any] = {"sparsity": sparsity, "seed": seed, "progress": progress}
    pruner: Pruner
    if scores is not None or method in catalog.SCORED:
        if sparsity is None:
            raise SaoError(f"--d {d}: scores and densities keep a share of all weights; give --sparsity")
        asked |= {"rounds": rounds, "unit": unit, "within": within, "control": control, "effective": effective}
        pruner = ScorePruner(method, scores, **asked)
    elif control is not None or effective:
        named = "--effective" if effective else f"--control {control}"
        raise SaoError(f"{named} is of scores and densities, and {method} is none")
    else:
        pruner = RulePruner(method, d=d, **asked)
    selection = Selection.of(include, exclude, groups, transpose)
    with opened(model, out) as checkpoint, _written(out, network) as written:
        runs = None if network is None else network.require(checkpoint)  # what does not fit is said now
        structure = selection.structure(checkpoint)
        run = _Run(checkpoint, structure, pruner, facts)
        run.watch = watch
        by_scores = isinstance(pruner, ScorePruner)
        ends = _ends(structure) if (not by_scores if skip_ends is None else skip_ends) else {}
        choice = weights_asked_for(structure, selection)
        choice = choice.without(lambda entry: None if runs is None or entry.name in runs else NO_WEIGHT)
        choice = choice.without(lambda entry: _kept_dense(structure, entry, ends)).without(run.why_not)
        if isinstance(pruner, ScorePruner):
            choice = pruner.fitting(checkpoint, structure, selection, choice)
        else:
            choice = choice.without(lambda entry: read_or_reason(checkpoint, entry, no_numbers))
        choice.require_any("prune")
        pruner.prepare([run.prunable(entry) for entry in choice.entries])
        unchanged = run.unchanged(choice.entries)
        rows = rewritten(checkpoint, structure, choice, run.change, written, run.provenance(), progress)
        left = run.left(written, network)
        rows = tuple(_in_context(row, left) if isinstance(row, PrunedWeight) else row for row in rows)
        run.rows = [row for row in rows if isinstance(row, PrunedWeight)]
    summary = run.summary(len(choice.skipped), tuple(ends), unchanged, left)
    warn_of_collapse([shown(row.name) for row in run.rows if row.collapsed], passes=bool(summary.reachable))
    _warn_of_death(summary)
    _warn_of_ends(structure, ends)
    return Changes(rows, summary)


class _Run:
    """One checkpoint's pruning, and what came of it: `rows`, in the order in which weights are written."""

    watch: Watch | None = None

    def __init__(self, checkpoint: Checkpoint, structure: Structure, pruner: Pruner, facts: bool) -> None:
        self.checkpoint, self.structure, self.pruner, self.facts = checkpoint, structure, pruner, facts
        self.rows: list[PrunedWeight] = []
        self._numbers = {name: number for number, name in enumerate(structure.order.names, 1)}
        self._stack = PlainStack(structure)
        self._squares: list[tuple[float, float]] = []  # kept, and before, of each weight

    def why_not(self, entry: Entry) -> str | None:
        """Why the weight can't be pruned as asked, as its shape and dtype tell."""
        if entry.dtype == "bool" and isinstance(self.pruner, RulePruner):
            return "booleans, which are a mask and no weights"
        reason = self.structure.layout(entry).reason if self.pruner.by_degree else None
        return reason or self.pruner.why_not(self.prunable(entry))

    def prunable(self, entry: Entry) -> Prunable:
        """The weight as pruning sees it."""
        layout = self.structure.layout(entry)
        shape = layout.shape(entry.shape)
        m, n, *taps = shape if len(shape) > 1 else (*shape, 1)
        number, read = self._numbers.get(entry.name, 0), partial(self._read, entry)
        return Prunable(m, n, number, read, math.prod(taps), layout.groups or 1, entry.name, shape)

    def change(self, entry: Entry, weight: NDArray[Any]) -> tuple[NDArray[Any], PrunedWeight]:
        """The weight (out, in/groups, ...) pruned, and its row; a bias is a matrix of one column."""
        if weight.ndim == 1:
            pruned, row = self.change(entry, weight[:, None])
            self.rows[-1] = replace(row, kind="bias", collapsed=False)
            return pruned[:, 0], self.rows[-1]
        mask = self.pruner.mask(self.prunable(entry), weight)
        drawn = self.pruner.drawn(self.prunable(entry), weight)
        pruned = keep_units(drawn, mask)
        if self.watch is not None and len(entry.shape) > 1:
            self.watch(entry.name, pruned != 0)
        share = self._kept_norm(drawn, mask)
        layer = self._layer(entry, pruned)
        self._stack.add(entry, layer)
        row = PrunedWeight(
            **told_of(self.structure, entry),
            method=self.pruner.method,
            d=mask.provenance.get("d"),
            kept_norm=share,
            kept_norm_bound=self._bound(mask, share),
            before=self._measured(entry, weight),
            after=self._measured(entry, pruned),
            kept=mask.nnz * (weight.size // (mask.m * mask.n)),
            effective=None,  # which all weights tell together
            effective_sparsity=None,
            collapsed=not layer.nnz,
            dead_inputs=self._dead_inputs(entry, layer),
            dead_outputs=int(np.count_nonzero(layer.pattern.row_degrees == 0)),
        )
        self.rows.append(row)
        return pruned, row

    def left(self, written: Path, network: Tracer | None) -> WhatIsLeft:
        """What is left, by the `network` of what was written, or by the names of a plain stack."""
        if network is None:
            return self._stack.left(lambda entry: self._layer(entry, self._read(entry)))
        try:
            with opened(written) as checkpoint:
                return network.left(checkpoint)
        except UNMEASURED as error:
            return WhatIsLeft(reason=said(error))

    def provenance(self) -> dict[str, Any]:
        """What the file tells of each pruned weight."""
        pruner = self.pruner
        asked = {"sparsity": pruner.sparsity} if pruner.d is None else {"d": pruner.d}
        told = {"version": __version__, "command": "prune", "method": pruner.method}
        return {**told, **asked, "seed": pruner.seed}

    def summary(
        self, skipped: int, ends: Sequence[str], unchanged: tuple[int, int], remains: WhatIsLeft
    ) -> PruneSummary:
        """The pruned weights together, and with those that stay as they are, as `unchanged` counts them."""
        size = sum(math.prod(row.shape) for row in self.rows)
        left = sum(row.after["nnz"] for row in self.rows)
        kept, total = map(sum, zip(*self._squares, strict=True))
        whole, nonzero = (a + b for a, b in zip((size, left), unchanged, strict=True))
        return PruneSummary(
            pruned=len(self.rows),
            skipped_tensors=skipped,
            weights=size,
            nnz=left,
            asked_sparsity=self.pruner.sparsity,
            sparsity=1 - left / size,
            all_weights=whole,
            overall_sparsity=1 - nonzero / whole,
            dense_ends=tuple(sorted(ends, key=self._numbers.__getitem__)),
            order=None if self.structure.order.reason else "numbered names",
            kept_norm=kept / total if total else None,
            **self._sizes(size),
            ties_at_threshold=self.pruner.ties_at_threshold,
            zero_scores=self.pruner.zero_scores,
            **{key: getattr(remains, key) for key in _OF_NETWORK if key != "reason"},
            reason=remains.reason or (OF_BIASES if any(row.kind == "bias" for row in self.rows) else None),
        )

    def _sizes(self, size: int) -> dict[str, Any]:
        """How many of `size` numbers are kept, and lie on a path."""
        kept = sum(row.kept for row in self.rows)
        counts = [row.effective for row in self.rows if row.effective is not None]
        effective = sum(counts) if len(counts) == len(self.rows) else None
        return {
            "kappa": None if self.pruner.sparsity is None else kappa(size, self.pruner.sparsity),
            "kept": kept,
            "compression": size / kept if kept else None,
            "effective": effective,
            "effective_sparsity": None if effective is None else 1 - effective / size,
            "effective_compression": size / effective if effective else None,
            "collapsed_layers": sum(row.collapsed for row in self.rows),
        }

    def unchanged(self, pruned: Sequence[Entry]) -> tuple[int, int]:
        """How many numbers the other weights have, and how many of them are not zero."""
        size = nonzero = 0
        done = {entry.name for entry in pruned}
        for entry in self.structure.entries:
            if entry.kind == "skipped" or done & {entry.name, *self.structure.tied_with(entry)}:
                continue
            done.add(entry.name)
            size += math.prod(entry.shape)
            try:
                nonzero += int(np.count_nonzero(self.checkpoint.read(entry)))
            except SaoError:  # NaN and the like, which are no zeros
                nonzero += math.prod(entry.shape)
        return size, nonzero

    def _layer(self, entry: Entry, weight: NDArray[Any]) -> Layer:
        """A weight (out, in/groups, ...) as an audit sees it."""
        return Layer.of(weight, dtype=None, threshold=0.0, groups=self.structure.layout(entry).groups or 1)

    def _dead_inputs(self, entry: Entry, layer: Layer) -> int | None:
        known = layer.kind == "matrix" or self.structure.layout(entry).groups is not None
        return int(np.count_nonzero(layer.pattern.column_degrees == 0)) if known else None

    def _read(self, entry: Entry) -> NDArray[Any]:
        return self.structure.layout(entry).outputs_first(self.checkpoint.read(entry))

    def _kept_norm(self, weight: NDArray[Any], mask: Mask) -> float | None:
        """The share of the squared norm that is kept, None of all zeros; both parts of it are kept for the summary."""
        units = weight if mask.n == weight.shape[1] else weight.reshape(len(weight), -1)
        magnitudes = unit_magnitudes(units)
        peak = float(magnitudes.max())
        scaled = np.square(magnitudes / (peak or 1.0))
        kept, total = float(scaled[mask.entry_rows, mask.indices].sum()), float(scaled.sum())
        size = math.prod(units.shape[2:]) * peak * peak
        self._squares.append((kept * size, total * size))
        return kept / total if total else None

    def _bound(self, mask: Mask, share: float | None) -> float | None:
        """What no SAO mask of this degree keeps more than; None for other methods, whose masks are as they are."""
        if not self.pruner.by_degree or share is None:
            return None
        return max(share, float(mask.provenance.get("kept_norm_bound", share)))

    def _measured(self, entry: Entry, weight: NDArray[Any]) -> dict[str, Any]:
        nnz = int(np.count_nonzero(weight))
        counted = {"nnz": nnz, "sparsity": 1 - nnz / weight.size}
        if not self.facts:
            return counted
        told: dict[str, Any] = {"groups": self.structure.layout(entry).groups, "seed": self.pruner.seed}
        if entry.dtype == "bfloat16":  # which numpy lacks
            told["dtype"] = entry.dtype
        try:
            row = audit_weight(weight, name=entry.name, progress=self.pruner.progress, **told)
        except SaoError as error:  # a weight too large to measure can be pruned all the same
            return {**counted, "reason": str(error)}
        return {key: plain(getattr(row, key)) for key in (*facts_of(WeightFacts), "reason")}


@contextlib.contextmanager
def _written(out: Path, network: Tracer | None) -> Iterator[Path]:
    """Where to write: `out`, or aside first where a stream's network is asked what is left of it."""
    if network is None or out != "-":
        yield out
        return
    refuse_terminal("a checkpoint")
    with tempfile.TemporaryDirectory() as folder:
        aside = os.path.join(folder, "pruned.safetensors")
        yield aside
        with atomic_output(out) as stream, open(aside, "rb") as file:
            shutil.copyfileobj(file, stream)


def _in_context(row: PrunedWeight, left: WhatIsLeft) -> PrunedWeight:
    """The row with what is known of its weight in the network."""
    counts = [left.effective[name] for name in (row.name, *row.tied_with) if name in left.effective]
    if not counts:
        return row
    return replace(row, effective=counts[0], effective_sparsity=1 - counts[0] / math.prod(row.shape))


def _warn_of_death(summary: PruneSummary) -> None:
    """Say where no signal passes the network, though something is left of every layer."""
    if summary.reachable == 0 and not summary.collapsed_layers:
        told = "no input reaches an output, though no layer is empty: the network is dead; prune less"
        warnings.warn(told, SaoWarning, stacklevel=3)


def no_numbers(weight: NDArray[Any]) -> str | None:
    """Why an array is no weight."""
    return None if weight.dtype.kind in "iuf" else f"its numbers are of type {weight.dtype}"


def _require_target(sparsity: float | None, d: int | None) -> None:
    if (sparsity is None) == (d is None):
        raise SaoError("give --sparsity or --d, one of them: how much is to be kept")
    if sparsity is not None:
        density_of(sparsity)
    if d is not None and d < 1:
        raise InfeasibleError(f"--d {d}; a row keeps 1 at least")


def _ends(structure: Structure) -> dict[str, str]:
    """The first and the last weight in the order of names, kept dense as the paper and most recipes do."""
    names = structure.order.names
    return dict.fromkeys(names[-1:], "last") | dict.fromkeys(names[:1], "first")


def _kept_dense(structure: Structure, entry: Entry, ends: Mapping[str, str]) -> str | None:
    name = next((name for name in (entry.name, *structure.tied_with(entry)) if name in ends), None)
    if name is None:
        return None
    also = "" if name == entry.name else f" ({shown(name)})"
    return f"the {ends[name]} weight in the order of names{also}, kept dense; --all prunes it too"


def _warn_of_ends(structure: Structure, ends: Mapping[str, str]) -> None:
    """Say where the names do not tell which weights are the ends."""
    reason = structure.order.reason
    if ends and reason is not None:
        kept = " and ".join(shown(name) for name in sorted(ends, key=lambda name: ends[name]))
        told = f"the names tell no order of layers ({reason}), so that the first and the last of them are kept dense"
        advice = "--all prunes them, and --all with --exclude keeps others"
        warnings.warn(f"{told}: {kept}; {advice}", SaoWarning, stacklevel=3)
