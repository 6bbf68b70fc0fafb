"""Exactly orthogonal sparse weights of any size: products of random Givens rotations (EOI)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import InfeasibleError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import VALUES, generator
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Indices, index_dtype
from sao_cli.data.matrix import Matrix
from sao_cli.masks.degrees import check_sizes, kappa
from sao_cli.masks.origin import provenance

if TYPE_CHECKING:
    from numpy.random import Generator

    Integers = NDArray[np.int64]

CHUNK = 4  # max(m, n) / CHUNK rotations at once, which multiply the entries by e^(2 / CHUNK) at most (our choice)
METHOD = "eoi"
BYTES_PER_ENTRY = 120  # measured peak: 60 to 80 for each entry, 110 where m < n, which is sorted last; 100 for each row


def eoi_weight(
    m: int, n: int, sparsity: float, *, seed: int = 0, layer: int = 1, progress: Progress = silent
) -> Matrix:
    """An exactly orthogonal (m, n) Matrix (float64) of the asked sparsity: a product of random Givens rotations.

    Exact Orthogonal Initialization (Nowak et al., ICML 2024, arXiv 2406.01755). For m >= n, W = G_t ... G_1 [I_n; 0],
    so that W^T W = I_n; for m < n it is the transpose of that for (n, m), and W W^T = I_m. Each G rotates a uniformly
    random pair of distinct rows i, j by an angle a, uniform on [0, 2 pi), all of them independent:

        row_i, row_j = cos(a) row_i + sin(a) row_j, cos(a) row_j - sin(a) row_i

    Almost surely both rows then have the union of their ones. Of the first t whose entries reach kappa(m n,
    sparsity) and the t before it, the nearer one is taken, the denser on a tie, as published. So the sparser weights of
    one seed are earlier states of the same product. Sizes need no divisibility. At the largest sparsity,
    1 - 1/max(m, n), nothing is rotated, and W is the partial identity.

    Raises InfeasibleError for a sparsity outside [0, 1), and for one that leaves fewer than min(m, n) entries;
    MemoryLimitError for what would not fit. The provenance tells `requested_sparsity` and `rotations` = t.

    The published code recounts the m n places at each rotation. Here a rotation costs the entries of its two rows, and
    rotations of disjoint rows are applied at once: O(m n density) entries are moved in all while rows seldom overlap,
    O(m n log(max(m, n))) at sparsity 0, in O(log(max(m, n))) passes for each max(m, n) / 4 rotations.

    >>> weight = eoi_weight(6, 4, 0.5)
    >>> weight.mask.nnz, bool(abs(weight.to_dense().T @ weight.to_dense() - np.eye(4)).max() < 1e-15)
    (13, True)
    """
    check_sizes(m, n)
    target = _target_entries(m, n, sparsity)
    tall, short = max(m, n), min(m, n)
    require_memory(BYTES_PER_ENTRY * (target + tall), f"an orthogonal {m} x {n} matrix with {target} entries")
    product, rotations = _rotated_identity(tall, short, target, seed, layer, progress)
    rows, columns, values = product.read(np.arange(tall))
    kept = values != 0  # all of them, unless an angle or a sum happened to be exactly 0
    rows, columns = (rows, columns) if m >= n else (columns, rows)
    told = provenance(METHOD, m, n, 0, seed=seed, layer=layer) | {"c": None, "d": None}
    told |= {"values": "orthogonal", "requested_sparsity": float(sparsity), "rotations": rotations}
    return Matrix.from_entries(rows[kept], columns[kept], values[kept], (m, n), told)


def _target_entries(m: int, n: int, sparsity: float) -> int:
    target = kappa(m * n, sparsity)
    if target < min(m, n):
        vectors = "rows" if m <= n else "columns"
        raise InfeasibleError(
            f"no orthogonal {m} x {n} matrix has sparsity {sparsity}: {min(m, n)} orthonormal {vectors} need an entry "
            f"each, so sparsity is at most 1 - 1/{max(m, n)}; the nearest feasible one is {1 - 1 / max(m, n)}"
        )
    return target


def _rotated_identity(m: int, n: int, target: int, seed: int, layer: int, progress: Progress) -> tuple[_Rows, int]:
    """The rows of the m >= n product nearest to `target` entries, and how many rotations it has.

    Chunks are applied whole; the one that crosses the target is undone and applied again up to the stop.
    """
    pattern, values = generator(seed, layer), generator(seed, layer, VALUES)
    product, rotations, nnz = _Rows.identity(m, n), 0, n
    while nnz < target:
        progress("rotating rows", nnz, target)
        pairs = _random_pairs(m, -(-m // CHUNK), pattern)
        angles = values.uniform(0.0, 2 * np.pi, len(pairs))
        before = product.snapshot()
        counts = nnz + np.cumsum(_rotate(product, pairs, angles))
        stop = _nearest_stop(nnz, counts, target)
        if stop < len(pairs):
            product.restore(before)
            _rotate(product, pairs[:stop], angles[:stop])
        product.compact()
        rotations, nnz = rotations + stop, int(counts[-1])
    return product, rotations


def _random_pairs(m: int, count: int, rng: Generator) -> Integers:
    """(count, 2) uniformly random ordered pairs of distinct rows; drawn in parts, they are the same pairs."""
    first, step = rng.integers(0, [m, m - 1], size=(count, 2)).T
    return np.stack((first, (first + 1 + step) % m), axis=1)


def _nearest_stop(nnz: int, counts: Integers, target: int) -> int:
    """How many rotations of a chunk to keep, from the entries before it and after each: all, where none crosses."""
    crossing = int(np.searchsorted(counts, target))
    if crossing == len(counts):
        return crossing
    before = counts[crossing - 1] if crossing else nnz
    return crossing + int(counts[crossing] - target <= target - before)


def _rotate(product: _Rows, pairs: Integers, angles: Values) -> Integers:
    """Rotate each pair of rows in turn, and return (count,) the entries that each rotation added."""
    added = np.empty(len(pairs), dtype=np.int64)
    for level in _levels(pairs, len(product.starts)):
        added[level] = _rotate_disjoint(product, pairs[level], angles[level])
    return added


def _levels(pairs: Integers, m: int) -> Iterator[Integers]:
    """Positions of pairs that share no row, in steps: a pair comes after all earlier ones with which it shares one.

    Rotations of disjoint rows commute, so the steps give what one rotation after another gives.
    """
    waiting = np.arange(len(pairs))
    earliest = np.empty(m, dtype=np.int64)
    while len(waiting):
        rows = pairs[waiting]
        earliest[rows.ravel()[::-1]] = np.repeat(waiting, 2)[::-1]  # of repeated indices numpy keeps the last one
        ready = (earliest[rows] == waiting[:, None]).all(axis=1)
        yield waiting[ready]
        waiting = waiting[~ready]


def _rotate_disjoint(product: _Rows, pairs: Integers, angles: Values) -> Integers:
    """Rotate pairs of rows of which no two share one, and return the entries that each rotation added."""
    upper, lower = pairs.T
    pair, columns, values = zip(product.read(upper), product.read(lower), strict=True)
    key = np.concatenate(pair) * product.n + np.concatenate(columns)
    order = np.argsort(key, kind="stable")  # two ascending runs, which numpy's timsort merges in O(len)
    key = key[order]
    first = np.diff(key, prepend=-1) != 0
    place = np.empty(len(key), dtype=np.int64)
    place[order] = np.cumsum(first) - 1
    pair_of, column = np.divmod(key[first], product.n)
    x, y = np.zeros(len(column)), np.zeros(len(column))
    x[place[: len(values[0])]], y[place[len(values[0]) :]] = values
    cosine, sine = np.cos(angles)[pair_of], np.sin(angles)[pair_of]
    lengths = np.bincount(pair_of, minlength=len(pairs))
    added: Integers = 2 * lengths - product.lengths[upper] - product.lengths[lower]
    product.write(upper, lengths, column, cosine * x + sine * y)
    product.write(lower, lengths, column, cosine * y - sine * x)
    return added


class _Rows:
    """The rows of a sparse (m, n) matrix, in any order in one store: written rows are appended, old ones stay.

    Row i is `columns` (ascending) and `values` from starts[i] on, lengths[i] of them; `used` entries are taken.
    """

    def __init__(self, starts: Integers, lengths: Integers, columns: Indices, values: Values, n: int) -> None:
        self.starts, self.lengths, self.columns, self.values, self.n = starts, lengths, columns, values, n
        self.used = len(values)

    @classmethod
    def identity(cls, m: int, n: int) -> _Rows:
        """The first n <= m columns of the m x m identity."""
        row = np.arange(m)
        return cls(np.minimum(row, n), (row < n).astype(np.int64), np.arange(n, dtype=index_dtype(n)), np.ones(n), n)

    def read(self, rows: Integers) -> tuple[Integers, Indices, Values]:
        """The entries of `rows`, one row after another: which of `rows` each is in, its column and its value."""
        lengths = self.lengths[rows]
        owner = np.repeat(np.arange(len(rows)), lengths)
        at = np.repeat(self.starts[rows] - np.cumsum(lengths) + lengths, lengths) + np.arange(len(owner))
        return owner, self.columns[at], self.values[at]

    def write(self, rows: Integers, lengths: Integers, columns: Integers, values: Values) -> None:
        """Replace `rows`, entries given one row after another."""
        end = self.used + len(values)
        if end > len(self.values):
            self.columns = np.concatenate((self.columns, np.empty(end, dtype=self.columns.dtype)))
            self.values = np.concatenate((self.values, np.empty(end)))
        self.columns[self.used : end], self.values[self.used : end] = columns, values
        self.lengths[rows] = lengths
        self.starts[rows] = self.used + np.cumsum(lengths) - lengths
        self.used = end

    def snapshot(self) -> tuple[Integers, Integers, int]:
        """What `restore` needs to bring back the rows as they are now, until the next `compact`."""
        return self.starts.copy(), self.lengths.copy(), self.used

    def restore(self, snapshot: tuple[Integers, Integers, int]) -> None:
        """Bring back the rows as they were at the snapshot."""
        self.starts, self.lengths, self.used = snapshot

    def compact(self) -> None:
        """Drop what was replaced, and store the rows in order."""
        _, self.columns, self.values = self.read(np.arange(len(self.starts)))
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.used = len(self.values)
