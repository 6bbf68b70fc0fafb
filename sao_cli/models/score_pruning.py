"""What stays of a checkpoint's weights by scores of them, or by densities of layers: exactly kappa of all together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli import catalog
from sao_cli.base.errors import FormatError, SaoError, SaoWarning
from sao_cli.base.names import check
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Mask
from sao_cli.data.precision import PRECISIONS
from sao_cli.io.checkpoints import Checkpoint, Entry, open_checkpoint
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import shown
from sao_cli.measure.reach.effective import effective_weights
from sao_cli.models.select import Choice, Selection
from sao_cli.models.stored_scores import StoredScores, require_numbers, score_stored, spread
from sao_cli.pruning.controls import inverted, redrawn, shuffled
from sao_cli.pruning.densities import density_masks
from sao_cli.pruning.pruner import Prunable
from sao_cli.pruning.selection import KeptWeights, select

GIVEN = "scores"  # the method of scores that a user gives
_LISTED = 3

Scored = StoredScores | Mapping[str, Any]


class ScorePruner:
    """In the place of a Pruner: the masks of weights that scores or densities choose all together."""

    def __init__(
        self,
        method: str,
        scores: Scored | None,
        *,
        sparsity: float,
        rounds: int | None = None,
        unit: str = "weight",
        within: str = "random",
        control: str | None = None,
        effective: bool = False,
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        self.row = catalog.Pruning(method, "")
        self.d, self.sparsity, self.seed, self.progress = None, sparsity, seed, progress
        self.ties_at_threshold: int | None = None
        self.zero_scores: int | None = None
        self._scores = None if scores is None else _stored(scores, method)
        self._rounds, self._unit, self._within, self._control = rounds, unit, within, control
        self._effective, self._stack = effective, tuple[str, ...]()
        self._oriented: dict[str, Values] = {}  # outputs first, of the weights that are pruned
        self._rounded: dict[str, NDArray[np.bool_]] = {}  # and what a method in rounds keeps of them
        self._masks: dict[str, NDArray[np.bool_]] = {}
        if control is not None:
            check("control", control, catalog.CONTROLS)
        if method in catalog.DENSITIES and control == "invert":
            raise SaoError(f"--control invert: {method} has no scores to invert; shuffle and fresh are of it")

    def why_not(self, weight: Prunable) -> None:
        """None: by scores any weight can be pruned."""

    def fitting(self, checkpoint: Checkpoint, structure: Structure, selection: Selection, choice: Choice) -> Choice:
        """The weights of the choice that have scores, which are found now where none were given.

        Raises FormatError for numbers that are quantised, booleans or not finite, and for scores of other shapes,
        SaoError for those of other names.
        """
        for entry in structure.chosen(selection.include, selection.exclude):
            if entry.kind != "skipped" or entry.unread is not None:
                require_numbers(checkpoint, entry)
        for entry in choice.entries:
            checkpoint.read(entry)  # which tells numbers that are not finite
        self._stack = _stack_of(structure) if self._effective else ()
        if self.row.name in catalog.DENSITIES:
            return choice
        if self._scores is None:
            self._scores = self._found(checkpoint, selection)
        _require_known(self._scores, checkpoint, structure)
        scored, masks = self._scores.scores, self._scores.masks
        for entry in choice.entries:
            name = next((one for one in (entry.name, *structure.tied_with(entry)) if one in scored), None)
            if name is not None:
                turned = structure.layout(entry).outputs_first
                self._oriented[entry.name] = turned(scored[name])
                if masks is not None:
                    self._rounded[entry.name] = turned(masks[name])
        scored_ones = choice.without(lambda entry: None if entry.name in self._oriented else "no score of it is given")
        biases = [entry for entry in structure.entries if len(entry.shape) == 1 and entry.name in scored]
        self._oriented |= {entry.name: scored[entry.name] for entry in biases}
        self._rounded |= {entry.name: masks[entry.name] for entry in biases} if masks is not None else {}
        return replace(scored_ones, entries=[*scored_ones.entries, *biases])

    def prepare(self, weights: Sequence[Prunable]) -> None:
        """Choose what stays of all weights together."""
        if self.row.name in catalog.DENSITIES:
            named = {weight.name: self._values(weight) for weight in weights}
            told: dict[str, Any] = {"within": self._within, "seed": self.seed}
            self._masks = density_masks(named, self.row.name, self.sparsity, **told)
        else:
            kept = self._kept({weight.name: weight for weight in weights})
            self.ties_at_threshold, self.zero_scores = kept.ties_at_threshold, kept.zero_scores
            self._masks = kept.masks
            self._warn_of_zeros()
        if self._control == "shuffle":
            self._masks = shuffled(self._masks, self.seed)
        if self._effective:
            self._drop_dangling()

    def mask(self, weight: Prunable, values: NDArray[Any]) -> Mask:
        """What stays of a weight (m, n, ...): (m, n) of a matrix, of a kernel (m, n taps)."""
        full = spread(self._masks[weight.name], values.shape)
        return Mask.from_dense(full.reshape(len(values), -1))

    def drawn(self, weight: Prunable, values: NDArray[Any]) -> NDArray[Any]:
        """The values that the mask is put on: with the control "fresh" others, of the same law."""
        return redrawn(values, self.seed, weight.layer) if self._control == "fresh" else values

    def _drop_dangling(self) -> None:
        """Leave only weights that lie on a path of kept ones from an input to an output."""
        if absent := [name for name in self._stack if name not in self._masks]:
            raise SaoError(f"--effective: {shown(absent[0])} is not pruned, and what lies on a path is of all layers")
        found = effective_weights([self._masks[name] for name in self._stack])
        if not any(one.any() for one in found):
            raise SaoError("--effective: no kept weight lies on a path from an input to an output; prune less")
        self._masks |= dict(zip(self._stack, found, strict=True))

    def _found(self, checkpoint: Checkpoint, selection: Selection) -> StoredScores:
        method = self.row.name
        if not catalog.SCORES[method].chain:
            raise SaoError(f"{method} is of samples; give scores=, as sao_cli.nets.scores.score_checkpoint finds them")
        told: dict[str, Any] = {"rounds": self._rounds, "unit": self._unit, "seed": self.seed}
        told |= {"include": selection.include, "exclude": selection.exclude}
        told |= {"groups": selection.said.groups, "transpose": selection.said.transposed}
        sparsity = None if self._control == "invert" else self.sparsity
        return score_stored(checkpoint, method, sparsity=sparsity, progress=self.progress, **told)

    def _kept(self, weights: Mapping[str, Prunable]) -> KeptWeights:
        assert self._scores is not None
        scores = {name: self._oriented[name] for name in weights}
        whole = len(scores) == len(self._scores.scores)
        if self._rounded and whole and self._control != "invert" and self._scores.sparsity == self.sparsity:
            return _of_rounds(scores, self._rounded)
        sizes = {name: one.m * one.n * one.size // scores[name].size for name, one in weights.items()}
        return select(inverted(scores) if self._control == "invert" else scores, self.sparsity, sizes)

    def _values(self, weight: Prunable) -> NDArray[Any]:
        """The weight, of whose numbers those that stay at random places are not read."""
        if self._within == "random":
            return np.broadcast_to(np.zeros(()), weight.shape)
        return weight.read()

    def _warn_of_zeros(self) -> None:
        if self.zero_scores:
            told = f"{self.zero_scores} weights that are kept score 0, the first of those that do"
            warnings.warn(f"{told}: {self.row.name} chooses no more; raise the sparsity", SaoWarning, stacklevel=4)


def read_scores(path: Path) -> StoredScores:
    """Scores by the names of weights in a file that open_checkpoint reads. Raises FileError, FormatError."""
    with open_checkpoint(path) as file:
        scores = {}
        for name in file.file.stored:
            array = file.file.read(name)
            if array.dtype.kind not in "iuf":
                raise FormatError(f"{file.name}: {shown(name)} is {array.dtype}; scores are real numbers")
            scores[name] = np.asarray(array, dtype=np.float64)
    return StoredScores(GIVEN, scores, {name: one.shape for name, one in scores.items()})


def _stored(scores: Scored, method: str) -> StoredScores:
    if isinstance(scores, StoredScores):
        return scores
    arrays = {name: np.asarray(one, dtype=np.float64) for name, one in scores.items()}
    return StoredScores(method, arrays, {name: one.shape for name, one in arrays.items()})


def _require_known(found: StoredScores, checkpoint: Checkpoint, structure: Structure) -> None:
    """Raise SaoError and FormatError for scores of other weights than the checkpoint has."""
    weights = {entry.name: entry for entry in structure.entries if entry.kind != "skipped" or _is_bias(entry)}
    for name, one in found.scores.items():
        if name not in weights:
            known = ", ".join(map(shown, list(weights)[:_LISTED]))
            raise SaoError(f"scores of {shown(name)}, and {checkpoint.name} has no such weight; it has {known}")
        shape = tuple(weights[name].shape)
        if one.shape not in (shape, shape[:2]):
            sides = ["x".join(map(str, sizes)) or "a number" for sizes in (one.shape, shape)]
            raise FormatError(f"the scores of {shown(name)} are {sides[0]}, and the weight is {sides[1]}")


def _stack_of(structure: Structure) -> tuple[str, ...]:
    """The names of a plain stack of matrices. Raises SaoError where the checkpoint is none."""
    weights = [entry for entry in structure.entries if entry.kind != "skipped"]
    kernel = next((f"{shown(entry.name)} is a kernel" for entry in weights if entry.kind != "matrix"), None)
    tied = next((f"{shown(entry.name)} is tied" for entry in weights if structure.others(entry)), None)
    if (reason := structure.order.reason or kernel or tied) is not None:
        raise SaoError(f"--effective is of plain stacks of matrices: {reason}")
    return tuple(entry.name for entry in weights)


def _is_bias(entry: Entry) -> bool:
    return len(entry.shape) == 1 and entry.dtype in PRECISIONS and bool(entry.parts)


def _of_rounds(scores: Mapping[str, Values], masks: dict[str, NDArray[np.bool_]]) -> KeptWeights:
    """What a method in rounds has kept, as select tells it."""
    flat = np.concatenate([one.reshape(-1) for one in scores.values()])
    kept = np.concatenate([masks[name].reshape(-1) for name in scores])
    count = int(kept.sum())
    ties = int(np.count_nonzero(flat[~kept] == flat[kept].min()))
    return KeptWeights(
        {name: masks[name] for name in scores}, count, count, ties, int(np.count_nonzero(flat[kept] == 0))
    )
