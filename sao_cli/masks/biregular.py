"""Uniformly random simple (c, d)-biregular graphs."""

import math
from typing import TYPE_CHECKING

import numpy as np

from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import generator
from sao_cli.data.mask import Indices, Mask, index_dtype, regular_mask
from sao_cli.masks.degrees import resolve_degree
from sao_cli.masks.origin import provenance, require_mask_memory

if TYPE_CHECKING:
    from numpy.random import Generator

REJECTION_BUDGET = 5e7  # half_edges to shuffle in all before trades take over: a second or two (our choice)
TRADE_ROUNDS = 30  # global trades after the last repeated edge is gone (our choice)


def biregular_mask(m: int, n: int, d: int, *, seed: int = 0, layer: int = 1, progress: Progress = silent) -> Mask:
    """A uniformly random simple (m, n) mask with d ones a row and c = m d/n a column.

    The configuration model, drawn until no edge repeats, is exactly uniform; it takes exp((c-1)(d-1)/2) draws on
    average (Bollobas 1980). Where that is out of reach, one draw's repeated edges are removed and the graph is mixed
    by rounds of global trades (Carstens, Hamann, Meyer, Penschuck, Tran and Wagner 2018), a chain with the uniform
    law as its limit; `provenance["sampler"]` says "rejection" or "trades". Degrees above n/2 are drawn by their
    complement. Connectedness is not asked for. Raises InfeasibleError unless n divides m d.
    O(m d) a draw or a round, and O(log d) more for each round.
    """
    d = resolve_degree(m, n, "biregular", d=d)
    require_mask_memory(m, n, m * d, bytes_per_one=60)
    rng = generator(seed, layer)
    sparse_d = min(d, n - d)
    c = m * sparse_d // n
    exact = math.exp(min((c - 1) * (sparse_d - 1) / 2, 700)) * m * sparse_d <= REJECTION_BUDGET
    if sparse_d == 0:
        columns = np.empty((m, 0), dtype=index_dtype(m * d))
    else:
        columns = (_by_rejection if exact else _by_trades)(m, n, sparse_d, rng, progress)
    if sparse_d < d:
        columns = _complement(columns, n)
    sampler = "rejection" if exact else "trades"
    return regular_mask(columns, n, provenance("biregular", m, n, d, seed=seed, layer=layer, sampler=sampler))


def feasible(m: int, n: int) -> range:
    """Every row degree d for which n divides m d, ascending."""
    step = n // math.gcd(m, n)
    return range(step, n + 1, step)


def rule(m: int, n: int) -> str:
    """What a feasible degree is, in words."""
    return f"m*d must be divisible by n, so d is a multiple of {n // math.gcd(m, n)}"


def _by_rejection(m: int, n: int, d: int, rng: "Generator", progress: Progress) -> Indices:
    half_edges = np.repeat(np.arange(n, dtype=index_dtype(m * d)), m * d // n)
    draw = 0
    while True:
        draw += 1
        rng.shuffle(half_edges)
        columns = half_edges.reshape(m, d)
        if all(_is_simple(block) for block in np.array_split(columns, min(16, m))):  # most draws fail early
            return np.sort(columns, axis=1)
        progress("drawing biregular graphs", draw, None)


def _is_simple(columns: Indices) -> bool:
    return bool((np.diff(np.sort(columns, axis=1), axis=1) > 0).all())


def _by_trades(m: int, n: int, d: int, rng: "Generator", progress: Progress) -> Indices:
    half_edges = np.repeat(np.arange(n, dtype=index_dtype(m * d)), m * d // n)
    rng.shuffle(half_edges)
    columns: Indices = half_edges.reshape(m, d)
    rounds_left = TRADE_ROUNDS
    while rounds_left:
        columns = _global_trade(columns, rng)
        rounds_left -= _is_simple(columns)
        progress("mixing a biregular graph by trades", TRADE_ROUNDS - rounds_left, TRADE_ROUNDS)
    return np.sort(columns, axis=1)


def _global_trade(columns: Indices, rng: "Generator") -> Indices:
    """Pair the rows at random; each pair deals what only one of them has out anew, and shares what both have.

    A column that a pair holds twice goes to both rows, also when one row held it twice, which mends repeated edges.
    """
    m, d = columns.shape
    order = rng.permutation(m)
    left, right = order[: m // 2], order[m // 2 : 2 * (m // 2)]
    held = np.sort(np.concatenate([columns[left], columns[right]], axis=1), axis=1)
    repeats = held[:, 1:] == held[:, :-1]
    key = rng.random(held.shape)
    key[:, :-1][repeats] = -1.0  # dealt first: the left row
    key[:, 1:][repeats] = 2.0  # dealt last: the right row
    dealt = np.take_along_axis(held, np.argsort(key, axis=1), axis=1)
    traded = columns.copy()
    traded[left], traded[right] = dealt[:, :d], dealt[:, d:]
    return traded


def _complement(columns: Indices, n: int) -> Indices:
    m, d = columns.shape
    free = np.ones((m, n), dtype=bool)
    np.put_along_axis(free, columns.astype(np.int64), False, axis=1)
    return np.nonzero(free)[1].astype(index_dtype(m * (n - d))).reshape(m, n - d)
