"""x -> M x for a mask M: scipy's product, or where numba is there (extra `fast`) a compiled sum that needs no ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.compiled import compiled, is_worth_it

UNROLLED = 8  # row degree up to which a row's sum is unrolled

Numbers = NDArray[Any]
Product = Callable[[Numbers], Numbers]


def product_of(matrix: Any) -> Product:
    """x -> M x for a csr_array M of ones and a vector, or columns, x; bit for bit the same with numba as without.

    Sums go through a row's ones in their order, as scipy's do. A compiled one takes 0.4 of the time.
    """
    if not is_worth_it(matrix.nnz):
        plain: Product = matrix.__matmul__
        return plain
    indptr, indices = unsigned(matrix.indptr), unsigned(matrix.indices)
    sums = _compiled(unrolled_degree(matrix.indptr))

    def product(x: Numbers) -> Numbers:
        if x.ndim > 1:
            columns: Numbers = matrix @ x
            return columns
        result = np.empty(matrix.shape[0], x.dtype)
        sums(indptr, indices, x, result)
        return result

    return product


def unsigned(indices: Numbers) -> Numbers:
    """The same memory as unsigned numbers."""
    return indices.view(np.dtype(f"u{indices.dtype.itemsize}"))


def unrolled_degree(indptr: Numbers) -> int:
    """How many ones each row has, 0 where that differs, or is more than is unrolled."""
    degrees = np.diff(indptr)
    return int(degrees[0]) if len(degrees) and (degrees == degrees[0]).all() and degrees[0] <= UNROLLED else 0


@functools.cache
def _compiled(degree: int) -> Callable[..., None]:
    """The sums of rows that have `degree` ones each, or any number for 0."""

    def sums(indptr: Numbers, indices: Numbers, x: Numbers, result: Numbers) -> None:
        for row in range(len(result)):
            total = x.dtype.type(0)
            for one in range(degree):
                total += x[indices[row * degree + one]]
            if degree == 0:
                for place in range(indptr[row], indptr[row + 1]):
                    total += x[indices[place]]
            result[row] = total

    return compiled(sums)
