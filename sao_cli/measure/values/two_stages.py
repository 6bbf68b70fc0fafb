"""Gram matrices and eigenvalues of thousands of rows and columns, in place and by products of matrices alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sao_cli.measure.values.blas_in_place import subtract_rank_2k, symmetric_product

Values = NDArray[np.float64]

LARGE = 3000  # rows from which two stages are sooner done, and scipy's import does not show
_WIDTH = 48  # of the band: wider ones cost more in the second stage than the first one gains
_TOGETHER = 2 * _WIDTH  # columns whose updates are made at once
_ROWS = 256  # of one block that is mirrored while it is in the cache


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
    last = len(matrix) - _WIDTH
    for start in range(0, last, _TOGETHER):
        _narrow(matrix, range(start, min(start + _TOGETHER, last), _WIDTH))


def _narrow(matrix: Values, starts: range) -> None:
    """Some panels, whose updates A - V Z^T - Z V^T wait for the last of them: wide ones run at the rate of products."""
    first = starts[0] + _WIDTH
    vectors, images = (np.zeros((len(matrix) - first, len(starts) * _WIDTH)) for _ in range(2))
    done = 0
    for start in starts:
        end = start + _WIDTH
        v, z = vectors[:, :done], images[:, :done]
        if done:
            own = slice(start - first, end - first)
            matrix[start:, start:end] -= v[own.start :] @ z[own].T + z[own.start :] @ v[own].T
        panel, v, z = matrix[end:, start:end], v[end - first :], z[end - first :]
        reflectors, folded, corner = _reflectors(panel)
        panel[:] = 0
        panel[: len(corner)] = corner
        image = symmetric_product(matrix[end:, end:], folded).T
        image -= v @ (folded @ z).T + z @ (folded @ v).T
        image -= reflectors @ (0.5 * (folded @ image))
        new = slice(done, done + reflectors.shape[1])
        vectors[end - first :, new], images[end - first :, new] = reflectors, image
        done += _WIDTH
    subtract_rank_2k(matrix[end:, end:], vectors[end - first :], images[end - first :])


def _reflectors(panel: Values) -> tuple[Values, Values, Values]:
    """V, (V T)^T and R of panel = Q [R; 0] with Q = I - V T V^T; T^-1 = striu(V^T V) + diag(1 / tau)."""
    packed, tau = np.linalg.qr(panel, mode="raw")
    packed, count = packed.T, len(tau)
    vectors = np.tril(packed[:, :count], -1)
    np.fill_diagonal(vectors, 1.0)
    vectors[:, tau == 0] = 0  # no reflection, whose T is then any number
    inverse = np.triu(vectors.T @ vectors, 1)
    np.fill_diagonal(inverse, 1 / np.where(tau == 0, 1, tau))
    folded = np.linalg.inv(inverse).T @ vectors.T
    return vectors, folded, np.triu(packed[:count])


def _whole(lower: Values) -> Values:
    """A small symmetric matrix of its lower triangle."""
    return np.tril(lower) + np.tril(lower, -1).T
