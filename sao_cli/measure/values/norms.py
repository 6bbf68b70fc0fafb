"""What the numbers of a matrix tell of its singular values in one pass: the Frobenius norm, and a bound from below."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.matrix import Matrix

PIECE = 2**20  # numbers looked at together


def frobenius_norm(numbers: NDArray[Any]) -> float:
    """sqrt(sum of squares) of all numbers of an array, in float64, without overflow and without a copy of them all.

    Each piece has an exponent of its own, so that one pass is enough. O(size).

    >>> frobenius_norm(np.full((2, 8), 1e200))
    4e+200
    """
    return float(np.hypot.reduce([_norm(piece.reshape(-1)) for piece in pieces(numbers)], initial=0.0))


def matrix_norm(weight: Matrix) -> float:
    """The Frobenius norm of a Matrix. O(nnz).

    >>> matrix_norm(Matrix.from_dense(np.ones((2, 8))))
    4.0
    """
    return math.sqrt(weight.mask.nnz) if weight.values is None else frobenius_norm(weight.values)


def longest_line(weight: Matrix) -> float:
    """The largest norm of a row or a column, which sigma_max is never below. O(nnz).

    >>> longest_line(Matrix.from_dense(np.array([[3.0, 4.0], [0.0, 1.0]])))
    5.0
    """
    mask, values = weight.mask, weight.values
    if values is None:
        return math.sqrt(max(int(mask.row_degrees.max()), int(mask.column_degrees.max())))
    peak = float(np.abs(values).max(initial=0.0)) or 1.0
    squares = np.square(values / peak)
    sums = (np.bincount(lines, squares).max(initial=0.0) for lines in (mask.entry_rows, mask.indices))
    return peak * math.sqrt(max(map(float, sums)))


def longest_line_of_array(dense: NDArray[Any]) -> float:
    """`longest_line` of a dense array (m, n), some of its rows at a time. O(m n)."""
    peak = max(float(dense.max()), -float(dense.min())) or 1.0
    rows, columns = 0.0, np.zeros(dense.shape[1])
    for piece in pieces(dense):
        scaled = piece.astype(np.float64)
        scaled /= peak
        rows = max(rows, float(np.einsum("ij,ij->i", scaled, scaled).max()))
        columns += np.einsum("ij,ij->j", scaled, scaled)
    return peak * math.sqrt(max(rows, float(columns.max())))


def pieces(numbers: NDArray[Any]) -> list[NDArray[Any]]:
    """Views of the array, some of its rows at a time."""
    step = max(1, PIECE // max(1, numbers[0].size if numbers.ndim > 1 else 1))
    return [numbers[start : start + step] for start in range(0, len(numbers), step)]


def _norm(numbers: NDArray[Any]) -> float:
    peak = max(float(numbers.max(initial=0.0)), -float(numbers.min(initial=0.0)))
    if not peak:
        return 0.0
    scaled = numbers.astype(np.float64)
    scaled /= peak
    return peak * math.sqrt(float(scaled @ scaled))
