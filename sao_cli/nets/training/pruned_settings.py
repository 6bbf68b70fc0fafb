"""What pruning before or after training is told, and what of that does not go together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sao_cli.base.errors import SaoError
from sao_cli.base.names import one_of
from sao_cli.catalog import DENSITIES, SCORES, TRAIN_METHODS
from sao_cli.nets.training.number_rules import require

if TYPE_CHECKING:
    from sao_cli.nets.training.settings import TrainingSettings


def check_pruning(settings: TrainingSettings) -> None:
    """Raise SaoError for settings of pruning that do not go with the method, or with each other."""
    method = TRAIN_METHODS[settings.method]
    _check_scored(settings)
    if settings.all_layers and not method.prunes:
        raise SaoError(f"all_layers is for methods that prune, and {settings.method!r} builds its masks; leave it out")
    if settings.isometry and not method.before:
        pruned = one_of(name for name, row in TRAIN_METHODS.items() if row.before)
        raise SaoError(f"isometry repairs what is pruned before training, by {pruned}, not by {settings.method!r}")
    if settings.isometry_steps is not None:
        require(settings.isometry_steps >= 1, "isometry_steps", settings.isometry_steps, "a whole number from 1")
        if not settings.isometry:
            raise SaoError(f"isometry_steps {settings.isometry_steps} are of isometry; ask for that too")


def _check_scored(settings: TrainingSettings) -> None:
    """The options of scores and densities, each of the methods that read it."""
    score, density = SCORES.get(settings.method), DENSITIES.get(settings.method)
    reads = {
        "prune_data": bool(score and score.data),
        "prune_samples": bool(score and score.data),
        "prune_labels": bool(score and score.data),
        "temperature": bool(score and score.data),
        "rounds": bool(score and score.rounds),
        "unit": bool(score and not score.rounds),
        "within": bool(density),
        "control": bool(score or density),
    }
    for name, read in reads.items():
        if getattr(settings, name) is not None and not read:
            raise SaoError(f"{name} {getattr(settings, name)} is not for method {settings.method!r}; leave it out")
    if (score or density) and settings.d is not None:
        raise SaoError(f"method {settings.method!r} compares all layers; give it a sparsity, as 0.9, and no degree")
    _check_fresh(settings, reads)
    for name in ("prune_samples", "rounds"):
        number = getattr(settings, name)
        require(number is None or number >= 1, name, number, "a whole number from 1")
    heat = settings.temperature
    require(heat is None or (math.isfinite(heat) and heat > 0), "temperature", heat, "a positive finite number")


def _check_fresh(settings: TrainingSettings, reads: dict[str, bool]) -> None:
    """What is drawn anew: the samples of each round, and the weights after scoring."""
    if settings.fresh_batches and not (reads["prune_samples"] and reads["rounds"]):
        of = one_of(name for name, row in SCORES.items() if row.data and row.rounds)
        raise SaoError(f"fresh_batches are of the rounds of {of}, and not of method {settings.method!r}; leave it out")
    if settings.fresh_batches and settings.prune_samples is None:
        raise SaoError("fresh_batches: prune_samples tells how many samples each round reads, as 100")
    if settings.fresh_weights and not reads["control"]:
        raise SaoError(f"fresh_weights are of scores and densities, and {settings.method!r} is none; leave it out")
    if settings.fresh_weights and settings.control == "fresh":
        raise SaoError("control fresh draws the weights anew already; leave fresh_weights out")
