"""N:M sparsity: of each M consecutive inputs every output reads N random ones."""

import math

import numpy as np

from sao_cli.base.rng import generator
from sao_cli.data.mask import Mask, index_dtype, regular_mask
from sao_cli.data.nm_pattern import NMPattern
from sao_cli.masks.degrees import resolve_degree
from sao_cli.masks.origin import provenance, require_mask_memory

BLOCK = 4_000_000  # random keys held at once


def nm_mask(m: int, n: int, d: int, *, pattern: NMPattern | None = None, seed: int = 0, layer: int = 1) -> Mask:
    """An (m, n) mask with N ones at uniformly random places of each M consecutive inputs of a row, N:M the `pattern`.

    So every row has d = n N/M ones. Without a pattern it is the one of the smallest groups that gives d: d/g : n/g, g
    the greatest common divisor of d and n; with d = n that is all ones. Raises InfeasibleError unless 1 <= d <= n, or
    where the pattern has another degree. O(m n).

    >>> nm_mask(8, 8, 4, pattern=NMPattern(2, 4)).to_dense().reshape(8, 2, 4).sum(axis=2).max()
    np.int64(2)
    """
    d = resolve_degree(m, n, "nm", d=d if pattern is None else pattern.degree(n))
    common = math.gcd(d, n)
    kept, of = (d // common, n // common) if pattern is None else pattern
    require_mask_memory(m, n, m * d, bytes_per_one=40)
    rng = generator(seed, layer)
    columns = np.empty((m, n // of, kept), dtype=index_dtype(m * d, n))
    step = max(1, BLOCK // n)
    for start in range(0, m, step):
        keys = rng.random((min(step, m - start), n // of, of))
        columns[start : start + step] = np.sort(np.argsort(keys, axis=2)[:, :, :kept], axis=2)
    columns += np.arange(0, n, of, dtype=columns.dtype)[:, None]
    told = provenance("nm", m, n, d, seed=seed, layer=layer) | {"c": None, "pattern": f"{kept}:{of}"}
    return regular_mask(columns.reshape(m, d), n, told)


def feasible(_m: int, n: int) -> range:
    """Every row degree: of each there is a pattern, if only of the whole row."""
    return range(1, n + 1)


def rule(_m: int, n: int) -> str:
    """What a feasible degree is, in words."""
    return f"d is from 1 to {n}"
