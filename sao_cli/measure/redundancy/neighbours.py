"""Which two of many vectors are nearest to parallel, while one after the other is joined to its neighbour."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Booleans, Values
from sao_cli.measure.redundancy.pairs import Pair
from sao_cli.measure.redundancy.unit_vectors import UnitVectors

_BLOCK = 1024  # vectors of a tile's side
_HELD = 8192  # vectors whose Gram matrix is held: half a gigabyte
_WIDER = 16  # times 1 - |cos| that a pair may have is what vectors are near at: four times the angle
_ROUNDING = 1e-13  # of a cosine that is a product of two unit vectors
_PARALLEL = (16 * float(np.finfo(np.float64).eps)) ** 2  # a gap that the rounding of two unit vectors makes
_NONE = -1.0


class Neighbours:
    """The nearest admissible pair of `vectors` (k, length) float64, which the caller changes as pairs are joined.

    Admissible are 1 - |cos| <= tau_cos with ||w_j|| sqrt(2 (1 - |cos|)) <= tau_euc, w_j the shorter; ties are the
    first in row-major order. One Gram matrix in float32, a tile at a time, finds those vectors that have another one
    within four times the angle, and only they are looked at from then on: their cosines are held in float64, where
    they are 8,192 or fewer, and a joined vector's are sums of those of the two; of more each joined one costs a product
    of all with it. For each vector its nearest of those that follow is known, and looked for again, where that one was
    joined, when it comes to be the nearest pair of all.

    A vector that was joined so often that it is more than three times the angle from all that it began as may have come
    near to one that nobody was near to: `drifted` says so, and another search finds it.
    """

    def __init__(self, vectors: Values, tau_cos: float, tau_euc: float, progress: Progress = silent) -> None:
        self._all, self._tau_cos, self._tau_euc, self._progress = vectors, tau_cos, tau_euc, progress
        self.alive: Booleans = np.ones(len(vectors), dtype=np.bool_)
        self.joined, self.drifted = 0, False
        self._near = near_vectors(vectors, _WIDER * tau_cos, progress)
        count = len(self._near)
        held = count if count <= _HELD else 0
        require_memory(8.0 * (count * (vectors.shape[1] + _BLOCK) + held * held), f"the cosines of {count} vectors")
        self._norms, self._limits, self._drift = np.zeros(count), np.zeros(count), np.zeros(count)
        self._units = np.zeros((count, vectors.shape[1]))
        self._measure(np.arange(count))
        self._live: Booleans = self._norms > 0
        self._cosines = self._units @ self._units.T if held else None
        self._refused: set[tuple[int, int]] = set()
        self._stale = np.zeros(count, dtype=np.bool_)
        self._best = np.full(count, _NONE)
        self._partner = np.zeros(count, dtype=np.int64)
        self._fill()

    def nearest(self) -> Pair | None:
        """The admissible pair with the largest |cos|, of the vectors as they are now; None where there is none."""
        while len(self._best) and self._best[i := int(self._best.argmax())] > _NONE:
            if not self._stale[i]:
                pair = self._pair(i, int(self._partner[i]))
                if pair.gap <= self._tau_cos and pair.distance <= self._tau_euc:
                    return replace(pair, i=int(self._near[pair.i]), j=int(self._near[pair.j]))
                self._refused.add((pair.i, pair.j))  # which the rounding of the product let through
            self._look_again(i)
        return None

    def join(self, kept: int, dropped: int, parts: tuple[float, float]) -> None:
        """Take note that `dropped` is gone, and `kept` is now parts[0] times that one and parts[1] times itself."""
        self.joined += 1
        self.alive[dropped] = False
        kept, dropped = (int(np.searchsorted(self._near, one)) for one in (kept, dropped))
        self._live[dropped], self._best[dropped] = False, _NONE
        self._refused = {pair for pair in self._refused if kept not in pair and dropped not in pair}
        norms, before = self._norms[[dropped, kept]], self._units[kept].copy()
        self._measure(np.array([kept]))
        self._follow(kept, dropped, before)
        if self._cosines is not None:
            of_dropped, of_kept = np.multiply(parts, norms) / self._norms[kept]
            cosines = of_dropped * self._cosines[dropped] + of_kept * self._cosines[kept]
            self._cosines[kept], self._cosines[:, kept] = cosines, cosines
        scores = self._scores(kept, 0)
        self._stale |= (self._partner == kept) | (self._partner == dropped)
        nearer = (scores > self._best) | ((scores == self._best) & (kept < self._partner))
        nearer[kept:] = False
        nearer &= scores > _NONE
        self._best[nearer], self._partner[nearer], self._stale[nearer] = scores[nearer], kept, False
        self._take(kept, scores[kept + 1 :])

    def _follow(self, kept: int, dropped: int, before: Values) -> None:
        """Let the drift be that of the new unit vector at `kept`, which was `before`."""
        unit, other = self._units[kept], self._units[dropped]
        ways = (self._drift[kept] + _angle(unit, before), self._drift[dropped] + _angle(unit, other))
        self._drift[kept] = min(ways)
        room = (math.sqrt(_WIDER) - 1) * math.sqrt(2 * self._tau_cos)  # below the angle, whose cosine is 1 - tau_cos
        self.drifted |= len(self._near) < len(self._all) and self._drift[kept] > room

    def _measure(self, places: NDArray[np.int64]) -> None:
        """Norms, unit vectors, and the largest 1 - |cos| that the distance allows of a longer one, of some vectors."""
        chosen = self._all[self._near[places]]
        self._norms[places] = norms = norms_of(chosen)
        norms = np.where(norms > 0, norms, 1.0)
        self._units[places] = chosen / norms[:, None]
        with np.errstate(over="ignore"):
            self._limits[places] = np.square(self._tau_euc / norms) / 2

    def _fill(self) -> None:
        """The nearest of those that follow, for all vectors, a tile of the Gram matrix at a time."""
        count = len(self._units)
        for top in range(0, count, _BLOCK):
            rows = slice(top, top + _BLOCK)
            for left in range(top, count, _BLOCK):
                columns = slice(left, left + _BLOCK)
                held = None if self._cosines is None else self._cosines[rows, columns]
                cosines = np.abs(self._units[rows] @ self._units[columns].T if held is None else held)
                if left == top:
                    cosines[np.tril_indices(len(cosines))] = _NONE
                self._fill_from(cosines, top, left)

    def _fill_from(self, cosines: Values, top: int, left: int) -> None:
        near = np.flatnonzero(cosines.max(axis=1) >= 1 - self._tau_cos - _ROUNDING)
        if not len(near):
            return
        places = near + top
        limits = np.maximum(self._limits[places, None], self._limits[left : left + cosines.shape[1]])
        scores = _admitted(cosines[near], np.minimum(limits, self._tau_cos))
        columns = scores.argmax(axis=1)
        values = scores[np.arange(len(near)), columns]
        nearer = values > self._best[places]
        self._best[places[nearer]], self._partner[places[nearer]] = values[nearer], columns[nearer] + left

    def _look_again(self, i: int) -> None:
        scores = self._scores(i, i + 1)
        for first, second in self._refused:
            if first == i:
                scores[second - i - 1] = _NONE
        self._take(i, scores)

    def _take(self, i: int, scores: Values) -> None:
        """Let the best of `scores`, of the vectors that follow vector i, be its nearest."""
        self._stale[i], self._best[i] = False, _NONE
        if len(scores):
            j = int(scores.argmax())
            self._best[i], self._partner[i] = scores[j], i + 1 + j

    def _scores(self, i: int, start: int) -> Values:
        """|cos| of vector i with each from `start` on, -1 where the two are no admissible pair."""
        limits = np.minimum(np.maximum(self._limits[i], self._limits[start:]), self._tau_cos)
        cosines = self._units[start:] @ self._units[i] if self._cosines is None else self._cosines[i, start:]
        scores = _admitted(np.abs(cosines), limits)
        scores[~self._live[start:]] = _NONE
        if i >= start:
            scores[i - start] = _NONE
        return scores

    def _pair(self, i: int, j: int) -> Pair:
        first, second = self._units[i], self._units[j]
        sign = -1.0 if first @ second < 0 else 1.0
        gap = float(np.square(first - sign * second).sum()) / 2
        gap = gap if gap > _PARALLEL else 0.0
        return Pair(gap, i, j, sign * (1 - gap), float(self._norms[i]), float(self._norms[j]))


def near_vectors(vectors: Values, gap: float, progress: Progress = silent) -> NDArray[np.int64]:
    """The numbers, ascending, of those rows of `vectors` (k, length) from which another one is within 1 - |cos| = gap.

    Of a Gram matrix in float32, whose rounding lets some more through, a tile at a time. k^2 length / 2 multiply-adds.

    >>> near_vectors(np.array([[1.0, 0.0], [0.0, 1.0], [-2.0, 1e-5]]), 1e-4).tolist()
    [0, 2]
    """
    units, single = UnitVectors(vectors, 0.0), np.dtype(np.float32)
    least = 1 - gap - (8 + 4 * math.sqrt(units.length)) * float(np.finfo(single).eps)
    near = np.zeros(len(units), dtype=np.bool_)
    for top in range(0, len(units), _BLOCK):
        progress("comparing vectors", top, len(units))
        rows = units.block(top, min(top + _BLOCK, len(units)), np.dtype(np.float64)).astype(single)
        for left in range(top, len(units), _BLOCK):
            stop = min(left + _BLOCK, len(units))
            columns = rows if left == top else units.block(left, stop, np.dtype(np.float64)).astype(single)
            alike = np.abs(rows @ columns.T) >= least
            if left == top:
                np.fill_diagonal(alike, False)
            near[top : top + len(rows)] |= alike.any(axis=1)
            near[left:stop] |= alike.any(axis=0)
    return units.live[near]


def _angle(first: Values, second: Values) -> float:
    """The angle between the lines of two unit vectors, to rounding of itself."""
    sign = -1.0 if first @ second < 0 else 1.0
    return 2 * math.asin(min(1.0, float(np.linalg.norm(first - sign * second)) / 2))


def norms_of(vectors: Values) -> Values:
    """The norms of the rows of `vectors` (k, length), whose squares neither overflow nor underflow. O(size)."""
    peaks = np.abs(vectors).max(axis=1, initial=0.0)
    peaks[peaks == 0] = 1.0
    norms: Values = peaks * np.sqrt(np.square(vectors / peaks[:, None]).sum(axis=1))
    return norms


def _admitted(cosines: Values, limits: Values) -> Values:
    """The cosines, and -1 where they are too small; those that rounding can't tell from 1 are equal."""
    scores = np.where(cosines >= 1 - limits - _ROUNDING, cosines, _NONE)
    return np.minimum(scores, 1 - _ROUNDING, out=scores)
