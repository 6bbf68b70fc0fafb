"""The singular values of a stack of small matrices, all of them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Numbers = NDArray[Any]

SWEEPS = 8
MARGIN = 64 * np.finfo(np.float64).eps
ROUNDING = (np.finfo(np.float64).eps / 4) ** 2
NOTHING = 1e-38
SAFE = 1e-70
CHUNK = 2048
FEW = 1 / 100


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


def _by_qd(stack: Numbers):
    squares = _bidiagonal_squares(np.array(stack.transpose(1, 2, 0), order="C"))
    total = sum(squares[1:], squares[0])
    floor = NOTHING * total
    sure = (total > SAFE) & (total < 1 / SAFE)
    q = [np.maximum(one, floor) for one in squares[::2]]
    e = squares[1::2]
    tolerance = ROUNDING * total
    shifted = np.zeros_like(total)
    enough = len(total) * (1 - FEW)
    eigenvalues = []
    while len(q) > 2:
        done = _is_negligible(q, e, shifted, tolerance)
        for _ in range(SWEEPS):
            if np.count_nonzero(done) >= enough:
                break
            shift = _laguerre_shift(q, e)
            low = _sweep(q, e, shift, floor)
            shifted += shift
            sure &= low >= -MARGIN * shift
            done = _is_negligible(q, e, shifted, tolerance) | ~sure
        sure &= done
        eigenvalues.append(shifted + q.pop())
        e.pop()
    if len(q) == 2:
        trace = q[0] + e[0] + q[1]
        difference = q[0] + e[0] - q[1]
        larger = (trace + np.sqrt(difference * difference + 4 * e[0] * q[1])) / 2
        eigenvalues += [shifted + q[0] * q[1] / larger, shifted + larger]
    else:
        eigenvalues.append(q[0])
    values = np.sqrt(np.stack(eigenvalues, axis=1))
    values.sort(axis=1)
    return values[:, ::-1], sure


def _is_negligible(q, e, shifted, tolerance):
    return np.maximum(q[-1], e[-1]) * e[-1] <= tolerance * (shifted + q[-1])


def _laguerre_shift(q, e):
    n = len(q)
    inverse = 1 / q[0]
    sum_1, sum_2, below = inverse, inverse * inverse, 0.0
    diagonal, square = inverse, sum_2
    for i in range(1, n):
        inverse = 1 / q[i]
        ratio = e[i - 1] * inverse
        below = ratio * (below + square)
        diagonal = inverse + ratio * diagonal
        square = diagonal * diagonal
        sum_1 = sum_1 + diagonal
        sum_2 = sum_2 + (square + 2 * below)
    radicand = n * sum_2 - (1 - MARGIN) * sum_1 * sum_1
    return n / (sum_1 + np.sqrt((n - 1) * np.maximum(radicand, 0)))


def _sweep(q, e, shift, floor):
    d = q[0] - shift
    low = d
    for i in range(len(e)):
        d = np.maximum(d, floor)
        q[i] = d + e[i]
        ratio = q[i + 1] / q[i]
        e[i] = e[i] * ratio
        d = d * ratio
        d -= shift
        low = np.minimum(low, d)
    q[-1] = np.maximum(d, floor)
    return low


def _bidiagonal_squares(matrices):
    total = _squared_norms(matrices.reshape(-1, matrices.shape[2]))
    squares = []
    while len(matrices):
        first, others = matrices[:, 0], matrices[:, 1:]
        squares.append(_squared_norms(first))
        if len(first) > 1 and others.shape[1]:
            others = _reflected(first, squares[-1], others, NOTHING * total)
        matrices = others.swapaxes(0, 1)
    return squares


def _squared_norms(vectors):
    if vectors.dtype.kind == "c":
        return (vectors.real**2 + vectors.imag**2).sum(axis=0)
    return (vectors * vectors).sum(axis=0)


def _reflected(vector, square, others, floor):
    norm = np.sqrt(square)
    first = _squared_norms(vector[:1])
    size = np.sqrt(first)
    normal = vector.copy()
    normal[0] = np.where(first > NOTHING * square, vector[0] * (1 + norm / size), norm)
    factor = np.where(square > floor, 1 / (norm * (norm + size)), 0)
    products = (normal.conj()[:, None] * others).sum(axis=0)
    products *= factor
    others -= normal[:, None] * products
    return others
