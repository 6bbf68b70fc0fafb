"""`Matrix`: a mask and, where there are any, the weights on it; what travels between commands, files and functions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.errors import FormatError, SaoWarning
from sao_cli.base.memory import require_memory
from sao_cli.base.names import check
from sao_cli.catalog import DTYPES
from sao_cli.data.arrays import Values
from sao_cli.data.coercion import array_of, is_graph
from sao_cli.data.mask import Mask, index_dtype
from sao_cli.data.precision import PRECISIONS, SMALLEST, precision_of, rounded_within
from sao_cli.data.sparse_layouts import checked_csr, checked_dense

if TYPE_CHECKING:
    from pathlib import Path

    import scipy.sparse
    import torch

MatrixLike: TypeAlias = "Matrix | Mask | ArrayLike | scipy.sparse.sparray | torch.Tensor | torch.nn.Module | Path"


@dataclass(frozen=True, eq=False)
class Matrix:
    """A sparse (m, n) matrix: `values[k]` (float64) stands at the k-th one of `mask`, row by row; None means all 1.

    `dtype` names the precision in which the values were born, one of float64, float32, float16 and bfloat16: they
    are always held as float64, and are exact in `dtype`, in which files keep them. What is measured of them can't be
    better than `eps`, its unit in the last place of 1.

    >>> Matrix.from_dense(np.array([[0.5, 0.0], [0.0, 2.0]])).values
    array([0.5, 2. ])
    """

    mask: Mask
    values: Values | None = None
    dtype: str = "float64"

    def __post_init__(self) -> None:
        check("dtype", self.dtype, DTYPES)
        if self.values is None:
            return
        values = np.asarray(self.values, dtype=np.float64).view()
        if values.shape != (self.mask.nnz,):
            raise FormatError(f"{values.shape} values for a mask of {self.mask.nnz} ones; each one needs one value")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Matrix):
            return NotImplemented
        if self.values is None or other.values is None:
            return self.mask == other.mask and self.values is other.values
        same = self.mask == other.mask and self.dtype == other.dtype
        return same and np.array_equal(self.values, other.values)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        kind = "pattern" if self.values is None else self.dtype
        return f"Matrix({self.mask.m} x {self.mask.n}, nnz={self.mask.nnz}, {kind})"

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n): outputs and inputs."""
        return self.mask.shape

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number of `dtype`."""
        return PRECISIONS[self.dtype]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The narrowest of numpy's types that holds the values exactly: float32 for bfloat16, which numpy lacks."""
        return np.dtype("float32" if self.dtype == "bfloat16" else self.dtype)

    def as_dtype(self, dtype: str | None) -> Matrix:
        """The same weights rounded to `dtype`, and known to be no better than it; None changes nothing.

        What would round to 0 becomes the smallest number of `dtype`, since a 0 is no part of the mask. Raises
        FormatError for a value that overflows it.
        """
        if dtype is None or self.values is None or dtype == self.dtype:
            return self
        values = rounded_within(self.values, dtype)
        return Matrix(self.mask, np.where(values == 0, np.copysign(SMALLEST[dtype], self.values), values), dtype)

    def to_dense(self) -> NDArray[Any]:
        """A dense (m, n) array of `numpy_dtype`, or bool where there are no values. O(m n).

        Raises MemoryLimitError where it would not fit.
        """
        if self.values is None:
            return self.mask.to_dense()
        dense = self.mask.to_dense(self.numpy_dtype)
        dense[self.mask.entry_rows, self.mask.indices] = self.values
        return dense

    def to_scipy(self) -> scipy.sparse.csr_array:
        """A scipy.sparse.csr_array (m, n), float32 or float64; the index arrays are shared, not copied."""
        matrix = self.mask.to_scipy()
        if self.values is not None:
            matrix.data = self.values.astype(np.float64 if self.dtype == "float64" else np.float32)
        return matrix

    def to_torch(self) -> torch.Tensor:
        """A dense (m, n) torch tensor of `dtype` on the CPU, as torch.nn.Linear.weight keeps it."""
        import torch

        tensor = torch.from_numpy(self.to_dense())
        return tensor if self.values is None else tensor.to(getattr(torch, self.dtype))

    @classmethod
    def of(cls, weight: MatrixLike, where: str = "the weight") -> Matrix:
        """The Matrix that `weight` is, or holds: a Mask, a numpy array, a scipy sparse array, a torch tensor, all
        (m, n), a torch module (its weight), or the path of a file with one matrix.

        Its dtype is kept (whole numbers become float64). Raises FormatError for what is no matrix of finite reals.
        """
        array = array_of(weight, where)
        if isinstance(array, Matrix):
            return array
        if isinstance(array, Mask):
            return cls(array)
        if is_graph(array):
            raise FormatError(f"{where}: a graph has no weights; give Mask.from_networkx(graph) where a mask is meant")
        if len(array.shape) != 2:
            raise FormatError(f"{where}: its shape is {tuple(array.shape)}; a mask or weight matrix has two axes")
        if hasattr(array, "tocsr"):
            csr = checked_csr(array, where)
            rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
            values = None if csr.dtype.kind == "b" else csr.data[: len(rows)].astype(np.float64)
            return cls.from_entries(
                rows, csr.indices[: len(rows)], values, csr.shape, where=where, dtype=precision_of(csr.dtype)
            )
        dense, dtype = dense_array(array, where)
        return cls.from_dense(dense, where=where, dtype=dtype)

    @classmethod
    def from_dense(
        cls,
        dense: NDArray[Any],
        provenance: Mapping[str, Any] | None = None,
        where: str = "the array",
        dtype: str | None = None,
    ) -> Matrix:
        """The non-zeros of a dense (m, n) array of real numbers; without values where its dtype is bool. O(m n).

        `dtype` is the array's own, float64 for whole numbers, unless it is named (bfloat16 held as float32).

        Raises FormatError, naming `where`, for another dtype, another number of axes, or a value that is not finite.
        """
        shape = _checked_shape(dense.shape, where)
        if dense.dtype.kind not in "biuf":
            raise FormatError(f"{where}: its numbers are of type {dense.dtype}; a mask needs real numbers")
        _require_finite_dense(dense, where)
        counts = np.count_nonzero(dense, axis=1)
        require_memory(24 * int(counts.sum()), f"the non-zeros of {where}")
        indptr = np.zeros(shape[0] + 1, dtype=index_dtype(*shape, int(counts.sum())))
        np.cumsum(counts, out=indptr[1:])
        rows, columns = np.nonzero(dense)
        values = None if dense.dtype.kind == "b" else dense[rows, columns].astype(np.float64)
        return cls(Mask(indptr, columns, shape, provenance or {}), values, dtype or precision_of(dense.dtype))

    @classmethod
    def from_entries(
        cls,
        rows: NDArray[np.signedinteger[Any]],
        columns: NDArray[np.signedinteger[Any]],
        values: Values | None,
        shape: tuple[int, int],
        provenance: Mapping[str, Any] | None = None,
        where: str = "the entries",
        dtype: str = "float64",
    ) -> Matrix:
        """The matrix with values[k] at (rows[k], columns[k]), 0-based, in any order.

        Entries of one position are summed (without values they count once) and zeros are dropped, each said by one
        SaoWarning that names `where` and the count. Raises FormatError for a position outside `shape`, for sizes of
        which the entries fill next to nothing, and for a value or sum that is not finite. O(nnz) where the entries
        come row by row, else O(nnz log nnz).
        """
        shape = _checked_shape(shape, where)
        if sum(shape) > _EMPTY + _EMPTY_EACH * len(rows):
            m, n = shape
            told = f"a matrix of {m} x {n} with {len(rows)} entries, nearly all of whose rows and columns are empty"
            raise FormatError(f"{where}: {told}; check its sizes")
        _require_inside(rows, columns, shape, where)
        rows, columns, values = _merged(rows, columns, values, shape, where)
        if values is not None:
            rows, columns, values = _without_zeros(rows, columns, values, where)
        indptr = np.zeros(shape[0] + 1, dtype=index_dtype(*shape, len(rows)))
        np.cumsum(np.bincount(rows, minlength=shape[0]), out=indptr[1:])
        return cls(Mask(indptr, columns, shape, provenance or {}), values, dtype)


def dense_array(weight: ArrayLike | torch.Tensor, where: str = "the tensor") -> tuple[NDArray[Any], str | None]:
    """A dense numpy array of an array or a torch tensor, and the tensor's dtype if it is one of PRECISIONS.

    bfloat16, which numpy lacks, is held as float32.
    """
    if not hasattr(weight, "detach"):
        return np.asarray(weight), None
    tensor = weight.detach().cpu()
    tensor = checked_dense(tensor, where) if str(tensor.layout) != "torch.strided" else tensor
    name = str(tensor.dtype).removeprefix("torch.")
    return (tensor.float() if name == "bfloat16" else tensor).numpy(), name if name in PRECISIONS else None


def _checked_shape(shape: tuple[int, ...], where: str) -> tuple[int, int]:
    if len(shape) != 2:
        raise FormatError(f"{where}: its shape is {tuple(shape)}; a mask or weight matrix has two axes")
    m, n = (int(size) for size in shape)
    if m < 1 or n < 1:
        raise FormatError(f"{where}: a matrix of {m} x {n}; a layer needs at least one output and one input")
    if m * n >= 2**63:
        raise FormatError(f"{where}: a matrix of {m} x {n}; positions past 2^63 can't be counted, use smaller sizes")
    return m, n


def _require_inside(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int], where: str) -> None:
    for axis, positions, size in (("row", rows, shape[0]), ("column", columns, shape[1])):
        if len(positions) and (positions.min() < 0 or positions.max() >= size):
            wrong = positions[(positions < 0) | (positions >= size)][0]
            raise FormatError(f"{where}: an entry in {axis} {wrong}, and the {axis}s are 0 .. {size - 1}")


def _require_finite_dense(dense: NDArray[Any], where: str) -> None:
    if dense.dtype.kind == "f" and not np.isfinite(dense).all():
        row, column = np.argwhere(~np.isfinite(dense))[0].tolist()
        raise FormatError(f"{where}: {dense[row, column]} at row {row + 1}, column {column + 1}; {FINITE}")


def _merged(
    rows: NDArray[Any], columns: NDArray[Any], values: Values | None, shape: tuple[int, int], where: str
) -> tuple[NDArray[Any], NDArray[Any], Values | None]:
    later_row = rows[1:] > rows[:-1]
    if (later_row | ((rows[1:] == rows[:-1]) & (columns[1:] > columns[:-1]))).all():
        return rows, columns, values
    key = rows * np.int64(shape[1]) + columns
    order = np.argsort(key, kind="stable")  # stable, so that sums are taken in the order of the input
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    if values is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.add.reduceat(values[order], first)
    if repeated := len(key) - len(first):
        done = "counted once" if values is None else "summed"
        _say(f"{where}: {_entries(repeated)} at a position already given, {done}")
    rows, columns = np.divmod(key[first], shape[1])
    return rows, columns, values


def _without_zeros(
    rows: NDArray[Any], columns: NDArray[Any], values: Values, where: str
) -> tuple[NDArray[Any], NDArray[Any], Values]:
    if not np.isfinite(values).all():
        wrong = np.flatnonzero(~np.isfinite(values))[0]
        place = f"row {rows[wrong] + 1}, column {columns[wrong] + 1}"
        raise FormatError(f"{where}: {values[wrong]} at {place}; {FINITE}")
    kept = values != 0
    if kept.all():
        return rows, columns, values
    _say(f"{where}: {_entries(len(kept) - int(kept.sum()))} with the value 0, left out of the mask")
    return rows[kept], columns[kept], values[kept]


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _say(text: str) -> None:
    warnings.warn(text, SaoWarning, stacklevel=2)


_EMPTY, _EMPTY_EACH = 1 << 20, 200  # rows and columns that may be empty: so many, and so many more for each entry

FINITE = "every value must be a finite number"
