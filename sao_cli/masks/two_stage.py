"""Two-stage masks: the pattern of a product of two SAO masks, connected and still exactly orthogonalisable."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sao_cli.base.errors import DeadlineError
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import generator
from sao_cli.data.mask import Indices, Mask, index_dtype, regular_mask
from sao_cli.masks.biregular import biregular_mask
from sao_cli.masks.degrees import check_sizes, divisors, resolve_degree
from sao_cli.masks.origin import provenance, require_mask_memory
from sao_cli.masks.ramanujan import hamiltonian_cycle
from sao_cli.measure.graph.components import find_components
from sao_cli.measure.graph.expansion import expansion

if TYPE_CHECKING:
    from numpy.random import Generator

METHOD = "two-stage"
MAX_DRAWS = 200  # our choice: nearly every draw is connected, so this many failures mean that none will be


@dataclass(frozen=True)
class TwoStage:
    """Two SAO masks and the pattern of their product, with p = min(m, n) hidden nodes between them.

    `first` is p x n of row degree a, `second` m x p of row degree b, and `mask` m x n of row degree d = a b: from an
    input to an output leads one path or none, so that as matrices of ones mask = second @ first.
    """

    first: Mask
    second: Mask
    mask: Mask


def two_stage_mask(m: int, n: int, d: int, *, seed: int = 0, layer: int = 1, progress: Progress = silent) -> Mask:
    """A connected (m, n) mask with d = a b ones a row and c = m d/n a column: two SAO stages one after the other.

    M = E Q F (in blocks, (I x A) P (I x B) with A and B all ones): F puts the n inputs into k groups of a, E takes the
    m outputs from q groups of m/q, both partitions uniformly random, and the quotient Q is a uniformly random simple
    connected biregular q x k graph, whose p = min(m, n) edges are the hidden nodes. Since E^T E = (m/q) I and
    F F^T = a I, the singular values of M are sqrt(a m/q) times those of Q, and zeros. It meets the Ramanujan bound
    only where lambda_2(Q) < 2, which holds for few small Q; for a = b = 2 the quotient is one cycle, and the gap
    closes as 1/n^2. The stages of d are the first that two_stage_factors names, `stages` in the provenance, which
    also tells that the mask is `connected`, and its `lambda_2`.

    Raises InfeasibleError for a degree that two_stage_factors lacks, and DeadlineError after 200 disconnected
    quotients. O(m d) after the quotient's draws, of which biregular_mask tells.

    >>> mask = two_stage_mask(12, 12, 6)
    >>> mask.provenance["stages"], set(mask.row_degrees.tolist()), set(mask.column_degrees.tolist())
    ([2, 3], {6}, {6})
    """
    d = resolve_degree(m, n, METHOD, d=d)
    require_mask_memory(m, n, m * d, bytes_per_one=40)
    a, b = two_stage_factors(m, n)[d][0]
    p = min(m, n)
    rng = generator(seed, layer)
    quotient = _connected_quotient(p // b, n // a, b, rng, progress)
    dtype = index_dtype(m * d, n)
    inputs = rng.permutation(n).astype(dtype).reshape(-1, a)
    output_groups = rng.permutation(m) // (m // len(quotient))
    columns = np.sort(inputs[quotient].reshape(-1, d), axis=1)[output_groups]
    lambda_2 = math.sqrt(a * m / len(quotient)) * expansion(regular_mask(quotient, n // a), seed=seed).lambda_2
    facts = {"stages": [a, b], "connected": True, "lambda_2": lambda_2}
    return regular_mask(columns, n, provenance(METHOD, m, n, d, seed=seed, layer=layer, **facts))


def two_stage_factors(m: int, n: int) -> dict[int, list[tuple[int, int]]]:
    """{d: [(a, b), ...]} for every row degree d = a b that an (m, n) two-stage mask can have, ascending.

    With p = min(m, n) hidden nodes, stage 1 is an SAO mask p x n of k = n/a groups K_{p/k,a}, and stage 2 one m x p
    of q = p/b groups K_{m/q,b}: k divides gcd(p, n) and q divides gcd(m, p). Each hidden node joins a group of stage 1
    with a group of stage 2, and no two may join the same pair, so that every path is the only one: k q >= p. They are
    the edges of a bipartite quotient graph of degrees p/k and b, which must be connected: k, q <= p/2. The pairs
    (a, b) of one d come with the nearest quotient degrees first, since they give the best expansion (its second
    singular value is about sqrt(p/k - 1) + sqrt(b - 1)), and on a tie with the smaller a first. O(sqrt(p)), plus
    the pairs of divisors.

    >>> two_stage_factors(8, 8)
    {4: [(2, 2)], 8: [(2, 4), (4, 2)]}
    """
    check_sizes(m, n)
    p = min(m, n)
    first, second = ([k for k in divisors(math.gcd(p, size)) if 2 * k <= p] for size in (n, m))
    pairs = [(k, q) for k, q in itertools.product(first, second) if k * q >= p]
    factors: dict[int, list[tuple[int, int]]] = {}
    for k, q in sorted(pairs, key=lambda pair: (-pair[0] * pair[1], abs(pair[0] - pair[1]), -pair[0])):
        factors.setdefault((n // k) * (p // q), []).append((n // k, p // q))
    return factors


def feasible(m: int, n: int) -> Sequence[int]:
    """Every row degree d = a b of two_stage_factors, ascending."""
    return list(two_stage_factors(m, n))


def rule(m: int, n: int) -> str:
    """What a feasible degree is, in words."""
    p = min(m, n)
    return (
        f"d must be a*b with k = {n}/a a divisor of {math.gcd(p, n)}, q = {p}/b a divisor of {math.gcd(m, p)}, "
        f"k and q at most {p // 2}, and k*q at least {p}"
    )


def two_stage(m: int, n: int, d: int, *, seed: int = 0, layer: int = 1, progress: Progress = silent) -> TwoStage:
    """The two-stage mask of these arguments with its stages: find_stages of two_stage_mask. O(m d log m).

    >>> stages = two_stage(8, 16, 8)
    >>> stages.first.shape, stages.second.shape, stages.mask.shape
    ((8, 16), (8, 8), (8, 16))
    """
    stages = find_stages(two_stage_mask(m, n, d, seed=seed, layer=layer, progress=progress))
    assert stages is not None
    return stages


def find_stages(mask: Mask) -> TwoStage | None:
    """The two SAO stages whose product pattern `mask` is, or None where it has none.

    They are recognised from the pattern alone, wherever it came from, and need not be connected. A (c, d)-biregular
    mask has stages of degrees a b = d exactly when its columns fall into groups of a equal ones and its rows into
    groups of m b/p equal ones, p = min(m, n), since the groups then form a simple biregular quotient graph with
    p edges. Of several pairs (a, b) the first that two_stage_factors names is taken. O(m d log m).
    """
    d = int(mask.row_degrees[0])
    factors = two_stage_factors(mask.m, mask.n).get(d, [])
    if not factors or (mask.row_degrees != d).any() or np.ptp(mask.column_degrees):
        return None
    rows, row_counts = _equal_rows(mask)
    columns, column_counts = _equal_rows(mask.T)
    for a, b in factors:
        if not (column_counts % a).any() and not (row_counts % (mask.m * b // min(mask.shape))).any():
            return _stages(mask, rows, columns, a, b)
    return None


def _connected_quotient(m: int, n: int, d: int, rng: "Generator", progress: Progress) -> Indices:
    """(m, d) columns of a uniformly random simple connected biregular graph of m x n."""
    if d == 2 and m == n:  # one cycle: random unions of cycles are connected in one draw of about sqrt(n)
        return hamiltonian_cycle(n, rng)
    for draw in range(1, MAX_DRAWS + 1):
        mask = biregular_mask(m, n, d, seed=int(rng.integers(2**63)), progress=progress)
        if find_components(mask).count == 1:
            return mask.indices.reshape(m, d)
        progress("drawing connected quotients", draw, None)
    raise DeadlineError(
        f"none of {MAX_DRAWS} random quotients of {m} x {n} with {d} ones a row was connected; "
        "choose another degree or seed"
    )


def _equal_rows(mask: Mask) -> tuple[Indices, Indices]:
    """The rows of a mask of one row degree in an order that puts equal ones together, and how many each kind has."""
    columns = mask.indices.reshape(mask.m, -1)
    order = np.lexsort(columns.T)
    columns = columns[order]
    new = (columns[1:] != columns[:-1]).any(axis=1)
    return order, np.diff(np.flatnonzero(np.concatenate(([True], new, [True]))))


def _stages(mask: Mask, rows: Indices, columns: Indices, a: int, b: int) -> TwoStage:
    """The stages, given the mask's rows and columns in orders that put equal ones together."""
    m, n = mask.shape
    p = min(m, n)
    outputs, inputs = rows.reshape(p // b, -1), columns.reshape(-1, a)
    input_groups = np.empty(n, dtype=mask.indices.dtype)
    input_groups[inputs] = np.arange(len(inputs))[:, None]
    output_groups = np.empty(m, dtype=mask.indices.dtype)
    output_groups[outputs] = np.arange(len(outputs))[:, None]
    read = input_groups[mask.indices.reshape(m, -1)[outputs[:, 0]]]
    quotient = np.sort(read, axis=1)[:, ::a]  # each group of inputs is read whole, so a times
    hidden = output_groups[:, None] * b + np.arange(b, dtype=mask.indices.dtype)
    return TwoStage(_stage(np.sort(inputs[quotient.reshape(-1)], axis=1), n), _stage(hidden, p), mask)


def _stage(columns: Indices, n: int) -> Mask:
    return regular_mask(columns.astype(index_dtype(columns.size, n)), n)
