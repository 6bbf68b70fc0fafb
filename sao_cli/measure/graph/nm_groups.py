"""Which N:M pattern a mask has: how many ones its rows have among M consecutive inputs at most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.mask import Mask
from sao_cli.data.nm_pattern import NMPattern

GROUPS = (2, 4, 8, 16, 32)  # of M that are looked for; 4 is what sparse tensor cores read
_PIECE = 2**20  # entries looked at together


def has_pattern(mask: Mask, pattern: NMPattern) -> bool:
    """Whether no row has more than N ones in a group of M inputs, and M divides their number. O(nnz)."""
    return pattern.why_not(mask.n) is None and most_in_groups(mask, pattern.of) <= pattern.kept


def nm_facts(most: Mapping[int, int]) -> dict[str, Any]:
    """`ones_of_4`, and as `nm` the sparsest pattern that `most` tells, by M; of equally sparse ones that of least M.

    >>> nm_facts({2: 2, 4: 2, 8: 4}), nm_facts({2: 2})
    ({'nm': '2:4', 'ones_of_4': 2}, {'nm': None, 'ones_of_4': None})
    """
    sparse = [NMPattern(kept, of) for of, kept in most.items() if 0 < kept < of]
    best = min(sparse, key=lambda pattern: (pattern.kept / pattern.of, pattern.of), default=None)
    return {"nm": None if best is None else str(best), "ones_of_4": most.get(4)}


def most_by_group(mask: Mask) -> dict[int, int]:
    """most_in_groups by the sizes M of GROUPS that divide n: the smaller look at what shares a larger group alone."""
    sizes = [of for of in GROUPS if mask.n % of == 0]
    most = dict.fromkeys(sizes, min(mask.nnz, 1))
    for start, stop, rows in _pieces(mask) if sizes else ():
        columns, begins = mask.indices[start:stop], rows
        for of in reversed(sizes):
            groups = columns // of
            if not _share(groups, begins):
                break
            lengths = _runs(groups, begins)
            most[of] = max(most[of], int(lengths.max()))
            several = lengths > 1
            columns = columns[np.repeat(several, lengths)]
            begins = np.cumsum(lengths[several]) - lengths[several]
    return most


def most_in_groups(mask: Mask, of: int) -> int:
    """The most ones that a row has in one of its groups of `of` consecutive inputs. O(nnz), in pieces."""
    longest = (int(_runs(mask.indices[start:stop] // of, rows).max()) for start, stop, rows in _pieces(mask))
    return max(longest, default=0)


def most_in_dense(array: NDArray[Any]) -> dict[int, int]:
    """most_by_group of where an array (m, n, ...) is not zero, the groups being of its second axis; O(size)."""
    sizes = [of for of in GROUPS if array.shape[1] % of == 0]
    most = dict.fromkeys(sizes, 0)
    step = max(1, _PIECE // max(array[0].size, 1))
    for start in range(0, len(array), step) if sizes else ():
        counts = (array[start : start + step] != 0).view(np.uint8)
        for of in sizes:  # each twice as large as the one before
            counts = counts[:, 0::2] + counts[:, 1::2]
            most[of] = max(most[of], int(counts.max()))
    return most


def _pieces(mask: Mask) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Whole rows together: where their entries begin and end, and where in these each row begins."""
    first = 0
    while first < mask.m:
        last = max(int(np.searchsorted(mask.indptr, mask.indptr[first] + _PIECE, "right")) - 1, first + 1)
        start, stop = int(mask.indptr[first]), int(mask.indptr[last])
        if stop > start:
            yield start, stop, mask.indptr[first:last] - start
        first = last


def _share(groups: NDArray[Any], rows: NDArray[Any]) -> bool:
    """Whether two neighbours in a row are of one group: a tenth of the time of `_runs`, where none are."""
    joined = groups[1:] == groups[:-1]
    joined[rows[(rows > 0) & (rows < len(groups))] - 1] = False
    return bool(joined.any())


def _runs(groups: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.intp]:
    """The lengths of the runs of one group in a row; `rows` are the places where rows begin."""
    begins = np.empty(len(groups) + 1, dtype=bool)
    begins[0] = begins[-1] = True
    np.not_equal(groups[1:], groups[:-1], out=begins[1:-1])
    begins[rows] = True
    return np.diff(np.flatnonzero(begins))
