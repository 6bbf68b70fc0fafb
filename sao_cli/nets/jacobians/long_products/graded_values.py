"""Singular values of a matrix whose rows have scales past the range of float64, by Jacobi and without overflow."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError

Values = NDArray[np.float64]

JACOBI_BITS = 400  # of range within one Jacobi SVD: squares of all numbers stay inside float64
SVD_BITS = 40  # of range within which an ordinary SVD is tried first
SVD_ERROR = 2.0**-46  # a value of the logarithms, at which it is taken


def graded_log2_singular_values(right: Values, exponents: NDArray[np.int64]) -> tuple[Values, Values]:
    """(r,) base-2 logarithms, descending, of the singular values of D T = diag(2^exponents) `right`, and kappa.

    `right`, T, is (r, n) of full row rank, r <= n. With its rows scaled to norm 1 its condition number is the last of
    kappa (r,) (LAPACK's estimate in the 1-norm), after those of the rows with the largest exponents alone; the values'
    relative error is a modest multiple of eps kappa, whatever the exponents are (Demmel and Veselic, SIAM J. Matrix
    Anal. Appl. 13, 1992, 1204). First T^T D = Q R D; then unshifted QR steps on R D, transposed each time (Stewart's
    QLP, SIAM J. Sci. Comput. 20, 1999, 1336), until its parts have decoupled to eps / r wherever they span more than
    2^400; then each part by a one-sided Jacobi SVD, or by an ordinary one where that gives the right determinant,
    seven times as fast at r = 1024. O(n r^2).

    >>> values, condition = graded_log2_singular_values(np.array([[3.0, 4.0], [4.0, -3.0]]), np.array([5000, -5000]))
    >>> (values - math.log2(5)).round(9), condition.round(9)
    (array([ 5000., -5000.]), array([1., 1.]))
    """
    from scipy.linalg.lapack import dgecon

    if not len(right):
        return np.empty(0), np.empty(0)
    shift = np.frexp(np.linalg.norm(right, axis=1))[1]
    order = np.argsort(-(exponents + shift), kind="stable")
    rows = np.ldexp(right, -shift[:, None])[order]
    upper = _triangle(rows.T)
    values: Values = np.sort(_parted(upper, (exponents + shift)[order]))[::-1]
    shares = np.maximum(1.0, np.linalg.norm(rows, axis=1) / np.abs(np.diagonal(upper)))
    shares = np.maximum.accumulate(shares)  # of leading blocks, about
    whole = 1 / dgecon(upper, np.linalg.norm(upper, 1))[0]  # as of L U with L = 1: scipy has dtrcon from 1.15 on
    beside = max(1.0, whole / shares[-1])
    return values, shares * np.minimum(shares, beside)


def _triangle(matrix: Values) -> Values:
    upper: Values = np.linalg.qr(matrix, mode="r")  # type: ignore[assignment]  # numpy's stubs tell of "reduced" alone
    return upper


def _parted(upper: Values, exponents: NDArray[np.int64]) -> Values:
    """Base-2 logarithms of the singular values of upper diag(2^exponents), in no order."""
    size = len(exponents)
    while True:
        lower, exponents = _transposed(upper, exponents)
        cuts = [0, *_cuts(lower), size]
        parts = [slice(start, end) for start, end in itertools.pairwise(cuts)]
        if len(parts) > 1:
            return np.concatenate([_part(lower[part, part], exponents[part]) for part in parts])
        if np.ptp(exponents) <= JACOBI_BITS:
            return _part(lower, exponents)
        upper = _triangle(lower)


def _part(lower: Values, exponents: NDArray[np.int64]) -> Values:
    bits, middle = int(np.ptp(exponents)), (exponents.max() + exponents.min()) // 2
    if bits > JACOBI_BITS:
        return _parted(_triangle(lower), exponents)
    scaled = np.ldexp(lower, exponents - middle)
    values = _checked_singular_values(scaled) if bits <= SVD_BITS else None
    logarithms: Values = np.log2(_jacobi_singular_values(scaled) if values is None else values) + middle
    return logarithms


def _checked_singular_values(lower: Values) -> Values | None:
    """The singular values of a triangle by an ordinary SVD, None where their product is not its determinant.

    An SVD of graded columns mostly has a far smaller error than eps sigma_max, but need not: an error E changes
    the sum of the values' logarithms by trace(X^-1 E), which small values that are wrong make large.
    """
    values = np.asarray(np.linalg.svd(lower, compute_uv=False), dtype=np.float64)
    if values[-1] <= 0:
        return None
    error = float(np.log(values).sum() - np.log(np.abs(np.diagonal(lower))).sum())
    return values if math.fabs(error) <= SVD_ERROR * len(values) else None


def _jacobi_singular_values(matrix: Values) -> Values:
    from scipy.linalg.lapack import dgejsv

    # joba=0 ("C") is relatively accurate for graded columns; scipy's default, 4 ("A"), makes small values 0.
    # jobu=jobv=3: no vectors; jobr=jobt=jobp=0: keep small columns, don't transpose, don't perturb.
    values, _, _, work, _, info = dgejsv(matrix, joba=0, jobu=3, jobv=3, jobr=0, jobt=0, jobp=0)
    if info:
        raise SaoError(f"the Jacobi SVD of {matrix.shape[0]} x {matrix.shape[1]} gave up ({info}); is it finite?")
    scaled: Values = values * (work[0] / work[1])
    return scaled


def _transposed(upper: Values, exponents: NDArray[np.int64]) -> tuple[Values, NDArray[np.int64]]:
    """The transpose of upper diag(2^exponents), scaled by columns again: a lower triangle and its exponents.

    Its diagonal is about 1; what underflows below it is smaller than the column's rounding.
    """
    scale = exponents + np.frexp(np.abs(np.diagonal(upper)))[1]
    steps = np.clip(exponents[:, None] - scale[None, :], -2000, 2000)
    return np.tril(np.ldexp(upper.T, steps)), scale


def _cuts(lower: Values) -> list[int]:
    """Where a lower triangle falls apart: nothing left of and below the cut exceeds eps / size."""
    tails = np.maximum.accumulate(np.abs(lower)[::-1], axis=0)[::-1]  # the largest below, a column
    corners = np.maximum.accumulate(tails, axis=1)  # and left
    within = corners[np.arange(1, len(lower)), np.arange(len(lower) - 1)] <= 2.0**-52 / len(lower)
    return [int(cut) + 1 for cut in np.flatnonzero(within)]
