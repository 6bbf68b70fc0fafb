"""Where a layer's weights are, kept small: what an audit remembers of a tensor once the next one is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.data.mask import Indices, Mask, index_dtype
from sao_cli.measure.reach.effective import Bits, OfMask

NEAR = 1.5  # ratio of densities up to which an SAO layer counts as one of the same sparsity; our choice
_PIECE = 2**20  # entries looked at together


@dataclass(frozen=True, eq=False)
class Pattern:
    """A mask of `shape` (m, n): all ones where `packed` and `mask` are None, a bit an entry, or a Mask, as is less.

    `row_degrees` (m,) and `column_degrees` (n,) count its ones.

    >>> Pattern.of_dense(np.array([[2.0, 0.0], [1.0, 1.0]])).to_mask().to_dense().astype(int).tolist()
    [[1, 0], [1, 1]]
    """

    shape: tuple[int, int]
    row_degrees: Indices
    column_degrees: Indices
    packed: NDArray[np.uint8] | None = None
    mask: Mask | None = None

    @classmethod
    def of(cls, mask: Mask) -> Pattern:
        """The pattern of `mask`, kept as it is. O(nnz)."""
        if mask.nnz == mask.m * mask.n:
            return cls.all_ones(mask.shape)
        plain = Mask(mask.indptr, mask.indices, mask.shape)
        return cls(mask.shape, mask.row_degrees, mask.column_degrees, mask=plain)

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
        if nnz == m * n:
            return cls.all_ones((m, n))
        if 4 * nnz > packed.nbytes:
            return cls((m, n), rows, columns, packed=packed)
        return cls((m, n), rows, columns, mask=mask_of_dense(dense))

    @classmethod
    def all_ones(cls, shape: tuple[int, int]) -> Pattern:
        """The pattern of an (m, n) layer without zeros. O(m + n)."""
        m, n = shape
        return cls(shape, np.full(m, n), np.full(n, m))

    @property
    def full(self) -> bool:
        """Whether it is all ones."""
        return self.packed is None and self.mask is None

    @property
    def nnz(self) -> int:
        """The number of ones."""
        return int(self.row_degrees.sum(dtype=np.int64))

    def to_mask(self) -> Mask:
        """The mask itself; MemoryLimitError where its ones would not fit."""
        if self.mask is not None:
            return self.mask
        if self.packed is None:
            return mask_of_dense(np.broadcast_to(np.True_, self.shape))
        return mask_of_dense(self.packed, self.shape)

    def written(self, reads: Bits) -> Bits:
        """(m,) the outputs that read one of some inputs (n,)."""
        if self.mask is not None:
            return OfMask(self.mask).written(reads)
        return np.concatenate([piece[:, reads].any(1) for piece in self._pieces()])

    def read(self, writes: Bits) -> Bits:
        """(n,) the inputs that one of some outputs (m,) reads."""
        if self.mask is not None:
            return OfMask(self.mask).read(writes)
        found = np.zeros(self.shape[1], dtype=bool)
        start = 0
        for piece in self._pieces():
            found |= piece[writes[start : start + len(piece)]].any(0)
            start += len(piece)
        return found

    def between(self, reads: Bits, writes: Bits) -> int:
        """How many ones join some inputs (n,) to some outputs (m,)."""
        if self.mask is not None:
            return OfMask(self.mask).between(reads, writes)
        counts = np.concatenate([np.count_nonzero(piece[:, reads], axis=1) for piece in self._pieces()])
        return int(counts[writes].sum())

    def _pieces(self) -> Iterator[Bits]:
        """The rows as booleans, some at a time, of what is packed or full."""
        m, n = self.shape
        step = max(1, _PIECE // n)
        for start in range(0, m, step):
            rows = min(step, m - start)
            if self.packed is None:
                yield np.broadcast_to(np.True_, (rows, n))
            else:
                yield np.unpackbits(self.packed[start : start + rows], axis=1, count=n).astype(bool)

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


def mask_of_dense(dense: NDArray[Any], shape: tuple[int, int] | None = None) -> Mask:
    """The mask of what is not zero in an (m, n) array, or in bits packed along the rows of one of `shape`.

    Raises MemoryLimitError where its ones, and what finding their graph takes, would not fit. O(m n) time, piece by
    piece, and 4 bytes a one.
    """
    m, n = shape or dense.shape
    step = max(1, _PIECE // n)

    def live(start: int) -> NDArray[Any]:
        piece = dense[start : start + step]
        return piece != 0 if shape is None else np.unpackbits(piece, axis=1, count=n)

    counts = np.concatenate([np.count_nonzero(live(start), axis=1) for start in range(0, m, step)])
    dtype = index_dtype(m, n, nnz := int(counts.sum()))
    require_memory(30.0 * nnz + 24.0 * (m + n), f"the pattern of {nnz} weights in {m} x {n}")
    indptr = np.zeros(m + 1, dtype=dtype)
    np.cumsum(counts, out=indptr[1:])
    indices = np.empty(nnz, dtype=dtype)
    for start in range(0, m, step):
        indices[indptr[start] : indptr[min(start + step, m)]] = np.nonzero(live(start))[1]
    return Mask(indptr, indices, (m, n))


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
