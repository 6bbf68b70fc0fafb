"""The passes over n-vectors that make a Lanczos step with a mask on a grid: numpy's, or compiled (extra `fast`).

Both do the same operations in the same order, so that results are the same bits. Sums of products go by lanes:
every LANES-th number is added to one of LANES sums, and numpy adds these up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.compiled import compiled, is_worth_it
from sao_cli.measure.krylov.gather import product_of, unrolled_degree, unsigned

Vector = NDArray[np.float64]
Grid = NDArray[np.int64]

LANES = 1024  # float64 sums that stay in the first-level cache beside what is added to them


class Recurrence(Protocol):
    """The passes of a step; vectors are (N,), and what a name with `_` takes first is overwritten."""

    def image_(self, previous: Vector, beta: float, current: Vector, grid: Grid, unit: float) -> float:
        """previous := unit M M^T grid - beta previous; its product with `current`."""
        ...

    def remove_(self, following: Vector, current: Vector, alpha: float, mean: float) -> tuple[float, float]:
        """following := following - alpha current - mean; its squared norm, and its largest absolute value."""
        ...

    def scale_(self, following: Vector, beta: float, grid: Grid, unit: float) -> int:
        """following := following / beta, and `grid` the nearest whole multiples of `unit`; the sum of these."""
        ...


def recurrence_of(matrix: Any, transposed: Any) -> Recurrence:
    """The passes with the csr_arrays M (N, longer side) and M^T of int64 ones."""
    chosen = CompiledRecurrence if is_worth_it(matrix.nnz) else PlainRecurrence
    return chosen(matrix, transposed)


class PlainRecurrence:
    """The passes by scipy's products and numpy."""

    def __init__(self, matrix: Any, transposed: Any) -> None:
        self._matrix, self._transposed = matrix, transposed

    def image_(self, previous: Vector, beta: float, current: Vector, grid: Grid, unit: float) -> float:
        image = (self._matrix @ (self._transposed @ grid)).astype(np.float64)
        image *= unit
        previous *= beta
        np.subtract(image, previous, out=previous)
        return lane_sum(np.multiply(previous, current, out=image))

    def remove_(self, following: Vector, current: Vector, alpha: float, mean: float) -> tuple[float, float]:
        product = current * alpha
        following -= product
        following -= mean
        square = lane_sum(np.multiply(following, following, out=product))
        return square, max(float(following.max()), -float(following.min()))

    def scale_(self, following: Vector, beta: float, grid: Grid, unit: float) -> int:
        following /= beta
        steps = following * (1 / unit)  # a power of two, so that nothing but rint rounds
        np.rint(steps, out=steps)
        grid[:] = steps
        return int(grid.sum())


class CompiledRecurrence:
    """The passes by compiled loops: a vector is read and written half as often."""

    def __init__(self, matrix: Any, transposed: Any) -> None:
        self._lift = product_of(transposed)
        self._indptr, self._indices = unsigned(matrix.indptr), unsigned(matrix.indices)
        self._image = _image(unrolled_degree(matrix.indptr))

    def image_(self, previous: Vector, beta: float, current: Vector, grid: Grid, unit: float) -> float:
        lanes = np.zeros(LANES)
        self._image(self._indptr, self._indices, self._lift(grid), previous, beta, current, unit, lanes)
        return float(lanes.sum())

    def remove_(self, following: Vector, current: Vector, alpha: float, mean: float) -> tuple[float, float]:
        lanes, peaks = np.zeros(LANES), np.zeros(LANES)
        _remove()(following, current, alpha, mean, lanes, peaks)
        return float(lanes.sum()), float(peaks.max())

    def scale_(self, following: Vector, beta: float, grid: Grid, unit: float) -> int:
        return int(_scale()(following, beta, grid, 1 / unit))


def lane_sum(x: Vector) -> float:
    """The sum of x (N,), by lanes."""
    lanes, whole = np.zeros(LANES), len(x) // LANES * LANES
    x[:whole].reshape(-1, LANES).sum(axis=0, out=lanes)
    lanes[: len(x) - whole] += x[whole:]
    return float(lanes.sum())


@functools.cache
def _image(degree: int) -> Callable[..., None]:
    def image(
        indptr: Any, indices: Any, lifted: Any, previous: Any, beta: float, current: Any, unit: float, lanes: Any
    ) -> None:
        sums = np.empty(LANES)
        for start in range(0, len(previous), LANES):
            before, here = previous[start : start + LANES], current[start : start + LANES]
            for lane in range(len(here)):
                row, total = start + lane, 0
                for one in range(degree):
                    total += lifted[indices[row * degree + one]]
                if degree == 0:
                    for place in range(indptr[row], indptr[row + 1]):
                        total += lifted[indices[place]]
                sums[lane] = float(total)
            for lane in range(len(here)):
                before[lane] = following = sums[lane] * unit - beta * before[lane]
                lanes[lane] += following * here[lane]

    return compiled(image)


@functools.cache
def _remove() -> Callable[..., None]:
    def remove(following: Any, current: Any, alpha: float, mean: float, lanes: Any, peaks: Any) -> None:
        for start in range(0, len(following), LANES):
            after, here = following[start : start + LANES], current[start : start + LANES]
            for lane in range(len(here)):
                after[lane] = value = after[lane] - alpha * here[lane] - mean
                lanes[lane] += value * value
                size = abs(value)
                peaks[lane] = size if size > peaks[lane] else peaks[lane]

    return compiled(remove)


@functools.cache
def _scale() -> Callable[..., int]:
    def scale(following: Any, beta: float, grid: Any, per_unit: float) -> Any:
        total = np.int64(0)
        for i in range(len(following)):
            value = following[i] / beta
            following[i] = value
            steps = np.int64(np.rint(value * per_unit))
            grid[i] = steps
            total += steps
        return total

    return compiled(scale)
