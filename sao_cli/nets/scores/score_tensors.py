"""Scores by the names of weights, with what is known of how they came about."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sao_cli import catalog
from sao_cli.base.names import check
from sao_cli.nets.scores.scored_module import Weights


@dataclass(frozen=True)
class ScoreFacts:
    """How scores came about: the samples' mean `loss`, signed sums by weight, and the settings.

    `masks` are what an iterative method keeps at its `sparsity`, None of the others; `foresight` is sum |w g| behind
    them. `shapes` are the weights', from which those of scores differ where a unit is a kernel.
    """

    method: str
    shapes: dict[str, tuple[int, ...]]
    signed: dict[str, float] = field(default_factory=dict)
    loss: float | None = None
    samples: int | None = None
    labels: str | None = None
    temperature: float | None = None
    rounds: int | None = None
    sparsity: float | None = None
    training_mode: bool = False
    masks: dict[str, Tensor] | None = None
    foresight: float | None = None


class Scores(dict[str, Tensor]):
    """Scores by the name of the weight, float64, of which the largest are kept; `facts` tells how they came about."""

    facts: ScoreFacts

    def __init__(self, scores: dict[str, Tensor], facts: ScoreFacts) -> None:
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
