"""Orthogonal weights: exactly so on SAO masks, dense ones, and what a mask leaves of a dense one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.names import check
from sao_cli.base.rng import VALUES, generator
from sao_cli.catalog import LAWS
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Groups, Indices, Mask, index_dtype, regular_mask
from sao_cli.data.matrix import Matrix
from sao_cli.masks.degrees import check_sizes
from sao_cli.masks.origin import provenance, require_mask_memory
from sao_cli.masks.sao import sao_mask
from sao_cli.weights.haar import haar_blocks, haar_matrix
from sao_cli.weights.random import random_values


def orthogonal_values(mask: Mask, *, seed: int = 0, layer: int = 1) -> Values:
    """(nnz,) float64: an independent Haar-random semi-orthogonal c x d matrix on each component K_{c,d} of `mask`.

    On an SAO mask S is then orthogonal: S S^T = I where m <= n, S^T S = I where m >= n, and it has as many singular
    values 1 as its smaller side (SAO, section IV-C and Fig. 4; its "orthogonal rows" is impossible for m > n). Any
    mask will do whose components are all complete, of one shape or of several; S S^T, or S^T S, is the identity on
    the smaller side of each component, and dead rows and columns stay 0.

    Raises SaoError for a mask with a component that is not complete bipartite.
    O(sum over components of c d min(c, d)), so O(nnz min(c, d)) on an SAO mask.

    >>> mask = sao_mask(4, 6, 3)
    >>> S = Matrix(mask, orthogonal_values(mask)).to_dense()
    >>> bool(abs(S @ S.T - np.eye(4)).max() < 1e-15)
    True
    """
    if (groups := mask.groups) is None:
        raise SaoError(
            "orthogonal values need a mask whose components are all complete bipartite, as an SAO mask's are, and this "
            "one's are not; --values isometry fits any mask, and normal and uniform need no structure"
        )
    require_memory(32 * mask.nnz, f"orthogonal values for {mask.nnz} ones")
    rng = generator(seed, layer, VALUES)
    values = np.empty(mask.nnz)
    for rows, width in _rows_by_shape(groups):
        # A row's ones ascend, so that its b-th one stands in its group's b-th column.
        places = mask.indptr[rows][:, :, None] + np.arange(width, dtype=mask.indptr.dtype)
        values[places] = haar_blocks(len(rows), rows.shape[1], width, rng)
    return values


def sao_weight(m: int, n: int, d: int, *, seed: int = 0, layer: int = 1, arrangement: str = "random") -> Matrix:
    """An (m, n) SAO layer: sao_mask(m, n, d) with orthogonal_values on it, so all singular values are 1.

    Raises InfeasibleError as sao_mask does. O(m d min(c, d)).

    >>> np.linalg.svd(sao_weight(4, 8, 4).to_dense(), compute_uv=False).round(14)
    array([1., 1., 1., 1.])
    """
    mask = sao_mask(m, n, d, seed=seed, layer=layer, arrangement=arrangement)
    mask = replace(mask, provenance={**mask.provenance, "values": "orthogonal"})
    return Matrix(mask, orthogonal_values(mask, seed=seed, layer=layer))


def dense_weight(m: int, n: int, *, values: str = "orthogonal", seed: int = 0, layer: int = 1) -> Matrix:
    """An (m, n) layer without zeros: Haar-random semi-orthogonal, or independent values by one of catalog.LAWS.

    Raises SaoError for an unknown `values`, MemoryLimitError where it would not fit. O(m n min(m, n)) orthogonal,
    O(m n) by a law.

    >>> dense_weight(2, 3).mask.nnz
    6
    """
    check("values", values, ("orthogonal", *LAWS))
    mask = _full_mask(m, n, provenance("dense", m, n, n, seed=seed, layer=layer, values=values))
    if values != "orthogonal":
        return Matrix(mask, random_values(mask, values, seed=seed, layer=layer))
    return Matrix(mask, dense_orthogonal(m, n, seed=seed, layer=layer).reshape(-1))


def dense_orthogonal(m: int, n: int, *, seed: int = 0, layer: int = 1) -> Values:
    """(m, n) float64: the dense Haar-random layer of `seed` and `layer`.

    dense_weight is this layer, and rg_s_values and pruning keep a part of it. O(m n min(m, n)).

    >>> dense_orthogonal(3, 2).shape
    (3, 2)
    """
    return haar_matrix(m, n, generator(seed, layer, VALUES))


def rg_s_values(mask: Mask, *, seed: int = 0, layer: int = 1) -> Values:
    """(nnz,) float64: the entries that `mask` keeps of dense_orthogonal of its sizes, seed and layer.

    The paper's RG-S (SAO, section IV-C): mask times dense orthogonal matrix. It is the only reading of the "RG"
    column of the paper's Table 6 that gives its numbers. The entries have mean 0 and variance 1 / max(m, n), so that
    a row with d of them has the mean square norm d / max(m, n), and not 1. O(m n min(m, n)), whatever nnz.

    >>> mask = sao_mask(4, 4, 4)
    >>> bool((rg_s_values(mask) == dense_weight(4, 4).values).all())
    True
    """
    kept: Values = dense_orthogonal(mask.m, mask.n, seed=seed, layer=layer)[mask.entry_rows, mask.indices]
    return kept


def _rows_by_shape(groups: Groups) -> Iterator[tuple[Indices, int]]:
    """The rows (count, c) of the `count` groups of one shape, and their width d; one shape after the other."""
    order = np.argsort(groups.rows, kind="stable")  # dead rows, labelled -1, come first
    heights = np.bincount(groups.rows + 1, minlength=groups.count + 1)
    starts = np.cumsum(heights)[:-1]
    heights = heights[1:]
    widths = np.bincount(groups.columns + 1, minlength=groups.count + 1)[1:]
    by_shape = np.lexsort((widths, heights))
    changes = np.diff(heights[by_shape]) | np.diff(widths[by_shape])
    for alike in np.split(by_shape, np.flatnonzero(changes) + 1):
        if len(alike):
            height, width = int(heights[alike[0]]), int(widths[alike[0]])
            yield order[starts[alike][:, None] + np.arange(height)], width


def _full_mask(m: int, n: int, told: dict[str, object]) -> Mask:
    check_sizes(m, n)
    require_mask_memory(m, n, m * n)
    columns = np.arange(n, dtype=index_dtype(m * n))
    return regular_mask(np.broadcast_to(columns, (m, n)), n, told)
