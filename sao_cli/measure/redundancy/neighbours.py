"""Which two of many vectors are nearest to parallel, while one after the other is joined to its neighbour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Booleans, Values
from sao_cli.measure.redundancy.pairs import Pair

_BLOCK = 1024  # vectors of a tile's side
_ROUNDING = 1e-13  # of a cosine that is a product of two unit vectors
_PARALLEL = (16 * float(np.finfo(np.float64).eps)) ** 2  # a gap that the rounding of two unit vectors makes
_NONE = -1.0


class Neighbours:
    """The nearest admissible pair of `vectors` (k, length) float64, which the caller changes as pairs are joined.

    Admissible are 1 - |cos| <= tau_cos with ||w_j|| sqrt(2 (1 - |cos|)) <= tau_euc, w_j the shorter; ties are the
    first in row-major order. Kept are the unit vectors, and for each vector its nearest of those that follow. A joined
    pair costs one product of all with the new vector, and vectors whose nearest was one of the two are looked at
    again, but only when they come to be the nearest.
    """

    def __init__(self, vectors: Values, tau_cos: float, tau_euc: float, progress: Progress = silent) -> None:
        require_memory(8.0 * (vectors.size + 3 * _BLOCK**2), f"the unit vectors of {vectors.shape}")
        self._vectors, self._tau_cos, self._progress = vectors, tau_cos, progress
        self._norms, self._limits = np.zeros(len(vectors)), np.zeros(len(vectors))
        self._units, self._tau_euc = np.zeros_like(vectors), tau_euc
        self._measure(np.arange(len(vectors)))
        self.alive: Booleans = self._norms > 0
        self.joined = 0
        self._refused: set[tuple[int, int]] = set()
        self._stale = np.zeros(len(vectors), dtype=np.bool_)
        self._best = np.full(len(vectors), _NONE)
        self._partner = np.zeros(len(vectors), dtype=np.int64)
        self._fill()

    def nearest(self) -> Pair | None:
        """The admissible pair with the largest |cos|, of the vectors as they are now; None where there is none."""
        while self._best[i := int(self._best.argmax())] > _NONE:
            if not self._stale[i]:
                pair = self._pair(i, int(self._partner[i]))
                if pair.gap <= self._tau_cos and pair.distance <= self._tau_euc:
                    return pair
                self._refused.add((pair.i, pair.j))  # which the rounding of the product let through
            self._look_again(i)
        return None

    def join(self, kept: int, dropped: int) -> None:
        """Take note that the vector `dropped` is gone, and that another one stands at `kept`."""
        self.joined += 1
        self.alive[dropped], self._best[dropped] = False, _NONE
        self._refused = {pair for pair in self._refused if kept not in pair and dropped not in pair}
        self._measure(np.array([kept]))
        scores = self._scores(kept, 0)
        self._stale |= (self._partner == kept) | (self._partner == dropped)
        nearer = (scores > self._best) | ((scores == self._best) & (kept < self._partner))
        nearer[kept:] = False
        nearer &= scores > _NONE
        self._best[nearer], self._partner[nearer], self._stale[nearer] = scores[nearer], kept, False
        self._take(kept, scores[kept + 1 :])

    def _measure(self, places: NDArray[np.int64]) -> None:
        """Norms, unit vectors, and the largest 1 - |cos| that the distance allows of a longer one, of some vectors."""
        chosen = self._vectors[places]
        self._norms[places] = norms = norms_of(chosen)
        norms = np.where(norms > 0, norms, 1.0)
        self._units[places] = chosen / norms[:, None]
        with np.errstate(over="ignore"):
            self._limits[places] = np.square(self._tau_euc / norms) / 2

    def _fill(self) -> None:
        """The nearest of those that follow, for all vectors, a tile of the Gram matrix at a time."""
        count = len(self._units)
        for top in range(0, count, _BLOCK):
            self._progress("comparing vectors", top, count)
            rows = self._units[top : top + _BLOCK]
            for left in range(top, count, _BLOCK):
                cosines = np.abs(rows @ self._units[left : left + _BLOCK].T)
                if left == top:
                    cosines[np.tril_indices(len(rows))] = _NONE
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
        scores = _admitted(np.abs(self._units[start:] @ self._units[i]), limits)
        scores[~self.alive[start:]] = _NONE
        if i >= start:
            scores[i - start] = _NONE
        return scores

    def _pair(self, i: int, j: int) -> Pair:
        first, second = self._units[i], self._units[j]
        sign = -1.0 if first @ second < 0 else 1.0
        gap = float(np.square(first - sign * second).sum()) / 2
        gap = gap if gap > _PARALLEL else 0.0
        return Pair(gap, i, j, sign * (1 - gap), float(self._norms[i]), float(self._norms[j]))


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
