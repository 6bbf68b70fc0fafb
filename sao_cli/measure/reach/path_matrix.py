"""`PathMatrix`: who reaches whom, kept packed and expanded only as far as it is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.data.mask import Indices, index_dtype
from sao_cli.measure.reach.packed import BITS, WORD, Words, column_counts

if TYPE_CHECKING:
    import scipy.sparse

_BLOCK_ENTRIES = 1 << 21


@dataclass(frozen=True, eq=False)
class PathMatrix:
    """A boolean matrix R of shape (inputs, outputs), each distinct row of R^T stored once, 64 inputs a word.

    `packed` (rows, words) holds R^T; `row_of` (outputs,) and `bit_of` (inputs,) say which row and which bit are
    whose, -1 standing for one that is all zeros.
    """

    packed: Words
    row_of: Indices
    bit_of: Indices

    @property
    def shape(self) -> tuple[int, int]:
        """(inputs, outputs)."""
        return len(self.bit_of), len(self.row_of)

    @property
    def nnz(self) -> int:
        """The number of ones."""
        return int(self._input_counts.sum())

    def to_dense(self) -> NDArray[np.bool_]:
        """The matrix as a boolean (inputs, outputs) array. Raises MemoryLimitError where it would not fit."""
        inputs, outputs = self.shape
        require_memory(inputs * outputs, f"a dense {inputs} x {outputs} matrix", "use to_scipy() or image()")
        dense = np.empty(self.shape, bool)
        for start, block in self._blocks():
            dense[start : start + len(block)] = block
        return dense

    def to_scipy(self) -> scipy.sparse.csr_array:
        """The matrix as a scipy.sparse.csr_array (inputs, outputs) of True.

        Raises MemoryLimitError where it would not fit: this form takes five bytes a one.
        """
        from scipy.sparse import csr_array

        dtype = index_dtype(*self.shape, self.nnz)
        require_memory(self.nnz * (np.dtype(dtype).itemsize + 1.0), f"a sparse matrix with {self.nnz} ones")
        indptr = np.concatenate(([0], np.cumsum(self._input_counts))).astype(dtype)
        indices = np.empty(self.nnz, dtype)
        for start, block in self._blocks():
            indices[indptr[start] : indptr[start + len(block)]] = np.nonzero(block)[1]
        return csr_array((np.ones(self.nnz, bool), indices, indptr), shape=self.shape)

    def image(self, size: int) -> NDArray[np.float64]:
        """Block averages of the matrix, at most size x size of them; with no more nodes than that, the matrix itself.

        Rows are blocks of inputs and columns blocks of outputs, all equally large up to one. O(inputs * outputs).
        """
        inputs, outputs = (_borders(nodes, size) for nodes in self.shape)
        image: NDArray[np.float64] = np.outer(np.diff(inputs), np.diff(outputs)).astype(np.float64)
        for column, (start, stop) in enumerate(pairwise(outputs)):
            image[:, column] = np.add.reduceat(self._counts(slice(start, stop)), inputs[:-1]) / image[:, column]
        return image

    @property
    def lost_inputs(self) -> Indices:
        """Numbers of the inputs whose row has no one."""
        return np.flatnonzero(self._input_counts == 0)

    @property
    def unreached_outputs(self) -> Indices:
        """Numbers of the outputs whose column has no one."""
        alive = np.append(self.packed.any(axis=1), False)
        return np.flatnonzero(~alive[self.row_of])  # -1 finds the False appended

    @cached_property
    def _input_counts(self) -> NDArray[np.int64]:
        return self._counts(slice(None))

    def _counts(self, outputs: slice) -> NDArray[np.int64]:
        """(inputs,) the number of ones of each input among some outputs."""
        rows = self.row_of[outputs]
        counts = np.append(column_counts(self.packed, rows[rows >= 0]), 0)
        return counts[self.bit_of]  # -1 finds the zero appended

    def _blocks(self) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """The matrix in dense blocks of rows, each with the number of its first row."""
        inputs, outputs = self.shape
        step = max(1, _BLOCK_ENTRIES // outputs)
        for start in range(0, inputs, step):
            bits = self.bit_of[start : start + step]
            block = np.zeros((len(bits), outputs), bool)
            alive = np.ix_(bits >= 0, self.row_of >= 0)
            block[alive] = self._entries(bits[bits >= 0])[:, self.row_of[self.row_of >= 0]]
            yield start, block

    def _entries(self, bits: Indices) -> NDArray[np.bool_]:
        """(len(bits), rows): those columns of the packed matrix."""
        words = self.packed[:, bits // BITS].T
        return ((words >> (bits % BITS).astype(WORD)[:, None]) & WORD.type(1)).astype(bool)


def _borders(nodes: int, blocks: int) -> NDArray[np.int64]:
    count = min(nodes, blocks)
    return np.arange(count + 1, dtype=np.int64) * nodes // count
