"""QR with columns pivoted by norm times a power of two, for batches and on GPUs, in panels of reflectors."""

from __future__ import annotations

import torch

from sao_cli.nets.jacobians.long_products.noise import Noise
from sao_cli.nets.jacobians.long_products.scales import DEAD

PANEL = 32  # columns that are pivoted among each other


def pivoted_columns(
    product: torch.Tensor, scales: torch.Tensor, tolerance: float, noise: Noise
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(order, Q, R, floor, lost): `product` (overwritten) in that order = Q R, without what depends on earlier columns.

    Columns are taken by norm times 2^scales, and of the rows that are left the one with the largest number then gathers
    the column. One depends on earlier ones where no more than `tolerance` of its `noise` remains, in the rows where it
    is not zero. Q is (B, m, k), R (B, k, r), and `floor` (B, k) what the rows of R are right to; k is the largest rank
    of the batch (at least 1), and where a chain has a lower one, its last columns of Q and rows of R are zero. `lost`
    (B, r) are exponents that what was left of the other columns may have had, -inf for those that gave a direction.
    Householder's reflectors with the largest rows first keep each row's accuracy, and with pivoted columns that of
    D_1 B D_2 (Higham, Linear Algebra Appl. 309, 2000, 153). O(B m r^2).
    """
    chains, m, columns = product.shape
    rest = _Rest(product, scales.clone(), tolerance * _norms(product).double() / noise.sizes, noise)
    order = torch.arange(columns, device=product.device).repeat(chains, 1)
    reflectors, upper = torch.zeros_like(product), product.new_zeros(chains, columns, columns)
    factors, floor = product.new_zeros(chains, columns), torch.ones_like(rest.least)
    pivots, lost = torch.full_like(order, m), torch.full_like(floor, -torch.inf)
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
        upper[:, panel, panel] = _taken(step.upper, step.order)
        upper[:, panel, behind] = step.reflected_(product[:, :, behind])
    kept = (factors == 0).to(torch.int8).argsort(dim=-1, stable=True)
    first = kept[:, : max(1, int((factors != 0).sum(dim=-1).max()))]
    factors, floor = factors.gather(-1, first), floor.gather(-1, first)
    left = _basis(_taken(reflectors, first), factors, pivots.gather(-1, first))
    upper = _taken(upper.gather(1, first[:, :, None].expand(-1, -1, columns)), kept)
    return order.gather(-1, kept), left, upper, floor, lost


def _basis(reflectors: torch.Tensor, factors: torch.Tensor, pivots: torch.Tensor) -> torch.Tensor:
    """Q of reflectors (B, m, k) that gather in the rows `pivots` (B, k), with zero columns where a factor is 0."""
    chains, m, _ = reflectors.shape
    found = factors != 0
    # LAPACK wants the k-th to gather in row k: pivots first, in their order, then the other rows.
    ranks = torch.full((chains, m + 1), m + pivots.shape[-1], device=pivots.device)
    steps = torch.arange(pivots.shape[-1], device=pivots.device).expand_as(pivots)
    ranks.scatter_(-1, torch.where(found, pivots, m), steps)
    places = ranks[:, :m].argsort(dim=-1, stable=True)[:, :, None].expand_as(reflectors)
    left = torch.linalg.householder_product(reflectors.gather(1, places), factors) * found[:, None, :]
    return torch.empty_like(left, memory_format=torch.contiguous_format).scatter_(1, places, left)


class _Rest:
    """What earlier columns left of later ones; rows that gathered a column are zero."""

    def __init__(self, columns: torch.Tensor, scales: torch.Tensor, least: torch.Tensor, noise: Noise) -> None:
        self.columns, self.scales, self.least, self._noise = columns, scales, least, noise
        self._silenced = torch.zeros_like(least)

    def floor(self, part: slice) -> torch.Tensor:
        """(B, k) what the columns are right to, in units of `least`: their largest row's noise."""
        if not self._noise.graded:
            return self._noise.rows[:, :1].expand_as(self.least[:, part])
        rows = (self.columns[:, :, part] != 0) * self._noise.rows[:, :, None]
        return rows.amax(dim=1)

    def silence_(self, part: slice, silent: torch.Tensor, used: torch.Tensor) -> None:
        """Make columns zero that were `used`, and rounding in the `silent` ones, which would fill small directions.

        Where rows are graded their small rows may hold a direction, which is then no better than what was silenced.
        """
        columns, dead = self.columns[:, :, part], (silent | used)[:, None, :]
        if self._noise.graded:
            rows = self._noise.rows[:, :, None]
            rounding = (columns.abs() <= self.least[:, None, part] * rows) & (columns != 0) & silent[:, None, :]
            self._silenced[:, part] = torch.maximum(self._silenced[:, part], (rounding * rows).amax(dim=1))
            dead = rounding | used[:, None, :]
        columns.masked_fill_(dead, 0.0)

    def exponents(self, part: slice) -> torch.Tensor:
        """(B, k) what rounding can hide in columns, as exponents of directions."""
        floor = self._silenced[:, part] if self._noise.graded else self.floor(part)
        return self.scales[:, part] + torch.log2(self.least[:, part] * floor)

    def told_floor(self, part: slice) -> torch.Tensor:
        """`floor`, or what was silenced where that is more."""
        return torch.maximum(self.floor(part), self._silenced[:, part])

    def sort_(self, part: slice) -> torch.Tensor:
        """Sort columns by norm times 2^scales, those that are rounding last; (B, k) the places where they were."""
        norms = _norms(self.columns[:, :, part])
        open_ = norms > self.least[:, part] * self.floor(part)
        weights = torch.where(open_, self.scales[:, part] + torch.log2(norms), 2.0 * DEAD)
        places = weights.argsort(dim=-1, descending=True, stable=True)
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
        columns = rest.columns[:, :, panel]
        chains, _, size = columns.shape
        self.reflectors, self.upper = torch.zeros_like(columns), columns.new_zeros(chains, size, size)
        self.factors, self.floor = columns.new_zeros(chains, size), torch.ones_like(rest.least[:, panel])
        self.order, self.pivots = (torch.zeros_like(rest.scales[:, panel]) for _ in range(2))
        unused = torch.ones_like(self.order, dtype=torch.bool)
        for step in range(size):
            norms = _norms(columns)
            open_ = unused & (norms > rest.least[:, panel] * rest.floor(panel))
            rest.silence_(panel, unused & ~open_, ~unused)
            weights = rest.scales[:, panel] + torch.log2(norms)
            weights = torch.where(open_, weights, torch.where(unused, 2.0 * DEAD, 4.0 * DEAD))
            pivot = weights.argmax(dim=-1, keepdim=True)
            found = open_.gather(-1, pivot)
            floor = torch.where(found, rest.told_floor(panel).gather(-1, pivot), 1.0)
            self.order[:, step : step + 1], self.floor[:, step : step + 1] = pivot, floor
            self._reflect_(step, columns, pivot, norms.gather(-1, pivot), found)
            unused.scatter_(-1, pivot, value=False)
        hidden = rest.exponents(panel).gather(-1, self.order)
        self.lost = torch.where(self.factors != 0, -torch.inf, hidden)

    def _reflect_(
        self, step: int, columns: torch.Tensor, pivot: torch.Tensor, norm: torch.Tensor, found: torch.Tensor
    ) -> None:
        """Gather the pivot's column in its largest row, which becomes one of R, where it was `found`."""
        column = _taken(columns, pivot)[:, :, 0]
        row = column.abs().argmax(dim=-1, keepdim=True)
        head = column.gather(-1, row)
        diagonal = -torch.copysign(norm, head)
        reflector = torch.where(found, column / (head - diagonal), 0.0).scatter(-1, row, found.to(column.dtype))
        factor = torch.where(found, (diagonal - head) / diagonal, 0.0)
        columns.baddbmm_(reflector[:, :, None], factor[:, :, None] * (reflector[:, None, :] @ columns), alpha=-1.0)
        self.upper[:, step : step + 1] = _moved_(columns, row[:, :, None].expand(-1, 1, columns.shape[-1]), found)
        at = slice(step, step + 1)
        self.reflectors[:, :, step], self.factors[:, at], self.pivots[:, at] = reflector, factor, row

    def reflected_(self, behind: torch.Tensor) -> torch.Tensor:
        """The rows of R for the columns `behind` the panel, to which all reflectors are applied: I - V T^T V^T."""
        inverse = (self.reflectors.mT @ self.reflectors).triu_(1)  # of T, but for its diagonal
        inverse.diagonal(dim1=-2, dim2=-1).copy_(torch.where(self.factors != 0, 1 / self.factors, 1.0))
        inner = torch.linalg.solve_triangular(inverse.mT, self.reflectors.mT @ behind, upper=False)
        behind.baddbmm_(self.reflectors, inner, alpha=-1.0)
        return _moved_(behind, self.pivots[:, :, None].expand(-1, -1, behind.shape[-1]), self.factors != 0)


def _norms(columns: torch.Tensor) -> torch.Tensor:
    """Of columns however small, as squares are not."""
    peaks = columns.abs().amax(dim=-2, keepdim=True)
    return torch.linalg.vector_norm(columns / torch.where(peaks > 0, peaks, 1.0), dim=-2) * peaks[:, 0]


def _taken(columns: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return columns.gather(-1, places[:, None, :].expand(-1, columns.shape[1], -1))


def _take_(columns: torch.Tensor, places: torch.Tensor) -> None:
    columns.copy_(columns.gather(-1, places) if columns.ndim == 2 else _taken(columns, places))


def _moved_(columns: torch.Tensor, rows: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Some rows, which are zero in `columns` then; zero where there was none to be `found`."""
    taken = columns.gather(1, rows) * found[:, :, None]
    columns.scatter_add_(1, rows, -taken)
    return taken
