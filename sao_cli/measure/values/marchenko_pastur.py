"""The Marchenko-Pastur law of the singular values of a random matrix, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.errors import FormatError

Values = NDArray[np.float64]


@dataclass(frozen=True)
class MarchenkoPastur:
    """The limiting law of the min(m, n) singular values of an (m, n) matrix of iid entries, mean 0 and `variance`.

    Marchenko and Pastur (Math. USSR Sbornik 1, 1967), in the variable s instead of s^2 / (variance max(m, n)): with
    q = min(m, n) / max(m, n), zeros that only the longer side has are not counted, and q = 1 gives the quarter
    circle. Raises FormatError for a size below 1, and a variance that is not a positive finite number.

    >>> law = MarchenkoPastur(100, 400, 0.25)
    >>> law.support, law.cdf([5.0, 15.0])
    ((5.0, 15.0), array([0., 1.]))
    """

    m: int
    n: int
    variance: float

    def __post_init__(self) -> None:
        if min(self.m, self.n) < 1:
            raise FormatError(f"a matrix of {self.m} x {self.n}; a layer needs at least one output and one input")
        if not 0 < self.variance < math.inf:
            raise FormatError(f"variance {self.variance:g}; the entries need a variance that is finite and above 0")

    @property
    def support(self) -> tuple[float, float]:
        """(lower, upper): the edges sqrt(variance) |sqrt(n) -+ sqrt(m)|, between which all of the law lies."""
        total, deviation = math.sqrt(self.m) + math.sqrt(self.n), math.sqrt(self.variance)
        return deviation * (abs(self.n - self.m) / total), deviation * total  # no difference of near roots

    def pdf(self, x: ArrayLike) -> Values:
        """The density at each x, float64 of the same shape; 0 outside the support. O(len(x)).

        sqrt((upper^2 - x^2) (x^2 - lower^2)) / (pi variance min(m, n) x).
        """
        given = np.asarray(x, dtype=np.float64)
        lower, upper = self.support
        s = np.clip(given, lower, upper)
        ratio = np.divide(lower, s, out=np.zeros_like(s), where=s > 0)
        deviation = math.sqrt(self.variance)
        root = np.sqrt(upper - s) * np.sqrt(upper + s) * np.sqrt((1 - ratio) * (1 + ratio)) / deviation
        outside = (given < lower) | (given > upper)
        density: Values = np.where(outside, 0.0, root / (math.pi * min(self.m, self.n) * deviation))
        return density

    def cdf(self, x: ArrayLike) -> Values:
        """P(singular value <= x) at each x, float64 of the same shape, right to some eps / sqrt(q). O(len(x)).

        In a triangle of sides 1, r = sqrt(q) and x / sqrt(variance max(m, n)), with gamma, phi and psi the angles
        opposite the last, the second and the first of them: 1 - psi/pi - (phi - r sin gamma) / (pi q). It is the
        usual sum of two arcsines and a root, without their loss of half of the digits at the edges.
        """
        given = np.asarray(x, dtype=np.float64)
        lower, upper = self.support
        s = np.clip(given, lower, upper)
        half = np.arctan2(np.sqrt(s - lower) * np.sqrt(s + lower), np.sqrt(upper - s) * np.sqrt(upper + s))  # gamma / 2
        r = math.sqrt(min(self.m, self.n) / max(self.m, self.n))
        height = r * np.sin(2 * half)
        phi = np.arctan2(height, 2 * lower / (lower + upper) + 2 * r * np.sin(half) ** 2)
        psi = math.pi - 2 * half - phi
        share: Values = 1 - (psi + (phi - height) / (r * r)) / math.pi
        return np.clip(share, 0.0, 1.0)


def singular_value_law(m: int, n: int, variance: float) -> MarchenkoPastur:
    """The law of the singular values of an (m, n) matrix with iid entries of mean 0 and `variance`; see there.

    >>> singular_value_law(256, 256, 1 / 256).support
    (0.0, 2.0)
    """
    return MarchenkoPastur(m, n, variance)
