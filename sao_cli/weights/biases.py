"""Biases of a network that begins with some: normal numbers, in streams of their own."""

import math

from sao_cli.base.errors import SaoError
from sao_cli.base.rng import BIASES, generator
from sao_cli.data.arrays import Values


def normal_biases(m: int, sigma_b: float, *, seed: int = 0, layer: int = 1) -> Values:
    """(m,) float64, N(0, sigma_b^2): the biases of that layer, which no weight of the same seed shares numbers with.

    Raises what check_sigma_b raises. O(m).

    >>> normal_biases(2, 0.0).shape
    (2,)
    """
    check_sigma_b(sigma_b)
    drawn: Values = sigma_b * generator(seed, layer, BIASES).standard_normal(m)
    return drawn


def check_sigma_b(sigma_b: float) -> None:
    """Raise SaoError unless `sigma_b` is a finite number from 0."""
    if not (math.isfinite(sigma_b) and sigma_b >= 0):
        raise SaoError(f"sigma_b {sigma_b}: the standard deviation of biases is a finite number from 0")
