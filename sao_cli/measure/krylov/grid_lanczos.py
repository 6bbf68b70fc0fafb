"""The Lanczos process of a mask whose vectors are rounded to a grid, on which products with the mask are exact."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from sao_cli.data.mask import Mask
from sao_cli.measure.krylov.lanczos import UNIT_ROUNDOFF, Gram, Lanczos, Vector
from sao_cli.measure.krylov.recurrence import recurrence_of

_SMALL = 2.0**-10  # of A's norm: a vector that is longer has 2^-40 of its length along the vector of ones at most


class GridGram(Gram):
    """The Gram operator of a mask, whose ones are whole numbers: sums of whole numbers are exact."""

    def __init__(self, mask: Mask) -> None:
        super().__init__(mask, np.ones(mask.nnz, np.int64))

    def unit(self, peak: float) -> float:
        """The grid's, a power of two as fine as the sums leave room for, for entries of no more than `peak`."""
        return math.ldexp(1.0, math.frexp(peak)[1] - self._bits)

    def roundoff(self, norm: float, peak: float) -> float:
        """As of Gram: sums are exact, and q is off by half a unit in each entry, which the eigenvalue multiplies."""
        return norm * (8 * UNIT_ROUNDOFF + math.sqrt(self.size) * peak * math.ldexp(1.0, -self._bits))

    @cached_property
    def _bits(self) -> int:
        """Of the largest entry on the grid: no sum of a product may pass 2^62."""
        return 62 - math.ceil(math.log2(self.row_sum))


class GridLanczos(Lanczos):
    """The process, whose step takes three passes over its vectors (`Recurrence`), and two products of whole numbers.

    What a step leaves along the vector of ones is known before it is taken, from sums of whole numbers: A multiplies
    it by its row sum c d. So no pass is needed to remove it, but where little else is left than rounding.
    """

    def __init__(self, gram: GridGram, start: Vector) -> None:
        super().__init__(gram, start)
        self._gram: GridGram = gram
        self._passes = recurrence_of(gram.matrix, gram.transposed)
        self._grid = np.empty(gram.size, np.int64)
        self._mean = self._mean_before = 0.0
        self._land(1.0, max(float(start.max()), -float(start.min())))

    def step(self) -> None:
        gram, beta = self._gram, self.betas[-1] if self.betas else 0.0
        following = self._previous
        alpha = self._passes.image_(following, beta, self.current, self._grid, self._unit)
        mean = (gram.row_sum - alpha) * self._mean - beta * self._mean_before if gram.uniform else 0.0
        square, largest = self._passes.remove_(following, self.current, alpha, mean)
        if gram.direction is not None or square < (_SMALL * gram.row_sum) ** 2:
            gram.project_(following)
            square, largest = self._passes.remove_(following, self.current, 0.0, 0.0)
        self._previous, self.current = self.current, following
        self.alphas.append(alpha)
        self.betas.append(math.sqrt(square))
        self._mean_before = self._mean
        self._land(math.sqrt(square) or 1.0, largest)

    def _land(self, beta: float, largest: float) -> None:
        """`current` by `beta`, and on the grid; division keeps the order, so that the largest entry is known."""
        self.peak = max(self.peak, largest / beta)
        self._unit = self._gram.unit(largest / beta)
        self._mean = self._unit * self._passes.scale_(self.current, beta, self._grid, self._unit) / self._gram.size
