"""The weight of one layer on a device, in the form in which it multiplies quickest."""

from __future__ import annotations

import itertools
import warnings
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sao_cli.data.matrix import Matrix
from sao_cli.nets.jacobians.long_products.scales import column_exponents, graded_bits

SPARSE = 1 / 16  # density below which CSR times dense beats the dense product, 256 x 256 and up, on one core
TILE = 2**17  # numbers of a product that are gathered at a time on a CPU, so that they are still in its cache


class LayerOperator(Protocol):
    """X -> diag(slopes) W X for X of shape (B, n, k), whose i-th row stands at places[i], or in its own place.

    `apply` gives it with its rows in an order of its own, which `places` (m,) tells in the same way, None for the
    true one: a layer's gather of its outputs is then merged with the next one's gather of its inputs. `slopes`
    (B, m, 1) stand in that order too, and `row_peaks` (m,), the largest magnitude in each row of W. Where `columns`
    (n,) is not None, W diag(2^columns) is the weight.
    """

    places: Tensor | None
    row_peaks: NDArray[np.float64]
    columns: NDArray[np.int64] | None

    def apply(self, X: Tensor, places: Tensor | None, slopes: Tensor | None = None) -> Tensor: ...


class BlockValues(NamedTuple):
    """The blocks (K, c, d) of a weight on K disjoint K_{c,d}, and the rows (K c) and columns (K d) that they have."""

    values: NDArray[np.float64]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


def layer_operator(
    weight: Matrix, blocks: BlockValues | None, device: torch.device, dtype: torch.dtype
) -> LayerOperator:
    """The operator of a weight with values: its layer_blocks if it has them, CSR where it is sparse, else dense."""
    columns = column_exponents(_column_peaks(weight, blocks), graded_bits(dtype))
    if columns is not None:
        assert weight.values is not None
        weight = Matrix(weight.mask, np.ldexp(weight.values, -columns[weight.mask.indices]))
        blocks = layer_blocks(weight)
    operator: BlockOperator | DenseOperator | SparseOperator
    if blocks is not None:
        operator = BlockOperator(blocks, device, dtype)
    elif weight.mask.density > SPARSE or device.type == "mps":  # which has no sparse layouts
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


class BlockOperator:
    """K blocks c x d of disjoint complete bipartite groups: O(B m d k), one gather and one batched product."""

    columns: NDArray[np.int64] | None = None

    def __init__(self, blocks: BlockValues, device: torch.device, dtype: torch.dtype) -> None:
        places = np.empty_like(blocks.rows)
        places[blocks.rows] = np.arange(len(places))
        self.row_peaks = np.abs(blocks.values).max(axis=2).reshape(-1)
        self._blocks = torch.tensor(blocks.values, device=device, dtype=dtype)  # which may be read-only
        self._inputs = torch.from_numpy(blocks.columns).to(device)
        self.places: Tensor | None = torch.from_numpy(places).to(device)

    def apply(self, X: Tensor, places: Tensor | None, slopes: Tensor | None = None) -> Tensor:
        inputs = self._inputs if places is None else places[self._inputs]
        (count, height, width), (chains, _, columns) = self._blocks.shape, X.shape
        blocks = self._blocks if chains == 1 else self._blocks.repeat(chains, 1, 1)
        if slopes is not None:
            blocks = blocks * slopes.view(-1, height, 1)
        step = max(1, TILE // (width * columns))
        if step >= chains * count or X.device.type != "cpu":
            gathered = X.index_select(1, inputs).view(-1, width, columns)
            return torch.bmm(blocks, gathered).view(chains, -1, columns)
        product = X.new_empty(chains * count, height, columns)
        for chain, start in itertools.product(range(chains), range(0, count, step)):
            part = slice(chain * count + start, chain * count + min(start + step, count))
            gathered = X[chain].index_select(0, inputs[start * width : (start + step) * width])
            torch.bmm(blocks[part], gathered.view(-1, width, columns), out=product[part])
        return product.view(chains, -1, columns)


class SparseOperator:
    """CSR times dense: O(B nnz k). On a CPU by scipy, whose products take an eighth of torch's at n = 1024."""

    places: Tensor | None = None
    columns: NDArray[np.int64] | None = None

    def __init__(self, weight: Matrix, device: torch.device, dtype: torch.dtype) -> None:
        csr = weight.to_scipy().astype(np.float32 if dtype == torch.float32 else np.float64)
        self._csr, self.row_peaks = csr, abs(csr).max(axis=1).toarray().reshape(-1)
        if device.type != "cpu":
            parts = (torch.tensor(array, device=device) for array in (csr.indptr, csr.indices, csr.data))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that CSR tensors are in beta
                self._csr = torch.sparse_csr_tensor(*parts, weight.shape)

    def apply(self, X: Tensor, places: Tensor | None, slopes: Tensor | None = None) -> Tensor:
        X = _ordered(X, places)
        product = torch.stack([self._product(one) for one in X]) if len(X) > 1 else self._product(X[0])[None]
        return product if slopes is None else product.mul_(slopes)

    def _product(self, X: Tensor) -> Tensor:
        return torch.from_numpy(self._csr @ X.numpy()) if X.device.type == "cpu" else self._csr @ X


class DenseOperator:
    """A dense product: O(B m n k)."""

    places: Tensor | None = None
    columns: NDArray[np.int64] | None = None

    def __init__(self, weight: Matrix, device: torch.device, dtype: torch.dtype) -> None:
        dense = weight.to_dense()
        self.row_peaks = np.abs(dense).max(axis=1).astype(np.float64)
        self._dense = torch.from_numpy(dense).to(device=device, dtype=dtype)

    def apply(self, X: Tensor, places: Tensor | None, slopes: Tensor | None = None) -> Tensor:
        product = self._dense @ _ordered(X, places)
        return product if slopes is None else product.mul_(slopes)


def _ordered(X: Tensor, places: Tensor | None) -> Tensor:
    return X if places is None else X.index_select(1, places)
