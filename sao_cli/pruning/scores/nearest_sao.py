"""The SAO mask on which a given weight keeps most of itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import SEARCH, generator
from sao_cli.data.arrays import Values
from sao_cli.data.kernel import WeightLike, dense_weight_of
from sao_cli.data.mask import Indices, Mask, index_dtype, regular_mask
from sao_cli.masks.degrees import resolve_degree
from sao_cli.masks.origin import provenance, require_mask_memory
from sao_cli.masks.sao import sao_mask
from sao_cli.pruning.scores.magnitude import unit_magnitudes

if TYPE_CHECKING:
    from numpy.random import Generator

STARTS = 3
MAX_ROUNDS = 50
MAX_PASSES = 8
REGROWN = 4  # groups that are taken apart together: few find what to exchange sooner than many
LEAST_GAIN = 1e-3  # a round that adds less of the kept sum is the last
MAX_ASSIGNED = 512  # nodes of one assignment problem, for which scipy takes 20 ms; larger sides are split
ROUNDING = 1e-12  # by which two sums of the same scores may differ
MAX_PARTITIONS = 2**14  # of one side that are all tried, which takes about a second: 12 nodes, whatever the groups


def projected_mask(
    weight: WeightLike, d: int, *, seed: int = 0, layer: int = 1, starts: int = STARTS, progress: Progress = silent
) -> Mask:
    """The SAO mask of row degree d that keeps most of ||W||_F^2: of all for small layers, else of those found.

    `weight` is a matrix (m, n) or a kernel (c_out, c_in, k, ...), whose 2-D kernels are kept or dropped as wholes: an
    array, or what data.kernel.weight_of takes. To
    choose K disjoint groups of c rows and d columns so that the sum of w^2 inside them is the largest is to find the
    SAO-sparse matrix nearest to W in the Frobenius norm. It is a biclustering, NP-hard in general, so this is a
    heuristic: with the columns' groups fixed, the best rows for them are a transportation problem, which is solved
    exactly, and so are the best columns for those rows. Where one side has no more than 2^14 partitions into its groups
    (12 nodes whatever the groups are, 16 in two groups, up to 512 where c = 1 or d = 1), all of them are tried, and the
    result is the optimum. Else the two take turns until a round adds less than a thousandth of the sum, which never
    falls.

    The turns start from sao_mask(m, n, d, seed, layer), which the result is therefore never worse than; from groups
    that are taken one after the other, each as a submatrix of large |w| grown from the heaviest row left (the search of
    Shabalin, Weigman, Perou and Nobel, Annals of Applied Statistics 2009); and from such groups grown from random
    rows, `starts` of them in all. The best is then refined: each group is taken apart together with the three that it
    would share most with, they are grown anew, and the better of old and new stays.

    The provenance of the result tells `kept_norm`, the fraction of ||W||_F^2 that it keeps, and `kept_norm_bound`,
    which no SAO mask of these sizes exceeds: the same number where it is the optimum, else the fraction in the d
    largest of each row or in the c largest of each column, whichever is less.

    Measured at 256 x 256, d = 4, on normal values: it keeps 0.071 of the squared norm, where a random SAO mask keeps
    0.016 and the largest magnitudes, of any pattern, 0.121. Of groups that were planted with normal values, and normal
    noise of a fifth of that size, it keeps 99 % of what they do, and before the refinement 93 %.

    Raises InfeasibleError as sao_mask does, FormatError for a weight that is no matrix or kernel of finite numbers,
    and MemoryLimitError. A round is O(m n) and two assignments, each O(m^3 + n^3) at worst and far less as a rule;
    sides over 512 are exchanged by random blocks of groups of that size, which keeps a round O((m + n) 512^2), and
    the sum from falling, but is no longer exact. 0.4 s at 256 x 256 and d = 4, 3 s at 2048 x 2048 and d = 8.

    >>> weight = np.kron([[0, 1], [1, 0]], np.ones((2, 2))) + 0.1
    >>> projected_mask(weight, 2).to_dense().astype(int)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1],
           [1, 1, 0, 0],
           [1, 1, 0, 0]])
    """
    if starts < 1:
        raise SaoError(f"starts = {starts}: the search needs one start at least")
    magnitudes = unit_magnitudes(dense_weight_of(weight)[0])
    m, n = magnitudes.shape
    d = resolve_degree(m, n, "sao", d=d)
    require_mask_memory(m, n, m * d)
    require_memory(40 * m * n, f"the projection of a weight of {m} x {n}")
    scores = np.square(magnitudes / (magnitudes.max() or 1.0))
    search = _Search(scores, n // d, generator(seed, layer, SEARCH))
    if (side := _side_to_exhaust(m, n, n // d)) is not None:
        best, rows, columns = search.exhaust(side, progress)
        bound = best
    else:
        found = (search.climb(*_start(search, start, d, seed, layer)) for start in range(starts))
        best, rows, columns = _best(found, "searching the nearest SAO mask, starts", starts, progress)
        best, rows, columns = search.refine(best, rows, columns, progress)
        bound = max(best, min(_sum_of_largest(scores, d), _sum_of_largest(scores.T, m * d // n)))
    total = float(scores.sum()) or 1.0
    told = provenance("sao", m, n, d, seed=seed, layer=layer, arrangement="projected")
    return _mask_of(rows, columns, told | {"kept_norm": best / total, "kept_norm_bound": bound / total})


def nearest_sao_mask(
    weight: NDArray[Any], d: int, *, groups: int = 1, seed: int = 0, layer: int = 1, progress: Progress = silent
) -> Mask:
    """The SAO mask of row degree d nearest to a weight (m, n, ...), or those of its `groups`, one above the other.

    Where a group is on an SAO mask already, as sparse or sparser, that is its mask; else it is projected_mask's.

    >>> nearest_sao_mask(np.eye(4), 2).nnz
    4
    """
    step, magnitudes = len(weight) // groups, unit_magnitudes(weight)
    masks = []
    for start in range(0, len(weight), step):
        own = _own_mask(magnitudes[start : start + step], d)
        part = weight[start : start + step]
        masks.append(own or projected_mask(part, d, seed=seed, layer=layer, progress=progress))
    if len(masks) == 1:
        return masks[0]
    return Mask.from_dense(np.concatenate([mask.to_dense() for mask in masks]), masks[0].provenance)


def _own_mask(magnitudes: Values, degree: int) -> Mask | None:
    """The mask that the weight has, where that is an SAO mask already, as sparse as was asked for or sparser."""
    kept = (magnitudes != 0).sum(axis=1)
    if not 0 < kept.min() == kept.max() <= degree:
        return None
    mask = Mask.from_dense(magnitudes != 0, {"d": int(kept[0])})
    return mask if mask.groups is not None and mask.column_degrees.min() == mask.column_degrees.max() else None


Found = tuple[float, Indices, Indices]  # the sum that is kept, and the labels (m,) and (n,) that keep it


class _Search:
    """The climb from any groups to better ones; `scores` (m, n) is what there is to keep, in `groups` groups."""

    def __init__(self, scores: Values, groups: int, rng: Generator) -> None:
        self.sides = (scores, np.ascontiguousarray(scores.T))
        self.groups, self.rng = groups, rng

    def exhaust(self, side: int, progress: Progress) -> Found:
        """The most that any labels keep, by all partitions of one side (0: rows) and the best of the other for each."""
        size = self.sides[side].shape[0]
        tried = (self._completed(labels, side) for labels in _partitions(size, self.groups))
        count = round(math.exp(_log_partitions(size, self.groups)))
        return _best(tried, "all SAO masks, partitions", count, progress)

    def _completed(self, labels: Indices, side: int) -> Found:
        gains = self._gains(labels, side)
        others = _assigned(gains)
        return _kept(gains, others), *((others, labels) if side else (labels, others))

    def climb(self, rows: Indices, columns: Indices) -> Found:
        """The sum that is kept, and the labels (m,) and (n,) that keep it, no worse than those given."""
        kept = _kept(self._gains(rows, 0), columns)
        for _ in range(MAX_ROUNDS):
            before = kept
            columns = self._exchanged(self._gains(rows, 0), columns)
            gains = self._gains(columns, 1)
            rows = self._exchanged(gains, rows)
            kept = _kept(gains, rows)
            if kept <= before * (1 + LEAST_GAIN):
                break
        return kept, rows, columns

    def grow(self, order: Callable[[Values], int]) -> tuple[Indices, Indices]:
        """Groups one after the other: a row that `order` chooses by what is left of each, and what fits it best.

        From that row, the d best columns and the c best rows for them take turns until their sum grows no more.
        """
        scores, transposed = map(np.sqrt, self.sides)  # in squares, a few large ones would hide the rest of a group
        (m, n), groups = scores.shape, self.groups
        c, d = m // groups, n // groups
        of_rows, of_columns = np.full(m, -1), np.full(n, -1)
        left = scores.sum(axis=1)
        for group in range(groups):
            rows, kept = np.array([order(np.where(of_rows < 0, np.maximum(left, 0.0), -1.0))]), -1.0
            for _ in range(MAX_ROUNDS):
                columns = _largest(np.where(of_columns < 0, scores[rows].sum(axis=0), -1.0), d)
                sums = np.where(of_rows < 0, transposed[columns].sum(axis=0), -1.0)
                rows, before = _largest(sums, c), kept
                kept = float(sums[rows].sum())
                if kept <= before * (1 + LEAST_GAIN):
                    break
            of_rows[rows], of_columns[columns] = group, group
            left -= transposed[columns].sum(axis=0)
        return of_rows, of_columns

    def refine(self, kept: float, rows: Indices, columns: Indices, progress: Progress) -> Found:
        """The sum and the labels after REGROWN groups at a time were grown anew, wherever that keeps more."""
        rows, columns = rows.copy(), columns.copy()
        for number in range(MAX_PASSES if self.groups > 1 else 0):
            progress("refining the nearest SAO mask, passes", number, MAX_PASSES)
            before = kept
            for group in self.rng.permutation(self.groups):
                kept += self._regrow(self._nearest(group, rows, columns), rows, columns)
            if kept <= before * (1 + LEAST_GAIN):
                break
        return self.climb(rows, columns)

    def _regrow(self, groups: Indices, rows: Indices, columns: Indices) -> float:
        """What the groups keep more when they are grown anew from random rows; the labels change where they do."""
        number = np.full(self.groups, -1)
        number[groups] = np.arange(len(groups))
        own_rows, own_columns = np.flatnonzero(number[rows] >= 0), np.flatnonzero(number[columns] >= 0)
        part = _Search(self.sides[0][np.ix_(own_rows, own_columns)], len(groups), self.rng)
        before = _kept(part._gains(number[rows[own_rows]], 0), number[columns[own_columns]])
        after, fresh_rows, fresh_columns = part.climb(*part.grow(part.any_row))
        if after <= before * (1 + ROUNDING):
            return 0.0
        rows[own_rows], columns[own_columns] = groups[fresh_rows], groups[fresh_columns]
        return after - before

    def _nearest(self, group: int, rows: Indices, columns: Indices) -> Indices:
        """The group, and those whose columns its rows would keep most on and whose rows its columns would."""
        scores, transposed = self.sides
        shared = np.zeros(self.groups)
        shared += np.bincount(columns, scores[rows == group].sum(axis=0), self.groups)
        shared += np.bincount(rows, transposed[columns == group].sum(axis=0), self.groups)
        shared[group] = np.inf
        return _largest(shared, min(REGROWN, self.groups))

    def any_row(self, left: Values) -> int:
        """A random row of those that are not taken, for `grow`."""
        return int(self.rng.choice(np.flatnonzero(left >= 0.0)))

    def _gains(self, labels: Indices, side: int) -> Values:
        """(groups, other side): what each node of the other side would keep in each group of `labels`."""
        scores = self.sides[side]
        members = np.argsort(labels, kind="stable").reshape(self.groups, -1)
        gains = np.zeros((self.groups, scores.shape[1]))
        for place in range(members.shape[1]):
            gains += scores[members[:, place]]
        return gains

    def _exchanged(self, gains: Values, labels: Indices) -> Indices:
        """The labels with which `gains` (groups, size) sum to most, or to no less where they come in several blocks."""
        result = labels.copy()
        for groups, nodes in self._blocks(labels):
            result[nodes] = groups[_assigned(gains[np.ix_(groups, nodes)])]
        return result

    def _blocks(self, labels: Indices) -> Iterator[tuple[Indices, Indices]]:
        """Random disjoint sets of groups with at most MAX_ASSIGNED nodes together, two of them at least."""
        per_group = len(labels) // self.groups
        size = max(2, MAX_ASSIGNED // per_group)
        shuffled = self.rng.permutation(self.groups) if size < self.groups else np.arange(self.groups)
        members = np.argsort(labels, kind="stable").reshape(self.groups, -1)
        for first in range(0, self.groups, size):
            groups = shuffled[first : first + size]
            if len(groups) > 1:
                yield groups, members[groups].reshape(-1)


def _assigned(gains: Values) -> Indices:
    """(size,) the group of each node, as many in each of the `groups`, by which `gains` (groups, size) sum to most.

    The transportation problem as an assignment problem in which each group stands once for each of its places
    (Crouse 2016, in scipy); for two groups, the half of the nodes that prefer the first most.
    """
    groups, size = gains.shape
    places = size // groups
    if groups == 2:
        second = np.ones(size, np.intp)
        second[_largest(gains[0] - gains[1], places)] = 0
        return second
    from scipy.optimize import linear_sum_assignment

    _, chosen = linear_sum_assignment(np.repeat(gains.T, places, axis=1), maximize=True)
    labels: Indices = chosen // places
    return labels


def _side_to_exhaust(m: int, n: int, groups: int) -> int | None:
    """The side (0: rows) with so few partitions that all can be tried, None where neither has; the fewer of the two."""
    counts = [(_log_partitions(size, groups), side) for side, size in enumerate((m, n))]
    solvable = [(count, side) for count, side in counts if groups <= 2 or (n, m)[side] <= MAX_ASSIGNED]
    fewest, side = min(solvable, default=(math.inf, 0))
    return side if fewest <= math.log(MAX_PARTITIONS) + ROUNDING else None


def _log_partitions(size: int, groups: int) -> float:
    """ln of the number of partitions of `size` nodes into equal groups: size! / ((size/groups)!^groups groups!)."""
    return math.lgamma(size + 1) - groups * math.lgamma(size // groups + 1) - math.lgamma(groups + 1)


def _partitions(size: int, groups: int) -> Iterator[Indices]:
    """The labels (size,) of each partition into equal groups once: a group is named by its first node's turn."""
    labels = np.full(size, -1, np.intp)
    if groups == size:  # any number of single nodes
        yield np.arange(size)
        return

    def fill(group: int) -> Iterator[Indices]:
        first, *others = np.flatnonzero(labels < 0).tolist()
        for members in combinations(others, size // groups - 1):
            chosen = [first, *members]
            labels[chosen] = group
            if group + 1 == groups:
                yield labels.copy()
            else:
                yield from fill(group + 1)
            labels[chosen] = -1

    yield from fill(0)


def _best(found: Iterator[Found], what: str, count: int, progress: Progress) -> Found:
    """That which keeps most, the first of equals."""
    best: Found = (-1.0, np.zeros(0, np.intp), np.zeros(0, np.intp))
    for number, one in enumerate(found):
        if number % 256 == 0 or count < 256:
            progress(what, number, count)
        if one[0] > best[0]:
            best = one
    return best


def _sum_of_largest(scores: Values, count: int) -> float:
    """The sum of the `count` largest of each row."""
    size = scores.shape[1]
    return float(np.partition(scores, size - count, axis=1)[:, size - count :].sum())


def _start(search: _Search, number: int, d: int, seed: int, layer: int) -> tuple[Indices, Indices]:
    m, n = search.sides[0].shape
    if number == 0:
        groups = sao_mask(m, n, d, seed=seed, layer=layer).groups
        assert groups is not None  # as every SAO mask's
        return groups.rows, groups.columns
    if number == 1:
        return search.grow(lambda left: int(left.argmax()))
    return search.grow(search.any_row)


def _kept(gains: Values, labels: Indices) -> float:
    return float(gains[labels, np.arange(len(labels))].sum())


def _largest(values: Values, count: int) -> Indices:
    return np.argpartition(values, len(values) - count)[len(values) - count :]


def _mask_of(rows: Indices, columns: Indices, told: dict[str, Any]) -> Mask:
    """The mask with a one wherever a row and a column are in one group."""
    groups = int(rows.max()) + 1
    members = np.sort(np.argsort(columns, kind="stable").reshape(groups, -1), axis=1)
    ones = len(rows) * members.shape[1]
    return regular_mask(members.astype(index_dtype(len(columns), ones))[rows], len(columns), told)
