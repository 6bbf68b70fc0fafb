"""The one rule by which scored weights of a network stay: exactly so many, the largest, the first among equals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Booleans, Values
from sao_cli.pruning.keep import at_or_above

Bits = NDArray[np.uint64]

SHIFTS = (43, 22, 0)  # of the 64 bits of a score: 21, 21 and 22 at once, so that a first histogram takes 16 MB
HELD = 2**23  # scores that are held at once to find the exact one among them
_SIGN = np.uint64(1 << 63)


class Ranked(NamedTuple):
    """The scores of one weight: `read` makes the `units` of them, each of which stands for `size` numbers."""

    read: Callable[[], Values]
    units: int
    size: int = 1
    name: str = "a weight"

    def bits(self) -> Bits:
        """(units,) 64 bits that are ordered as the scores are. Raises FormatError where one is not finite."""
        scores = np.asarray(self.read(), dtype=np.float64).reshape(-1)
        if not np.isfinite(scores).all():
            wrong = scores[~np.isfinite(scores)][0]
            told = f"the scores of {self.name} hold {wrong}, and they choose what is kept"
            raise FormatError(f"{told}; each must be finite")
        bits = (scores + 0.0).view(np.uint64)  # by which -0 is 0
        return np.where(bits & _SIGN, ~bits, bits | _SIGN)


@dataclass(frozen=True)
class Threshold:
    """The least score that is kept of several weights, and of how many units of each that have just that one.

    `dropped` units have it and are not kept; `count` numbers are.
    """

    score: float
    ties: tuple[int, ...]
    dropped: int
    count: int

    def kept(self, number: int, scores: Values) -> Booleans:
        """Which units are kept of weight `number`, from 0, in the shape of its scores; of equal ones the first."""
        return at_or_above(scores.reshape(-1), self.score, self.ties[number]).reshape(scores.shape)


def global_threshold(weights: Sequence[Ranked], count: int, *, progress: Progress = silent) -> Threshold:
    """The Threshold by which the largest scores of all weights together keep `count` numbers, or just under.

    Of equal scores the first are kept, by weight and then row by row, as long as they fit: where all sizes are 1,
    exactly `count` are. Scores are made one weight at a time, once where there are up to 2**23, and else twice or so:

    as order statistics by radix: doubles are ordered as 64 bits of them are, so a histogram of the first 21 tells in
    which of its cells the threshold is. Where that has over 2**23 units it is split by a histogram of the next bits.
    Then it is looked for in what the cell holds. O(numbers), by partition.

    Raises InfeasibleError unless 1 <= count <= the numbers that there are, or where not one unit fits, FormatError for
    NaN or infinity, SaoError where all scores are 0, since what is kept would then be no choice.

    >>> first, second = np.array([[1.0, 4.0]]), np.array([[4.0, 2.0]])
    >>> global_threshold([Ranked(lambda: first, 2), Ranked(lambda: second, 2)], 2)
    Threshold(score=4.0, ties=(1, 1), dropped=0, count=2)
    """
    total = sum(one.units * one.size for one in weights)
    if not 1 <= count <= total:
        raise InfeasibleError(f"no pruning of {total} weights keeps {count}; it keeps 1 of them at least")
    cell, units, left = _Cell(0, 64), sum(one.units for one in weights), count
    for shift in SHIFTS:
        if units <= HELD:
            break
        cell, units, left = _narrowed(cell, shift, weights, left, progress)
    return _within(cell, weights, left, count)


class _Cell(NamedTuple):
    """The scores whose bits are those of `first`, but for the last `shift` of them."""

    first: int
    shift: int

    def inside(self, bits: Bits) -> Bits:
        if self.shift == 64:
            return bits
        found: Bits = bits[bits >> np.uint64(self.shift) == np.uint64(self.first >> self.shift)]
        return found


def _narrowed(
    cell: _Cell, shift: int, weights: Sequence[Ranked], left: int, progress: Progress
) -> tuple[_Cell, int, int]:
    """The part of the cell, of scores alike but for their last `shift` bits, where the threshold is.

    With its units, and how many numbers are left to keep of it.
    """
    counts = np.zeros(1 << (cell.shift - shift), np.int64)
    units = counts.copy()
    for number, one in enumerate(weights):
        progress("comparing scores, weights", number, len(weights))
        places = (cell.inside(one.bits()) >> np.uint64(shift) & np.uint64(len(counts) - 1)).view(np.int64)
        np.add.at(units, places, 1)  # as bincount would, and no histogram of each of many small weights
        np.add.at(counts, places, one.size)
    above = np.cumsum(counts[::-1])[::-1] - counts  # numbers in all cells of larger scores
    chosen = int(np.flatnonzero((above < left) & (counts > 0))[0])
    return _Cell(cell.first | chosen << shift, shift), int(units[chosen]), left - int(above[chosen])


def _within(cell: _Cell, weights: Sequence[Ranked], left: int, count: int) -> Threshold:
    """The threshold in `cell`, of whose units `left` numbers are kept, of `count` in all."""
    found = [cell.inside(one.bits()) for one in weights]
    sizes = [one.size for one in weights]
    level = _level(found, sizes, left)
    equal = [int(np.count_nonzero(own == level)) for own in found]
    if _score(level) == 0 and sum(equal) == sum(one.units for one in weights):
        raise SaoError(f"all {sum(equal)} scores are 0, so they choose nothing; take other samples, labels or weights")
    left -= sum(size * int(np.count_nonzero(own > level)) for size, own in zip(sizes, found, strict=True))
    ties = []
    for size, there in zip(sizes, equal, strict=True):
        ties.append(min(there, left // size))
        left -= ties[-1] * size
    if left == count:
        size = next(size for size, there in zip(sizes, equal, strict=True) if there)
        raise InfeasibleError(f"{count} numbers are to be kept, and the first kernel has {size}")
    dropped = sum(equal) - sum(ties) if any(ties) else 0  # else the least that is kept is larger
    return Threshold(_score(level), tuple(ties), dropped, count - left)


def _level(found: Sequence[Bits], sizes: Sequence[int], left: int) -> np.uint64:
    """The largest bits such that the numbers of units that have these or larger are `left` at least."""
    flat = np.concatenate(found)
    if len(set(sizes)) == 1:
        place = len(flat) - -(-left // sizes[0])
        return np.uint64(np.partition(flat, place)[place])
    order = np.argsort(flat)[::-1]
    numbers = np.cumsum(np.repeat(sizes, [len(own) for own in found])[order])
    return np.uint64(flat[order[np.searchsorted(numbers, left)]])


def _score(bits: np.uint64) -> float:
    plain = bits ^ _SIGN if bits & _SIGN else ~bits
    return float(np.array([plain], np.uint64).view(np.float64)[0])
