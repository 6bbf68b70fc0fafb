"""Orthogonalisation of U D T factors in torch: sorted columns, and pivoted ones where that does not do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

from sao_cli.nets.jacobians.long_products.noise import Noise, even_noise, row_places
from sao_cli.nets.jacobians.long_products.pivoting import pivoted_columns
from sao_cli.nets.jacobians.long_products.scales import DEAD, is_live, power_of_two

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

    left: torch.Tensor
    exponents: torch.Tensor
    right: torch.Tensor
    order: torch.Tensor
    blocks: torch.Tensor | None
    condition: float
    amplified: torch.Tensor


def orthogonalised(
    product: torch.Tensor, exponents: torch.Tensor, right: torch.Tensor | None, eps: float, noise: Noise | None = None
) -> Orthogonalised:
    """U, new exponents and a new T of product diag(2^exponents) T, whose `product` has columns of norm 1, or 0.

    `noise` tells what the product's numbers are right to; None is eps in all of them. Its rows are sorted where they
    span decades, and where the product falls apart into blocks every block's columns get rows of its own: then
    Householder's QR, with an error of a few eps of each row (Cox and Higham, SIAM J. Matrix Anal. Appl. 20, 1998, 303),
    leaves all of its zeros.
    """
    tolerance = 8 * max(product.shape[-2:]) * eps
    norms = torch.linalg.vector_norm(product, dim=-2)
    order = (exponents + torch.log2(norms).clamp(min=-1)).argsort(dim=-1, descending=True, stable=True)
    scales = exponents.gather(-1, order)
    noise = (noise or even_noise(product)).taken(order)
    # `product` is the only reference to it, and goes before R comes: so there are never more than three Jacobians.
    product = product.gather(-1, order[:, None, :].expand_as(product))
    places, blocks, possible = row_places(product, noise)
    if places is not None:
        product, noise = _rows(product, places), noise.placed(places)
    packed, tau = torch.geqrf(product)
    del product
    least = min(packed.shape[-2:])
    diagonal, live = packed.diagonal(dim1=-2, dim2=-1), is_live(scales[:, :least])
    if bool((live <= (diagonal.abs() * noise.sizes[:, :least] > tolerance * noise.rows[:, :least])).all()):
        fresh, growth = _scales(packed[:, :least], scales)
        if growth <= GROWTH:
            diagonal.masked_fill_(~live, 1.0)  # zero columns: neither reflectors nor the rest of R know of them
            told = _told(packed[:, :least, :least], noise.sizes[:, :least], noise.rows[:, :least], fresh)
            right = _joined(packed[:, :least], scales, fresh, order, right)
            left = torch.linalg.householder_product(packed[:, :, :least], tau)
            del packed, diagonal
            blocks = None if blocks is None else blocks[:, :least]
            return Orthogonalised(_in_place(left, places), fresh, right, order[:, :least], blocks, *told)
    left = torch.linalg.householder_product(packed[:, :, :least], tau)
    product = left @ packed[:, :least].triu()  # what was given, to a few eps of each column
    del packed, left, diagonal
    chosen, left, upper, floor, lost = pivoted_columns(product, scales, tolerance, noise)
    del product
    sizes = noise.sizes.gather(-1, chosen)[:, : upper.shape[1]]
    scales, order = scales.gather(-1, chosen), order.gather(-1, chosen)
    fresh, _ = _scales(upper, scales)
    condition, amplified = _told(_kept_triangle(upper), sizes, floor, fresh)
    # Zeros explain what they do; anything else that was lost may have been a direction, and smaller ones are not known.
    hidden = torch.where(is_live(fresh).sum(dim=-1) < possible, lost.amax(dim=-1), -torch.inf)
    amplified = torch.where(fresh < hidden[:, None], 1 / eps, amplified)
    right = _joined(upper, scales, fresh, order, right)
    blocks = None if blocks is None else blocks.gather(-1, chosen)[:, : fresh.shape[1]]
    return Orthogonalised(
        _in_place(left, places), fresh, right, order[:, : fresh.shape[1]], blocks, condition, amplified
    )


def _rows(matrices: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Rows of each matrix in another order; a gather would hold their places for each number."""
    chosen = [matrix.index_select(0, place) for matrix, place in zip(matrices, places, strict=True)]
    return torch.stack(chosen) if len(chosen) > 1 else chosen[0][None]


def _in_place(left: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
    """The rows of `left` where they were before they were sorted."""
    return left if places is None else _rows(left, places.argsort(dim=-1))


def _told(
    triangle: torch.Tensor, sizes: torch.Tensor, floor: torch.Tensor, fresh: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """`condition` and `amplified` of Orthogonalised, by R, with columns of `sizes` and rows right to `floor`."""
    condition = min(_condition(triangle), WORST)
    diagonal = triangle.diagonal(dim1=-2, dim2=-1).abs()
    beside = max(1.0, condition * float(diagonal.min()))  # what the diagonal alone does not tell of leading blocks
    shares = torch.where(is_live(fresh), floor / (diagonal * sizes), 0.0).clamp(1.0, WORST)
    shares = no_better_than_larger(shares, fresh)
    return condition, shares * shares.clamp(max=beside)


def no_better_than_larger(errors: torch.Tensor, exponents: torch.Tensor) -> torch.Tensor:
    """Each chain's errors (B, k), where a direction's is not below that of one with a larger exponent."""
    order = exponents.argsort(dim=-1, descending=True, stable=True)
    return torch.empty_like(errors).scatter_(-1, order, errors.gather(-1, order).cummax(dim=-1).values)


def _scales(upper: torch.Tensor, scales: torch.Tensor) -> tuple[torch.Tensor, float]:
    """D's exponents, and the largest number of D^-1 R: R diag(2^scales) = D (D^-1 R), R the triangle in `upper`.

    D is diag(R) rounded to powers of two, so that nothing else is rounded.
    """
    diagonal = upper.diagonal(dim1=-2, dim2=-1).abs()
    mine = scales[:, : diagonal.shape[-1]]
    live = is_live(mine) & (diagonal > 0)
    fresh = torch.where(live, mine + torch.frexp(diagonal).exponent, DEAD)
    growth = max(float((rows * powers).triu_().abs().max()) for rows, powers in _scaled_rows(upper, scales, fresh))
    return fresh, growth if math.isfinite(growth) else math.inf


def _scaled_rows(
    upper: torch.Tensor, scales: torch.Tensor, fresh: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Some rows of `upper` at a time, and what makes the triangle's part of them D^-1 R diag(2^scales)."""
    inverse = torch.where(is_live(fresh), fresh, -DEAD)
    step = max(16, SCALED // scales.shape[-1])
    for start in range(0, fresh.shape[-1], step):
        rows = slice(start, start + step)
        powers = power_of_two(scales[:, None, start:] - inverse[:, rows, None], upper.dtype)
        yield upper[:, rows, start:], powers


def _joined(
    upper: torch.Tensor, scales: torch.Tensor, fresh: torch.Tensor, order: torch.Tensor, right: torch.Tensor | None
) -> torch.Tensor:
    """D^-1 R P^T T, where T may be the identity, and is overwritten; the triangle in `upper` becomes D^-1 R."""
    for rows, powers in _scaled_rows(upper, scales, fresh):
        rows *= powers.triu_() + torch.ones_like(powers).tril_(-1)  # below it are reflectors
    size, columns = upper.shape[1:]
    if right is None:
        placed = torch.empty_like(upper, memory_format=torch.contiguous_format)
        return placed.scatter_(-1, order[:, None, :].expand_as(upper), upper.triu())
    for part in right.split(max(COLUMNS, right.shape[-1] // 8), dim=-1):
        part[:, :size] = _triangle_times(upper, part.gather(1, order[:, :, None].expand(-1, -1, part.shape[-1])))
    return right if size == columns else right[:, :size].contiguous()


def _triangle_times(upper: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """triu(upper) @ right, for (B, r, n) and (B, n, k), n >= r: on a CPU in half of a product's time, by trmm.

    What is below the diagonal of `upper` is not read there, and is zero elsewhere. `right` is overwritten.
    """
    if upper.device.type != "cpu":
        return upper.triu() @ right
    from scipy.linalg.blas import dtrmm, strmm

    size = upper.shape[1]
    multiply = dtrmm if upper.dtype == torch.float64 else strmm
    for triangle, part in zip(upper, right, strict=True):
        rest = triangle[:, size:] @ part[size:] if len(part) > size else None
        # as (right^T triangle^T)^T, whose memory is in Fortran's order
        product = multiply(1.0, triangle[:, :size].numpy(), part[:size].numpy().T, side=1, trans_a=1, overwrite_b=1)
        part[:size] = torch.from_numpy(product.T)
        if rest is not None:
            part[:size] += rest
    return right[:, :size]


def _condition(triangle: torch.Tensor) -> float:
    """1 / sigma_min of upper triangles with columns of norm 1, the largest of a batch, by inverse iteration.

    What is below the diagonal is not read. From below, and within a small factor after four steps. O(B k^2).
    """
    steps = torch.arange(triangle.shape[-1], device=triangle.device)
    vector = torch.cos(1.0 + steps.to(triangle.dtype) ** 2)[None, :, None].expand(len(triangle), -1, 1)
    inverse_squared = torch.ones(1)
    for _ in range(4):
        vector = vector / torch.linalg.vector_norm(vector, dim=1, keepdim=True)
        vector = torch.linalg.solve_triangular(triangle.mT, vector, upper=False)
        vector = torch.linalg.solve_triangular(triangle, vector, upper=True)
        inverse_squared = torch.linalg.vector_norm(vector, dim=1)
    condition = math.sqrt(float(inverse_squared.max()))
    return max(1.0, condition) if math.isfinite(condition) else math.inf


def _kept_triangle(upper: torch.Tensor) -> torch.Tensor:
    """The leading triangles with the identity in place of rows that are zero."""
    triangle = upper[:, :, : upper.shape[1]].clone()
    diagonal = triangle.diagonal(dim1=-2, dim2=-1)
    lost = diagonal == 0
    triangle.masked_fill_(lost[:, None, :], 0.0)
    diagonal.masked_fill_(lost, 1.0)
    return triangle
