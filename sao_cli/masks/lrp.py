"""Local random pruning: uniformly random positions."""

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import InfeasibleError
from sao_cli.base.rng import generator
from sao_cli.data.mask import Mask
from sao_cli.masks.degrees import check_sizes
from sao_cli.masks.origin import provenance, require_mask_memory


def lrp_mask(m: int, n: int, nnz: int, *, seed: int = 0, layer: int = 1) -> Mask:
    """An (m, n) mask with exactly `nnz` ones at uniformly random positions (SAO, section III-E, LRP).

    Raises InfeasibleError unless 1 <= nnz <= m n. O(nnz log nnz), or O(m n) above half density.
    """
    check_sizes(m, n)
    size = m * n
    if not 1 <= nnz <= size:
        raise InfeasibleError(f"no mask of {m} x {n} keeps {nnz} weights; it has places for 1 to {size}")
    require_mask_memory(m, n, nnz, bytes_per_one=64)
    positions = _positions(size, nnz, seed, layer)
    rows, columns = np.divmod(positions, n)
    told = provenance("lrp", m, n, 0, seed=seed, layer=layer) | {"c": None, "d": None, "nnz": nnz}
    return Mask.from_entries(rows, columns, (m, n), told)


def _positions(size: int, count: int, seed: int, layer: int) -> NDArray[np.int64]:
    """`count` distinct numbers below `size`, ascending; every such set is equally likely."""
    rng = generator(seed, layer)
    if 2 * count > size:
        kept = np.ones(size, dtype=bool)
        kept[rng.choice(size, size - count, replace=False)] = False
        return np.flatnonzero(kept)
    drawn = np.empty(0, dtype=np.int64)
    while drawn.size < count:
        more = rng.integers(0, size, size=count - drawn.size + 16)
        drawn = _distinct_in_order(np.concatenate([drawn, more]))
    return np.sort(drawn[:count])


def _distinct_in_order(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers without repeats, in the order of their first appearance, so that cutting the tail stays fair."""
    order = np.argsort(numbers, kind="stable")
    first = np.ones(numbers.size, dtype=bool)
    first[order[1:]] = np.diff(numbers[order]) > 0
    return numbers[first]
