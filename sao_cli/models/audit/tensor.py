"""What an audit is given, brought into one form: an array in its own precision, or a sparse matrix, and its graph."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.names import check
from sao_cli.catalog import DTYPES
from sao_cli.data.kernel import Kernel, swapped_channels
from sao_cli.data.mask import KERNEL_AXES, Mask
from sao_cli.data.matrix import FINITE, Matrix
from sao_cli.data.precision import PRECISIONS, precision_of
from sao_cli.data.product import Product
from sao_cli.measure.convolution.operator_values import checked_kernel
from sao_cli.measure.values.by_component import without_zeros
from sao_cli.measure.values.norms import frobenius_norm, matrix_norm, pieces
from sao_cli.models.audit.connections import Pattern, mask_of_dense


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """A tensor that is audited: `dense`, of `shape`, a sparse `matrix` or a `product`; the others are None.

    `pattern` (m, n) has its connections: those of a matrix, or of a kernel's channels, n = groups * c_in of them,
    where a connection is a whole kernel. `nnz` numbers are not zero, and `near_zero` of the
    numbers were taken for zeros, being small. `peak` is the largest magnitude. What was `transposed` has its outputs
    first here.
    """

    kind: Literal["matrix", "kernel"]
    shape: tuple[int, ...]
    dtype: str
    dense: NDArray[Any] | None
    matrix: Matrix | None
    pattern: Pattern
    nnz: int
    peak: float
    near_zero: float = 0.0
    groups: int = 1
    transposed: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)
    product: Product | None = None

    @property
    def sides(self) -> tuple[int, int]:
        """(m, n): outputs and inputs, channels of a kernel."""
        return self.shape[0], self.shape[1] * self.groups

    @property
    def flat(self) -> NDArray[Any]:
        """The dense array as a matrix: (c_out, c_in k_1 ... k_D) of a kernel."""
        assert self.dense is not None
        return self.dense.reshape(len(self.dense), -1)

    def stored(self) -> NDArray[Any]:
        """The dense array as it was given: of a transposed kernel that of the convolution whose transpose it is."""
        assert self.dense is not None
        return swapped_channels(self.dense, self.groups) if self.transposed else self.dense

    def kernel(self) -> Kernel:
        """The stored kernel, born in float32 where that is finer than its own dtype: the numbers are what is stored."""
        fine = "float32" if self.dtype in ("float16", "bfloat16") else self.dtype
        return Kernel.from_dense(self.stored(), self.provenance, dtype=fine)

    def digest(self) -> str:
        """16 hexadecimal digits of the numbers (and, of a sparse matrix, their places), whatever dtype they are in; of
        a product those of its factors.

        Pieces whose numbers all are float32s count as such, others as float64s.
        """
        found = hashlib.blake2b(repr(self.shape).encode(), digest_size=8)
        if self.matrix is not None:
            for places in (self.matrix.mask.indptr, self.matrix.mask.indices):
                found.update(places.astype(np.int64).data)
        for numbers in self._numbers():
            for piece in pieces(numbers):
                found.update((_narrowest(piece) + 0).data)  # no zero is negative
        return found.hexdigest()

    def _numbers(self) -> Iterator[NDArray[Any]]:
        if self.product is not None:
            yield from (self.product.left, self.product.right)
        elif self.matrix is None:
            yield self.flat
        elif self.matrix.values is not None:
            yield self.matrix.values

    def norm(self) -> float:
        """The Frobenius norm, in float64, piece by piece, without overflow."""
        return frobenius_norm(self.flat) if self.matrix is None else matrix_norm(self.matrix)

    @classmethod
    def of(
        cls, weight: Any, *, dtype: str | None, threshold: float, groups: int = 1, transposed: bool = False
    ) -> Layer:
        """The layer of a Matrix, a Kernel, a Product, or an array with 2 to 5 axes; numbers up to `threshold` count as
        zeros, for which a Product has to be there as a whole.

        Raises FormatError for other axes, other types than real numbers, an empty axis, a value that is not finite,
        and groups that do not divide the outputs of a kernel; SaoError for a negative threshold or an unknown dtype.
        """
        if not 0 <= threshold < math.inf:
            raise SaoError(f"threshold {threshold:g}; magnitudes up to it count as zeros: a finite number, 0 or more")
        if dtype is not None:
            check("dtype", dtype, DTYPES)
        if isinstance(weight, Product):
            told = dtype or weight.dtype
            if not threshold:
                return _of_product(weight.transposed if transposed else weight, told, transposed)
            weight, dtype = _whole(weight), told
        if transposed:
            return _of_transposed(weight, dtype, threshold, groups)
        if isinstance(weight, Kernel):
            return _of_dense(weight.to_dense(), weight.dtype, threshold, groups, weight.mask.provenance)
        if not isinstance(weight, Matrix):
            dense = np.asarray(weight)
            return _of_dense(dense, dtype or precision_of(dense.dtype), threshold, groups, {})
        if weight.values is not None and weight.mask.nnz == weight.mask.m * weight.mask.n:
            dense = weight.values.reshape(weight.shape).astype(weight.numpy_dtype)
            return _of_dense(dense, weight.dtype, threshold, 1, weight.mask.provenance)
        return _of_sparse(weight, threshold)


def _of_dense(dense: NDArray[Any], dtype: str, threshold: float, groups: int, provenance: Mapping[str, Any]) -> Layer:
    peak = _checked(dense)
    matrix = dense.ndim == 2
    if matrix and groups != 1:
        raise FormatError(f"{groups} groups for a matrix; only kernels have groups")
    if not matrix:
        _check_groups(dense.shape, groups)
    dense = dense if dense.dtype.name in PRECISIONS else dense.astype(np.float64)
    nnz = int(np.count_nonzero(dense))
    if threshold:
        dense = _without_small(dense, threshold)
    kept = int(np.count_nonzero(dense)) if threshold else nnz
    if kept == dense.size and groups == 1:
        pattern = Pattern.all_ones(dense.shape[:2])
    elif groups == 1:
        pattern = Pattern.of_dense(dense if matrix else _live_kernels(dense))
    else:
        pattern = Pattern.of(_grouped(mask_of_dense(_live_kernels(dense)), groups))
    return Layer(
        kind="matrix" if matrix else "kernel",
        shape=dense.shape,
        dtype=dtype,
        dense=dense,
        matrix=None,
        pattern=pattern,
        nnz=kept,
        peak=peak,
        near_zero=(nnz - kept) / dense.size,
        groups=groups,
        provenance=provenance,
    )


def _of_product(product: Product, dtype: str, transposed: bool) -> Layer:
    """The layer of a product, of which a byte for each entry is held for a moment where some are zero."""
    m, n = product.shape
    peak, nnz = 0.0, 0
    for piece in product.pieces():
        peak, nnz = max(peak, _peak_of(piece)), nnz + int(np.count_nonzero(piece))
    pattern = Pattern.all_ones((m, n))
    if nnz < m * n:
        require_memory(float(m * n), f"the places of {m * n - nnz} zeros in {m} x {n}")
        pattern = Pattern.of_dense(np.concatenate([piece != 0 for piece in product.pieces()]))
    return Layer(
        kind="matrix",
        shape=(m, n),
        dtype=dtype,
        dense=None,
        matrix=None,
        pattern=pattern,
        nnz=nnz,
        peak=peak,
        transposed=transposed,
        product=product,
    )


def _whole(product: Product) -> NDArray[Any]:
    """(m, n) float64."""
    m, n = product.shape
    require_memory(16.0 * m * n, f"a product of {m} x {n}, whose small numbers count as zeros")
    return np.concatenate(list(product.pieces()))


def _of_transposed(weight: Any, dtype: str | None, threshold: float, groups: int) -> Layer:
    if isinstance(weight, Matrix):
        raise FormatError("a Matrix is (outputs, inputs) always; an array may be transposed")
    kernel = weight if isinstance(weight, Kernel) else None
    dense = np.asarray(weight) if kernel is None else kernel.to_dense()
    if dense.ndim > 1 and dense.ndim in (2, *KERNEL_AXES) and dense.size:
        _check_groups(dense.shape, groups)
        dense = swapped_channels(dense, groups)
    told = dtype or (precision_of(dense.dtype) if kernel is None else kernel.dtype)
    return replace(_of_dense(dense, told, threshold, groups, {}), transposed=True)


def _of_sparse(weight: Matrix, threshold: float) -> Layer:
    provenance = weight.mask.provenance
    values, before, peak = weight.values, weight.mask.nnz, 1.0
    if values is not None:
        peak = _peak_of(values) if len(values) else 0.0
        before = int(np.count_nonzero(values))
        if threshold:
            weight = replace(weight, values=np.where(np.abs(values) <= threshold, 0.0, values))
        weight = without_zeros(weight)
    return Layer(
        kind="matrix",
        shape=weight.shape,
        dtype=weight.dtype if values is not None else "bool",
        dense=None,
        matrix=weight,
        pattern=Pattern.of(weight.mask),
        nnz=weight.mask.nnz,
        peak=peak,
        near_zero=(before - weight.mask.nnz) / (weight.mask.m * weight.mask.n),
        provenance=provenance,
    )


def _narrowest(numbers: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """The numbers in C order, as float32s where those have them exactly, else as float64s."""
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32, order="C")
    return single if numbers.dtype.itemsize < 8 or (single == numbers).all() else numbers.astype(np.float64, order="C")


def _checked(dense: NDArray[Any]) -> float:
    """The largest magnitude; FormatError for an array that is no weight."""
    if dense.ndim != 2 and dense.ndim not in KERNEL_AXES:
        raise FormatError(f"shape {dense.shape}: a matrix has 2 axes, and a convolution kernel 3 to 5")
    if dense.size == 0:
        raise FormatError(f"shape {dense.shape}: it is empty; each axis needs at least 1")
    if dense.dtype.kind not in "biuf":
        raise FormatError(f"its numbers are of type {dense.dtype}; a weight has real numbers")
    return _peak_of(dense)


def _peak_of(numbers: NDArray[Any]) -> float:
    """The largest magnitude of any number; FormatError where one is not finite. Two passes, and no copy."""
    low, high = float(numbers.min()), float(numbers.max())  # a NaN goes through both
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = sum(int(np.count_nonzero(~np.isfinite(piece))) for piece in pieces(numbers))
        raise FormatError(f"{bad} of {numbers.size} numbers are NaN or infinite; {FINITE}")
    return max(abs(low), abs(high))


def _check_groups(shape: tuple[int, ...], groups: int) -> None:
    checked_kernel(Kernel.from_dense(np.ones((shape[0], 1, 1))), groups)  # whose text names the divisors


def _live_kernels(dense: NDArray[Any]) -> NDArray[np.bool_]:
    """(c_out, c_in) which kernels are not zero as wholes."""
    live: NDArray[np.bool_] = (dense != 0).any(axis=tuple(range(2, dense.ndim)))
    return live


def _grouped(mask: Mask, groups: int) -> Mask:
    """The (c_out, groups * c_in) mask of all channels: output o reads those of group o // (c_out / groups)."""
    columns = mask.indices + mask.entry_rows // (mask.m // groups) * mask.n
    return Mask(mask.indptr, columns, (mask.m, mask.n * groups), mask.provenance)


def _without_small(dense: NDArray[Any], threshold: float) -> NDArray[Any]:
    """A copy with zeros where magnitudes are at most `threshold`."""
    require_memory(float(dense.nbytes), f"a copy of {dense.size} numbers without the small ones")
    kept = dense.copy(order="C")
    for piece in pieces(kept):
        piece[np.abs(piece) <= threshold] = 0
    return kept
