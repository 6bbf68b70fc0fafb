"""What magnitude and random pruning leave of dense orthogonal layers, pruned at initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from sao_cli.base.errors import InfeasibleError
from sao_cli.base.memory import require_memory
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.masks.degrees import check_sizes
from sao_cli.masks.lrp import lrp_mask
from sao_cli.masks.origin import provenance
from sao_cli.pruning.keep import Places, check_count, keep_largest, warn_of_collapse
from sao_cli.weights.orthogonal import dense_orthogonal, rg_s_values

PRUNED = {"values": "pruned orthogonal"}


def lmp_weight(m: int, n: int, nnz: int, *, seed: int = 0, layer: int = 1) -> Matrix:
    """The `nnz` largest magnitudes of the dense Haar-random (m, n) layer, and nothing else of it.

    Local magnitude pruning at initialisation, the paper's LMP-S (SAO, section III-E and Fig. 1). Of equal magnitudes
    the first, row by row, is kept. Raises InfeasibleError unless 1 <= nnz <= m n. O(m n min(m, n)).

    >>> W = lmp_weight(64, 64, 200)
    >>> W.mask.nnz
    200
    """
    check_sizes(m, n)
    check_count(nnz, m * n, f"layer of {m} x {n}")
    dense = dense_orthogonal(m, n, seed=seed, layer=layer).reshape(-1)
    kept = keep_largest(np.abs(dense), nnz)
    return _weight("lmp", (m, n), kept, dense[kept], seed, layer)


def lrp_weight(m: int, n: int, nnz: int, *, seed: int = 0, layer: int = 1) -> Matrix:
    """`nnz` entries, at the uniformly random positions of lrp_mask, of the dense Haar-random (m, n) layer.

    Local random pruning (SAO, section III-E), of the same dense layer that lmp_weight prunes.
    Raises InfeasibleError unless 1 <= nnz <= m n. O(m n min(m, n)).

    >>> lrp_weight(64, 64, 200).mask == lrp_mask(64, 64, 200)
    True
    """
    mask = lrp_mask(m, n, nnz, seed=seed, layer=layer)
    mask = replace(mask, provenance={**mask.provenance, **PRUNED})
    return Matrix(mask, rg_s_values(mask, seed=seed, layer=layer))


def gmp_stack(shapes: Sequence[tuple[int, int]], nnz: int, *, seed: int = 0) -> list[Matrix]:
    """The `nnz` largest magnitudes of all the dense Haar-random layers of a stack together, layer by layer.

    Global magnitude pruning at initialisation, the paper's GMP-S (SAO, section III-E). Layer l is the dense layer l
    of `seed`, as for lmp_weight. Of equal magnitudes the first is kept, by layer and then row by row. An orthogonal
    layer's entries are about 1 / sqrt(max(m, n)) in size, so that the widest layers lose most. A layer of which
    nothing is left (layer collapse) has an empty mask, and a SaoWarning names it.

    Raises InfeasibleError for no layers, and unless 1 <= nnz <= the number of weights.
    O(sum of m n min(m, n)) time; memory for 3 nnz entries and one dense layer, never for the whole dense stack.

    >>> [W.mask.nnz for W in gmp_stack([(64, 64), (64, 64)], 100)]
    [57, 43]
    """
    for m, n in shapes:
        check_sizes(m, n)
    ends = list(accumulate(m * n for m, n in shapes))
    if not ends:
        raise InfeasibleError("a stack of no layers has nothing to prune; give at least one shape")
    check_count(nnz, ends[-1], f"stack of {len(shapes)} layers")
    require_memory(64 * nnz, f"the {nnz} weights kept of a stack")
    places, values = _largest_of_stack(shapes, nnz, seed)
    cuts = np.searchsorted(places, ends[:-1])
    parts = zip(shapes, [0, *ends], np.split(places, cuts), np.split(values, cuts), strict=False)
    stack = [
        _weight("gmp", shape, part - start, kept, seed, layer)
        for layer, (shape, start, part, kept) in enumerate(parts, 1)
    ]
    warn_of_collapse([f"layer {layer}" for layer, weight in enumerate(stack, 1) if not weight.mask.nnz])
    return stack


def _largest_of_stack(shapes: Sequence[tuple[int, int]], nnz: int, seed: int) -> tuple[Places, Values]:
    """Places, counted through the whole stack, and values of its `nnz` largest magnitudes, in order of place.

    What is held is cut back to nnz whenever it has doubled, so that all the cutting costs no more than the weights.
    """
    places, values = [np.empty(0, dtype=np.intp)], [np.empty(0)]
    start, least = 0, -1.0
    for layer, (m, n) in enumerate(shapes, 1):
        dense = dense_orthogonal(m, n, seed=seed, layer=layer).reshape(-1)
        fresh = np.flatnonzero(np.abs(dense) > least)  # one equal to the least comes too late to replace it
        places.append(fresh + start)
        values.append(dense[fresh])
        start += m * n
        if sum(map(len, places)) > 2 * nnz:
            places, values = _cut_back(places, values, nnz)
            least = np.abs(values[0]).min()
    places, values = _cut_back(places, values, nnz)
    return places[0], values[0]


def _cut_back(places: list[Places], values: list[Values], nnz: int) -> tuple[list[Places], list[Values]]:
    held = np.concatenate(values)
    kept = keep_largest(np.abs(held), nnz)
    return [np.concatenate(places)[kept]], [held[kept]]


def _weight(method: str, shape: tuple[int, int], places: Places, values: Values, seed: int, layer: int) -> Matrix:
    told = provenance(method, *shape, 0, seed=seed, layer=layer) | {"c": None, "d": None, "nnz": len(places)} | PRUNED
    return Matrix(Mask.from_entries(*np.divmod(places, shape[1]), shape, told), values)
