"""What pruning compares and drops as one: the numbers of a matrix, the whole 2-D kernels of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.arrays import Booleans, Values
from sao_cli.data.mask import Mask
from sao_cli.pruning.keep import Places, keep_largest


def largest_units(magnitudes: Values, count: int) -> Mask:
    """The mask of the `count` largest of `magnitudes` (m, n); of equal ones the first are kept, row by row. O(m n).

    >>> largest_units(np.array([[1.0, 3.0], [2.0, 2.0]]), 2).to_dense().astype(int)
    array([[0, 1],
           [1, 0]])
    """
    return mask_of_places(keep_largest(magnitudes.reshape(-1), count), magnitudes.shape)


def mask_of_places(places: Places, shape: tuple[int, ...]) -> Mask:
    """The (m, n) mask with ones at the ascending `places`, counted row by row."""
    m, n = shape
    return Mask.from_entries(*np.divmod(places, n), (m, n))


def mask_of(kept: Booleans) -> Mask:
    """The mask of where `kept` (m, n, ...) is true: (m, n), or of a kernel (m, n taps)."""
    flat = kept.reshape(len(kept), -1)
    return mask_of_places(np.flatnonzero(flat), flat.shape)


def spread(array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """`array`, of `shape` or of its first two sizes, in that shape: what a kernel has, each of its taps has."""
    if array.shape == tuple(shape):
        return array
    return np.broadcast_to(array.reshape(*array.shape, *[1] * (len(shape) - array.ndim)), shape)


def keep_units(weight: NDArray[Any], mask: Mask) -> NDArray[Any]:
    """A copy of `weight` (m, n, ...) with zeros wherever `mask` has none; its dtype stays. O(size).

    The mask is (m, n), of whole units, or (m, n taps), of all numbers.

    >>> keep_units(np.ones((1, 2), dtype=np.float16), Mask.from_dense([[0, 1]]))
    array([[0., 1.]], dtype=float16)
    """
    each = mask.n * mask.m == weight.size
    kept = mask.to_dense().reshape(weight.shape if each else (*mask.shape, *[1] * (weight.ndim - 2)))
    return np.where(kept, weight, weight.dtype.type(0))
