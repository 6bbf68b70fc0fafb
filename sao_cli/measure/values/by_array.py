"""The singular values of a dense array in the precision that it is stored in, without a float64 copy of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import PROBES, generator
from sao_cli.base.threads import one_thread
from sao_cli.measure.graph.edge import EXACT_SIDE
from sao_cli.measure.krylov.lanczos import Vector
from sao_cli.measure.values.by_component import EXACT_ENTRIES, block_singular_values
from sao_cli.measure.values.density import PRODUCTS, operator_density
from sao_cli.measure.values.norms import frobenius_norm, longest_line_of_array
from sao_cli.measure.values.singular_values import SingularValues
from sao_cli.measure.values.two_stages import add_gram, mirror, symmetric_eigenvalues

Values = NDArray[np.float64]
Solver = Callable[[NDArray[Any]], Values]  # from a dense array to its singular values, descending

_GRAM_ENTRIES = 2**20  # of one piece in float64, 8 MB: enough for BLAS to run at full speed
_SAFE = 40  # bits from 1 within which numbers can be squared and summed in float32
_VECTOR_ENTRIES = 2**18  # the same for products with vectors: a megabyte of float32, which stays in the cache


def dense_singular_values(
    dense: NDArray[Any],
    *,
    exact_side: int = EXACT_SIDE,
    products: int = PRODUCTS,
    single: bool = False,
    solver: Solver | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> SingularValues:
    """The min(m, n) singular values of a dense (m, n) array, descending, exactly up to `exact_side` on the shorter one.

    float64 ones by an SVD (component_values.block_singular_values). float32 and float16 ones are the roots of the
    eigenvalues of the Gram matrix, summed in float64 piece by piece: rounding moves an eigenvalue by a modest multiple
    of 2^-53 sigma_max^2, so no singular value by more than the root of that, some 1e-8 sigma_max, and most by far less.
    That is less than a float32 SVD's own error, eps sigma_max, and takes a half to a third of its time. A `solver`
    finds them in the place of both, as one does on a GPU.

    Beyond `exact_side`, or 2^27 entries, they are quantiles of the density that measure.values.density.operator_density
    finds within `products` products, which also run piece by piece, in float32 where the array is no finer and
    `single`. All values must be finite; MemoryLimitError where
    the Gram matrix would not fit. O(m n min(m, n)); one Gram matrix and its copy beside the array, or, for float64, two
    copies of the array; beyond, O(m n) a product and some vectors.

    >>> dense_singular_values(np.array([[3, 0, 4], [0, 2, 0]], dtype=np.float32)).values.round(6)
    array([5., 2.])
    """
    side = min(dense.shape)
    if side > exact_side or dense.size > EXACT_ENTRIES:
        return _estimated(dense, products, single and dense.dtype != np.float64, seed, progress)
    if solver is None:
        solver = _by_svd if dense.dtype == np.float64 else _by_gram_matrix
    with one_thread(side):
        values = solver(dense)
    return SingularValues(values=values, exact=True, norm=frobenius_norm(dense))


def _by_svd(dense: NDArray[np.float64]) -> Values:
    require_memory(24.0 * dense.size, f"the dense SVD of {_sides(dense)}")
    values: Values = block_singular_values(dense[None])[0]
    return values


def _by_gram_matrix(dense: NDArray[Any]) -> Values:
    tall = dense if dense.shape[0] >= dense.shape[1] else dense.T
    return _roots(symmetric_eigenvalues(_lower_gram(tall, _sides(dense))))


def gram_matrix(dense: NDArray[Any]) -> Values:
    """(n, n) W^T W of a dense (m, n) array, in float64 and piece by piece; MemoryLimitError. O(m n^2)."""
    gram = _lower_gram(dense, _sides(dense))
    mirror(gram)
    return gram


def _lower_gram(dense: NDArray[Any], what: str) -> Values:
    side = dense.shape[1]
    require_memory(24.0 * side**2 + 8.0 * _GRAM_ENTRIES, f"the Gram matrix of {what}")
    gram = np.zeros((side, side))
    for piece in _pieces(dense, _GRAM_ENTRIES):
        add_gram(gram, piece)
    return gram


def roots_of_gram(gram: Values) -> Values:
    """The singular values, descending, of an array whose Gram matrix this is; those below zero by rounding as 0."""
    return _roots(symmetric_eigenvalues(gram.copy()))


def _roots(squares: Values) -> Values:
    values: Values = np.sqrt(np.maximum(squares[::-1], 0.0))
    return values


def _estimated(dense: NDArray[Any], products: int, single: bool, seed: int, progress: Progress) -> SingularValues:
    operator = DenseGram(dense, np.float32 if single else np.float64)
    with one_thread():
        found = operator_density(operator, generator(seed, 1, PROBES), products=products, progress=progress)
    if single:  # still a lower bound: sums of so many float32s are off by the root of their number, as a rule
        found = replace(found, sigma_max=found.sigma_max * (1 - math.sqrt(max(dense.shape)) * 2.0**-23))
    return SingularValues.estimated(
        found.scaled(operator.exponent),
        f"the dense SVD of {_sides(dense)} is left out",
        norm=frobenius_norm(dense),
        at_least=longest_line_of_array(dense),
    )


class DenseGram:
    """x -> A x, with A = W W^T or W^T W, whichever is smaller, for 2^-exponent times a dense (m, n) array.

    A SizedOperator, in `dtype` whatever the array is stored in; sums of pieces are float64's. An application reads a
    tall array once, and both products are taken of some rows while they are in the cache. A wide one it reads twice,
    by rows again: once by columns, which lie apart in memory, takes more than twice as long.
    """

    def __init__(self, dense: NDArray[Any], dtype: type[np.floating[Any]] = np.float64) -> None:
        tall = dense if dense.shape[0] >= dense.shape[1] else dense.T
        self._by_columns = tall.T.flags.c_contiguous and not tall.flags.c_contiguous
        self._dense = tall.T if self._by_columns else tall
        self._dtype = dtype
        self.size = min(dense.shape)
        peak = max(float(dense.max()), -float(dense.min()))
        exponent = math.frexp(peak)[1]
        safe = dense.dtype != np.float64 and (dtype == np.float64 or abs(exponent) < _SAFE)  # squares stay in range
        self.exponent = 0 if safe else exponent

    def apply(self, x: Vector) -> Vector:
        given = x.astype(self._dtype, copy=False)
        if not self._by_columns:
            return sum(((piece @ given) @ piece for piece in self._scaled()), np.zeros(self.size))
        between, start = np.zeros(self._dense.shape[1]), 0
        for piece in self._scaled():
            between += given[start : (start := start + len(piece))] @ piece
        between = between.astype(self._dtype, copy=False)
        return np.concatenate([piece @ between for piece in self._scaled()]).astype(np.float64, copy=False)

    def project_(self, x: Vector) -> None: ...

    def _scaled(self) -> Iterator[NDArray[Any]]:
        for piece in _pieces(self._dense, _VECTOR_ENTRIES, self._dtype):
            yield np.ldexp(piece, -self.exponent) if self.exponent else piece


def _pieces(dense: NDArray[Any], entries: int, dtype: type[np.floating[Any]] = np.float64) -> Iterator[NDArray[Any]]:
    """The rows of the array some at a time, in `dtype`."""
    step = max(1, entries // dense.shape[1])
    for start in range(0, len(dense), step):
        yield dense[start : start + step].astype(dtype, copy=False)


def _sides(dense: NDArray[Any]) -> str:
    return f"{dense.shape[0]} x {dense.shape[1]}"
