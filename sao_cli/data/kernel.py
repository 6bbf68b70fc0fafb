"""`Kernel`: a convolution kernel and which of its 2-D kernels are kept; a `Matrix` for convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.base.names import check
from sao_cli.catalog import DTYPES
from sao_cli.data.arrays import Values
from sao_cli.data.coercion import array_of, is_graph
from sao_cli.data.mask import KERNEL_AXES, Mask
from sao_cli.data.matrix import FINITE, Matrix, MatrixLike, dense_array
from sao_cli.data.precision import PRECISIONS, precision_of, rounded_within

if TYPE_CHECKING:
    from pathlib import Path

    import torch

KernelLike: TypeAlias = "Kernel | ArrayLike | torch.Tensor | torch.nn.Module | Path"


@dataclass(frozen=True, eq=False)
class Kernel:
    """A convolution kernel, `values` (c_out, c_in, k_1, ..., k_D) float64, as torch.nn.Conv1d, 2d or 3d keeps it.

    `mask` (c_out, c_in) says which of the kernels are kept, one for each pair of channels: the others are zero as
    wholes. With g groups the second axis has the c_in/g channels that one group reads. `dtype` names the precision in
    which the values were born, as in Matrix.

    >>> Kernel.from_dense(np.ones((8, 4, 3, 3), dtype=np.float32))
    Kernel(8 x 4 x 3 x 3, kernels=32, float32)
    """

    values: Values
    mask: Mask
    dtype: str = "float64"

    def __post_init__(self) -> None:
        check("dtype", self.dtype, DTYPES)
        values = np.asarray(self.values, dtype=np.float64).view()
        _check_shape(values.shape, "the kernel")
        if values.shape[:2] != self.mask.shape:
            raise FormatError(f"a mask of {self.mask.m} x {self.mask.n} for a kernel of shape {values.shape}")
        if _is_live(values)[~self.mask.to_dense()].any():
            raise FormatError("a kernel with values where its mask keeps nothing; put them to zero, or keep them")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kernel):
            return NotImplemented
        return self.mask == other.mask and self.dtype == other.dtype and np.array_equal(self.values, other.values)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Kernel({' x '.join(map(str, self.shape))}, kernels={self.mask.nnz}, {self.dtype})"

    @property
    def shape(self) -> tuple[int, ...]:
        """(c_out, c_in, k_1, ..., k_D): channels, and taps along each axis of the image."""
        return self.values.shape

    @property
    def size(self) -> tuple[int, ...]:
        """(k_1, ..., k_D): the taps along each axis of the image."""
        return self.values.shape[2:]

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number of `dtype`."""
        return PRECISIONS[self.dtype]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The narrowest of numpy's types that holds the values exactly: float32 for bfloat16, which numpy lacks."""
        return np.dtype("float32" if self.dtype == "bfloat16" else self.dtype)

    def as_dtype(self, dtype: str | None) -> Kernel:
        """The same kernel rounded to `dtype`, with the same mask; None changes nothing.

        Raises FormatError for a value that overflows it.
        """
        if dtype is None or dtype == self.dtype:
            return self
        values = rounded_within(self.values, dtype)
        return Kernel(values, self.mask, dtype)

    def reshaped(self) -> Matrix:
        """The (c_out, c_in k_1 ... k_D) matrix whose spectrum other tools print, which is not the convolution's."""
        flat = self.values.reshape(len(self.values), -1)
        return Matrix.from_dense(flat.astype(self.numpy_dtype), dict(self.mask.provenance), dtype=self.dtype)

    def to_dense(self) -> NDArray[Any]:
        """A copy of the values as an array of `numpy_dtype`, in C order whatever order they are in."""
        return self.values.astype(self.numpy_dtype, order="C")

    def to_torch(self) -> torch.Tensor:
        """A torch tensor of `dtype` on the CPU, as torch.nn.Conv2d.weight keeps it."""
        import torch

        return torch.from_numpy(self.to_dense()).to(getattr(torch, self.dtype))

    @classmethod
    def of(
        cls,
        kernel: KernelLike,
        where: str = "the kernel",
    ) -> Kernel:
        """The Kernel that `kernel` is, or holds: a numpy array or a torch tensor (c_out, c_in, k_1, ...), a torch
        module (its weight), or the path of a file with one kernel.

        Raises FormatError for what is no kernel of finite reals.
        """
        array = array_of(kernel, where)
        if isinstance(array, Kernel):
            return array
        _check_shape(getattr(array, "shape", ()), where)
        dense, dtype = dense_array(array, where)
        return cls.from_dense(dense, where=where, dtype=dtype)

    @classmethod
    def from_dense(
        cls,
        dense: NDArray[Any],
        provenance: Mapping[str, Any] | None = None,
        where: str = "the array",
        dtype: str | None = None,
    ) -> Kernel:
        """The kernel of an array of real numbers with 3 to 5 axes; its mask keeps what is not zero as a whole.

        `dtype` is the array's own, float64 for whole numbers, unless it is named (bfloat16 held as float32).
        Raises FormatError, naming `where`, for another dtype or number of axes, and for a value that is not finite.
        """
        _check_shape(dense.shape, where)
        if dense.dtype.kind not in "iuf":
            raise FormatError(f"{where}: its numbers are of type {dense.dtype}; a kernel needs real numbers")
        require_memory(8 * dense.size, f"the values of {where}")
        values = dense.astype(np.float64)
        if not np.isfinite(values).all():
            place = tuple(int(i) + 1 for i in np.argwhere(~np.isfinite(values))[0])
            raise FormatError(f"{where}: {values[tuple(i - 1 for i in place)]} at place {place}; {FINITE}")
        return cls(values, Mask.from_dense(_is_live(values), provenance), dtype or precision_of(dense.dtype))


Weight: TypeAlias = Matrix | Kernel
WeightLike: TypeAlias = "MatrixLike | Kernel"


def weight_of(weight: WeightLike, where: str = "the weight") -> tuple[Weight | NDArray[Any], str | None]:
    """The Matrix or Kernel that `weight` is or a file holds, or its array; and the dtype it was born in, where known.

    `weight` is also a Mask, a numpy array, a scipy sparse array, a torch tensor or a torch module (its weight), or a
    path. An array stays one, so that zeros in it and its own dtype are not lost. Raises FormatError as Matrix.of does.
    """
    array = array_of(weight, where)
    if isinstance(array, Kernel):
        return array, array.dtype
    if isinstance(array, Matrix | Mask) or hasattr(array, "tocsr") or is_graph(array):
        matrix = Matrix.of(array, where)
        return matrix, matrix.dtype
    return dense_array(array, where)


def dense_weight_of(weight: WeightLike, where: str = "the weight") -> tuple[NDArray[Any], str | None]:
    """The array (m, n) or (c_out, c_in, k, ...) of what weight_of takes; and the dtype it was born in, where known."""
    found, dtype = weight_of(weight, where)
    return (found.to_dense() if isinstance(found, Matrix | Kernel) else found), dtype


def all_channels(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    """(out, in/groups, ...) as (out, in, ...), with zeros where an output reads nothing of another group. O(out in).

    >>> all_channels(np.array([[1], [2]]), 2).tolist()
    [[1, 0], [0, 2]]
    """
    out, own, *taps = weight.shape
    whole = np.zeros((groups, out // groups, groups, own, *taps), dtype=weight.dtype)
    each = np.arange(groups)
    whole[each, :, each] = weight.reshape(groups, out // groups, own, *taps)
    return whole.reshape(out, groups * own, *taps)


def own_channels(whole: NDArray[Any], groups: int) -> NDArray[Any]:
    """(out, in, ...) as (out, in/groups, ...): what all_channels makes the first of. O(out in).

    >>> own_channels(np.array([[1, 0], [0, 2]]), 2).tolist()
    [[1], [2]]
    """
    out, channels, *taps = whole.shape
    each = np.arange(groups)
    blocks = whole.reshape(groups, out // groups, groups, channels // groups, *taps)
    return blocks[each, :, each].reshape(out, channels // groups, *taps)


def swapped_channels(weight: NDArray[Any], groups: int = 1) -> NDArray[Any]:
    """(a, b/groups, ...) as (b, a/groups, ...): the first two axes swapped within each of the groups.

    It leads from a transposed convolution's weight (in, out/groups, ...), as torch.nn.ConvTranspose2d keeps it, to
    (out, in/groups, ...), and back; of a matrix it is the transpose. A view where there is one group. O(size).

    >>> swapped_channels(np.arange(4).reshape(2, 2)).tolist(), swapped_channels(np.zeros((4, 3)), groups=2).shape
    ([[0, 2], [1, 3]], (6, 2))
    """
    first, second, *taps = weight.shape
    split = weight.reshape(groups, first // groups, second, *taps)
    return split.swapaxes(1, 2).reshape(second * groups, first // groups, *taps)


def _is_live(values: Values) -> NDArray[np.bool_]:
    """(c_out, c_in) whether a kernel has any value but zeros."""
    live: NDArray[np.bool_] = (values != 0).any(axis=tuple(range(2, values.ndim)))
    return live


def _check_shape(shape: tuple[int, ...], where: str) -> None:
    if len(shape) not in KERNEL_AXES:
        raise FormatError(f"{where}: its shape is {tuple(shape)}; a convolution kernel has 3 to 5 axes")
    if math.prod(shape) == 0:
        raise FormatError(f"{where}: a kernel of shape {tuple(shape)} is empty; each axis needs at least 1")
