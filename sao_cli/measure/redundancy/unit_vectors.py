"""The rows of a matrix as unit vectors, made where they are needed: no normalised copy of the matrix is held."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.data.matrix import FINITE

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]

FLOOR = 1e-3  # of the largest norm; shorter vectors have a direction of noise (our choice)

_PIECE = 2**20  # numbers looked at together
_SAFE = 1e30  # norms from its inverse to it keep float32 units and their inverses in range


class UnitVectors:
    """The rows of `vectors`, (k, length) of any float dtype, that are longer than `floor` times the longest.

    `live` are their numbers among all rows, ascending, and `norms` those of all rows, float64, without overflow or
    underflow of the squares. FormatError for numbers that are not finite, for a norm beyond float64, for no matrix,
    and for a floor outside [0, 1). O(k length).
    """

    def __init__(self, vectors: NDArray[Any], floor: float = FLOOR) -> None:
        vectors = np.asarray(vectors)
        if vectors.ndim != 2:
            raise FormatError(f"vectors of shape {vectors.shape}: give the rows of a matrix")
        if not 0 <= floor < 1:
            raise FormatError(f"a floor of {floor}: it is a share of the largest norm, at least 0 and below 1")
        self._vectors = vectors
        self._small = vectors.dtype.kind == "f" and vectors.dtype.itemsize <= 4
        self._step = max(1, _PIECE // max(1, vectors.shape[1]))
        self._peaks, self._shares = self._measured()
        with np.errstate(over="ignore"):
            self.norms: Values = self._peaks * self._shares
        largest = float(self.norms.max(initial=0.0))
        if not np.isfinite(largest):
            raise FormatError("the norm of a vector is beyond the largest double; divide the weight by a power of ten")
        self.live: Numbers = np.flatnonzero(self.norms > floor * largest)

    def __len__(self) -> int:
        return len(self.live)

    @property
    def length(self) -> int:
        """The entries of each vector."""
        length: int = self._vectors.shape[1]
        return length

    @property
    def precision(self) -> np.dtype[Any]:
        """float32 where the stored numbers tell no more and no norm leaves its range, else float64."""
        norms = self.norms[self.live]
        tame = norms.size == 0 or (norms.min() > 1 / _SAFE and norms.max() < _SAFE)
        return np.dtype(np.float32 if self._small and tame else np.float64)

    def block(self, start: int, stop: int, precision: np.dtype[Any]) -> NDArray[Any]:
        """(stop - start, length) unit vectors of the live ones `start:stop`, in `precision`."""
        chosen = self.live[start:stop]
        dense = len(chosen) > 0 and chosen[-1] - chosen[0] + 1 == len(chosen)
        rows = self._vectors[chosen[0] : chosen[-1] + 1] if dense else self._vectors[chosen]
        if precision == np.float32:
            return np.ascontiguousarray(rows, np.float32) * (1 / self.norms[chosen])[:, None].astype(np.float32)
        return self._exact(rows, chosen)

    def exact(self, places: Numbers) -> Values:
        """(len(places), length) the live ones at `places` as unit vectors in float64."""
        chosen = self.live[places]
        return self._exact(self._vectors[chosen], chosen)

    def _exact(self, rows: NDArray[Any], chosen: Numbers) -> Values:
        units = np.array(rows, np.float64, order="C")
        units /= self._peaks[chosen, None]  # first, so that no inverse of a denormal norm overflows
        units /= self._shares[chosen, None]
        return units

    def _measured(self) -> tuple[Values, Values]:
        """The largest magnitude of each row (1 for a zero row), and its norm as a multiple of that.

        Of float32, whose squares stay in the range of float64, 1 and the norm itself.
        """
        count = len(self._vectors)
        peaks, shares = np.ones(count), np.zeros(count)
        for start in range(0, count, self._step):
            part = slice(start, start + self._step)
            rows = np.array(self._vectors[part], np.float64, order="C")
            if not self._small:
                _require_finite(rows)
                largest = np.maximum(rows.max(axis=1, initial=0.0), -rows.min(axis=1, initial=0.0))
                peaks[part] = np.where(largest > 0, largest, 1.0)
                rows /= peaks[part, None]
            shares[part] = np.sqrt(np.square(rows, out=rows).sum(axis=1))
            if self._small and not np.isfinite(shares[part]).all():
                _require_finite(np.asarray(self._vectors[part]))
        return peaks, shares


def _require_finite(rows: NDArray[Any]) -> None:
    if not np.isfinite(rows).all():
        raise FormatError(f"the vectors hold {rows[~np.isfinite(rows)][0]}; {FINITE}")


def zero_vectors(vectors: NDArray[Any], floor: float = FLOOR) -> Numbers:
    """The numbers, ascending, of the rows of `vectors` whose norm is at most `floor` times the largest norm.

    They are removed rather than fused (Lee et al., Appl. Sci. 2021, 11, 725, fuse them: a direction of noise), and a
    floor of 0 leaves the rows that are zero. Raises what UnitVectors does. O(k length).

    >>> zero_vectors(np.array([[3.0, 4.0], [0.0, 0.0], [0.001, 0.002]])).tolist()
    [1, 2]
    """
    units = UnitVectors(vectors, floor)
    return np.setdiff1d(np.arange(len(units.norms)), units.live)
