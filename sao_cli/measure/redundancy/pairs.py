"""The pairs of vectors nearest to parallel or anti-parallel: blocked Gram products, and the last digits in float64."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import one_thread
from sao_cli.measure.redundancy.unit_vectors import FLOOR, Numbers, UnitVectors, Values
from sao_cli.measure.redundancy.unit_vectors import zero_vectors as zero_vectors

BLOCK = 1024  # vectors of a tile's side
MOST_TIES = 4096  # pairs of a strip that rounding can't tell apart and that are still looked at one by one

_EPS = float(np.finfo(np.float64).eps)
_PARALLEL = (16 * _EPS) ** 2  # a gap that the rounding of two unit vectors makes: exactly parallel
_ALIKE = 1 + 16 * _EPS  # norms within this ratio are equal
_GATHER = 2**20  # numbers of unit vectors held while gaps are taken


@dataclass(frozen=True, order=True)
class Pair:
    """Two vectors i < j: `cosine`, signed, and `gap` = 1 - |cosine| to float64's relative precision, with both norms.

    Pairs are ordered by gap, and equal ones by (i, j).

    >>> pair = nearest_pairs(np.array([[0.0, 3.0], [1.0, 0.0], [-2.0, 0.0]]))[0]
    >>> (pair.i, pair.j, pair.cosine, pair.kept, pair.ratio, pair.distance)
    (1, 2, -1.0, 1, -2.0, 0.0)
    """

    gap: float
    i: int
    j: int
    cosine: float
    norm_i: float
    norm_j: float

    @property
    def dropped(self) -> int:
        """The longer of the two; of equal norms the higher index."""
        return self.i if self.norm_i > self.norm_j * _ALIKE else self.j

    @property
    def kept(self) -> int:
        """The shorter of the two; of equal norms the lower index."""
        return self.j if self.dropped == self.i else self.i

    @property
    def ratio(self) -> float:
        """r, of either sign, with which r times the kept one is nearest to the dropped one: w_i.w_j / (w_j.w_j)."""
        kept, dropped = self._norms()
        return self.cosine * (dropped / kept)

    @property
    def distance(self) -> float:
        """||w_j|| sqrt(2 (1 - |cos|)), w_j the kept one: Eq. 13 of Lee et al., Appl. Sci. 2021, 11, 725."""
        return self._norms()[0] * math.sqrt(2 * self.gap)

    def _norms(self) -> tuple[float, float]:
        return (self.norm_j, self.norm_i) if self.dropped == self.i else (self.norm_i, self.norm_j)


def nearest_pairs(
    vectors: NDArray[Any],
    count: int = 1,
    *,
    floor: float = FLOOR,
    block: int = BLOCK,
    progress: Progress = silent,
) -> list[Pair]:
    """The `count` pairs of rows of `vectors`, (k, length), with the largest |cosine|, first the largest; fewer where
    there are no more.

    Rows whose norm is at most `floor` times the largest are left out: the direction of a vector that is nearly zero is
    noise. Equal gaps come by the smallest (i, j); gaps below (16 eps)^2, which rounding two unit vectors makes, are 0.

    The upper triangle of the Gram matrix of the unit vectors is taken a tile of `block` x `block` at a time, in float32
    where the numbers are stored in no more. What its rounding, (8 + 4 sqrt(length)) eps, leaves in question is decided
    by ||u_i -+ u_j||^2 / 2 in float64, so that the order is that of the float64 gaps. Where over 4,096 pairs of a
    strip are in question (exactly orthogonal or parallel vectors by the thousand) the strip is taken in float64; pairs
    that even that leaves equal, to some 1e-14 of cosine, are then ties, of which the first 4,096 are looked at.

    Raises FormatError for numbers that are not finite and for a count or block below 1, MemoryLimitError. k^2 length /
    2 multiply-adds; two blocks of vectors and a tile of memory, whatever k is.

    >>> [(pair.i, pair.j, round(pair.cosine, 6)) for pair in nearest_pairs(np.array([[1, 0], [1, 1], [0, -2.0]]), 2)]
    [(0, 1, 0.707107), (1, 2, -0.707107)]
    """
    if count < 1 or block < 1:
        raise FormatError(f"{count} pairs in blocks of {block}: both are at least 1")
    units = UnitVectors(vectors, floor)
    return _Search(units, count, block, progress).run() if len(units) > 1 else []


class _Search:
    """The running best pairs of a search over strips of the Gram matrix."""

    def __init__(self, units: UnitVectors, count: int, block: int, progress: Progress) -> None:
        self._units, self._count, self._block, self._progress = units, count, min(block, len(units)), progress
        self._most = max(MOST_TIES, 4 * count)
        self._precision = units.precision
        self._best: list[Pair] = []
        needed = 8.0 * self._block * (3 * self._block + 3 * units.length) + 64.0 * self._most
        require_memory(needed, f"the search for pairs among {len(units)} vectors of {units.length}")

    def run(self) -> list[Pair]:
        size = len(self._units)
        with one_thread(min(size, self._units.length)):
            for start in range(0, size, self._block):
                self._progress("comparing vectors", start, size)
                self._take(self._strip(start))
                if len(self._best) == self._count and self._best[-1].gap == 0:
                    break  # later pairs are parallel too at best, and come later
        return self._best

    def _strip(self, start: int) -> _Candidates:
        """Those of the rows `start : start + block` with all that follow, again in float64 where float32 can't tell."""
        found = self._scan(start)
        if found.many and self._precision == np.float32:
            self._precision = np.dtype(np.float64)
            found = self._scan(start)
        return found

    def _scan(self, start: int) -> _Candidates:
        size, block, precision = len(self._units), self._block, self._precision
        found = _Candidates(self._count, self._most, self._margin(), self._known())
        rows = self._units.block(start, min(size, start + block), precision)
        for left in range(start, size, block):
            columns = rows if left == start else self._units.block(left, min(size, left + block), precision)
            cosines = rows @ columns.T
            np.abs(cosines, out=cosines)
            if left == start:
                _keep_above_diagonal(cosines)
            found.add(cosines, start, left)
            if found.many and precision == np.float32:
                break
        return found

    def _margin(self) -> float:
        """What a product of unit vectors is off by: Higham and Mary, SISC 41, 2019 (sqrt(length) in the place of
        length), with room for sums of like terms, which BLAS splits into chunks."""
        return float((8 + 4 * math.sqrt(self._units.length)) * np.finfo(self._precision).eps)

    def _known(self) -> float:
        """|cosine| of the worst pair that is still among the best, to rounding; -1 while there are too few."""
        return 1 - self._best[-1].gap if len(self._best) == self._count else -1.0

    def _take(self, found: _Candidates) -> None:
        places = found.places()
        self._best = heapq.nsmallest(self._count, [*self._best, *self._pairs(places)])

    def _pairs(self, places: Numbers) -> Iterator[Pair]:
        step = max(1, _GATHER // max(1, self._units.length))
        for start in range(0, len(places), step):
            part = places[start : start + step]
            gaps, signs = _gaps(self._units.exact(part[:, 0]), self._units.exact(part[:, 1]))
            for (i, j), gap, sign in zip(self._units.live[part].tolist(), gaps.tolist(), signs.tolist(), strict=True):
                cosine = sign * max(0.0, 1 - gap)
                yield Pair(gap, i, j, cosine, float(self._units.norms[i]), float(self._units.norms[j]))


def _keep_above_diagonal(cosines: NDArray[Any]) -> None:
    """-1 in the places of a square tile that are no pairs i < j: by slices, a fifth of the time that indices take."""
    for number, row in enumerate(cosines):
        row[: number + 1] = -1.0


def _gaps(first: Values, second: Values) -> tuple[Values, Values]:
    """1 - |cos| of each two unit vectors from their difference, which has no cancellation, and the sign of cos."""
    signs = np.where(np.einsum("ij,ij->i", first, second) < 0, -1.0, 1.0)
    second *= signs[:, None]
    first -= second
    gaps = np.square(first, out=first).sum(axis=1) / 2
    gaps[gaps <= _PARALLEL] = 0.0
    return gaps, signs


class _Candidates:
    """The pairs of a strip that may be among its `count` nearest, as far as a Gram product off by `margin` tells."""

    def __init__(self, count: int, most: int, margin: float, known: float) -> None:
        self._count, self._most, self._margin, self._known = count, most, margin, known
        self._values = np.empty(0)
        self._places = np.empty((0, 2), np.int64)
        self.many = False
        """Whether more than `most` were in question."""

    def add(self, cosines: NDArray[Any], top: int, left: int) -> None:
        """Take those of a tile whose first row and column are the vectors `top` and `left`."""
        peaks = cosines.max(axis=1)
        rows = np.flatnonzero(peaks >= self._least(peaks))
        if not len(rows):
            return
        picked = cosines[rows]
        at, columns = np.nonzero(picked >= self._least(peaks))
        values, places = picked[at, columns], np.stack((rows[at] + top, columns + left), axis=1)
        kept = self._first(values)
        self._values = np.concatenate((self._values, values[kept]))
        self._places = np.concatenate((self._places, places[kept]))
        self._prune()

    def places(self) -> Numbers:
        """(found, 2) the two vectors of each, in row-major order."""
        return self._places

    def _least(self, values: NDArray[Any]) -> float:
        """What a pair must come to: less than `values` and those that there are already allow by their rounding."""
        known = self._known - self._margin
        together = np.concatenate((self._values, values))
        if len(together) >= self._count:
            known = max(known, self._nth(together) - 2 * self._margin)
        return max(known, 0.0)  # no less: -1 marks the places that are no pairs

    def _nth(self, values: NDArray[Any]) -> float:
        return float(np.partition(values, -self._count)[-self._count])

    def _prune(self) -> None:
        """Drop what later values have ruled out, and order the others row by row."""
        keep = self._values >= self._least(np.empty(0))
        order = np.lexsort((self._places[keep, 1], self._places[keep, 0]))
        values, places = self._values[keep][order], self._places[keep][order]
        first = self._first(values)
        self._values, self._places = values[first], places[first]

    def _first(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the values, row by row, to keep: all, or of more than `most` those that are certainly among the
        nearest and the first of those that count as ties."""
        if len(values) <= self._most:
            return np.ones(len(values), np.bool_)
        self.many = True
        above = values > self._nth(values) + 2 * self._margin
        return above | (np.cumsum(~above) <= self._most - np.count_nonzero(above))
