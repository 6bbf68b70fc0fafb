"""Where the entries of sparse layouts are (CSR, CSC, BSR, BSC, COO), every index checked before native code sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory

if TYPE_CHECKING:
    import scipy.sparse
    import torch

Places = NDArray[np.signedinteger[Any]]


def compressed_places(pointers: NDArray[Any], minors: NDArray[Any], shape: tuple[int, int]) -> tuple[Places, Places]:
    """(nnz,) majors and minors of what `pointers` (majors + 1,) and `minors` (nnz,) compress: rows and columns of CSR.

    `shape` is (majors, minors). Raises ValueError for pointers that do not ascend from 0 to nnz, and for a minor
    outside the shape. O(nnz + majors).
    """
    require_compressed(pointers, minors, shape)
    return np.repeat(np.arange(shape[0]), np.diff(pointers).astype(np.int64)), minors.astype(np.int64, copy=False)


def require_compressed(pointers: NDArray[Any], minors: NDArray[Any], shape: tuple[int, int]) -> None:
    """Raise ValueError where compressed_places does. O(nnz + majors)."""
    require_places(minors, shape[1])
    whole = pointers.dtype.kind in "iu" and pointers.shape == (shape[0] + 1,)
    if not whole or pointers[0] != 0 or pointers[-1] != len(minors) or (pointers[1:] < pointers[:-1]).any():
        raise ValueError(
            f"its indptr does not ascend from 0 to the number of entries, {len(minors)}, in {shape[0]} steps"
        )


def block_places(majors: Places, minors: Places, block: tuple[int, int]) -> tuple[Places, Places]:
    """(blocks * a * b,) majors and minors of all entries in blocks of `block` (a, b), at those places among blocks."""
    a, b = block
    shape = (len(majors), a, b)
    inner_majors, inner_minors = np.arange(a)[:, None], np.arange(b)[None, :]
    rows = np.broadcast_to(majors[:, None, None] * a + inner_majors, shape)
    columns = np.broadcast_to(minors[:, None, None] * b + inner_minors, shape)
    return rows.reshape(-1), columns.reshape(-1)


def require_places(places: NDArray[Any], size: int) -> None:
    """Raise ValueError unless `places` is a vector of whole numbers from 0 to size - 1."""
    if places.ndim != 1 or places.dtype.kind not in "iu":
        raise ValueError(f"its indices are of type {places.dtype} and shape {places.shape}; they are whole numbers")
    if len(places) and (places.min() < 0 or places.max() >= size):
        wrong = places[(places < 0) | (places >= size)][0]
        raise ValueError(f"an index {wrong} along an axis of {size}, whose indices are 0 .. {size - 1}")


def tensor_entries(tensor: torch.Tensor) -> tuple[NDArray[Any], torch.Tensor]:
    """(axes, nnz) int64 places of a sparse torch tensor's entries, and their values (nnz, ...); of any layout.

    A place may come twice: its values are to be summed. Raises ValueError for indices that the shape does not have,
    and NotImplementedError for batches of sparse matrices, and for sparse matrices of vectors. No function of torch
    that trusts the indices is called. O(nnz).
    """
    import torch

    shape = tuple(tensor.shape)
    require_memory(32 * tensor._nnz(), "the indices of a sparse tensor")
    if tensor.layout is torch.sparse_coo:
        places, values = tensor._indices().numpy(), tensor._values()
        if places.ndim != 2 or len(places) > len(shape) or values.dim() < 1 or len(values) != places.shape[1]:
            raise ValueError(f"{tuple(places.shape)} indices for values of shape {tuple(values.shape)}")
        for along, size in zip(places, shape, strict=False):
            require_places(along, size)
        return places, values
    by_row = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
    pointers = (tensor.crow_indices() if by_row else tensor.ccol_indices()).numpy()
    minors = (tensor.col_indices() if by_row else tensor.row_indices()).numpy()
    values = tensor.values()
    blocks = tuple(values.shape[1:]) or (1, 1)
    if len(shape) != 2 or pointers.ndim != 1 or len(blocks) != 2:
        raise NotImplementedError(
            f"a sparse tensor of {len(shape)} axes, not in the COO layout; only matrices are read"
        )
    if len(values) != len(minors) or 0 in blocks:
        raise ValueError(f"{len(minors)} indices for values of shape {tuple(values.shape)}")
    grid = shape[0] // blocks[0], shape[1] // blocks[1]
    if (grid[0] * blocks[0], grid[1] * blocks[1]) != shape:
        raise ValueError(f"shape {shape} is not made of blocks of {blocks}")
    require_memory(32 * values.numel(), "the blocks of a sparse tensor")
    majors, minors = compressed_places(pointers, minors, grid if by_row else grid[::-1])
    rows, columns = (majors, minors) if by_row else (minors, majors)
    return np.stack(block_places(rows, columns, blocks)), values.reshape(-1)


def dense_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """A sparse torch tensor as a dense one; values of one place are summed. Raises what tensor_entries does."""
    import torch

    places, values = tensor_entries(tensor)
    return torch.sparse_coo_tensor(torch.from_numpy(places), values, tensor.shape, check_invariants=True).to_dense()


def checked_csr(matrix: scipy.sparse.sparray, where: str) -> scipy.sparse.csr_array:
    """`matrix` in the CSR format, of whatever format it is, with every index checked before scipy's code follows it.

    Raises FormatError, naming `where`, for indices that the shape does not have: scipy checks nothing of arrays that
    are put into an object, and reads and writes outside them. O(nnz + m + n).
    """
    if len(matrix.shape) != 2:
        raise FormatError(f"{where}: its shape is {tuple(matrix.shape)}; a mask or weight matrix has two axes")
    try:
        _require_scipy(matrix)
        csr = matrix.tocsr()
        _require_scipy(csr)
    except (ValueError, IndexError) as error:
        raise FormatError(f"{where}: {error}") from None
    return csr


def checked_dense(tensor: torch.Tensor, where: str) -> torch.Tensor:
    """A sparse torch tensor as a dense one; FormatError, naming `where`, for what dense_tensor refuses."""
    try:
        return dense_tensor(tensor)
    except (ValueError, NotImplementedError) as error:
        raise FormatError(f"{where}: {error}") from None


def _require_scipy(matrix: Any) -> None:
    if matrix.format == "coo":
        require_places(matrix.row, matrix.shape[0])
        require_places(matrix.col, matrix.shape[1])
        if not len(matrix.row) == len(matrix.col) == len(matrix.data):
            raise ValueError(f"{len(matrix.row)} rows, {len(matrix.col)} columns and {len(matrix.data)} values")
    elif matrix.format in ("csr", "csc", "bsr"):
        a, b = matrix.blocksize if matrix.format == "bsr" else (1, 1)
        grid = matrix.shape[0] // a, matrix.shape[1] // b
        count = int(matrix.indptr[-1]) if len(matrix.indptr) else 0  # scipy lets arrays be longer than what is in use
        require_compressed(matrix.indptr, matrix.indices[:count], grid[::-1] if matrix.format == "csc" else grid)
        if len(matrix.data) < count:
            raise ValueError(f"{count} indices for {len(matrix.data)} values")
