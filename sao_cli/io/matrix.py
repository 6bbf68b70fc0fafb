"""`Matrix`: a mask and, where there are any, the numbers on it; what every reader returns and every writer takes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.errors import FormatError, SaoWarning
from sao_cli.mask import Mask, index_dtype
from sao_cli.memory import require_memory

if TYPE_CHECKING:
    import scipy.sparse

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Matrix:
    """A sparse (m, n) matrix: `values[k]` (float64) stands at the k-th one of `mask`, row by row; None means all 1.

    >>> Matrix.from_dense(np.array([[0.5, 0.0], [0.0, 2.0]])).values
    array([0.5, 2. ])
    """

    mask: Mask
    values: Values | None = None

    def __post_init__(self) -> None:
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
        return self.mask == other.mask and np.array_equal(self.values, other.values)

    __hash__ = None  # type: ignore[assignment]

    def to_dense(self) -> NDArray[Any]:
        """A dense (m, n) array: float64, or bool where there are no values. Raises MemoryLimitError. O(m n)."""
        if self.values is None:
            return self.mask.to_dense()
        dense = self.mask.to_dense(np.float64)
        dense[self.mask.entry_rows, self.mask.indices] = self.values
        return dense

    def to_scipy(self) -> scipy.sparse.csr_array:
        """A float64 scipy.sparse.csr_array (m, n); the index arrays are shared, not copied."""
        matrix = self.mask.to_scipy()
        if self.values is not None:
            matrix.data = self.values.copy()
        return matrix

    @classmethod
    def from_dense(
        cls, dense: NDArray[Any], provenance: Mapping[str, Any] | None = None, where: str = "the array"
    ) -> Matrix:
        """The non-zeros of a dense (m, n) array of real numbers; without values where its dtype is bool. O(m n).

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
        return cls(Mask(indptr, columns, shape, provenance or {}), values)

    @classmethod
    def from_entries(
        cls,
        rows: NDArray[np.signedinteger[Any]],
        columns: NDArray[np.signedinteger[Any]],
        values: Values | None,
        shape: tuple[int, int],
        provenance: Mapping[str, Any] | None = None,
        where: str = "the entries",
    ) -> Matrix:
        """The matrix with values[k] at (rows[k], columns[k]), 0-based, in any order.

        Entries of one position are summed (without values they count once) and zeros are dropped, each said by one
        SaoWarning that names `where` and the count. Raises FormatError for a position outside `shape`, and for a
        value or sum that is not finite. O(nnz) where the entries come row by row, else O(nnz log nnz).
        """
        shape = _checked_shape(shape, where)
        _require_inside(rows, columns, shape, where)
        rows, columns, values = _merged(rows, columns, values, shape, where)
        if values is not None:
            rows, columns, values = _without_zeros(rows, columns, values, where)
        indptr = np.zeros(shape[0] + 1, dtype=index_dtype(*shape, len(rows)))
        np.cumsum(np.bincount(rows, minlength=shape[0]), out=indptr[1:])
        return cls(Mask(indptr, columns, shape, provenance or {}), values)


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


FINITE = "every value must be a finite number"
