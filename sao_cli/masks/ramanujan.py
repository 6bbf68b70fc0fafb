"""Connected Ramanujan masks: random lifts of K_{c,d}, drawn until one is certified."""

from typing import TYPE_CHECKING

import numpy as np

from sao_cli.base.errors import DeadlineError
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import generator
from sao_cli.data.mask import Indices, Mask, index_dtype, regular_mask
from sao_cli.masks import sao
from sao_cli.masks.degrees import resolve_degree
from sao_cli.masks.origin import provenance, require_mask_memory
from sao_cli.measure.graph.expansion import is_ramanujan

if TYPE_CHECKING:
    from numpy.random import Generator

MAX_DRAWS = 200  # our choice: one draw in five fails at 256 to 4096, so this many failures mean that none will do


def ramanujan_mask(m: int, n: int, d: int, *, seed: int = 0, layer: int = 1, progress: Progress = silent) -> Mask:
    """A connected (m, n) mask with d ones a row, c = m d/n a column and lambda_2 <= sqrt(c-1) + sqrt(d-1).

    A random K-lift of K_{c,d}, K = n/d: each of the c x d blocks is a K x K permutation of its own. It has the
    sizes, degrees and density of the SAO mask, which is the lift by identities. Lifts are drawn until
    `is_ramanujan` certifies one (Friedman 2008 and Bordenave 2020 for why most will do): 1.2 draws on average.
    For c = d = 2 it is one random Hamiltonian cycle, since random lifts there are unions of cycles.

    Raises InfeasibleError unless K divides gcd(m, n) and min(c, d) >= 2 (or K = 1), and DeadlineError after 200
    draws without success. O(m d) a draw, plus the certificate: O(m^3) to side 4096, O(m^(4/3) d) beyond.
    """
    d = resolve_degree(m, n, "ramanujan", d=d)
    require_mask_memory(m, n, m * d, bytes_per_one=40)
    rng = generator(seed, layer)
    c = m * d // n
    for draw in range(1, MAX_DRAWS + 1):
        columns = hamiltonian_cycle(n, rng) if c == d == 2 else _random_lift(c, d, n // d, rng)
        mask = regular_mask(columns, n, provenance("ramanujan", m, n, d, seed=seed, layer=layer, draws=draw))
        if is_ramanujan(mask, seed=seed, progress=progress):
            return mask
        progress("drawing Ramanujan lifts", draw, None)
    raise DeadlineError(
        f"none of {MAX_DRAWS} random lifts of K_({c},{d}) to {m} x {n} was Ramanujan; choose another degree or seed"
    )


def feasible(m: int, n: int) -> list[int]:
    """Every row degree d of an SAO mask whose c and d are 2 at least, or that is all ones: else none is connected."""
    return [d for d in sao.feasible(m, n) if d == n or min(d, m * d // n) >= 2]


def rule(m: int, n: int) -> str:
    """What a feasible degree is, in words."""
    return f"{sao.rule(m, n)}, and a connected graph needs c >= 2 and d >= 2"


def _random_lift(c: int, d: int, groups: int, rng: "Generator") -> Indices:
    """(c*groups, d) columns: row (a, i) reads column (b, p_ab(i)) for every b, each p_ab a random permutation."""
    dtype = index_dtype(c * d * groups)
    permutations: Indices = np.tile(np.arange(groups, dtype=dtype), (c * d, 1))
    rng.permuted(permutations, axis=1, out=permutations)
    lift: Indices = permutations.reshape(c, d, groups).transpose(0, 2, 1) + np.arange(
        0, d * groups, groups, dtype=dtype
    )
    return lift.reshape(c * groups, d)


def hamiltonian_cycle(n: int, rng: "Generator") -> Indices:
    """(n, 2) columns of one uniformly random cycle through all n rows and n columns."""
    columns = rng.permutation(n)
    rows = rng.permutation(n)
    pairs = np.empty((n, 2), dtype=index_dtype(2 * n))
    pairs[rows] = np.stack([columns, np.roll(columns, -1)], axis=1)
    pairs.sort(axis=1)
    return pairs
