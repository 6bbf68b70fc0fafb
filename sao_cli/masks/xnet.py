"""X-Net's expander: every output reads d random inputs."""

from typing import TYPE_CHECKING

import numpy as np

from sao_cli.base.rng import generator
from sao_cli.data.mask import Indices, Mask, index_dtype, regular_mask
from sao_cli.masks.degrees import resolve_degree
from sao_cli.masks.origin import provenance, require_mask_memory

if TYPE_CHECKING:
    from numpy.random import Generator

BLOCK = 4_000_000  # random keys held at once where rows are drawn by sorting keys


def xnet_mask(m: int, n: int, d: int, *, seed: int = 0, layer: int = 1) -> Mask:
    """An (m, n) mask whose every row has d ones at uniformly random places (Prabhu, Varma and Namboodiri, ECCV 2018).

    Rows are independent, so column degrees vary about m d/n and an input may be dead. Raises InfeasibleError
    unless 1 <= d <= n. O(m d) while d^2 <= 2n, else O(m n).
    """
    d = resolve_degree(m, n, "xnet", d=d)
    require_mask_memory(m, n, m * d, bytes_per_one=40)
    rng = generator(seed, layer)
    columns = _by_redrawing(m, n, d, rng) if d * d <= 2 * n else _by_keys(m, n, d, rng)
    return regular_mask(columns, n, provenance("xnet", m, n, d, seed=seed, layer=layer) | {"c": None})


def feasible(_m: int, n: int) -> range:
    """Every row degree: columns need not have equally many."""
    return range(1, n + 1)


def rule(_m: int, n: int) -> str:
    """What a feasible degree is, in words."""
    return f"d is from 1 to {n}"


def _by_redrawing(m: int, n: int, d: int, rng: "Generator") -> Indices:
    """Draw every row with replacement, and draw again those in which a column repeats: uniform given distinct."""
    columns = np.empty((m, d), dtype=index_dtype(m * d, n))
    pending = np.arange(m)
    while pending.size:
        columns[pending] = np.sort(rng.integers(0, n, size=(pending.size, d), dtype=columns.dtype), axis=1)
        pending = pending[(np.diff(columns[pending], axis=1) == 0).any(axis=1)]
    return columns


def _by_keys(m: int, n: int, d: int, rng: "Generator") -> Indices:
    """The places of the d least of n random keys, a block of rows at a time."""
    columns = np.empty((m, d), dtype=index_dtype(m * d, n))
    step = max(1, BLOCK // n)
    for start in range(0, m, step):
        keys = rng.random((min(step, m - start), n))
        columns[start : start + step] = np.sort(np.argpartition(keys, d - 1, axis=1)[:, :d], axis=1)
    return columns
