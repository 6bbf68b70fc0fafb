"""Scores of a checkpoint's weights by name; those that need no samples are made here, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli import catalog
from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.names import check
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Booleans, Values
from sao_cli.data.precision import PRECISIONS
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import shown
from sao_cli.models.opened import opened
from sao_cli.models.select import Selection, weights_asked_for
from sao_cli.pruning.scores.chain_flow import chain_synflow
from sao_cli.pruning.scores.magnitude import unit_magnitudes
from sao_cli.pruning.scores.plain import magnitude_scores, random_scores
from sao_cli.pruning.scores.score_record import ScoreFacts
from sao_cli.pruning.selection import require_kept
from sao_cli.pruning.units import spread
from sao_cli.reports.sensitivities import PooledJacobian

WAY_OUT = "--module FILE.py:NAME --example SHAPE says how it runs"


@dataclass(frozen=True, eq=False)
class StoredScores:
    """Scores of which the largest are kept, float64, by the names of a checkpoint's weights, as those are stored.

    Where a unit is a kernel its taps share one score; `facts` tells how they came about, and has the weights' shapes.
    Of a method of samples the `jacobian` at them may be told.
    """

    scores: dict[str, Values]
    facts: ScoreFacts[Booleans]
    jacobian: PooledJacobian | None = None
    reason: str | None = None  # why there is no jacobian

    def full(self, name: str) -> Values:
        """The scores of a weight in its own shape."""
        return spread(self.scores[name], self.facts.shapes[name])


class Chain(NamedTuple):
    """The matrices of a plain stack, first layer first and outputs first, and their biases, None where one has none."""

    entries: list[Entry]
    weights: list[NDArray[Any]]
    biases: list[NDArray[Any] | None]
    structure: Structure

    def named(self, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Arrays of the weights, outputs first, by name and as the weights are stored."""
        layouts = map(self.structure.layout, self.entries)
        stored = [layout.outputs_first(one) for layout, one in zip(layouts, arrays, strict=True)]
        return {entry.name: one for entry, one in zip(self.entries, stored, strict=True)}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The weights' shapes as they are stored."""
        return {entry.name: tuple(entry.shape) for entry in self.entries}


def chain_of(checkpoint: Checkpoint, structure: Structure) -> Chain:
    """The checkpoint as a chain of matrices. Raises FormatError where it holds anything else, or where names tell none.

    O(numbers); memory: all weights.
    """
    weights = [entry for entry in structure.entries if entry.kind != "skipped" or entry.unread is not None]
    if not weights:
        raise FormatError(f"{checkpoint.name}: there is no matrix to score")
    _refuse_other(checkpoint, structure, weights)
    arrays = [structure.layout(entry).outputs_first(_numbers(checkpoint, entry)) for entry in weights]
    named = {entry.name: entry for entry in structure.entries}
    found = [named.get(bias_name(entry.name)) for entry in weights]
    biases = [None if one is None else np.asarray(_numbers(checkpoint, one)) for one in found]
    _refuse_rest(checkpoint, structure, [*weights, *(one for one in found if one is not None)])
    for entry, array, bias in zip(weights, arrays, biases, strict=True):
        if bias is not None and bias.shape != array.shape[:1]:
            told = f"{shown(entry.name)} has {len(array)} outputs, and its bias is {bias.shape}"
            raise FormatError(f"{checkpoint.name}: {told}")
    return Chain(weights, arrays, biases, structure)


def bias_name(weight: str) -> str:
    """What the bias of the layer with the weight of that name is called."""
    return f"{weight.removesuffix('weight')}bias"


def score_stored(
    model: Path | Checkpoint,
    method: str,
    *,
    sparsity: float | None = None,
    rounds: int | None = None,
    unit: str = "weight",
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    groups: Sequence[tuple[str, int]] = (),
    transpose: str | Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> StoredScores:
    """Scores by a method of catalog.SCORES that reads no samples: "synflow", "magnitude" or "random"; without torch.

    SynFlow is of a checkpoint whose names number a plain stack of matrices, and of no other; with a `sparsity` it goes
    down to it in `rounds` (100), and `masks` are what is kept. The others are of any weights, which `include` and
    `exclude` choose. Patterns are as in prune_checkpoint. Raises SaoError and FormatError. O(P), SynFlow each round.
    """
    row = catalog.SCORES[method]
    selection = Selection.of(include, exclude, groups, transpose)
    with opened(model) as checkpoint:
        structure = selection.structure(checkpoint)
        if row.rounds:
            return _of_paths(method, chain_of(checkpoint, structure), sparsity, rounds or row.rounds, progress)
        for entry in structure.chosen(selection.include, selection.exclude):
            if entry.unread is not None:
                require_numbers(checkpoint, entry)
        entries = weights_asked_for(structure, selection).entries
        arrays = [_numbers(checkpoint, entry) for entry in entries]
    if not entries:
        raise SaoError(f"{checkpoint.name}: there is no matrix and no kernel to score")
    names = [entry.name for entry in entries]
    check("unit", unit, catalog.UNITS)
    whole = unit == "kernel"
    if row.drawn:
        scores = random_scores([one.reshape(*one.shape[:2], -1)[..., 0] if whole else one for one in arrays], seed)
    else:
        scores = [unit_magnitudes(one) for one in arrays] if whole else magnitude_scores(arrays)
    shapes = {entry.name: tuple(entry.shape) for entry in entries}
    return StoredScores(dict(zip(names, scores, strict=True)), ScoreFacts(method, shapes), reason=NO_SAMPLES)


NO_SAMPLES = "the method reads no samples, so that there is no loss and no Jacobian"


def _of_paths(method: str, chain: Chain, sparsity: float | None, rounds: int, progress: Progress) -> StoredScores:
    rounds = 1 if sparsity is None else rounds
    if sparsity is not None:
        require_kept(sum(one.size for one in chain.weights), sparsity)
    flow = chain_synflow(chain.weights, sparsity, rounds, progress)
    scores = chain.named(flow.scores)
    facts = ScoreFacts(
        method,
        chain.shapes,
        {name: float(one.sum()) for name, one in scores.items()},
        rounds=rounds,
        sparsity=sparsity,
        masks=None if flow.masks is None else chain.named(flow.masks),
    )
    return StoredScores(scores, facts, reason=NO_SAMPLES)


def _numbers(checkpoint: Checkpoint, entry: Entry) -> NDArray[Any]:
    """The real numbers of an entry. Raises FormatError for quantised ones, booleans and what can't be read."""
    require_numbers(checkpoint, entry)
    return checkpoint.read(entry)


def require_numbers(checkpoint: Checkpoint, entry: Entry) -> None:
    """Raise FormatError for quantised numbers, booleans and what can't be read, as the file's list of tensors tells."""
    where = f"{checkpoint.name}: {shown(entry.name)}"
    if entry.unread is not None:
        raise FormatError(f"{where} can't be read: {entry.reason}")
    if entry.dtype not in PRECISIONS:
        raise FormatError(f"{where} is {entry.dtype}; scores are of real numbers: dequantise it, or leave it out")


def _refuse_other(checkpoint: Checkpoint, structure: Structure, weights: Sequence[Entry]) -> None:
    """Raise FormatError for weights that are no chain of matrices, as names and shapes tell."""
    kernel = next((entry.name for entry in weights if entry.kind == "kernel"), None)
    tied = next((entry.name for entry in weights if structure.others(entry)), None)
    told = structure.order.reason
    if kernel is not None:
        told = f"{shown(kernel)} is a kernel, and no matrix"
    elif told is None and tied is not None:
        told = f"{shown(tied)} stands at several places"
    if told is not None:
        raise FormatError(f"{checkpoint.name} is no chain of matrices: {told}; {WAY_OUT}")


def _refuse_rest(checkpoint: Checkpoint, structure: Structure, known: Sequence[Entry]) -> None:
    names = {entry.name for entry in known}
    rest = next((entry for entry in structure.entries if entry.name not in names and entry.numbers != 0), None)
    if rest is not None:
        told = f"{shown(rest.name)} ({rest.reason}) is no weight of one and no bias of such"
        raise FormatError(f"{checkpoint.name} is no chain of matrices alone: {told}; {WAY_OUT}")
