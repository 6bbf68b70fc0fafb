"""Where a layer's weights are, kept small: what an audit remembers of a tensor once the next one is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.data.mask import Indices, Mask, index_dtype
from sao_cli.measure.reach.effective import Bits, OfMask

NEAR = 1.5  # ratio of densities up to which an SAO layer counts as one of the same sparsity; our choice
_PIECE = 2**20  # entries looked at together
_HOLE = 8  # bytes of a zero's row and column


@dataclass(frozen=True, eq=False)
class Pattern:
    """A mask of `shape` (m, n), in whichever way takes least: as its zeros, as a Mask, or a bit an entry.

    `zeros` (2, k) are the rows and columns of what is not one, none of an all-ones layer; `packed` comes with the
    `degrees` of its rows and columns. Exactly one of `zeros`, `packed` and `mask` is there.

    >>> Pattern.of_dense(np.array([[2.0, 0.0], [1.0, 1.0]])).to_mask().to_dense().astype(int).tolist()
    [[1, 0], [1, 1]]
    """

    shape: tuple[int, int]
    zeros: Indices | None = None
    mask: Mask | None = None
    packed: NDArray[np.uint8] | None = None
    degrees: tuple[Indices, Indices] | None = None

    @classmethod
    def of(cls, mask: Mask) -> Pattern:
        """The pattern of `mask`, kept as it is. O(nnz)."""
        if mask.nnz == mask.m * mask.n:
            return cls.all_ones(mask.shape)
        return cls(mask.shape, mask=Mask(mask.indptr, mask.indices, mask.shape))

    @classmethod
    def of_dense(cls, dense: NDArray[Any]) -> Pattern:
        """The pattern of what is not zero in an (m, n) array. O(m n), piece by piece."""
        m, n = dense.shape
        rows, columns = np.zeros(m, dtype=np.int64), np.zeros(n, dtype=np.int64)
        packed = np.empty((m, -(-n // 8)), dtype=np.uint8)
        step = max(1, _PIECE // n)
        for start in range(0, m, step):
            live = dense[start : start + step] != 0
            rows[start : start + step] = np.count_nonzero(live, axis=1)
            columns += np.count_nonzero(live, axis=0)
            packed[start : start + step] = np.packbits(live, axis=1)
        nnz = int(rows.sum())
        if (holes := m * n - nnz) * _HOLE <= packed.nbytes:
            return cls((m, n), zeros=_zeros(dense, rows, holes))
        if 4 * nnz > packed.nbytes:
            return cls((m, n), packed=packed, degrees=(rows, columns))
        return cls((m, n), mask=mask_of_dense(dense))

    @classmethod
    def all_ones(cls, shape: tuple[int, int]) -> Pattern:
        """The pattern of an (m, n) layer without zeros. O(1)."""
        return cls(shape, zeros=np.empty((2, 0), dtype=np.int32))

    @property
    def full(self) -> bool:
        """Whether it is all ones."""
        return self.zeros is not None and not self.zeros.size

    @property
    def row_degrees(self) -> Indices:
        """(m,) the ones of each row."""
        return self._degrees(0)

    @property
    def column_degrees(self) -> Indices:
        """(n,) the ones of each column."""
        return self._degrees(1)

    def _degrees(self, axis: int) -> Indices:
        if self.degrees is not None:
            return self.degrees[axis]
        if self.mask is not None:
            return (self.mask.row_degrees, self.mask.column_degrees)[axis]
        assert self.zeros is not None
        whole: Indices = self.shape[1 - axis] - np.bincount(self.zeros[axis], minlength=self.shape[axis])
        return whole

    @property
    def nnz(self) -> int:
        """The number of ones."""
        if self.zeros is not None:
            return self.shape[0] * self.shape[1] - len(self.zeros[0])
        return int(self.row_degrees.sum(dtype=np.int64))

    def to_mask(self) -> Mask:
        """The mask itself; MemoryLimitError where its ones would not fit."""
        if self.mask is not None:
            return self.mask
        return _mask_of_pieces(self.shape, lambda start, rows: self._piece(start, rows))

    def written(self, reads: Bits) -> Bits:
        """(m,) the outputs that read one of some inputs (n,)."""
        if self.mask is not None:
            return OfMask(self.mask).written(reads)
        if self.zeros is not None:
            return _unfilled(self.zeros, reads, self.shape[0])
        return np.concatenate([piece[:, reads].any(1) for _, piece in self._pieces()])

    def read(self, writes: Bits) -> Bits:
        """(n,) the inputs that one of some outputs (m,) reads."""
        if self.mask is not None:
            return OfMask(self.mask).read(writes)
        if self.zeros is not None:
            return _unfilled(self.zeros[::-1], writes, self.shape[1])
        found = np.zeros(self.shape[1], dtype=bool)
        for start, piece in self._pieces():
            found |= piece[writes[start : start + len(piece)]].any(0)
        return found

    def between(self, reads: Bits, writes: Bits) -> int:
        """How many ones join some inputs (n,) to some outputs (m,)."""
        if self.mask is not None:
            return OfMask(self.mask).between(reads, writes)
        if self.zeros is not None:
            rows, columns = self.zeros
            return int(writes.sum()) * int(reads.sum()) - int(np.count_nonzero(writes[rows] & reads[columns]))
        counts = np.concatenate([np.count_nonzero(piece[:, reads], axis=1) for _, piece in self._pieces()])
        return int(counts[writes].sum())

    def _pieces(self) -> Iterator[tuple[int, Bits]]:
        """The rows as booleans, some at a time, with the number of the first."""
        m, n = self.shape
        step = max(1, _PIECE // n)
        for start in range(0, m, step):
            yield start, self._piece(start, min(step, m - start))

    def _piece(self, start: int, rows: int) -> Bits:
        n = self.shape[1]
        if self.packed is not None:
            return np.unpackbits(self.packed[start : start + rows], axis=1, count=n).astype(bool)
        assert self.zeros is not None
        piece = np.ones((rows, n), dtype=bool)
        first, last = np.searchsorted(self.zeros[0], (start, start + rows))
        piece[self.zeros[0, first:last] - start, self.zeros[1, first:last]] = False
        return piece

    def links(self) -> tuple[Mask, ...]:
        """Masks, first layer first, whose product is the pattern, path by path.

        All inputs of an all-ones layer reach all outputs through one node in between by one path each, so that two
        masks of n and m ones stand for m n of them.
        """
        if not self.full:
            return (self.to_mask(),)
        m, n = self.shape
        gather = Mask(np.array([0, n]), np.arange(n), (1, n))
        spread = Mask(np.arange(m + 1), np.zeros(m, dtype=np.int32), (m, 1))
        return gather, spread


def mask_of_dense(dense: NDArray[Any]) -> Mask:
    """The mask of what is not zero in an (m, n) array.

    Raises MemoryLimitError where its ones, and what finding their graph takes, would not fit. O(m n) time, piece by
    piece, and 4 bytes a one.
    """
    return _mask_of_pieces(dense.shape, lambda start, rows: dense[start : start + rows] != 0)


def _mask_of_pieces(shape: tuple[int, ...], piece: Callable[[int, int], Bits]) -> Mask:
    m, n = shape
    step = max(1, _PIECE // n)
    pieces = [(start, min(step, m - start)) for start in range(0, m, step)]
    counts = np.concatenate([np.count_nonzero(piece(*rows), axis=1) for rows in pieces])
    dtype = index_dtype(m, n, nnz := int(counts.sum()))
    require_memory(30.0 * nnz + 24.0 * (m + n), f"the pattern of {nnz} weights in {m} x {n}")
    indptr = np.zeros(m + 1, dtype=dtype)
    np.cumsum(counts, out=indptr[1:])
    indices = np.empty(nnz, dtype=dtype)
    for start, rows in pieces:
        indices[indptr[start] : indptr[start + rows]] = np.nonzero(piece(start, rows))[1]
    return Mask(indptr, indices, (m, n))


def _zeros(dense: NDArray[Any], row_degrees: Indices, holes: int) -> Indices:
    """(2, holes) the rows and columns of the zeros of an array, row by row."""
    rows = np.flatnonzero(row_degrees < dense.shape[1])
    found = np.empty((2, holes), dtype=np.int32)
    done = 0
    for row in rows:
        columns = np.flatnonzero(dense[row] == 0)
        found[0, done : done + len(columns)], found[1, done : done + len(columns)] = row, columns
        done += len(columns)
    return found


def _unfilled(zeros: Indices, chosen: Bits, count: int) -> Bits:
    """(count,) which lines have fewer zeros among the chosen places than those are; `zeros` (2, k): lines, places."""
    lines, places = zeros
    return np.bincount(lines[chosen[places]], minlength=count) < np.count_nonzero(chosen)


def sao_degree(pattern: Pattern) -> int | None:
    """The row degree n/K, K dividing both sides, of the SAO mask whose density 1/K is nearest, None where none is."""
    m, n = pattern.shape
    density = pattern.nnz / (m * n)
    if not density:
        return None
    common = math.gcd(m, n)
    small = [k for k in range(1, math.isqrt(common) + 1) if common % k == 0]
    groups = min({*small, *(common // k for k in small)}, key=lambda k: (abs(math.log(k * density)), k))
    return n // groups if abs(math.log(groups * density)) <= math.log(NEAR) else None
