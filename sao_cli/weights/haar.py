"""Haar-random orthogonal matrices: a uniform draw from all of them, one large or a great many small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.data.arrays import Values
from sao_cli.masks.degrees import check_sizes

if TYPE_CHECKING:
    from numpy.random import Generator

# Measured on one core: up to 256 entries a block, Gram-Schmidt across blocks needs 0.2 to 0.9 of the time of a QR a
# block, given 64 blocks or more. 2**16 numbers at a time stay in a core's cache.
SMALL_BLOCK, MANY_BLOCKS, CHUNK = 256, 64, 2**16
LEAST_DIAGONAL = 1e-12  # of R, in standard deviations of the Gaussian entries; a draw below it is drawn again


def haar_matrix(m: int, n: int, rng: Generator) -> Values:
    """An (m, n) float64 matrix, Haar-random among those with orthonormal rows (m <= n) or columns (m >= n).

    The same as one block of haar_blocks. O(m n min(m, n)) time, about 48 m n bytes.

    >>> Q = haar_matrix(5, 3, np.random.default_rng(0))
    >>> bool(abs(Q.T @ Q - np.eye(3)).max() < 1e-15)
    True
    """
    matrix: Values = haar_blocks(1, m, n, rng)[0]
    return matrix


def haar_blocks(count: int, rows: int, columns: int, rng: Generator) -> Values:
    """(count, rows, columns) float64: independent Haar-random semi-orthogonal matrices.

    B B^T = I where rows <= columns, else B^T B = I. A block with one row or column is a uniform unit vector,
    and a 1 x 1 block is +1 or -1. Each is Q of G = Q R, where G is Gaussian and R's diagonal is positive; with
    the signs that LAPACK leaves on that diagonal Q would not be Haar (Stewart, SIAM J. Numer. Anal. 17, 1980, 403;
    Mezzadri, Notices AMS 54, 2007, 592). Many small blocks go through orthonormal_rows_, the others through LAPACK.

    Raises InfeasibleError for a size below 1 and MemoryLimitError for what would not fit.
    O(count rows columns min(rows, columns)).

    >>> blocks = haar_blocks(100, 2, 3, np.random.default_rng(0))
    >>> bool(abs(blocks @ blocks.swapaxes(1, 2) - np.eye(2)).max() < 1e-15)
    True
    """
    check_sizes(rows, columns)
    if count < 0:
        raise SaoError(f"{count} blocks can't be drawn; their number is at least 0")
    short, long, size = min(rows, columns), max(rows, columns), rows * columns
    small = size <= SMALL_BLOCK and count >= MANY_BLOCKS
    draw, step = (_small, max(512, CHUNK // size)) if small else (_large, max(1, CHUNK // size))
    require_memory(8 * size * (count + 5 * min(count, step)), f"{count} orthogonal {rows} x {columns} blocks")
    blocks = np.empty((count, rows, columns))
    for start in range(0, count, step):
        part = blocks[start : start + step]
        tall = draw(len(part), long, short, rng)
        part[:] = tall if rows >= columns else tall.swapaxes(1, 2)
    return blocks


def orthonormal_rows_(blocks: Values) -> Values:
    """(count,) the least diagonal entry of R of each block; its rows are made orthonormal in place.

    `blocks` (rows, columns, count), rows <= columns, holds the block's number last, so that each step is one
    operation on contiguous numbers of all blocks. Modified Gram-Schmidt keeps R's diagonal positive by itself; each
    row is projected twice, after which it is orthogonal to working precision however small it became, as long as
    something of it remained ("twice is enough", proved for the classical order of the same operations by Giraud,
    Langou, Rozloznik and van den Eshof, Numer. Math. 101, 2005, 87).
    A row that depends exactly on those before it gives 0, and stays 0 or becomes noise.
    O(count rows^2 columns).

    >>> blocks = np.array([[3.0, 4.0], [4.0, -3.0]])[:, :, None]
    >>> orthonormal_rows_(blocks)
    array([5.])
    >>> blocks[:, :, 0]
    array([[ 0.6,  0.8],
           [ 0.8, -0.6]])
    """
    least = np.full(blocks.shape[2], np.inf)
    for i, row in enumerate(blocks):
        for j in (*range(i), *range(i)):
            row -= blocks[j] * (blocks[j] * row).sum(axis=0)
        norm = np.sqrt((row * row).sum(axis=0))
        row /= np.maximum(norm, np.finfo(np.float64).tiny)
        np.minimum(least, norm, out=least)
    return least


def _small(count: int, long: int, short: int, rng: Generator) -> Values:
    drawn = rng.standard_normal((short, long, count))
    # R and Q of a Gaussian matrix are independent, so that a block refused for its R leaves Q Haar.
    lost = orthonormal_rows_(drawn) < LEAST_DIAGONAL
    if lost.any():
        drawn[:, :, lost] = _small(int(lost.sum()), long, short, rng).T
    return drawn.T


def _large(count: int, long: int, short: int, rng: Generator) -> Values:
    q, r = np.linalg.qr(rng.standard_normal((count, long, short)))
    signs: Values = np.copysign(1.0, np.diagonal(r, axis1=1, axis2=2))
    q *= signs[:, None, :]
    return q
