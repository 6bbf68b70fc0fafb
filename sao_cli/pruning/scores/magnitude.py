"""How large weights are: what magnitude pruning keeps the most of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.data.arrays import Values


def unit_magnitudes(weight: NDArray[Any]) -> Values:
    """(m, n) float64: |w| of a matrix, and of a kernel the root mean square over the taps of each 2-D kernel.

    A kernel's are comparable with a matrix's, whatever its size. Raises FormatError for an array that is none of the
    two or holds a number that is not finite, and MemoryLimitError. O(size).

    >>> unit_magnitudes(np.full((1, 2, 3, 3), -2.0))
    array([[2., 2.]])
    """
    if weight.ndim < 2 or weight.size == 0 or weight.dtype.kind not in "iuf":
        raise FormatError(f"shape {weight.shape} and type {weight.dtype}: no matrix or kernel of numbers")
    require_memory(24 * weight.size, f"the magnitudes of {weight.size} weights")
    magnitudes: Values = np.abs(weight.astype(np.float64))
    largest = float(magnitudes.max())
    if not np.isfinite(largest):
        raise FormatError(f"shape {weight.shape}: it holds {largest}; every value must be a finite number")
    if weight.ndim == 2:
        return magnitudes
    scaled = magnitudes.reshape(*weight.shape[:2], -1) / (largest or 1.0)  # their squares could leave the range
    means: Values = largest * np.sqrt(np.square(scaled).mean(axis=2))
    return means
