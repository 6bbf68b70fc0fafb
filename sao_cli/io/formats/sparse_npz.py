"""Sparse arrays in .npz files: the layouts of scipy.sparse.save_npz, and those of pydata's sparse.save_npz."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.data.matrix import Matrix
from sao_cli.data.sparse_layouts import block_places, compressed_places, require_places
from sao_cli.io.provenance import told_dtype
from sao_cli.io.tensors import weight_of

if TYPE_CHECKING:
    from sao_cli.data.kernel import Weight

Arrays = Callable[[str], NDArray[Any]]
_WITHOUT_FORMAT = {
    "coo": {"coords", "data", "shape"},
    "gcxs": {"indices", "indptr", "compressed_axes", "data", "shape"},
}
_FORMATS = ("csr", "csc", "coo", "bsr", "dia", "gcxs")


def is_sparse(names: Collection[str]) -> bool:
    """Whether the arrays of a .npz make one sparse array together: by a member "format", or as pydata's once did.

    >>> is_sparse(["coords", "data", "shape"]), is_sparse(["weight", "bias"])
    (True, False)
    """
    return {"format", "data"} <= set(names) or any(needed <= set(names) for needed in _WITHOUT_FORMAT.values())


def read_sparse(array: Arrays, names: Collection[str], provenance: dict[str, Any] | None, where: str) -> Weight:
    """The weight that sparse arrays make: a Matrix where it has two axes, else a Kernel.

    `array` reads one of `names`. Raises ValueError for indices outside the shape, for an unknown layout, and for a
    fill value other than 0, and what Matrix.from_entries does. O(nnz), and for kernels O(their size).
    """
    if "fill_value" in names and (fill := array("fill_value").item()) != 0:
        raise ValueError(f"its fill value is {fill}, which every entry not listed has; save it dense (todense())")
    shape = tuple(int(size) for size in array("shape"))
    places, data = _entries(_format(array, names), array, names, shape)
    if data.dtype.kind not in "biuf" or data.ndim != 1 or any(along.shape != data.shape for along in places):
        indices = " and ".join(str(along.shape) for along in places)
        raise ValueError(f"it has indices of shape {indices} for values of shape {data.shape} and type {data.dtype}")
    for along, size in zip(places, shape, strict=True):
        require_places(along, size)
    places = [along.astype(np.int64, copy=False) for along in places]
    return (_matrix if len(shape) == 2 else _kernel)(places, data, shape, provenance, where)


def _format(array: Arrays, names: Collection[str]) -> str:
    if "format" not in names:
        return next(name for name, needed in _WITHOUT_FORMAT.items() if needed <= set(names))
    told = array("format").item()
    kind = told.decode("ascii") if isinstance(told, bytes) else str(told)
    if kind not in _FORMATS:
        raise ValueError(f"its sparse format is {kind!r}; expected one of {', '.join(_FORMATS)}")
    return kind


def _entries(
    kind: str, array: Arrays, names: Collection[str], shape: tuple[int, ...]
) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """The places along each axis, and the values."""
    if kind == "coo":
        return list(array("coords")) if "coords" in names else [array("row"), array("col")], array("data")
    if kind == "gcxs":
        return _compressed_axes(array, shape), array("data")
    if len(shape) != 2:
        raise ValueError(f"its shape is {shape}, and its format {kind!r} is of matrices")
    if kind == "dia":
        return _diagonals(array("data"), array("offsets"), shape)
    return _rows_or_columns(kind, array, shape)


def _rows_or_columns(kind: str, array: Arrays, shape: tuple[int, ...]) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    data = array("data")
    block = data.shape[1:] if kind == "bsr" else (1, 1)
    if len(block) != 2 or 0 in block or shape[0] % block[0] or shape[1] % block[1]:
        raise ValueError(f"its shape {shape} is not made of blocks of {block}")
    grid = shape[0] // block[0], shape[1] // block[1]
    majors, minors = compressed_places(array("indptr"), array("indices"), grid[::-1] if kind == "csc" else grid)
    if len(data) != len(minors):
        raise ValueError(f"it has {len(minors)} indices for {len(data)} values")
    rows, columns = (minors, majors) if kind == "csc" else (majors, minors)
    return list(block_places(rows, columns, block)), data.reshape(-1)


def _diagonals(data: NDArray[Any], offsets: NDArray[Any], shape: tuple[int, ...]) -> tuple[list[Any], NDArray[Any]]:
    """data[k, j] stands in column j, and in row j - offsets[k] where there is such a row (scipy.sparse.dia_array)."""
    if data.ndim != 2 or offsets.shape != data.shape[:1] or offsets.dtype.kind not in "iu":
        raise ValueError(f"it has diagonals of shape {data.shape} for {offsets.shape} offsets of type {offsets.dtype}")
    if len(np.unique(offsets)) < len(offsets):
        raise ValueError("its offsets name a diagonal twice")
    columns = np.broadcast_to(np.arange(data.shape[1]), data.shape)
    rows = columns - offsets.astype(np.int64)[:, None]
    kept = (rows >= 0) & (rows < shape[0]) & (columns < shape[1]) & (data != 0)
    return [rows[kept], columns[kept]], data[kept]


def _compressed_axes(array: Arrays, shape: tuple[int, ...]) -> list[NDArray[Any]]:
    """The places of pydata's GCXS: a CSR matrix with the places along some axes as rows, along the rest as columns."""
    first = [int(axis) for axis in array("compressed_axes").reshape(-1)]
    if len(set(first)) < len(first) or not set(first) <= set(range(len(shape))):
        raise ValueError(f"its compressed axes are {first}, and it has {len(shape)} axes")
    rest = [axis for axis in range(len(shape)) if axis not in first]
    sides = [[shape[axis] for axis in axes] for axes in (first, rest)]
    found = compressed_places(array("indptr"), array("indices"), (math.prod(sides[0]), math.prod(sides[1])))
    places: dict[int, NDArray[Any]] = {}
    for axes, sizes, flat in zip((first, rest), sides, found, strict=True):
        places |= dict(zip(axes, np.unravel_index(flat, sizes), strict=True))
    return [places[axis] for axis in range(len(shape))]


def _matrix(
    places: list[Any], data: NDArray[Any], shape: tuple[int, ...], provenance: dict[str, Any] | None, where: str
) -> Matrix:
    rows, columns = places
    size = (shape[0], shape[1])
    if data.dtype.kind == "b" and data.all():
        return Matrix.from_entries(rows, columns, None, size, provenance, where)
    values = data.astype(np.float64)
    provenance, dtype = told_dtype(provenance, values, data.dtype.name)
    found = Matrix.from_entries(rows, columns, values, size, provenance, where, dtype)
    return Matrix(found.mask) if data.dtype.kind == "b" else found


def _kernel(
    places: list[Any], data: NDArray[Any], shape: tuple[int, ...], provenance: dict[str, Any] | None, where: str
) -> Weight:
    require_memory(math.prod(shape) * data.dtype.itemsize, f"{where}: a kernel of {'x'.join(map(str, shape))}")
    dense = np.zeros(shape, data.dtype)
    np.add.at(dense, tuple(places), data)
    return weight_of(dense, provenance, where)
