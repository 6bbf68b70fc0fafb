"""Columns chosen one after another, each the farthest from the span of those before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.measure.values.by_array import gram_matrix

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]

WIDE = 2  # columns a row up to which the Gram matrix of the columns costs no more than QR

_EPS = float(np.finfo(np.float64).eps)
_RESOLVED = 1e3  # times the rounding of a Gram matrix: residuals whose squares are that large are told by it


def pivoted_columns(dense: NDArray[Any], tau: float, gram: Values | None = None) -> Numbers:
    """The columns of a dense (m, n) array that QR with column pivoting takes, in their order, until none is left whose
    distance from the span of those taken is `tau` or more.

    By LAPACK's pivoted Cholesky of the Gram matrix, which takes the same columns at a fifth of the time, where its
    rounding, n 2^-53 sigma_max^2, is far below tau^2 and columns are at most twice the rows; `gram` is that matrix,
    where it is there, and is left as it is. Else by geqp3. MemoryLimitError. O(m n min(m, n)).

    >>> pivoted_columns(np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.1]]), 0.5).tolist()
    [1]
    """
    if dense.shape[1] > WIDE * dense.shape[0] or not dense.size:
        return _by_qr(dense, tau)
    gram = gram_matrix(dense) if gram is None else gram
    diagonal = np.diag(gram)
    if tau**2 < _RESOLVED * len(gram) * _EPS * float(diagonal.sum()):  # the trace, which sigma_max^2 is at most
        return _by_qr(dense, tau)
    return _by_cholesky(gram, float(diagonal.max()), tau)


def _by_cholesky(gram: Values, largest: float, tau: float) -> Numbers:
    from scipy.linalg.lapack import dpstrf

    if largest < tau**2:  # which LAPACK asks of the second pivot on
        return np.empty(0, np.int64)
    require_memory(16.0 * gram.size, f"the pivoted Cholesky factor of {len(gram)} columns")
    _, pivots, count, _ = dpstrf(gram, tol=math.nextafter(tau**2, 0.0))
    chosen: Numbers = pivots[:count].astype(np.int64) - 1
    return chosen


def _by_qr(dense: NDArray[Any], tau: float) -> Numbers:
    from scipy.linalg import qr

    if not dense.size:
        return np.empty(0, np.int64)
    require_memory(24.0 * dense.size, f"the pivoted QR of {dense.shape[0]} x {dense.shape[1]}")
    factor, pivots = qr(np.array(dense, np.float64, order="F"), mode="r", pivoting=True, overwrite_a=True)
    distances = np.abs(np.diag(factor))
    chosen: Numbers = pivots[: np.count_nonzero(distances >= tau)].astype(np.int64)
    return chosen
