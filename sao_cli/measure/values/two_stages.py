"""Gram matrices and eigenvalues of thousands of rows and columns, in place and by products of matrices alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LARGE = 3000  # rows from which two stages are sooner done, and scipy's import does not show
_WIDTH = 48  # of the band: wider ones cost more in the second stage than the first one gains
_ROWS = 256  # of one block: what is taken from it is in the cache when it is used


def add_gram(gram: Values, piece: Values) -> None:
    """Add W^T W to the lower triangle, at least, of a C-ordered (n, n) `gram`, for a (k, n) piece W. O(k n^2)."""
    if len(gram) < LARGE:
        gram += piece.T @ piece
        return
    from scipy.linalg.blas import dsyrk

    dsyrk(1.0, piece.T, beta=1.0, c=gram.T, overwrite_c=True)


def mirror(gram: Values) -> None:
    """Write the lower triangle into the upper one. O(n^2)."""
    for start in range(0, len(gram), _ROWS):
        end = start + _ROWS
        gram[:start, start:end] = gram[start:end, :start].T
        gram[start:end, start:end] = _whole(gram[start:end, start:end])


def symmetric_eigenvalues(matrix: Values) -> Values:
    """(n,) the eigenvalues, ascending, of a symmetric (n, n) matrix, from its lower triangle, which may be overwritten.

    From LARGE rows by two stages (Bischof, Lang, Sun, ACM TOMS 26, 2000): panels of Householder reflectors make the
    matrix banded, and LAPACK's sbevd does the rest. Each stage is backward stable, so that eigenvalues are off by a
    modest multiple of 2^-53 times the largest, as LAPACK's of the matrix itself. That one reads the whole matrix once a
    column; the first stage reads it once a panel, which takes two thirds of the time. O(n^3).

    >>> symmetric_eigenvalues(np.array([[2.0, 1.0], [1.0, 2.0]]))
    array([1., 3.])
    """
    if len(matrix) < LARGE:
        return np.linalg.eigvalsh(matrix).astype(np.float64, copy=False)
    from scipy.linalg import eigvals_banded

    _make_banded(matrix)
    band = np.zeros((_WIDTH + 1, len(matrix)))
    for below in range(_WIDTH + 1):
        band[below, : len(matrix) - below] = np.diagonal(matrix, -below)
    values: Values = eigvals_banded(band, lower=True, overwrite_a_band=True, check_finite=False)
    return values


def _make_banded(matrix: Values) -> None:
    """Q^T A Q with _WIDTH diagonals below the main one, in the place of A's lower triangle."""
    for start in range(0, len(matrix) - _WIDTH, _WIDTH):
        end = start + _WIDTH
        panel, rest = matrix[end:, start:end], matrix[end:, end:]
        reflectors, folded, corner = _reflectors(panel)
        panel[:] = 0
        panel[: len(corner)] = corner
        image = _product(rest, folded)
        image -= reflectors @ (0.5 * (folded.T @ image))
        left, right = np.hstack((image, reflectors)), np.vstack((reflectors.T, image.T))
        for row in range(0, len(rest), _ROWS):
            rest[row : row + _ROWS, : row + _ROWS] -= left[row : row + _ROWS] @ right[:, : row + _ROWS]


def _reflectors(panel: Values) -> tuple[Values, Values, Values]:
    """V, V T and R of panel = Q [R; 0] with Q = I - V T V^T; T^-1 = striu(V^T V) + diag(1 / tau)."""
    packed, tau = np.linalg.qr(panel, mode="raw")
    packed, count = packed.T, len(tau)
    vectors = np.tril(packed[:, :count], -1)
    np.fill_diagonal(vectors, 1.0)
    vectors[:, tau == 0] = 0  # no reflection, whose T is then any number
    inverse = np.triu(vectors.T @ vectors, 1)
    np.fill_diagonal(inverse, 1 / np.where(tau == 0, 1, tau))
    folded = np.ascontiguousarray(np.linalg.solve(inverse.T, vectors.T).T)
    return vectors, folded, np.triu(packed[:count])


def _product(lower: Values, columns: Values) -> Values:
    """A X for the symmetric A of this lower triangle, which is read once."""
    product = np.zeros_like(columns)
    for start in range(0, len(lower), _ROWS):
        end = start + _ROWS
        block = lower[start:end]
        product[:start] += block[:, :start].T @ columns[start:end]
        product[start:end] += block[:, :start] @ columns[:start]
        product[start:end] += _whole(block[:, start:end]) @ columns[start:end]
    return product


def _whole(lower: Values) -> Values:
    """A small symmetric matrix of its lower triangle."""
    return np.tril(lower) + np.tril(lower, -1).T
