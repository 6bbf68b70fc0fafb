"""The weight of one layer on a device, in the form in which it multiplies quickest."""

from __future__ import annotations

import itertools
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.matrix import Matrix
from sao_cli.nets.jacobians.long_products.arithmetic import Array, array_of, namespace, on_cpu, zeros
from sao_cli.nets.jacobians.long_products.scales import column_exponents, graded_bits

Places = NDArray[np.intp]

SPARSE = 1 / 16  # density below which CSR times dense beats the dense product, 256 x 256 and up, on one core
TILE = 2**16  # numbers of a product that are gathered at a time on a CPU, so that they are still in its cache


class LayerOperator:
    """X -> diag(slopes) W X for X of shape (B, n, k), whose i-th row stands at places[i], or in its own place.

    `apply` gives it with its rows in an order of its own, which `places` (m,) tells in the same way, None for the
    true one: a layer's gather of its outputs is then merged with the next one's gather of its inputs. `slopes`
    (B, m, 1) stand in that order too, and `row_peaks` (m,), the largest magnitude in each row of W. Where `columns`
    (n,) is not None, W diag(2^columns) is the weight.

    X may be overwritten, to spare a large result its memory: `overwritten` tells the rows (m,) of an X of so many
    `numbers` in which the outputs then stand, in the operator's order, or None where there is another array.
    """

    places: Places | None = None
    row_peaks: NDArray[np.float64]
    columns: NDArray[np.int64] | None = None

    def apply(self, X: Array, places: Places | None, slopes: Array | None = None, *, overwrite: bool = False) -> Array:
        raise NotImplementedError

    def overwritten(self, places: Places | None, numbers: int) -> Places | None:
        return None


class BlockValues(NamedTuple):
    """The blocks (K, c, d) of a weight on K disjoint K_{c,d}, and the rows (K c) and columns (K d) that they have."""

    values: NDArray[np.float64]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


def layer_operator(weight: Matrix, blocks: BlockValues | None, device: Any, dtype: Any) -> LayerOperator:
    """The operator of a weight with values: its layer_blocks if it has them, CSR where it is sparse, else dense.

    It is of arrays of `dtype`: one of numpy's, or one of torch's for tensors on `device`.
    """
    columns = column_exponents(_column_peaks(weight, blocks), graded_bits(dtype))
    if columns is not None:
        assert weight.values is not None
        weight = Matrix(weight.mask, np.ldexp(weight.values, -columns[weight.mask.indices]))
        blocks = layer_blocks(weight)
    operator: LayerOperator
    if blocks is not None:
        operator = BlockOperator(blocks, device, dtype)
    elif weight.mask.density > SPARSE or str(device).startswith("mps"):  # which has no sparse layouts
        operator = DenseOperator(weight, device, dtype)
    else:
        operator = SparseOperator(weight, device, dtype)
    operator.columns = columns
    return operator


def _column_peaks(weight: Matrix, blocks: BlockValues | None) -> NDArray[np.float64]:
    """(n,) the largest magnitude in each column."""
    assert weight.values is not None
    peaks = np.zeros(weight.mask.n)
    if blocks is not None:
        peaks[blocks.columns] = np.abs(blocks.values).max(axis=1).reshape(-1)
    else:
        np.maximum.at(peaks, weight.mask.indices, np.abs(weight.values))
    return peaks


def layer_blocks(weight: Matrix) -> BlockValues | None:
    """The blocks of a weight on an SAO mask or on all ones, None on any other. O(nnz)."""
    groups, (m, n) = weight.mask.groups, weight.shape
    degrees = (weight.mask.row_degrees, weight.mask.column_degrees)
    if groups is None or not groups.count or any(sides.min() < sides.max() for sides in degrees):
        return None
    assert weight.values is not None
    if groups.count == 1:
        return BlockValues(weight.values.reshape(1, m, n), np.arange(m), np.arange(n))
    rows, columns = (np.argsort(labels, kind="stable") for labels in (groups.rows, groups.columns))
    values = weight.values.reshape(m, -1)[rows].reshape(groups.count, m // groups.count, n // groups.count)
    return BlockValues(values, rows, columns)


class BlockOperator(LayerOperator):
    """K blocks c x d of disjoint complete bipartite groups: O(B m d k), one gather and one batched product."""

    def __init__(self, blocks: BlockValues, device: Any, dtype: Any) -> None:
        self.places = np.empty_like(blocks.rows)
        self.places[blocks.rows] = np.arange(len(blocks.rows))
        self.row_peaks = np.abs(blocks.values).max(axis=2).reshape(-1)
        self._blocks, self._inputs = array_of(blocks.values, dtype, device), blocks.columns

    def overwritten(self, places: Places | None, numbers: int) -> Places | None:
        height, width = self._blocks.shape[1:]
        if height != width or numbers <= TILE or not on_cpu(self._blocks):
            return None
        return self._inputs if places is None else places[self._inputs]

    def apply(self, X: Array, places: Places | None, slopes: Array | None = None, *, overwrite: bool = False) -> Array:
        inputs = self._inputs if places is None else places[self._inputs]
        (count, height, width), (chains, _, columns) = self._blocks.shape, X.shape
        blocks = self._blocks[None] if slopes is None else self._blocks * slopes.reshape(-1, count, height, 1)
        if not overwrite and (chains * count * width * columns <= TILE or not on_cpu(X)):
            return (blocks @ _ordered(X, inputs).reshape(chains, count, width, columns)).reshape(chains, -1, columns)
        product = X if overwrite else zeros(X, chains, count * height, columns)
        step = max(1, TILE // (width * columns))
        for chain, start in itertools.product(range(chains), range(0, count, step)):
            part, gathered = slice(start, start + step), inputs[start * width : (start + step) * width]
            rows = gathered if overwrite else slice(start * height, (start + step) * height)
            operand = X[chain, gathered].reshape(-1, width, columns)
            product[chain, rows] = (blocks[chain % len(blocks), part] @ operand).reshape(-1, columns)
        return product


class SparseOperator(LayerOperator):
    """CSR times dense: O(B nnz k). On a CPU by scipy, whose products take an eighth of torch's at n = 1024."""

    def __init__(self, weight: Matrix, device: Any, dtype: Any) -> None:
        csr = weight.to_scipy().astype(str(dtype).removeprefix("torch."))
        self._csr, self.row_peaks = csr, abs(csr).max(axis=1).toarray().reshape(-1)
        if not str(device).startswith("cpu"):
            parts = (namespace(dtype).tensor(array, device=device) for array in (csr.indptr, csr.indices, csr.data))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that CSR tensors are in beta
                self._csr = namespace(dtype).sparse_csr_tensor(*parts, weight.shape)

    def apply(self, X: Array, places: Places | None, slopes: Array | None = None, *, overwrite: bool = False) -> Array:
        X = _ordered(X, places)
        found = [self._product(one) for one in X]
        product = namespace(X).stack(found) if len(found) > 1 else found[0][None]
        if slopes is not None:
            product *= slopes
        return product

    def _product(self, X: Array) -> Array:
        return namespace(X).asarray(self._csr @ np.asarray(X)) if on_cpu(X) else self._csr @ X


class DenseOperator(LayerOperator):
    """A dense product: O(B m n k)."""

    def __init__(self, weight: Matrix, device: Any, dtype: Any) -> None:
        dense = weight.to_dense()
        self.row_peaks = np.abs(dense).max(axis=1).astype(np.float64)
        self._dense = array_of(dense, dtype, device)

    def apply(self, X: Array, places: Places | None, slopes: Array | None = None, *, overwrite: bool = False) -> Array:
        product = self._dense @ _ordered(X, places)
        if slopes is not None:
            product *= slopes
        return product


def _ordered(X: Array, places: Places | None) -> Array:
    if places is None:
        return X
    return X.take(places, 1) if (xp := namespace(X)) is np else X.index_select(1, xp.asarray(places, device=X.device))
