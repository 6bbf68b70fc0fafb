"""QR with columns pivoted by norm times a power of two, for batches and on GPUs, in panels of reflectors."""

from __future__ import annotations

import math

from sao_cli.nets.jacobians.long_products.arithmetic import (
    Array,
    column_norms,
    columns_taken,
    descending,
    namespace,
    picked,
    reflected_basis,
    rows_sorted,
    rows_taken,
    set_diagonal_,
    subtract_product_,
    triangle_solved,
    zeros,
)
from sao_cli.nets.jacobians.long_products.noise import Noise
from sao_cli.nets.jacobians.long_products.scales import DEAD, peaks

PANEL = 32  # columns that are pivoted among each other


def pivoted_columns(
    product: Array, scales: Array, tolerance: float, noise: Noise
) -> tuple[Array, Array, Array, Array, Array]:
    """(order, Q, R, floor, lost): `product` (overwritten) in that order = Q R, without what depends on earlier columns.

    Columns are taken by norm times 2^scales, and of the rows that are left the one with the largest number then gathers
    the column. One depends on earlier ones where no more than `tolerance` of its `noise` remains, in the rows where it
    is not zero. Q is (B, m, k), R (B, k, r), and `floor` (B, k) what the rows of R are right to; k is the largest rank
    of the batch (at least 1), and where a chain has a lower one, its last columns of Q and rows of R are zero. `lost`
    (B, r) are exponents that what was left of the other columns may have had, -inf for those that gave a direction.
    Householder's reflectors with the largest rows first keep each row's accuracy, and with pivoted columns that of
    D_1 B D_2 (Higham, Linear Algebra Appl. 309, 2000, 153). O(B m r^2).
    """
    xp = namespace(product)
    chains, m, columns = product.shape
    least = tolerance * xp.asarray(_norms(product), dtype=xp.float64) / noise.sizes
    rest = _Rest(product, xp.asarray(scales, copy=True), least, noise)
    order = xp.tile(xp.arange(columns, device=product.device), (chains, 1))
    reflectors, upper = zeros(product, chains, m, columns), zeros(product, chains, columns, columns)
    factors = zeros(product, chains, columns)
    pivots, floor, lost = xp.full_like(order, m), xp.ones_like(least), xp.full_like(least, -math.inf)
    for start in range(0, columns, PANEL):
        panel, behind = slice(start, min(start + PANEL, columns)), slice(start + PANEL, columns)
        moved = rest.sort_(slice(start, columns))
        _take_(order[:, start:], moved)
        _take_(upper[:, :start, start:], moved)
        step = _Panel(rest, panel)
        _take_(order[:, panel], step.order)
        _take_(upper[:, :start, panel], step.order)
        reflectors[:, :, panel], factors[:, panel], pivots[:, panel] = step.reflectors, step.factors, step.pivots
        floor[:, panel], lost[:, panel] = step.floor, step.lost
        upper[:, panel, panel] = columns_taken(step.upper, step.order)
        upper[:, panel, behind] = step.reflected_(product[:, :, behind])
    kept = descending(1 * (factors != 0))
    first = kept[:, : max(1, int((factors != 0).sum(axis=-1).max()))]
    factors, floor = picked(factors, first), picked(floor, first)
    left = _basis(columns_taken(reflectors, first), factors, picked(pivots, first))
    upper = columns_taken(rows_taken(upper, first), kept)
    return picked(order, kept), left, upper, floor, lost


def _basis(reflectors: Array, factors: Array, pivots: Array) -> Array:
    """Q of reflectors (B, m, k) that gather in the rows `pivots` (B, k), with zero columns where a factor is 0."""
    xp, (chains, m, _), last = namespace(reflectors), reflectors.shape, pivots.shape[-1]
    # LAPACK wants the k-th to gather in row k: pivots first, in their order, then the other rows.
    ranks = xp.tile(xp.full_like(pivots[:, :1], last), (1, m + 1))
    chain = xp.arange(chains, device=pivots.device)[:, None]
    ranks[chain, xp.where(factors != 0, pivots, m)] = xp.arange(last, device=pivots.device)
    places = xp.argsort(ranks[:, :m], axis=-1, stable=True)
    left = reflected_basis(rows_taken(reflectors, places), factors)
    left *= (factors != 0)[:, None, :]
    return rows_sorted(left, xp.argsort(places, axis=-1))


class _Rest:
    """What earlier columns left of later ones; rows that gathered a column are zero."""

    def __init__(self, columns: Array, scales: Array, least: Array, noise: Noise) -> None:
        self.columns, self.scales, self.least, self._noise = columns, scales, least, noise
        self._silenced = namespace(least).zeros_like(least)

    def floor(self, part: slice) -> Array:
        """(B, k) what the columns are right to, in units of `least`: their largest row's noise."""
        xp = namespace(self.least)
        if not self._noise.graded:
            return xp.broadcast_to(self._noise.rows[:, :1], self.least[:, part].shape)
        return xp.amax((self.columns[:, :, part] != 0) * self._noise.rows[:, :, None], axis=1)

    def silence_(self, part: slice, silent: Array, used: Array) -> None:
        """Make columns zero that were `used`, and rounding in the `silent` ones, which would fill small directions.

        Where rows are graded their small rows may hold a direction, which is then no better than what was silenced.
        """
        xp = namespace(self.least)
        columns, dead = self.columns[:, :, part], (silent | used)[:, None, :]
        if self._noise.graded:
            rows = self._noise.rows[:, :, None]
            rounding = (xp.abs(columns) <= self.least[:, None, part] * rows) & (columns != 0) & silent[:, None, :]
            self._silenced[:, part] = xp.maximum(self._silenced[:, part], xp.amax(rounding * rows, axis=1))
            dead = rounding | used[:, None, :]
        columns *= ~dead

    def exponents(self, part: slice) -> Array:
        """(B, k) what rounding can hide in columns, as exponents of directions."""
        floor = self._silenced[:, part] if self._noise.graded else self.floor(part)
        return self.scales[:, part] + namespace(floor).log2(self.least[:, part] * floor)

    def told_floor(self, part: slice) -> Array:
        """`floor`, or what was silenced where that is more."""
        return namespace(self.least).maximum(self.floor(part), self._silenced[:, part])

    def sort_(self, part: slice) -> Array:
        """Sort columns by norm times 2^scales, those that are rounding last; (B, k) the places where they were."""
        xp, norms = namespace(self.columns), _norms(self.columns[:, :, part])
        open_ = norms > self.least[:, part] * self.floor(part)
        places = descending(xp.where(open_, self.scales[:, part] + xp.log2(norms), 2.0 * DEAD))
        for each in (self.columns, self.scales, self.least, self._silenced):
            _take_(each[..., part], places)
        return places


class _Panel:
    """The reflectors of a `panel` of the rest, whose columns are overwritten.

    `order` tells the columns as they were taken, `upper` the rows of R in the old order, `pivots` the row in which a
    reflector gathers its column, and `floor` what that is right to. One that is none has factor 0, and then `lost`
    tells what it may have hidden.
    """

    def __init__(self, rest: _Rest, panel: slice) -> None:
        columns, xp = rest.columns[:, :, panel], namespace(rest.columns)
        chains, _, size = columns.shape
        self.reflectors, self.upper = xp.zeros_like(columns), zeros(columns, chains, size, size)
        self.factors, self.floor = xp.zeros_like(columns[:, 0]), xp.ones_like(rest.least[:, panel])
        self.order, self.pivots = (xp.zeros_like(rest.scales[:, panel]) for _ in range(2))
        places = xp.arange(size, device=columns.device)
        unused = xp.ones_like(self.order, dtype=xp.bool)
        for step in range(size):
            norms = _norms(columns)
            open_ = unused & (norms > rest.least[:, panel] * rest.floor(panel))
            rest.silence_(panel, unused & ~open_, ~unused)
            weights = rest.scales[:, panel] + xp.log2(norms)
            weights = xp.where(open_, weights, xp.where(unused, 2.0 * DEAD, 4.0 * DEAD))
            pivot = xp.argmax(weights, axis=-1, keepdims=True)
            found = picked(open_, pivot)
            floor = xp.where(found, picked(rest.told_floor(panel), pivot), 1.0)
            self.order[:, step : step + 1], self.floor[:, step : step + 1] = pivot, floor
            self._reflect_(step, columns, pivot, picked(norms, pivot), found)
            unused &= places != pivot
        hidden = picked(rest.exponents(panel), self.order)
        self.lost = xp.where(self.factors != 0, -math.inf, hidden)

    def _reflect_(self, step: int, columns: Array, pivot: Array, norm: Array, found: Array) -> None:
        """Gather the pivot's column in its largest row, which becomes one of R, where it was `found`."""
        xp = namespace(columns)
        column = columns_taken(columns, pivot)[:, :, 0]
        row = xp.argmax(xp.abs(column), axis=-1, keepdims=True)
        head = picked(column, row)
        diagonal = -xp.copysign(norm, head)
        gathers = _at(row, column.shape[1])[:, :, 0]
        reflector = xp.where(found, xp.where(gathers, 1.0, column / (head - diagonal)), 0.0)
        factor = xp.where(found, (diagonal - head) / diagonal, 0.0)
        subtract_product_(columns, reflector[:, :, None], factor[:, :, None] * (reflector[:, None, :] @ columns))
        self.upper[:, step : step + 1] = _moved_(columns, row, found)
        at = slice(step, step + 1)
        self.reflectors[:, :, step], self.factors[:, at], self.pivots[:, at] = reflector, factor, row

    def reflected_(self, behind: Array) -> Array:
        """The rows of R for the columns `behind` the panel, to which all reflectors are applied: I - V T^T V^T."""
        xp = namespace(behind)
        inverse = xp.triu(self.reflectors.mT @ self.reflectors, 1)  # of T, but for its diagonal
        set_diagonal_(inverse, xp.where(self.factors != 0, 1 / self.factors, 1.0))
        inner = triangle_solved(inverse.mT, self.reflectors.mT @ behind, upper=False)
        subtract_product_(behind, self.reflectors, inner)
        return _moved_(behind, self.pivots, self.factors != 0)


def _norms(columns: Array) -> Array:
    """Of columns however small, as squares are not."""
    xp, largest = namespace(columns), peaks(columns, axis=-2)
    return column_norms(columns / xp.where(largest > 0, largest, 1.0)[:, None]) * largest


def _take_(columns: Array, places: Array) -> None:
    columns[...] = picked(columns, places) if columns.ndim == 2 else columns_taken(columns, places)


def _at(rows: Array, m: int) -> Array:
    """(B, m, k), true in the j-th column at row rows[:, j], of (B, k)."""
    return namespace(rows).arange(m, device=rows.device)[:, None] == rows[:, None, :]


def _moved_(columns: Array, rows: Array, found: Array) -> Array:
    """Some rows, which are zero in `columns` then; zero where there was none to be `found`."""
    xp = namespace(columns)
    moved = rows_taken(columns, rows) * found[:, :, None]
    columns *= ~xp.any(_at(xp.where(found, rows, -1), columns.shape[1]), axis=-1)[:, :, None]
    return moved
