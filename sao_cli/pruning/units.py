"""What pruning compares and drops as one: the numbers of a matrix, the whole 2-D kernels of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import InfeasibleError
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Mask
from sao_cli.pruning.keep import Places, keep_largest

Bits = NDArray[np.int64]

SHIFTS = (43, 22, 0)  # of the 63 bits of a magnitude: 20, 21 and 22 at once, so that a first histogram takes 8 MB
HELD = 2**23  # units whose magnitudes are held at once to find the exact one among them


def largest_units(magnitudes: Values, count: int) -> Mask:
    """The mask of the `count` largest of `magnitudes` (m, n); of equal ones the first are kept, row by row. O(m n).

    >>> largest_units(np.array([[1.0, 3.0], [2.0, 2.0]]), 2).to_dense().astype(int)
    array([[0, 1],
           [1, 0]])
    """
    return mask_of_places(keep_largest(magnitudes.reshape(-1), count), magnitudes.shape)


def mask_of_places(places: Places, shape: tuple[int, ...]) -> Mask:
    """The (m, n) mask with ones at the ascending `places`, counted row by row."""
    m, n = shape
    return Mask.from_entries(*np.divmod(places, n), (m, n))


def keep_units(weight: NDArray[Any], mask: Mask) -> NDArray[Any]:
    """A copy of `weight` (m, n, ...) with zeros wherever `mask` has none; its dtype stays. O(size).

    The mask is (m, n), of whole units, or (m, n taps), of all numbers.

    >>> keep_units(np.ones((1, 2), dtype=np.float16), Mask.from_dense([[0, 1]]))
    array([[0., 1.]], dtype=float16)
    """
    each = mask.n * mask.m == weight.size
    kept = mask.to_dense().reshape(weight.shape if each else (*mask.shape, *[1] * (weight.ndim - 2)))
    return np.where(kept, weight, weight.dtype.type(0))


@dataclass(frozen=True)
class Threshold:
    """The least magnitude that is kept of several weights, and of how many units of each that have just that one."""

    magnitude: float
    ties: tuple[int, ...]

    def mask(self, number: int, magnitudes: Values) -> Mask:
        """The mask of what is kept of weight `number`, from 0; of equal magnitudes the first, row by row."""
        flat = magnitudes.reshape(-1)
        kept = flat > self.magnitude
        kept[np.flatnonzero(flat == self.magnitude)[: self.ties[number]]] = True
        return mask_of_places(np.flatnonzero(kept), magnitudes.shape)


def global_threshold(
    magnitudes: Sequence[Callable[[], Values]], sizes: Sequence[int], kept: int, *, progress: Progress = silent
) -> Threshold:
    """The Threshold by which the largest magnitudes of all weights together keep `kept` numbers, or just under.

    Each of `magnitudes` is called some times and makes those of one weight, so that one is in memory at a time; a unit
    of weight l takes sizes[l] numbers. Of equal magnitudes the first are kept, by weight and then row by row, as long
    as they fit: where all sizes are 1, exactly `kept` are.

    As order statistics by radix: magnitudes are ordered as their 63 bits are, so a histogram of the first 20 tells in
    which of its cells the threshold is. Where that has over 2**23 units it is split by a histogram of the next bits.
    Then what is in it is sorted. Two passes over the weights; three or four from some billions of units on, or where
    many are equal. O(numbers).

    Raises InfeasibleError unless 1 <= kept <= the numbers that there are.

    >>> found = global_threshold([lambda: np.array([[1.0, 4.0]]), lambda: np.array([[4.0, 2.0]])], [1, 1], 2)
    >>> found
    Threshold(magnitude=4.0, ties=(1, 1))
    """
    cell, left = _Cell(0, 63), kept
    for shift in SHIFTS:
        counts = np.zeros(1 << (cell.shift - shift), np.int64)
        units = counts.copy()
        for number, (make, size) in enumerate(zip(magnitudes, sizes, strict=True)):
            progress("comparing magnitudes, weights", number, len(sizes))
            found = np.bincount(cell.inside(make()) >> shift & len(counts) - 1, minlength=len(counts))
            units += found
            counts += size * found
        if cell.shift == 63 and not 1 <= kept <= counts.sum():
            raise InfeasibleError(f"no pruning of {counts.sum()} weights keeps {kept}; it keeps 1 of them at least")
        above = np.cumsum(counts[::-1])[::-1] - counts  # numbers in all cells of larger magnitudes
        chosen = int(np.flatnonzero((above < left) & (counts > 0))[0])
        left -= int(above[chosen])
        cell = _Cell(cell.first | chosen << shift, shift)
        if units[chosen] <= HELD:
            break
    return _within(cell, magnitudes, sizes, left)


@dataclass(frozen=True)
class _Cell:
    """The magnitudes whose bits are those of `first`, but for the last `shift` of them."""

    first: int
    shift: int

    def inside(self, magnitudes: Values) -> Bits:
        bits = np.ascontiguousarray(magnitudes).reshape(-1).view(np.int64)
        return bits if self.shift == 63 else bits[bits >> self.shift == self.first >> self.shift]


def _within(cell: _Cell, magnitudes: Sequence[Callable[[], Values]], sizes: Sequence[int], left: int) -> Threshold:
    """The threshold in `cell`, of whose units `left` numbers are kept."""
    found = [np.unique(cell.inside(make()), return_counts=True) for make in magnitudes]
    bits = np.concatenate([own for own, _ in found])
    numbers = np.concatenate([size * counts for size, (_, counts) in zip(sizes, found, strict=True)])
    levels, which = np.unique(bits, return_inverse=True)
    totals = np.bincount(which.reshape(-1), numbers, len(levels)).astype(np.int64)
    above = np.cumsum(totals[::-1])[::-1] - totals
    chosen = int(np.flatnonzero(above < left)[0])
    left -= int(above[chosen])
    ties = []
    for size, (own, counts) in zip(sizes, found, strict=True):
        there = int(counts[own == levels[chosen]].sum())
        ties.append(min(there, left // size))
        left -= ties[-1] * size
    return Threshold(float(levels[chosen : chosen + 1].view(np.float64)[0]), tuple(ties))
