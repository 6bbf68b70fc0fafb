"""`Mask`: where the ones of a layer are, as CSR arrays around which everything else is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.data.coercion import array_of, is_graph
from sao_cli.data.sparse_layouts import checked_csr, checked_dense

if TYPE_CHECKING:
    from pathlib import Path

    import networkx as nx
    import scipy.sparse
    import torch

    from sao_cli.data.kernel import Kernel
    from sao_cli.data.matrix import Matrix

Indices = NDArray[np.signedinteger[Any]]
MaskLike: TypeAlias = (  # what Mask.of takes
    "Mask | Matrix | Kernel | ArrayLike | scipy.sparse.sparray | torch.Tensor | torch.nn.Module | nx.Graph | Path"
)

_PIECE = 2**14  # rows compared at a time
KERNEL_AXES = (3, 4, 5)  # of convolution kernels for signals, images and volumes


@dataclass(frozen=True, eq=False)
class Groups:
    """Nodes of a mask that is a disjoint union of complete bipartite graphs, by the graph that each is in.

    `rows` (m,) and `columns` (n,) hold labels 0 .. count-1, in the order of each group's first column;
    -1 marks a dead node. A one stands at (i, j) exactly when rows[i] == columns[j] != -1.
    """

    rows: Indices
    columns: Indices
    count: int


@dataclass(frozen=True, eq=False)
class Mask:
    """The pattern of ones of one layer: rows are outputs, columns are inputs, as in torch.nn.Linear.weight.

    `indptr` (m + 1,) and `indices` (nnz,) are CSR arrays of one integer dtype, int32 wherever it is wide
    enough; each row's indices ascend and do not repeat. Both are read-only. `shape` is (m, n).
    `provenance` tells where the mask came from (method, seed, layer ...) and is not part of its identity.
    Building one checks nothing, in O(1); use the `from_...` constructors for arrays of unknown order.

    >>> Mask.from_dense([[1, 0, 1], [0, 1, 0]]).row_degrees
    array([2, 1], dtype=int32)
    """

    indptr: Indices
    indices: Indices
    shape: tuple[int, int]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dtype = index_dtype(*self.shape, len(self.indices))
        for name in ("indptr", "indices"):
            array = np.asarray(getattr(self, name)).astype(dtype, copy=False).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return (
            self.shape == other.shape
            and np.array_equal(self.indptr, other.indptr)
            and np.array_equal(self.indices, other.indices)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        method = self.provenance.get("method", "given")
        return f"Mask({self.m} x {self.n}, nnz={self.nnz}, method={method!r})"

    @property
    def m(self) -> int:
        """Outputs: the number of rows."""
        return self.shape[0]

    @property
    def n(self) -> int:
        """Inputs: the number of columns."""
        return self.shape[1]

    @property
    def nnz(self) -> int:
        """The number of ones."""
        return len(self.indices)

    @property
    def density(self) -> float:
        """nnz / (m n)."""
        return self.nnz / (self.m * self.n)

    @property
    def sparsity(self) -> float:
        """1 - density."""
        return 1.0 - self.density

    @cached_property
    def row_degrees(self) -> Indices:
        """(m,) ones in each row. O(m)."""
        return np.diff(self.indptr)

    @cached_property
    def column_degrees(self) -> Indices:
        """(n,) ones in each column. O(nnz)."""
        return np.bincount(self.indices, minlength=self.n).astype(self.indices.dtype, copy=False)

    @cached_property
    def groups(self) -> Groups | None:
        """The mask's complete bipartite components, or None where some component is not complete.

        Recognised from the pattern alone: rows that share their first column must agree in all columns,
        and rows that do not must share none. SAO masks (K disjoint K_{c,d}) and all-ones masks
        are of this kind. O(nnz).
        """
        return _complete_bipartite_groups(self)

    @property
    def T(self) -> Mask:
        """The (n, m) mask with rows and columns exchanged. O(nnz log nnz)."""
        return Mask.from_entries(self.indices, self.entry_rows, (self.n, self.m), self.provenance)

    @property
    def entry_rows(self) -> Indices:
        """(nnz,) the row of each one, in the order of `indices`. O(nnz)."""
        return np.repeat(np.arange(self.m, dtype=self.indices.dtype), self.row_degrees)

    @classmethod
    def of(cls, mask: MaskLike, where: str = "the mask") -> Mask:
        """The Mask that `mask` is, or where it is not zero: a Matrix, a Kernel (which channels it joins), an array,
        a scipy sparse array, a torch tensor or module (its weight), a bipartite networkx graph, or a file's path.
        An array or tensor (c_out, c_in, k, ...) is a Kernel's.

        Raises FormatError for anything else, for what is no matrix of finite numbers, and for a file of several.

        >>> Mask.of([[1, 0, 1], [0, 1, 0]])
        Mask(2 x 3, nnz=3, method='given')
        """
        array = array_of(mask, where)
        if isinstance(array, Mask):
            return array
        if isinstance(getattr(array, "mask", None), Mask):  # of a Matrix or Kernel, which know of masks
            return array.mask  # type: ignore[no-any-return]
        if hasattr(array, "tocsr"):
            return cls.from_scipy(array)
        if is_graph(array):
            return cls.from_networkx(array)
        return cls.from_dense(_channels(_numpy(array) if hasattr(array, "detach") else np.asarray(array)))

    @classmethod
    def from_entries(
        cls, rows: ArrayLike, columns: ArrayLike, shape: tuple[int, int], provenance: Mapping[str, Any] | None = None
    ) -> Mask:
        """The mask with ones at (rows[k], columns[k]), 0-based, in any order; repeated positions count once.

        Raises FormatError for a position outside `shape`. O(nnz) where the positions come row by row,
        else O(nnz log nnz).
        """
        shape = _checked_shape(shape)
        dtype = index_dtype(*shape, np.size(rows))
        rows = _checked_positions(rows, shape[0], "row")
        columns = _checked_positions(columns, shape[1], "column")
        key = rows * np.int64(shape[1]) + columns
        if not (np.diff(key) > 0).all():
            key = np.sort(key)
            key = key[np.diff(key, prepend=-1) > 0]
            rows, columns = np.divmod(key, shape[1])
        indptr = np.zeros(shape[0] + 1, dtype=dtype)
        np.cumsum(np.bincount(rows, minlength=shape[0]), out=indptr[1:])
        return cls(indptr, columns.astype(dtype), shape, provenance or {})

    @classmethod
    def from_dense(cls, matrix: ArrayLike, provenance: Mapping[str, Any] | None = None) -> Mask:
        """The non-zero pattern of a dense (m, n) matrix of any dtype; NaN counts as an error. O(m n)."""
        matrix = np.asarray(matrix)
        if matrix.ndim != 2:
            raise FormatError(f"a mask is a matrix, and this array has shape {matrix.shape}")
        if matrix.dtype.kind in "fc" and not np.isfinite(matrix).all():
            row, column = np.argwhere(~np.isfinite(matrix))[0].tolist()
            raise FormatError(f"entry ({row}, {column}) is {matrix[row, column]}; a mask needs finite numbers")
        rows, columns = np.nonzero(matrix)
        return cls.from_entries(rows, columns, matrix.shape, provenance)

    @classmethod
    def from_scipy(cls, matrix: scipy.sparse.sparray, provenance: Mapping[str, Any] | None = None) -> Mask:
        """The non-zero pattern of a scipy sparse array or matrix of any format; duplicates are summed first."""
        matrix = checked_csr(matrix, "the sparse array").copy()
        matrix.sum_duplicates()
        if matrix.dtype.kind in "fc" and not np.isfinite(matrix.data).all():
            raise FormatError("the sparse array holds values that are not finite; a mask needs finite numbers")
        matrix.eliminate_zeros()
        return cls(matrix.indptr, matrix.indices, _checked_shape(matrix.shape), provenance or {})

    @classmethod
    def from_networkx(cls, graph: nx.Graph, provenance: Mapping[str, Any] | None = None) -> Mask:
        """The mask of a bipartite graph whose inputs carry the node attribute bipartite=0 and outputs 1.

        Inputs become columns and outputs rows, each in the graph's node order (networkx.algorithms.bipartite's
        convention for the attribute). Raises FormatError where an edge stays on one side.
        """
        sides: tuple[dict[Any, int], dict[Any, int]] = ({}, {})
        for node, side in graph.nodes(data="bipartite"):
            if side not in (0, 1):
                raise FormatError(f"node {node!r} has bipartite={side!r}; inputs need 0 and outputs need 1")
            sides[side][node] = len(sides[side])
        inputs, outputs = sides
        rows, columns = [], []
        for edge in graph.edges():
            source, target = edge if edge[0] in inputs else edge[::-1]
            if source not in inputs or target not in outputs:
                raise FormatError(f"edge {edge!r} joins two nodes of one side; a mask is a bipartite graph")
            rows.append(outputs[target])
            columns.append(inputs[source])
        return cls.from_entries(rows, columns, (len(outputs), len(inputs)), provenance)

    @classmethod
    def from_torch(cls, tensor: torch.Tensor, provenance: Mapping[str, Any] | None = None) -> Mask:
        """The non-zero pattern of an (m, n) torch tensor, dense or sparse, on any device; NaN counts as an error."""
        return cls.from_dense(_numpy(tensor), provenance)

    def to_scipy(self, dtype: Any = np.float64) -> scipy.sparse.csr_array:
        """A scipy.sparse.csr_array (m, n) of ones; the index arrays are shared, not copied."""
        from scipy.sparse import csr_array

        return csr_array((np.ones(self.nnz, dtype), self.indices, self.indptr), shape=self.shape)

    def to_dense(self, dtype: Any = bool) -> NDArray[Any]:
        """A dense (m, n) array of `dtype`, boolean unless told. Raises MemoryLimitError where it would not fit."""
        require_memory(self.m * self.n * np.dtype(dtype).itemsize, f"a dense {self.m} x {self.n} mask")
        dense = np.zeros(self.shape, dtype)
        dense[self.entry_rows, self.indices] = 1
        return dense

    def to_networkx(self) -> nx.Graph:
        """A bipartite networkx graph: inputs are nodes 0 .. n-1 (bipartite=0), outputs n .. n+m-1 (bipartite=1)."""
        import networkx as nx

        graph = nx.Graph()
        graph.add_nodes_from(range(self.n), bipartite=0)
        graph.add_nodes_from(range(self.n, self.n + self.m), bipartite=1)
        graph.add_edges_from(zip(self.indices.tolist(), (self.entry_rows + self.n).tolist(), strict=True))
        return graph

    def to_torch(self) -> torch.Tensor:
        """A dense boolean (m, n) torch tensor on the CPU, as torch.nn.utils.prune.custom_from_mask takes it."""
        return _torch().from_numpy(self.to_dense())


def index_dtype(*sizes: int) -> Any:
    """The narrower of int32 and int64 that can count to the largest of `sizes`."""
    return np.int32 if max(sizes) < 2**31 else np.int64


def regular_mask(columns: NDArray[Any], n: int, provenance: Mapping[str, Any] | None = None) -> Mask:
    """The mask whose row i has ones at columns[i], from an (m, d) array with ascending rows. O(m d)."""
    m, d = columns.shape
    dtype = index_dtype(m, n, m * d)
    return Mask(np.arange(0, m * d + 1, d, dtype=dtype), columns.reshape(-1), (m, n), provenance or {})


def _complete_bipartite_groups(mask: Mask) -> Groups | None:
    degrees = mask.row_degrees
    if mask.nnz and degrees.min() == degrees.max():
        return _regular_groups(mask)
    alive = degrees > 0
    first = mask.indices[mask.indptr[:-1][alive]]
    columns, entry_first = mask.indices, np.repeat(first, degrees[alive])
    column_first = np.full(mask.n, -1, dtype=mask.indices.dtype)
    column_first[columns] = entry_first
    if not (column_first[columns] == entry_first).all():
        return None
    widths = np.bincount(column_first[column_first >= 0], minlength=mask.n)
    if not np.array_equal(widths[first], degrees[alive]):
        return None
    label = np.cumsum(widths > 0, dtype=mask.indices.dtype) - 1
    rows = np.full(mask.m, -1, dtype=mask.indices.dtype)
    rows[alive] = label[first]
    return Groups(rows, np.where(column_first >= 0, label[column_first], rows.dtype.type(-1)), int(label[-1]) + 1)


def _regular_groups(mask: Mask) -> Groups | None:
    """The groups where all rows have as many ones: each row is compared with one head, in half the passes."""
    columns = mask.indices.reshape(mask.m, -1)
    dtype = columns.dtype
    first = columns[:, 0].astype(np.intp)
    label = np.full(mask.n, -1, dtype=dtype)  # by first column: at first a row that begins there, then the group
    label[first] = np.arange(mask.m, dtype=dtype)
    starts = np.flatnonzero(label >= 0)
    heads = np.take(columns, label[starts], axis=0)
    label[starts] = numbers = np.arange(len(starts), dtype=dtype)
    rows = np.take(label, first)
    if not _are_heads(columns, heads, rows):
        return None
    of_columns = np.full(mask.n, -1, dtype=dtype)
    for column in heads.T:  # ascending in the first, and in an SAO mask in all
        of_columns[column] = numbers
    if np.count_nonzero(of_columns >= 0) != heads.size:  # two groups share a column
        return None
    return Groups(rows, of_columns, len(heads))


def _are_heads(columns: Indices, heads: Indices, rows: Indices) -> bool:
    """Whether columns[i] == heads[rows[i]] throughout, in pieces that stay in the cache."""
    pieces = (slice(start, start + _PIECE) for start in range(0, len(rows), _PIECE))
    return all(np.array_equal(np.take(heads, rows[piece], axis=0), columns[piece]) for piece in pieces)


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    m, n = (int(size) for size in shape)
    if m < 1 or n < 1:
        raise FormatError(f"a mask of {m} x {n} is empty; a layer needs at least one output and one input")
    if m * n >= 2**63:
        raise FormatError(f"a mask of {m} x {n} has more places than 63 bits can count; use smaller sizes")
    return m, n


def _checked_positions(positions: ArrayLike, size: int, axis: str) -> NDArray[np.int64]:
    positions = np.asarray(positions, dtype=np.int64)
    outside = (positions < 0) | (positions >= size)
    if outside.any():
        raise FormatError(f"{axis} {positions[outside][0]} is outside 0 .. {size - 1}")
    return positions


def _torch() -> Any:
    import torch

    return torch


def _numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """A torch tensor as a dense array; of numbers that numpy lacks, as bfloat16, in float32."""
    tensor = tensor.detach().cpu()
    if tensor.layout is not _torch().strided:
        tensor = checked_dense(tensor, "the sparse tensor")
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()
    array: NDArray[Any] = tensor.resolve_conj().resolve_neg().numpy()
    return array


def _channels(array: NDArray[Any]) -> NDArray[Any]:
    """(m, n): of a kernel's (m, n, k, ...), which pairs of channels have more than zeros; NaN stays."""
    if array.ndim not in KERNEL_AXES or 0 in array.shape:
        return array
    sizes = np.abs(array) if array.dtype.kind in "fc" else array != 0
    found: NDArray[Any] = sizes.max(axis=tuple(range(2, array.ndim)))
    return found
