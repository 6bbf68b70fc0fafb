"""What the numbers of a product are right to, row by row, and the order of rows in which a QR does not spoil it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.nets.jacobians.long_products.arithmetic import Array, descending, namespace, on_host, picked
from sao_cli.nets.jacobians.long_products.scales import peaks, power_of_two, range_bits

CHUNK = 128  # columns at a time, so that none of this takes a Jacobian of memory
SPREAD = 10.0  # bits that the scales of rows may span before they are sorted


class Noise(NamedTuple):
    """The number in row i and column j is right to eps rows[i] / sizes[j], where it is not exactly 0.

    `rows` (B, m) and `sizes` (B, n), float64, have one unit, for columns that were divided by `sizes` to get norm 1.
    Where rows are not `graded`, all are as the largest.
    """

    rows: Array
    sizes: Array
    graded: bool

    def taken(self, order: Array) -> Noise:
        """That of columns in another order."""
        return self._replace(sizes=picked(self.sizes, order))

    def placed(self, places: Array) -> Noise:
        """That of rows in another order."""
        return self._replace(rows=picked(self.rows, places))


def even_noise(product: Array) -> Noise:
    """Of a product all of whose numbers are right to eps."""
    xp = namespace(product)
    rows, sizes = (xp.ones_like(one, dtype=xp.float64) for one in (product[:, :, 0], product[:, 0]))
    return Noise(rows, sizes, False)


def row_peaks(product: Array, exponents: Array | None = None) -> Array:
    """(B, m) the largest magnitude in each row of `product` diag(2^exponents), in float64.

    None stands for zeros: then numbers too small to have all digits count as the least that have them.
    """
    xp = namespace(product)
    if exponents is None:
        kind = xp.finfo(product.dtype)
        return xp.asarray(peaks(product, axis=-1), dtype=xp.float64).clip(min=float(kind.tiny / kind.eps))
    powers = power_of_two(exponents, xp.float64)[:, None, :]
    parts = [slice(start, start + CHUNK) for start in range(0, product.shape[-1], CHUNK)]
    found = [xp.amax(xp.abs(product[..., part]) * powers[..., part], axis=-1) for part in parts]
    return xp.amax(xp.stack(found), axis=0)


def row_noise(rows: Array, sizes: Array) -> Noise:
    """Of rows whose largest magnitudes are `rows`, in columns of these `sizes`."""
    xp = namespace(rows)
    graded = range_bits(on_host(rows)) > SPREAD
    rows = rows if graded else xp.broadcast_to(xp.amax(rows, axis=-1, keepdims=True), rows.shape)
    least = 2.0**-1000
    return Noise(rows.clip(min=least), xp.asarray(sizes, dtype=xp.float64).clip(min=least), graded)


def row_places(product: Array, noise: Noise) -> tuple[Array | None, Array | None, Array]:
    """(B, m) the order of rows that a QR of `product` needs, None where any will do, its columns' blocks (B, n), and
    (B,) the largest rank that its zeros allow.

    Where it falls apart into blocks, those of each column's block stand where its column does, the largest first; else
    there is one block, for which None stands. O(B m n).
    """
    xp = namespace(product)
    full = product != 0
    of_rows, columns = full.sum(axis=-1), xp.any(full, axis=-2).sum(axis=-1)
    joined = xp.any(of_rows == columns[:, None], axis=-1)  # by one full row
    if bool(joined.all()):
        places = descending(noise.rows) if noise.graded else None
        return places, None, xp.minimum((of_rows > 0).sum(axis=-1), columns)
    found = [_chain_places(*both) for both in zip(on_host(full), on_host(noise.rows), strict=True)]
    places, blocks, rank = (xp.asarray(np.stack(each), device=product.device) for each in zip(*found, strict=True))
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
