"""x -> M x for a mask M: scipy's product, or where numba is there (extra `fast`) a compiled sum that needs no ones."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

ONES = 2**20  # from which the products of one Lanczos process repay numba's import and compilation, 0.3 s to 0.8 s
UNROLLED = 8  # row degree up to which a row's sum is unrolled

Numbers = NDArray[Any]
Product = Callable[[Numbers], Numbers]


def product_of(matrix: Any) -> Product:
    """x -> M x for a csr_array M of ones and a vector, or columns, x; bit for bit the same with numba as without.

    Sums go through a row's ones in their order, as scipy's do. A compiled one takes 0.5 to 0.8 of the time,
    most where x is past the caches.
    """
    if not _is_worth_it(matrix.nnz):
        plain: Product = matrix.__matmul__
        return plain
    degrees = np.diff(matrix.indptr)
    degree = int(degrees[0]) if len(degrees) and (degrees == degrees[0]).all() and degrees[0] <= UNROLLED else 0
    sums = _compiled(degree)

    def product(x: Numbers) -> Numbers:
        if x.ndim > 1:
            columns: Numbers = matrix @ x
            return columns
        result = np.zeros(len(degrees), x.dtype)
        sums(matrix.indptr, matrix.indices, x, result)
        return result

    return product


def _is_worth_it(ones: int) -> bool:
    return "numba" in sys.modules or (ones >= ONES and importlib.util.find_spec("numba") is not None)


@functools.cache
def _compiled(degree: int) -> Callable[..., None]:
    """The sums of rows that have `degree` ones each, or any number for 0, kept on disk for the next process."""
    import numba

    def regular(indptr: Numbers, indices: Numbers, x: Numbers, result: Numbers) -> None:
        for row in range(len(result)):
            total, start = result[row], row * degree
            for one in range(degree):
                total += x[indices[start + one]]
            result[row] = total

    def irregular(indptr: Numbers, indices: Numbers, x: Numbers, result: Numbers) -> None:
        for row in range(len(result)):
            total = result[row]
            for one in range(indptr[row], indptr[row + 1]):
                total += x[indices[one]]
            result[row] = total

    chosen = regular if degree else irregular
    try:
        compiled: Callable[..., None] = numba.njit(cache=True, nogil=True)(chosen)
    except RuntimeError:  # no folder that it may write to
        compiled = numba.njit(nogil=True)(chosen)
    return compiled
