"""A matrix that is kept as two factors, and never as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.arrays import Values
from sao_cli.data.precision import PRECISIONS, precision_of

_PIECE = 2**20  # numbers of the product at once


@dataclass(frozen=True, eq=False)
class Product:
    """The (m, n) matrix `left` @ `right` of arrays (m, r) and (r, n), of real numbers.

    >>> Product(np.ones((3, 1)), np.ones((1, 2))).shape
    (3, 2)
    """

    left: NDArray[Any]
    right: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return self.left.shape[0], self.right.shape[1]

    @property
    def dtype(self) -> str:
        """The precision of the coarser factor."""
        return max(map(precision_of, (self.left.dtype, self.right.dtype)), key=lambda dtype: PRECISIONS[dtype])

    @property
    def transposed(self) -> Product:
        """The (n, m) matrix."""
        return Product(self.right.T, self.left.T)

    def pieces(self) -> Iterator[Values]:
        """Some rows at a time, from the first on, in float64. O(m n r)."""
        right = self.right.astype(np.float64)
        step = max(1, _PIECE // max(1, right.shape[1]))
        for start in range(0, len(self.left), step):
            yield self.left[start : start + step].astype(np.float64) @ right
