"""What the numbers of a product are right to, row by row, and the order of rows in which a QR does not spoil it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sao_cli.nets.jacobians.long_products.scales import power_of_two, range_bits

CHUNK = 128  # columns at a time, so that none of this takes a Jacobian of memory
SPREAD = 10.0  # bits that the scales of rows may span before they are sorted


class Noise(NamedTuple):
    """The number in row i and column j is right to eps rows[i] / sizes[j], where it is not exactly 0.

    `rows` (B, m) and `sizes` (B, n), float64, have one unit, for columns that were divided by `sizes` to get norm 1.
    Where rows are not `graded`, all are as the largest.
    """

    rows: torch.Tensor
    sizes: torch.Tensor
    graded: bool

    def taken(self, order: torch.Tensor) -> Noise:
        """That of columns in another order."""
        return self._replace(sizes=self.sizes.gather(-1, order))

    def placed(self, places: torch.Tensor) -> Noise:
        """That of rows in another order."""
        return self._replace(rows=self.rows.gather(-1, places))


def even_noise(product: torch.Tensor) -> Noise:
    """Of a product all of whose numbers are right to eps."""
    return Noise(torch.ones_like(product[:, :, 0]).double(), torch.ones_like(product[:, 0]).double(), False)


def row_peaks(product: torch.Tensor, exponents: torch.Tensor | None = None) -> torch.Tensor:
    """(B, m) the largest magnitude in each row of `product` diag(2^exponents), in float64.

    None stands for zeros: then numbers too small to have all digits count as the least that have them.
    """
    if exponents is None:
        kind = torch.finfo(product.dtype)
        peaks = torch.maximum(product.amax(dim=-1), -product.amin(dim=-1)).double()
        return peaks.clamp(min=kind.tiny / kind.eps)
    powers = power_of_two(exponents, torch.float64)[:, None, :]
    parts = zip(product.split(CHUNK, dim=-1), powers.split(CHUNK, dim=-1), strict=True)
    return torch.stack([(part.abs() * power).amax(dim=-1) for part, power in parts]).amax(dim=0)


def row_noise(rows: torch.Tensor, sizes: torch.Tensor) -> Noise:
    """Of rows whose largest magnitudes are `rows`, in columns of these `sizes`."""
    graded = range_bits(rows.cpu().numpy()) > SPREAD
    rows = rows if graded else rows.amax(dim=-1, keepdim=True).expand_as(rows)
    least = 2.0**-1000
    return Noise(rows.clamp(min=least), sizes.double().clamp(min=least), graded)


def row_places(product: torch.Tensor, noise: Noise) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor]:
    """(B, m) the order of rows that a QR of `product` needs, None where any will do, its columns' blocks (B, n), and
    (B,) the largest rank that its zeros allow.

    Where it falls apart into blocks, those of each column's block stand where its column does, the largest first; else
    there is one block, for which None stands. O(B m n).
    """
    full = product != 0
    rows, columns = full.any(dim=-1), full.any(dim=-2)
    joined = (full.sum(dim=-1) == columns.sum(dim=-1, keepdim=True)).any(dim=-1)  # by one full row
    if bool(joined.all()):
        places = noise.rows.argsort(dim=-1, descending=True, stable=True) if noise.graded else None
        return places, None, torch.minimum(rows.sum(dim=-1), columns.sum(dim=-1))
    found = [_chain_places(*both) for both in zip(full.cpu().numpy(), noise.rows.cpu().numpy(), strict=True)]
    places, blocks, rank = (torch.from_numpy(np.stack(each)).to(product.device) for each in zip(*found, strict=True))
    return places, blocks, rank


def _chain_places(
    pattern: NDArray[np.bool_], rows: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Rows in an order in which a block's k-th stands where its k-th column does, those that meet none last; blocks."""
    m, n = pattern.shape
    wanted, blocks = np.full(m, n), np.full(n, n)
    for first in range(n):
        if blocks[first] == n:
            columns, reached = _block(pattern, first)
            blocks[columns] = first
            largest = reached[np.argsort(-rows[reached], kind="stable")][: len(columns)]
            wanted[largest] = columns[: len(largest)]
    return np.lexsort((-rows, wanted)), blocks, int((wanted < n).sum())


def _block(pattern: NDArray[np.bool_], column: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The columns and rows that are joined to a column by what is not zero: a graph's way, without a list of edges."""
    rows, columns = np.zeros(len(pattern), dtype=bool), np.zeros(pattern.shape[1], dtype=bool)
    fresh = np.array([column])
    while len(fresh):
        columns[fresh] = True
        reached = pattern[:, fresh].any(axis=1) & ~rows
        rows |= reached
        fresh = np.flatnonzero(pattern[reached].any(axis=0) & ~columns)
    return np.flatnonzero(columns), np.flatnonzero(rows)
