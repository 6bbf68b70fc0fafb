"""The singular values of a stack of small matrices, all of them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[Any]

CHUNK = 2048  # matrices at once, whose numbers stay in a processor's second cache
SWEEPS = 8  # a singular value takes three to five; what takes more is left to LAPACK
FEW = 1 / 64  # LAPACK has these at less than the price of another sweep of all
SAFE = 1e-70  # of the squared norm: its fourth power times NOTHING squared does not underflow, nor overflow

_EPSILON = float(np.finfo(np.float64).eps)
_NEGLIGIBLE = (_EPSILON / 2) ** 2
_NOTHING = 1e-38  # (1e-3 eps)^2: what it moves squared values by moves none by more than 1e-3 eps of the norm


def small_singular_values(stack: Numbers) -> Values:
    count, height, width = stack.shape
    if height < width:
        stack = stack.swapaxes(1, 2)
    values = np.empty((count, min(height, width)))
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        with np.errstate(all="ignore"):
            values[part], sure = _by_qd(stack[part])
        if not sure.all():
            rest = start + np.flatnonzero(~sure)
            values[rest] = np.linalg.svd(stack[rest], compute_uv=False)
    return values


def _by_qd(stack: Numbers) -> tuple[Values, Flags]:
    q, e = _bidiagonal(np.array(stack.transpose(1, 2, 0), order="C"))
    k = len(q)
    total = q.sum(axis=0) + e.sum(axis=0)
    sure = (total > SAFE) & (total < 1 / SAFE)
    floor = _NOTHING * total
    np.maximum(q, floor, out=q)
    negligible = _NEGLIGIBLE * total
    shifted = np.zeros_like(total)
    squares = np.empty((len(total), k))
    for n in range(k, 2, -1):
        sure &= _converged(q[:n], e[: n - 1], shifted, negligible, floor, sure)
        squares[:, n - 1] = shifted + q[n - 1]
    if k == 1:
        squares[:, 0] = q[0]
    else:
        larger = _larger_of_two(q[0], e[0], q[1])
        squares[:, 0] = shifted + larger
        squares[:, 1] = shifted + q[0] * q[1] / larger
    values = np.sqrt(squares, out=squares)
    values.sort(axis=1)
    return values[:, ::-1], sure


def _larger_of_two(q, e, last):
    difference = q + e - last
    return (q + e + last + np.sqrt(difference * difference + 4 * e * last)) / 2


def _converged(q, e, shifted, negligible, floor, sure):
    enough = (1 - FEW) * len(shifted)
    for sweep in range(SWEEPS + 1):
        done = np.maximum(q[-1], e[-1]) * e[-1] <= negligible * (shifted + q[-1])
        if np.count_nonzero(done) >= enough or sweep == SWEEPS:
            break
        shift = _laguerre_shift(q, e)
        sure &= _sweep(q, e, shift, floor) >= -2 * _EPSILON * shift
        shifted += shift
    return done & sure


def _laguerre_shift(q: Values, e: Values) -> Values:
    n = len(q)
    diagonal = 1 / q
    ratio = e * diagonal[1:]
    step = np.empty_like(ratio[0])
    for i in range(1, n):
        diagonal[i] += np.multiply(ratio[i - 1], diagonal[i - 1], out=step)
    trace = diagonal.sum(axis=0)
    diagonal *= diagonal
    below = diagonal[0] * ratio[0]
    squares = diagonal.sum(axis=0)
    for i in range(1, n):
        squares += np.multiply(below, 2, out=step)
        if i < n - 1:
            below += diagonal[i]
            below *= ratio[i]
    radicand = (n * (n - 1)) * squares
    np.multiply(trace, trace, out=step)
    step *= (n - 1) * (1 - 16 * _EPSILON)
    radicand -= step
    np.maximum(radicand, 0, out=radicand)
    trace += np.sqrt(radicand, out=radicand)
    return np.divide(n, trace, out=trace)


def _sweep(q: Values, e: Values, shift: Values, floor: Values) -> Values:
    d = q[0] - shift
    least = d.copy()
    ratio = np.empty_like(d)
    for i in range(len(e)):
        np.maximum(d, floor, out=d)
        np.add(d, e[i], out=q[i])
        np.divide(q[i + 1], q[i], out=ratio)
        e[i] *= ratio
        d *= ratio
        d -= shift
        np.minimum(least, d, out=least)
    np.maximum(d, floor, out=q[-1])
    return least


def _bidiagonal(matrices: Numbers) -> tuple[Values, Values]:
    height, width, count = matrices.shape
    squares = np.zeros((2 * width, count))
    work = np.empty_like(matrices).reshape(-1)
    small = _NOTHING * _squared_norms(matrices.reshape(height * width, count), work)
    for square in squares:
        if not len(matrices):
            break
        first, others = matrices[:, 0], matrices[:, 1:]
        square[:] = _squared_norms(first, work)
        if len(first) > 1 and others.size:
            _reflect(first, square, others, small, work)
        matrices = others.swapaxes(0, 1)
    return squares[::2], squares[1:-1:2]


def _squared_norms(vectors, work):
    parts = work[: vectors.size].reshape(vectors.shape)
    np.multiply(vectors, vectors.conj() if vectors.dtype.kind == 'c' else vectors, out=parts)
    return parts.real.sum(axis=0)


def _reflect(vector, square, others, small, work) -> None:
    norm = np.sqrt(square)
    first = _squared_norms(vector[:1], work)
    size = np.sqrt(first)
    vector[0] = np.where(first > _NOTHING * square, vector[0] * (1 + norm / size), norm)
    factor = np.where(square > small, 1 / (norm * (norm + size)), 0)
    terms = work[: others.size].reshape(others.shape)
    products = np.multiply(vector.conj()[:, None], others, out=terms).sum(axis=0)
    products *= factor
    others -= np.multiply(vector[:, None], products, out=terms)
