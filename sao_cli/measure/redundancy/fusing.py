"""A weight as P W' Q: parallel rows and columns made one, of which index and scale vectors tell what they were."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.names import check
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import one_thread
from sao_cli.catalog import FUSE_RULES
from sao_cli.data.arrays import Values
from sao_cli.measure.redundancy.neighbours import Neighbours, norms_of
from sao_cli.measure.redundancy.unit_vectors import FLOOR

if TYPE_CHECKING:
    from sao_cli.measure.redundancy.pairs import Pair

Indices = NDArray[np.int64]

ROWS, COLUMNS = 0, 1  # the axes of W'
TAU_COS, TAU_EUC = 1e-4, 0.1  # the paper's, section 5.1.1


@dataclass(frozen=True, eq=False)
class Fused:
    """A weight W = P W' Q: W[a, b] = row_scale[a] W'[row_index[a], col_index[b]] col_scale[b].

    `weight` is W', (m', n') float64; `row_index` (m,) and `col_index` (n,), int64, tell which row and column of it
    stand for those of W, and `row_scale`, `col_scale` times what. P (m, m') has row_scale as its m nonzeros and Q
    (n', n) col_scale as its n; the columns of P and the rows of Q have norm 1 and no place in common, so that
    P^T P = I, Q Q^T = I, and W' has the norm and the singular values of P W' Q (Lee et al., Appl. Sci. 2021, 11, 725,
    section 4.2, with s = sqrt(r^2 + 1) for their Eqs. 7 and 11).

    A removed vector, of zeros, has the scale 0, and the index 0, which says nothing: it is no nonzero of P or Q.

    >>> fused = Fused(np.array([[5.0]]), np.array([0, 0]), np.array([0.6, 0.8]), np.array([0]), np.array([1.0]))
    >>> fused.product().tolist(), fused.fusions, fused.zero
    ([[3.0], [4.0]], 1, 0)
    """

    weight: Values
    row_index: Indices
    row_scale: Values
    col_index: Indices
    col_scale: Values

    @classmethod
    def of(cls, weight: NDArray[Any]) -> Fused:
        """`weight` (m, n) itself as W', in float64, and identities. Raises FormatError for no matrix of finite numbers.

        >>> Fused.of(np.eye(2)).product().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        dense = np.array(weight, dtype=np.float64)
        if dense.ndim != 2 or not dense.size:
            raise FormatError(f"a weight of shape {dense.shape} has no rows and columns to fuse; give a matrix")
        if not np.isfinite(dense).all():
            raise FormatError("a weight with numbers that are not finite has no angles between its rows and columns")
        m, n = dense.shape
        return cls(dense, np.arange(m), np.ones(m), np.arange(n), np.ones(n))

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n) of the weight that it stands for."""
        return len(self.row_index), len(self.col_index)

    @property
    def zero(self) -> int:
        """How many rows and columns were removed, and not fused."""
        return int(np.count_nonzero(self.row_scale == 0) + np.count_nonzero(self.col_scale == 0))

    @property
    def fusions(self) -> int:
        """How often two rows or columns were made one: m + n - m' - n' without those that were removed."""
        return sum(self.shape) - sum(self.weight.shape) - self.zero

    def product(self) -> Values:
        """P W' Q, (m, n) float64. O(m n)."""
        rows = self.weight[self.row_index] * self.row_scale[:, None]
        product: Values = rows[:, self.col_index] * self.col_scale
        return product

    def along(self, axis: int) -> tuple[Values, Indices, Values]:
        """W' with the vectors of `axis` as its rows (0: rows, 1: columns), and their index and scale."""
        if axis == ROWS:
            return self.weight, self.row_index, self.row_scale
        return self.weight.T, self.col_index, self.col_scale

    def with_along(self, axis: int, vectors: Values, index: Indices, scale: Values) -> Fused:
        """Another W', with the vectors of `axis` as its rows, and what they stand for."""
        if axis == ROWS:
            return replace(self, weight=vectors, row_index=index, row_scale=scale)
        return replace(self, weight=np.ascontiguousarray(vectors.T), col_index=index, col_scale=scale)


def fuse(
    weight: NDArray[Any] | Fused,
    *,
    tau_cos: float = TAU_COS,
    tau_euc: float = TAU_EUC,
    floor: float = FLOOR,
    rule: str = "svd",
    axes: tuple[int, ...] = (COLUMNS, ROWS),
    longer: bool = False,
    progress: Progress = silent,
) -> tuple[Fused, int]:
    """A weight (m, n) with its parallel rows and columns fused, and how many times two were made one.

    First vectors whose norm is at most `floor` times the longest of their axis are removed, columns before rows: their
    direction is noise. Of the others the pair nearest to parallel is fused, as fuse_pair does by `rule`, as long as
    there is one with 1 - |cos| <= tau_cos and ||w_j|| sqrt(2 (1 - |cos|)) <= tau_euc, w_j the shorter (Lee et al.,
    Eqs. 4 and 13, who have < for <=: then 0 would not even fuse equal ones). What is fused may be fused again, so that
    many parallel vectors become one. Columns go first, then rows, until neither axis has a pair; with `longer` only
    the axis of W' that is the longer now, columns where they are equal, as it is in training (section 4.2).

    `weight` may be what is fused already. Defaults are the paper's, the floor is ours. An all-zero weight becomes one
    zero. Raises SaoError for thresholds out of range and FormatError for no finite matrix.

    m n (m + n) / 2 multiply-adds for the first Gram matrices, a tile of them held; then a product of W' with a vector
    for each fusion, and the first once more after fusions on the other axis. Memory: three times the weight's.

    >>> fused, fusions = fuse(np.outer([1.0, 2, 3, 4, 5], np.ones(5)))
    >>> fused.weight.round(12).tolist(), fusions
    ([[16.583123951777]], 8)
    """
    _check(tau_cos, tau_euc, floor, rule)
    fused = weight if isinstance(weight, Fused) else Fused.of(weight)
    for axis in (COLUMNS, ROWS):
        fused = without_zeros(fused, axis, floor) if axis in axes else fused
    run = _Run(fused, tau_cos, tau_euc, rule, progress)
    before = fused.fusions
    if longer:
        run.longer_only(axes)
    else:
        run.both(axes)
    return run.fused, run.fused.fusions - before


def fuse_pair(fused: Fused, axis: int, pair: Pair, rule: str = "svd") -> Fused:
    """`fused` with two rows (`axis` 0) or columns (1) of W' made one, at the place of the kept one; the other goes.

    With q_i, q_j the dropped and the kept vector's rows of Q (columns of P), of norm 1, row j becomes x q_i + y q_j,
    which has norm 1 as x^2 + y^2 = 1. By `rule`:

    - "svd": x, y and W'_j are the first singular triple of [w_i w_j], whose second singular value is the error: the
      least that there is (Eckart and Young);
    - "paper": (x, y) = (r, 1)/s and W'_j = s w_j with r = w_i.w_j/(w_j.w_j) and s = sqrt(r^2 + 1) (Eqs. 7, 11): the
      dropped vector becomes r times the kept one, and the error is ||w_i|| sin of the angle.

    `pair` is of W' as it stands, as nearest_pairs gives it: of `fused.weight` for rows, of its transpose for columns.
    O(m' n').

    >>> from sao_cli.measure.redundancy.pairs import nearest_pairs
    >>> fused = Fused.of(np.array([[1.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    >>> fused = fuse_pair(fused, 0, nearest_pairs(fused.weight)[0])
    >>> fused.weight.shape, fused.row_index.tolist(), fused.product().round(12).tolist()
    ((2, 2), [0, 1, 1], [[1.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    """
    check("rule", rule, FUSE_RULES)
    if axis not in (ROWS, COLUMNS):
        raise SaoError(f"axis {axis}: 0 fuses rows, 1 columns")
    vectors, index, scale = fused.along(axis)
    shares = _shares(pair, rule)
    made = np.array(vectors)
    parts = _parts(shares, rule)
    made[pair.kept] = parts[0] * vectors[pair.dropped] + parts[1] * vectors[pair.kept]
    index, scale = index.copy(), scale.copy()
    _join_(index, scale, pair, shares)
    return _compact(fused, axis, made, index, scale, np.arange(len(made)) != pair.dropped)


def without_zeros(fused: Fused, axis: int, floor: float = FLOOR) -> Fused:
    """`fused` without the rows (`axis` 0) or columns (1) of W' whose norm is at most `floor` times the longest.

    What they stand for is 0 then: the error is their norm. One of them stays, of zeros, where all are. O(m' n').

    >>> without_zeros(Fused.of(np.array([[3.0, 0.0], [1.0, 0.0]])), 1).weight.tolist()
    [[3.0], [1.0]]
    """
    vectors, index, scale = fused.along(axis)
    norms = norms_of(vectors)
    live = norms > floor * norms.max()
    live[0] |= not live.any()
    if live.all():
        return fused
    return _compact(fused, axis, vectors, index, np.where(live[index], scale, 0.0), live)


class _Run:
    """A weight while it is fused."""

    def __init__(self, fused: Fused, tau_cos: float, tau_euc: float, rule: str, progress: Progress) -> None:
        self.fused, self._rule, self._progress = fused, rule, progress
        self._tau_cos, self._tau_euc = tau_cos, tau_euc
        self._drifted = False

    def both(self, axes: tuple[int, ...]) -> None:
        """Fuse along each axis until none has a pair: what is fused on one changes the angles on the other a little."""
        due = list(axes)
        while due:
            axis = due.pop(0)
            if self._fuse_along(axis):
                due += [other for other in axes if other not in due and (other != axis or self._drifted)]

    def longer_only(self, axes: tuple[int, ...]) -> None:
        """Fuse along the axis that is the longer one each time, columns first where they are equal."""
        while True:
            m, n = self.fused.weight.shape
            if n > m and COLUMNS in axes:
                found = self._fuse_along(COLUMNS, n - m)
            elif m > n and ROWS in axes:
                found = self._fuse_along(ROWS, m - n)
            else:
                found = any(self._fuse_along(axis, 1) for axis in (COLUMNS, ROWS) if m == n and axis in axes)
            if not found:
                return

    def _fuse_along(self, axis: int, most: int | None = None) -> int:
        """How many pairs of the axis were fused, nearest first, `most` at most."""
        vectors, index, scale = self.fused.along(axis)
        vectors, index, scale = np.array(vectors, order="C"), index.copy(), scale.copy()
        with one_thread(min(vectors.shape)):
            search = Neighbours(vectors, self._tau_cos, self._tau_euc, self._progress)
            while (most is None or search.joined < most) and (pair := search.nearest()) is not None:
                shares = _shares(pair, self._rule)
                _join_(index, scale, pair, shares)
                parts = _parts(shares, self._rule)
                vectors[pair.kept] = parts[0] * vectors[pair.dropped] + parts[1] * vectors[pair.kept]
                search.join(pair.kept, pair.dropped, parts)
                self._progress("fusing", search.joined, None)
        self._drifted = search.drifted
        if search.joined:
            self.fused = _compact(self.fused, axis, vectors, index, scale, search.alive)
        return search.joined


def _shares(pair: Pair, rule: str) -> tuple[float, float]:
    """(x, y), with x^2 + y^2 = 1 and y > 0: what the dropped and the kept vector are of the one that they become."""
    if rule == "paper":
        s = math.hypot(pair.ratio, 1.0)
        return pair.ratio / s, 1 / s
    first, second = (pair.norm_i, pair.norm_j) if pair.dropped == pair.i else (pair.norm_j, pair.norm_i)
    peak = max(first, second)
    a, b = first / peak, second / peak
    half = 0.5 * math.atan2(2 * a * b * pair.cosine, (a - b) * (a + b))  # from the dropped one's axis
    x, y = math.cos(half), math.sin(half)
    return (-x, -y) if y < 0 else (x, y)


def _parts(shares: tuple[float, float], rule: str) -> tuple[float, float]:
    """How many times the dropped and the kept vector the one is that stands for both."""
    return (0.0, 1 / shares[1]) if rule == "paper" else shares


def _join_(index: Indices, scale: Values, pair: Pair, shares: tuple[float, float]) -> None:
    """Have what the dropped vector stands for stand at the kept one, in place."""
    gone = index == pair.dropped
    scale[gone] *= shares[0]
    scale[index == pair.kept] *= shares[1]
    index[gone] = pair.kept


def _compact(
    fused: Fused, axis: int, vectors: Values, index: Indices, scale: Values, alive: NDArray[np.bool_]
) -> Fused:
    """`fused` with the vectors that are `alive`, and places counted among them; of removed ones they are 0."""
    places = np.where(alive, np.cumsum(alive) - 1, 0)
    return fused.with_along(axis, vectors[alive], places[index], scale)


def _check(tau_cos: float, tau_euc: float, floor: float, rule: str) -> None:
    check("rule", rule, FUSE_RULES)
    if not 0 <= tau_cos < 1:
        raise SaoError(f"--tau-cos {tau_cos}: 1 - |cos| lies from 0 to 1; give 0 or more, and less than 1")
    if not tau_euc >= 0:
        raise SaoError(f"--tau-euc {tau_euc}: a distance is 0 or more")
    if not 0 <= floor < 1:
        raise SaoError(f"--floor {floor}: it is a share of the longest vector's norm, 0 or more and less than 1")
