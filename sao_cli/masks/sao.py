"""The SAO mask: K disjoint complete bipartite graphs K_{c,d} (SAO, section IV-A)."""

import math
from typing import TYPE_CHECKING

import numpy as np

from sao_cli.base.names import check
from sao_cli.base.rng import generator
from sao_cli.catalog import ARRANGEMENTS
from sao_cli.data.mask import Indices, Mask, index_dtype, regular_mask
from sao_cli.masks.degrees import divisors, resolve_degree
from sao_cli.masks.origin import provenance, require_mask_memory

if TYPE_CHECKING:
    from numpy.random import Generator


def sao_mask(m: int, n: int, d: int, *, seed: int = 0, layer: int = 1, arrangement: str = "random") -> Mask:
    """An (m, n) SAO mask with d ones a row and c = m d/n a column: K = n/d disjoint copies of K_{c,d}.

    For m >= n it is [M_1 ... M_1], d copies side by side of one m x K block with one 1 a row and c a column; for
    m < n, c copies one above the other of one K x n block with one 1 a column and d a row (SAO, section IV-A and
    Fig. 4). Which row, or column, goes to which group is uniformly random.

    With `arrangement="minimal"` row i belongs to group i // c and column j to group j mod K instead, which is the
    generalised de Bruijn digraph (Imase and Itoh 1981): a stack of such layers connects every input with every
    output at the least depth that the degrees allow.

    Raises InfeasibleError unless K divides gcd(m, n). O(m d) time and memory.

    >>> sao_mask(4, 4, 2, arrangement="minimal").to_dense().astype(int)
    array([[1, 0, 1, 0],
           [1, 0, 1, 0],
           [0, 1, 0, 1],
           [0, 1, 0, 1]])
    """
    d = resolve_degree(m, n, "sao", d=d)
    require_mask_memory(m, n, m * d)
    check("arrangement", arrangement, ARRANGEMENTS)
    groups = n // d
    if arrangement == "minimal":
        columns = _side_by_side(np.arange(m, dtype=index_dtype(m * d)) // (m // groups), groups, d)
    elif m >= n:
        columns = _side_by_side(_random_groups(m, groups, generator(seed, layer)), groups, d)
    else:
        columns = _stacked(_random_groups(n, groups, generator(seed, layer)), m, d)
    return regular_mask(columns, n, provenance("sao", m, n, d, seed=seed, layer=layer, arrangement=arrangement))


def feasible(m: int, n: int) -> list[int]:
    """Every row degree d = n/K, ascending: K groups of c = m/K rows and d columns (SAO, section IV-A).

    >>> feasible(512, 256)[:4]
    [1, 2, 4, 8]
    """
    return [n // groups for groups in reversed(divisors(math.gcd(m, n)))]


def rule(m: int, n: int) -> str:
    """What a feasible degree is, in words."""
    return f"n/d must be a whole number that divides gcd({m}, {n}) = {math.gcd(m, n)}"


def _random_groups(size: int, groups: int, rng: "Generator") -> Indices:
    labels = np.repeat(np.arange(groups, dtype=index_dtype(size)), size // groups)
    rng.shuffle(labels)
    return labels


def _side_by_side(row_groups: Indices, groups: int, d: int) -> Indices:
    return row_groups[:, None] + np.arange(0, groups * d, groups, dtype=row_groups.dtype)


def _stacked(column_groups: Indices, m: int, d: int) -> Indices:
    members = np.argsort(column_groups, kind="stable").astype(index_dtype(m * d)).reshape(-1, d)
    return np.tile(members, (m // len(members), 1))
