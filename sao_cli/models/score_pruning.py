"""What stays of a checkpoint's weights by scores of them, or by densities of layers: exactly kappa of all together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from sao_cli import catalog
from sao_cli.base.errors import FormatError, SaoError
from sao_cli.data.arrays import Values
from sao_cli.data.precision import PRECISIONS
from sao_cli.io.checkpoints import Checkpoint, Entry, open_checkpoint
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import shown
from sao_cli.models.select import Choice, Selection
from sao_cli.models.stored_scores import StoredScores, require_numbers, score_stored
from sao_cli.pruning.network_pruner import NetworkPruner
from sao_cli.pruning.scores.score_record import ScoreFacts

GIVEN = "scores"  # the method of scores that a user gives
_LISTED = 3

Scored: TypeAlias = StoredScores | Mapping[str, Any]


class ScorePruner(NetworkPruner):
    """The masks of a checkpoint's weights by scores of them, or by densities: a NetworkPruner that finds its scores."""

    def __init__(
        self,
        method: str,
        scores: Scored | None,
        *,
        rounds: int | None = None,
        unit: str = "weight",
        **asked: Any,
    ) -> None:
        super().__init__(method, **asked)
        self._given = None if scores is None else _stored(scores, method)
        self._rounds, self._unit = rounds, unit

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
        if self.is_density:
            return choice
        found = self._found(checkpoint, selection) if self._given is None else self._given
        _require_known(found, checkpoint, structure)
        names = {entry.name: _scored_name(entry, structure, found) for entry in [*choice.entries, *_biases(structure)]}
        choice = choice.without(lambda entry: None if names[entry.name] else "no score of it is given")
        choice = replace(choice, entries=[*choice.entries, *(one for one in _biases(structure) if names[one.name])])
        turned = {entry.name: structure.layout(entry).outputs_first for entry in choice.entries}
        chosen = None
        masks = found.facts.masks
        if masks is not None and len(turned) == len(found.scores) and found.facts.sparsity == self.sparsity:
            chosen = {name: turn(masks[names[name]]) for name, turn in turned.items()}
        self.take({name: turn(found.scores[names[name]]) for name, turn in turned.items()}, chosen)
        return choice

    def _found(self, checkpoint: Checkpoint, selection: Selection) -> StoredScores:
        method = self.method
        if not catalog.SCORES[method].chain:
            raise SaoError(f"{method} is of samples; give scores=, as sao_cli.nets.scores.score_checkpoint finds them")
        told: dict[str, Any] = {"rounds": self._rounds, "unit": self._unit, "seed": self.seed}
        told |= {"include": selection.include, "exclude": selection.exclude}
        told |= {"groups": selection.said.groups, "transpose": selection.said.transposed}
        sparsity = None if self.control == "invert" else self.sparsity
        return score_stored(checkpoint, method, sparsity=sparsity, progress=self.progress, **told)


def read_scores(path: Path) -> StoredScores:
    """Scores by the names of weights in a file that open_checkpoint reads. Raises FileError, FormatError."""
    with open_checkpoint(path) as file:
        scores = {}
        for name in file.file.stored:
            array = file.file.read(name)
            if array.dtype.kind not in "iuf":
                raise FormatError(f"{file.name}: {shown(name)} is {array.dtype}; scores are real numbers")
            scores[name] = np.asarray(array, dtype=np.float64)
    return _as_they_are(GIVEN, scores)


def _stored(scores: Scored, method: str) -> StoredScores:
    if isinstance(scores, StoredScores):
        return scores
    return _as_they_are(method, {name: np.asarray(one, dtype=np.float64) for name, one in scores.items()})


def _as_they_are(method: str, scores: dict[str, Values]) -> StoredScores:
    return StoredScores(scores, ScoreFacts(method, {name: one.shape for name, one in scores.items()}))


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


def _scored_name(entry: Entry, structure: Structure, found: StoredScores) -> str:
    """The name under which a weight, or one with it, has scores; empty where it has none."""
    names = (entry.name, *structure.tied_with(entry))
    return next((name for name in names if name in found.scores), "")


def _biases(structure: Structure) -> list[Entry]:
    return [entry for entry in structure.entries if len(entry.shape) == 1]


def _is_bias(entry: Entry) -> bool:
    return len(entry.shape) == 1 and entry.dtype in PRECISIONS and bool(entry.parts)
