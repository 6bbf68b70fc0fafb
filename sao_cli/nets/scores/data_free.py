"""Scores of a module that need no samples: magnitudes, and random numbers, which every score has to beat."""

from __future__ import annotations

import torch
from torch import nn

from sao_cli import catalog
from sao_cli.base.names import check
from sao_cli.nets.scores.score_tensors import Scores, per_unit, shapes_of
from sao_cli.nets.scores.scored_module import ScoredModule
from sao_cli.pruning.scores.magnitude import unit_magnitudes
from sao_cli.pruning.scores.plain import magnitude_scores, random_scores
from sao_cli.pruning.scores.score_record import ScoreFacts


def magnitude(model: nn.Module, batches: object = None, *, unit: str = "weight", biases: bool = False) -> Scores:
    """|w|, float64, by the name of the weight; of a kernel as one its root mean square. Batches are not read."""
    module = ScoredModule(model, biases=biases)
    arrays = [one.detach().cpu().numpy() for one in module.weights.values()]
    check("unit", unit, catalog.UNITS)
    sizes = magnitude_scores(arrays)
    if unit == "kernel":
        sizes = [unit_magnitudes(one) if one.ndim > 2 else one for one in sizes]
    scores = {name: torch.from_numpy(one) for name, one in zip(module.weights, sizes, strict=True)}
    return Scores(scores, ScoreFacts("magnitude", shapes_of(module.weights)))


def random(
    model: nn.Module, batches: object = None, *, unit: str = "weight", biases: bool = False, seed: int = 0
) -> Scores:
    """A uniformly random number from (0, 1] by `seed` for each weight, or for each kernel. Batches are not read."""
    module = ScoredModule(model, biases=biases)
    units = [one.detach().cpu().numpy() for one in per_unit(module.weights, unit).values()]
    drawn = [torch.from_numpy(one) for one in random_scores(units, seed)]
    return Scores(dict(zip(module.weights, drawn, strict=True)), ScoreFacts("random", shapes_of(module.weights)))
