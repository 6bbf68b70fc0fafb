"""Scores that need no data: magnitudes, and random numbers, which every score has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.rng import SCORES, generator
from sao_cli.data.arrays import Values


def magnitude_scores(weights: Sequence[NDArray[Any]], seed: int = 0) -> list[Values]:
    """|w| of each weight, float64 of its shape. O(P)."""
    return [np.abs(weight.astype(np.float64)) for weight in weights]


def random_scores(weights: Sequence[NDArray[Any]], seed: int = 0) -> list[Values]:
    """Independent uniform numbers from (0, 1], by `seed` and the place of the layer. O(P)."""
    return [1.0 - generator(seed, layer, SCORES).random(weight.shape) for layer, weight in enumerate(weights, 1)]
