"""N:M pruning: the largest of each M consecutive inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.mask import Mask
from sao_cli.data.nm_pattern import NMPattern
from sao_cli.pruning.units import mask_of


def largest_of_groups(weight: NDArray[Any], _count: int, *, pattern: NMPattern, seed: int = 0, layer: int = 0) -> Mask:
    """The mask of the N largest magnitudes of each M consecutive inputs of a row; of equal ones the first stay.

    Of a kernel (m, n, ...) the groups are of input channels, at each tap by itself, and the mask is (m, n taps): what
    cuSPARSELt and NVIDIA's ASP prune to 2:4. Raises InfeasibleError unless M divides n. O(size).

    >>> largest_of_groups(np.array([[1.0, -3.0, 2.0, 0.5]]), 2, pattern=NMPattern(2, 4)).to_dense().astype(int)
    array([[0, 1, 1, 0]])
    """
    m, n, *taps = weight.shape
    pattern.degree(n)
    groups = np.moveaxis(np.abs(weight).reshape(m, n // pattern.of, pattern.of, -1), 2, 3)
    order = np.argsort(-groups.astype(np.float64), axis=3, kind="stable")
    kept = np.zeros(groups.shape, dtype=bool)
    np.put_along_axis(kept, order[..., : pattern.kept], True, axis=3)
    return mask_of(np.moveaxis(kept, 3, 2).reshape(m, n, *taps))
