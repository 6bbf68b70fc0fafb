"""The singular values of a stack of small matrices, all of them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[Any]

MOST_COLUMNS, MOST_TALL = 8, 4  # columns, and rows a column, of the matrices for which this pays
FEWEST = 128  # matrices for each of their columns from which on it does
CHUNK_BYTES = 2**21  # of matrices at once: fewer would cost more calls, more would leave the processor's caches
SWEEPS = 6  # for one singular value, which takes three to five; LAPACK has what takes more
FEW = 1 / 32  # of the matrices: LAPACK has the last of them sooner than another sweep of all has
SAFE = 1e-70  # the least squared norm, and the inverse of the largest, whose squares neither under- nor overflow

_EPSILON = float(np.finfo(np.float64).eps)
_NOTHING = 1e-38  # of the squared norm: to move an eigenvalue so far moves no singular value by 1e-3 eps of the norm
_TINY = 1e-200  # a squared norm, of part of a matrix whose own is past SAFE, that may as well be 0


def small_singular_values(stack: Numbers) -> Values:
    """(batch, min(height, width)) the singular values, descending, of (batch, height, width) numbers.

    Large batches of small matrices are brought to bidiagonal form by Householder reflections, and have their values
    by the qd algorithm with differences and shifts (dqds: Fernando and Parlett, Numer. Math. 67, 1994), each step for
    all matrices at once. The shift is Laguerre's, which never passes an eigenvalue, from the traces of the inverse and
    of its square (von Matt, SIAM J. Sci. Comput. 18, 1997, has it for qd), and the last two values a closed form. Any
    matrix that is not done after SWEEPS, whose shift passed its least eigenvalue by rounding, that is 0, not finite,
    or whose norm is not within SAFE has LAPACK's SVD, as have small batches, large matrices, and numbers of other types
    than float64 and complex128.

    Errors are a few eps sigma_max, as LAPACK's. O(batch height width min(height, width)), at a fifth of LAPACK's time
    for thousands of complex 4 x 4, and memory for CHUNK_BYTES four times besides the values.

    >>> small_singular_values(np.array([[[3.0, 0.0], [4.0, 5.0]]])).round(6).tolist()
    [[6.708204, 2.236068]]
    """
    if stack.shape[1] < stack.shape[2]:
        stack = stack.swapaxes(1, 2)  # LAPACK's QR first, for tall ones, takes half the time of its LQ
    count, height, width = stack.shape
    pays = 2 <= width <= MOST_COLUMNS and height <= MOST_TALL * width and count >= FEWEST * width
    if not pays or stack.dtype.char not in "dD":
        return np.linalg.svd(stack, compute_uv=False).astype(np.float64, copy=False)
    area = height * width
    chunk = min(count, CHUNK_BYTES // (area * stack.itemsize))
    values = np.empty((count, width))
    buffers = np.empty((3, chunk * area), dtype=stack.dtype)
    for start in range(0, count, chunk):
        part = slice(start, start + chunk)
        with np.errstate(all="ignore"):
            values[part], good = _by_qd(*_bidiagonal(stack[part], buffers))
        rest = start + np.flatnonzero(~good)
        values[rest] = np.linalg.svd(stack[rest], compute_uv=False)
    return values


def _bidiagonal(stack: Numbers, buffers: Numbers) -> tuple[Values, Values]:
    """(k, batch) and (k - 1, batch) the squares of the diagonals of an upper bidiagonal form of each matrix.

    A column is reflected onto its first entry, and then, of what is left, a row, which transposed is a column again.
    """
    count, height, width = stack.shape
    matrices, terms, conjugates = buffers[:, : stack.size]
    matrices = matrices.reshape(height, width, count)
    matrices[...] = stack.transpose(1, 2, 0)
    squares = np.zeros((2 * width - 1, count))
    for square in squares:
        column, others = matrices[:, 0], matrices[:, 1:]
        row = np.conjugate(column, out=conjugates[: column.size].reshape(column.shape))
        parts = np.multiply(column, row, out=terms[: column.size].reshape(column.shape)).real
        parts.sum(axis=0, out=square)
        if len(column) > 1 and others.size:
            norm, size = np.sqrt(square), np.sqrt(parts[0])
            column[0] = np.where(parts[0] > _NOTHING * square, column[0] * (1 + norm / size), norm)
            np.conjugate(column[0], out=row[0])
            reflected = (column[0] * row[0]).real + parts[1:].sum(axis=0)  # as rounded: it stays unitary
            factor = np.where(square > _TINY, 2 / reflected, 0)
            space = terms[: others.size].reshape(others.shape)
            products = np.multiply(row[:, None], others, out=space).sum(axis=0)
            products *= factor
            others -= np.multiply(column[:, None], products, out=space)
        matrices = others.swapaxes(0, 1)
    return squares[::2], squares[1::2]


def _by_qd(q: Values, e: Values) -> tuple[Values, Flags]:
    """(batch, k) the singular values of the bidiagonal matrices, descending, and which of them are to be trusted."""
    total = q.sum(axis=0) + e.sum(axis=0)
    good = (total > SAFE) & (total < 1 / SAFE)
    floor = _NOTHING * total
    np.maximum(q, floor, out=q)
    shifted = np.zeros_like(total)
    squares = np.empty((len(total), len(q)))
    for last in range(len(q) - 1, 1, -1):
        good &= _converge(q[: last + 1], e[:last], shifted, floor, (_EPSILON / 2) ** 2 * total)
        squares[:, last] = shifted + q[last]
    trace, difference = q[0] + e[0] + q[1], q[0] + e[0] - q[1]
    larger = (trace + np.sqrt(difference * difference + 4 * e[0] * q[1])) / 2
    squares[:, 0] = shifted + larger
    squares[:, 1] = shifted + q[0] * q[1] / larger
    values = np.sqrt(squares, out=squares)
    values.sort(axis=1)
    return values[:, ::-1], good


def _converge(q: Values, e: Values, shifted: Values, floor: Values, negligible: Values) -> Flags:
    """Sweep until the last value stands alone for all but a FEW, and tell for which it does.

    Without the last of `e` the matrix differs by e and sqrt(q e), and so its eigenvalues by no more.
    """
    good = np.ones(len(shifted), dtype=np.bool_)
    for sweep in range(SWEEPS + 1):
        done = np.maximum(q[-1], e[-1]) * e[-1] <= negligible * (shifted + q[-1])
        if sweep == SWEEPS or np.count_nonzero(done) >= (1 - FEW) * len(done):
            break
        shift = _laguerre_shift(q, e)
        good &= _sweep(q, e, shift, floor) >= -2 * _EPSILON * shift
        shifted += shift
    return np.asarray(good & done)


def _laguerre_shift(q: Values, e: Values) -> Values:
    """A lower bound on the least eigenvalue of B B^T, without differences but one, which is rounded down.

    The diagonal of its inverse is f_j = (1 + e_{j-1} f_{j-1}) / q_j, and the squares above it in column j sum to
    g_j = (e_{j-1} / q_j) (g_{j-1} + f_{j-1}^2).
    """
    n = len(q)
    diagonal = 1 / q
    ratio = e * diagonal[1:]
    step = np.empty_like(ratio[0])
    for i in range(1, n):
        diagonal[i] += np.multiply(ratio[i - 1], diagonal[i - 1], out=step)
    trace = diagonal.sum(axis=0)
    diagonal *= diagonal
    squares = diagonal.sum(axis=0)
    above = np.zeros_like(step)
    for i in range(1, n):
        above += diagonal[i - 1]
        above *= ratio[i - 1]
        squares += np.multiply(2, above, out=step)
    spread = n * (n - 1) * squares - (n - 1) * (1 - 16 * _EPSILON) * trace * trace
    return np.asarray(n / (trace + np.sqrt(np.maximum(spread, 0))))


def _sweep(q: Values, e: Values, shift: Values, floor: Values) -> Values:
    """One step of dqds in place; the least of its d, which rounding alone makes negative."""
    d = q[0] - shift
    least, ratio = d.copy(), np.empty_like(d)
    for i in range(len(e)):
        np.maximum(d, floor, out=d)
        np.add(d, e[i], out=q[i])
        np.divide(q[i + 1], q[i], out=ratio)
        e[i] *= ratio
        d *= ratio
        d -= shift
        np.minimum(least, d, out=least)
    np.maximum(d, floor, out=q[-1])
    return np.asarray(least)
