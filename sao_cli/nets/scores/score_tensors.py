"""Scores by the names of weights, with what is known of how they came about."""

from __future__ import annotations

import torch
from torch import Tensor

from sao_cli import catalog
from sao_cli.base.names import check
from sao_cli.nets.scores.scored_module import Weights
from sao_cli.pruning.scores.score_record import ScoreFacts


class Scores(dict[str, Tensor]):
    """Scores by the name of the weight, float64, of which the largest are kept; `facts` tells how they came about."""

    facts: ScoreFacts[Tensor]

    def __init__(self, scores: dict[str, Tensor], facts: ScoreFacts[Tensor]) -> None:
        super().__init__(scores)
        self.facts = facts


def per_unit(products: Weights, unit: str) -> Weights:
    """Derivatives by one c each number, or by one c each 2-D kernel: the signed sum over its taps."""
    check("unit", unit, catalog.UNITS)
    if unit == "weight":
        return products
    return {name: one.flatten(2).sum(dim=2) if one.ndim > 2 else one for name, one in products.items()}


def shapes_of(weights: Weights) -> dict[str, tuple[int, ...]]:
    """The weights' shapes, by name."""
    return {name: tuple(one.shape) for name, one in weights.items()}


def signed_sums(products: Weights) -> dict[str, float]:
    """The sum of dL/dc over each weight: equal for all layers of a relu network without biases."""
    return {name: float(one.sum(dtype=torch.float64)) for name, one in products.items()}
