"""Orthogonalisation of U D T factors: sorted columns, and pivoted ones where that does not do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from sao_cli.nets.jacobians.long_products.arithmetic import (
    Array,
    column_norms,
    columns_sorted,
    contiguous,
    descending,
    namespace,
    packed_qr,
    picked,
    reflected_basis,
    rows_sorted,
    rows_taken,
    running_maximum,
    set_diagonal_,
    triangle_solved,
    triangle_times_,
)
from sao_cli.nets.jacobians.long_products.noise import Noise, even_noise, row_places
from sao_cli.nets.jacobians.long_products.pivoting import pivoted_columns
from sao_cli.nets.jacobians.long_products.scales import DEAD, binary_exponents, is_live, power_of_two

GROWTH = 64.0  # of a row of D^-1 R over its diagonal, past which columns sorted by norm are no substitute for pivoting
SCALED = 2**14  # numbers of R scaled at a time, so that their exponents need no Jacobian of memory
COLUMNS = 128  # of T multiplied at a time, at least
WORST = 2.0**100  # a condition number of which nothing is known but that it is large


class Orthogonalised(NamedTuple):
    """product diag(2^exponents) T = left diag(2^new) right, and how much of each direction rounding has left.

    `left` (B, m, k) has orthonormal columns, or zero ones. `condition` is that of the product with columns of norm 1.
    eps `amplified` (B, k) is about the relative error that each direction, which `order` (B, k) tells, got here.
    `blocks` (B, k) tells directions that have nothing of each other; None where there are no such.
    """

    left: Array
    exponents: Array
    right: Array
    order: Array
    blocks: Array | None
    condition: float
    amplified: Array


def orthogonalised(
    product: Array, exponents: Array, right: Array | None, eps: float, noise: Noise | None = None
) -> Orthogonalised:
    """U, new exponents and a new T of product diag(2^exponents) T, whose `product` has columns of norm 1, or 0.

    `noise` tells what the product's numbers are right to; None is eps in all of them. Its rows are sorted where they
    span decades, and where the product falls apart into blocks every block's columns get rows of its own: then
    Householder's QR, with an error of a few eps of each row (Cox and Higham, SIAM J. Matrix Anal. Appl. 20, 1998, 303),
    leaves all of its zeros.
    """
    xp = namespace(product)
    tolerance = 8 * max(product.shape[-2:]) * eps
    order = descending(exponents + xp.log2(column_norms(product)).clip(min=-1))
    scales = picked(exponents, order)
    noise = (noise or even_noise(product)).taken(order)
    # `product` is the only reference to it, and goes before R comes: so there are never more than three Jacobians.
    product = columns_sorted(product, order)
    places, blocks, possible = row_places(product, noise)
    if places is not None:
        product, noise = rows_sorted(product, places), noise.placed(places)
    packed, factors = packed_qr(product)
    del product
    least = min(packed.shape[-2:])
    diagonal, live = xp.diagonal(packed, 0, -2, -1), is_live(scales[:, :least])
    if bool((live <= (xp.abs(diagonal) * noise.sizes[:, :least] > tolerance * noise.rows[:, :least])).all()):
        fresh, growth = _scales(packed[:, :least], scales)
        if growth <= GROWTH:
            # zero columns: neither reflectors nor the rest of R know of them
            set_diagonal_(packed, xp.where(live, diagonal, 1.0))
            told = _told(packed[:, :least, :least], noise.sizes[:, :least], noise.rows[:, :least], fresh)
            right = _joined(packed[:, :least], scales, fresh, order, right)
            left = reflected_basis(packed[:, :, :least], factors)
            del packed, diagonal
            blocks = None if blocks is None else blocks[:, :least]
            return Orthogonalised(_in_place(left, places), fresh, right, order[:, :least], blocks, *told)
    upper = xp.triu(packed[:, :least])
    product = reflected_basis(packed[:, :, :least], factors) @ upper  # what was given, to a few eps of each column
    del packed, upper, diagonal
    chosen, left, upper, floor, lost = pivoted_columns(product, scales, tolerance, noise)
    del product
    sizes = picked(noise.sizes, chosen)[:, : upper.shape[1]]
    scales, order = picked(scales, chosen), picked(order, chosen)
    fresh, _ = _scales(upper, scales)
    condition, amplified = _told(_kept_triangle(upper), sizes, floor, fresh)
    # Zeros explain what they do; anything else that was lost may have been a direction, and smaller ones are not known.
    hidden = xp.where(is_live(fresh).sum(axis=-1) < possible, xp.amax(lost, axis=-1), -math.inf)
    amplified = xp.where(fresh < hidden[:, None], 1 / eps, amplified)
    right = _joined(upper, scales, fresh, order, right)
    blocks = None if blocks is None else picked(blocks, chosen)[:, : fresh.shape[1]]
    return Orthogonalised(
        _in_place(left, places), fresh, right, order[:, : fresh.shape[1]], blocks, condition, amplified
    )


def _in_place(left: Array, places: Array | None) -> Array:
    """The rows of `left`, consumed, where they were before they were sorted, each with its numbers side by side."""
    return contiguous(left if places is None else rows_sorted(left, namespace(left).argsort(places, axis=-1)))


def _told(triangle: Array, sizes: Array, floor: Array, fresh: Array) -> tuple[float, Array]:
    """`condition` and `amplified` of Orthogonalised, by R, with columns of `sizes` and rows right to `floor`."""
    xp = namespace(triangle)
    condition = min(_condition(triangle), WORST)
    diagonal = xp.abs(xp.diagonal(triangle, 0, -2, -1))
    beside = max(1.0, condition * float(diagonal.min()))  # what the diagonal alone does not tell of leading blocks
    shares = xp.where(is_live(fresh), floor / (diagonal * sizes), 0.0).clip(1.0, WORST)
    shares = no_better_than_larger(shares, fresh)
    return condition, shares * shares.clip(max=beside)


def no_better_than_larger(errors: Array, exponents: Array) -> Array:
    """Each chain's errors (B, k), where a direction's is not below that of one with a larger exponent."""
    order = descending(exponents)
    return picked(running_maximum(picked(errors, order)), namespace(order).argsort(order, axis=-1))


def _scales(upper: Array, scales: Array) -> tuple[Array, float]:
    """D's exponents, and the largest number of D^-1 R: R diag(2^scales) = D (D^-1 R), R the triangle in `upper`.

    D is diag(R) rounded to powers of two, so that nothing else is rounded.
    """
    xp = namespace(upper)
    diagonal = xp.abs(xp.diagonal(upper, 0, -2, -1))
    mine = scales[:, : diagonal.shape[-1]]
    live = is_live(mine) & (diagonal > 0)
    fresh = xp.where(live, mine + binary_exponents(diagonal), DEAD)
    growth = max(float(xp.abs(rows * powers).max()) for rows, powers in _scaled_rows(upper, scales, fresh))
    return fresh, growth if math.isfinite(growth) else math.inf


def _scaled_rows(upper: Array, scales: Array, fresh: Array) -> Iterator[tuple[Array, Array]]:
    """Some rows of `upper` at a time, and what makes the triangle's part of them D^-1 R diag(2^scales).

    That is 1 below the diagonal, where there are zeros, or reflectors, whose numbers are at most 1.
    """
    xp = namespace(upper)
    inverse = xp.where(is_live(fresh), fresh, -DEAD)
    step = max(16, SCALED // scales.shape[-1])
    for start in range(0, fresh.shape[-1], step):
        rows = slice(start, start + step)
        powers = power_of_two(scales[:, None, start:] - inverse[:, rows, None], upper.dtype)
        corner = powers[:, :, :step]
        corner[...] = xp.triu(corner) + xp.tril(xp.ones_like(corner), -1)
        yield upper[:, rows, start:], powers


def _joined(upper: Array, scales: Array, fresh: Array, order: Array, right: Array | None) -> Array:
    """D^-1 R P^T T, where T may be the identity, and is overwritten; the triangle in `upper` becomes D^-1 R."""
    xp = namespace(upper)
    for rows, powers in _scaled_rows(upper, scales, fresh):
        rows *= powers
    size, columns = upper.shape[1:]
    if right is None:
        return contiguous(columns_sorted(xp.triu(upper), xp.argsort(order, axis=-1)))
    step = max(COLUMNS, right.shape[-1] // 8)
    for part in (right[:, :, start : start + step] for start in range(0, right.shape[-1], step)):
        part[:, :size] = triangle_times_(upper, rows_taken(part, order))
    return right if size == columns else contiguous(right[:, :size])


def _condition(triangle: Array) -> float:
    """1 / sigma_min of upper triangles with columns of norm 1, the largest of a batch, by inverse iteration.

    What is below the diagonal is not read. From below, and within a small factor after four steps. O(B k^2).
    """
    xp = namespace(triangle)
    size = triangle.shape[-1]
    steps = xp.arange(size, dtype=triangle.dtype, device=triangle.device)
    vector = xp.broadcast_to(xp.cos(1.0 + steps**2)[None, :, None], (len(triangle), size, 1))
    for _ in range(4):
        vector = vector / column_norms(vector)[:, None]
        vector = triangle_solved(triangle.mT, vector, upper=False)
        vector = triangle_solved(triangle, vector, upper=True)
    condition = math.sqrt(float(column_norms(vector).max()))
    return max(1.0, condition) if math.isfinite(condition) else math.inf


def _kept_triangle(upper: Array) -> Array:
    """The leading triangles with the identity in place of rows that are zero."""
    xp = namespace(upper)
    triangle = xp.asarray(upper[:, :, : upper.shape[1]], copy=True)
    diagonal = xp.diagonal(triangle, 0, -2, -1)
    lost = diagonal == 0
    triangle *= ~lost[:, None, :]
    set_diagonal_(triangle, xp.where(lost, 1.0, diagonal))
    return triangle
