"""Boolean matrices of 64 entries a word: counting their ones, unpacking them, and their rank over F2."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

WORD = np.dtype("<u8")  # little-endian everywhere, so that a word's bytes hold its bits in ascending order
BITS = 64

Words: TypeAlias = NDArray[np.uint64]
"""Entry (i, j) of a packed matrix is bit j % 64 of word (i, j // 64)."""

_ONE = np.uint64(1)
_CHUNK_WORDS = 1 << 15  # 256 kB: a temporary of this size stays in a core's cache


def popcount(words: Words) -> int:
    """The number of ones."""
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def row_popcounts(words: Words) -> NDArray[np.int64]:
    """(rows,) the number of ones in each row."""
    counts: NDArray[np.int64] = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return counts


def unpack(words: Words) -> NDArray[np.uint8]:
    """The (rows, 64 * words) matrix of zeros and ones."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")


def column_counts(words: Words, rows: NDArray[Any]) -> NDArray[np.int64]:
    """(64 * words,) how many of `rows`, which may repeat, have a one in each column. O(len(rows) * columns)."""
    counts = np.zeros(words.shape[1] * BITS, np.int64)
    for start in range(0, len(rows), 255):  # what a byte can count to; sums of bytes are several times faster
        counts += np.add.reduce(unpack(words[rows[start : start + 255]]), axis=0, dtype=np.uint8)
    return counts


def rank_f2(matrix: Words) -> int:
    """The rank over F2, the field of two elements, of a packed matrix, which is left as it is.

    Gaussian elimination, one word of columns at a time: 64 steps on that word alone find the pivots and which
    of them each row needs; then every row takes each eight of them at once from a table of their 256 sums
    (the method of the four Russians: Albrecht, Bard and Hart, ACM TOMS 37, 2010). n^3 / 1024 word
    operations at the square size n, and one more matrix of memory.

    >>> rank_f2(np.array([[0b011], [0b110], [0b101]], dtype=WORD))
    2
    """
    rank = 0
    while matrix.size:
        pivots, sums = _eliminate_word(matrix[:, 0].copy())
        rank += len(pivots)
        matrix = _reduced_rows(matrix[:, 1:], pivots, sums) if pivots else matrix[:, 1:]
    return rank


def _eliminate_word(column: Words) -> tuple[list[int], Words]:
    """The pivot rows of one word of columns, and for each row the pivots (bits) whose sum clears its word."""
    pivots: list[int] = []
    sums = np.zeros_like(column)
    for bit in range(BITS):
        holders = np.flatnonzero(column & (_ONE << np.uint64(bit)))
        if not len(holders):
            continue
        pivot, others = int(holders[0]), holders[1:]
        column[others] ^= column[pivot]
        sums[others] ^= sums[pivot] | (_ONE << np.uint64(len(pivots)))
        column[pivot] = 0  # a pivot row takes no further part
        pivots.append(pivot)
    return pivots, sums


def _reduced_rows(matrix: Words, pivots: list[int], sums: Words) -> Words:
    """The rows of `matrix` but the pivots, each plus the sum of those pivot rows that its word of `sums` names."""
    rest = np.delete(np.arange(len(matrix)), pivots)
    reduced = matrix[rest]
    coefficients = sums[rest].view(np.uint8).reshape(-1, 8)
    tables = [_subset_sums(matrix[pivots[start : start + 8]]) for start in range(0, len(pivots), 8)]
    for part in _row_chunks(reduced):
        for byte, table in enumerate(tables):
            reduced[part] ^= table.take(coefficients[part, byte], axis=0)
    return reduced


def _subset_sums(rows: Words) -> Words:
    """The F2 sums of all subsets of at most eight rows; bit k of an index says whether row k is in the subset."""
    sums = np.zeros((1 << len(rows), rows.shape[1]), WORD)
    for k, row in enumerate(rows):
        np.bitwise_xor(sums[: 1 << k], row, out=sums[1 << k : 2 << k])
    return sums


def _row_chunks(matrix: Words) -> Iterator[slice]:
    step = max(1, _CHUNK_WORDS // max(1, matrix.shape[1]))
    return (slice(start, start + step) for start in range(0, len(matrix), step))
