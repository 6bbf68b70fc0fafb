"""Places that owe nothing to what is there: random pruning, which every score has to beat."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from sao_cli.data.mask import Mask
from sao_cli.masks.lrp import lrp_mask


def random_places(weight: NDArray[Any], count: int, *, seed: int = 0, layer: int = 1) -> Mask:
    """The mask of `count` units of `weight` (m, n, ...) at the uniformly random positions of lrp_mask.

    Raises InfeasibleError unless 1 <= count <= m n.

    >>> import numpy as np
    >>> random_places(np.ones((4, 4)), 6) == lrp_mask(4, 4, 6)
    True
    """
    m, n = weight.shape[:2]
    return lrp_mask(m, n, count, seed=seed, layer=layer)
