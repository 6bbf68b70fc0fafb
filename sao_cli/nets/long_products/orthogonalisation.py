"""Orthogonalisation of U D T factors in torch: sorted columns, and pivoted ones where that does not do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

DEAD = -(2**40)  # the exponent of a direction that is exactly zero: 2^DEAD times anything that can be held is 0
PANEL = 32  # columns that are pivoted among each other
GROWTH = 64.0  # of a row of D^-1 R over its diagonal, past which columns sorted by norm are no substitute for pivoting
SCALED = 2**14  # numbers of R scaled at a time, so that their exponents need no Jacobian of memory
COLUMNS = 128  # of T multiplied at a time, at least

Exponents = TypeVar("Exponents", torch.Tensor, NDArray[np.int64])


def power_of_two(exponents: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """2^exponents in `dtype`, exactly, on the same device; past its normal numbers 0 and the largest one.

    Made of bits, since a library's exp2 need not be exact, and never infinite, since that times 0 is no number.

    >>> power_of_two(torch.tensor([-2000, -1022, 3]), torch.float64).tolist()
    [0.0, 2.2250738585072014e-308, 8.0]
    """
    if dtype == torch.float64:
        return ((exponents + 1023).clamp(0, 2046) << 52).view(torch.float64)
    return ((exponents + 127).clamp(0, 254).to(torch.int32) << 23).view(torch.float32)


def normalised_(product: torch.Tensor, exponents: torch.Tensor) -> torch.Tensor:
    """The exponents that make up for it, when the columns of `product` get norms in [0.5, 1), or stay 0."""
    norms = torch.linalg.vector_norm(product, dim=-2)
    shift = torch.frexp(norms).exponent.to(torch.int64)
    product *= power_of_two(-shift, product.dtype)[:, None, :]
    return torch.where((norms > 0) & is_live(exponents), exponents + shift, DEAD)


def is_live(exponents: Exponents) -> Exponents:
    """Whether directions with these exponents are not exactly zero."""
    live: Exponents = exponents > DEAD // 2  # type: ignore[assignment]  # of bool
    return live


def orthogonalised(
    product: torch.Tensor, exponents: torch.Tensor, right: torch.Tensor | None, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """U, new exponents, a new T and a condition number: product diag(2^exponents) T = U diag(2^new) (new T)."""
    tolerance = 8 * max(product.shape[-2:]) * eps
    norms = torch.linalg.vector_norm(product, dim=-2)
    order = (exponents + torch.log2(norms).clamp(min=-1)).argsort(dim=-1, descending=True, stable=True)
    scales = exponents.gather(-1, order)
    # `product` is the only reference to it, and goes before R comes: so there are never more than three Jacobians.
    product = product.gather(-1, order[:, None, :].expand_as(product))
    packed, tau = torch.geqrf(product)
    del product
    least = min(packed.shape[-2:])
    diagonal, live = packed.diagonal(dim1=-2, dim2=-1), is_live(scales[:, :least])
    if bool((live <= (diagonal.abs() > tolerance)).all()):
        fresh, growth = _scales(packed[:, :least], scales)
        if growth <= GROWTH:
            diagonal.masked_fill_(~live, 1.0)  # zero columns: neither reflectors nor the rest of R know of them
            condition = _condition(packed[:, :least, :least])
            right = _joined(packed[:, :least], scales, fresh, order, right)
            return torch.linalg.householder_product(packed[:, :, :least], tau), fresh, right, condition
    left = torch.linalg.householder_product(packed[:, :, :least], tau)
    product = left @ packed[:, :least].triu()  # what was given, to a few eps of each column
    del packed, left, diagonal
    chosen, left, upper = pivoted_columns(product, scales, tolerance)
    del product
    condition = _condition(_kept_triangle(upper))
    scales, order = scales.gather(-1, chosen), order.gather(-1, chosen)
    fresh, _ = _scales(upper, scales)
    return left, fresh, _joined(upper, scales, fresh, order, right), condition


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


def pivoted_columns(
    product: torch.Tensor, scales: torch.Tensor, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(order, Q, R): product in that order = Q R, without what depends on earlier columns up to `tolerance`.

    Block Gram-Schmidt, twice (Barlow and Smoktunowicz, Numer. Math. 123, 2013, 395), the columns of a panel being
    pivoted by norm times 2^scales. Q (B, m, k) and R (B, k, r), k the largest rank of the batch (at least 1); where
    a chain has a lower one, its last columns of Q and rows of R are zero. O(B m r^2).
    """
    chains, _, columns = product.shape
    left = torch.zeros_like(product)
    upper = product.new_zeros(chains, columns, columns)
    order = torch.arange(columns, device=product.device).repeat(chains, 1)
    for start in range(0, columns, PANEL):
        panel = slice(start, min(start + PANEL, columns))
        done, rest = left[:, :, :start], product[:, :, panel].clone()
        first = done.mT @ rest
        rest -= done @ first
        chosen, fresh, inner = _pivoted_panel(rest, product[:, :, panel], scales[:, panel], tolerance)
        again = done.mT @ fresh
        fresh -= done @ again
        fresh, correction = _reorthonormalised(fresh)
        order[:, panel] = start + chosen
        left[:, :, panel] = fresh
        upper[:, panel, panel] = correction @ inner
        upper[:, :start, panel] = first.gather(-1, chosen[:, None, :].expand_as(first)) + again @ inner
    return _without_lost(order, left, upper)


def _pivoted_panel(
    rest: torch.Tensor, product: torch.Tensor, scales: torch.Tensor, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(order, Q, R) of one panel, `rest` (overwritten) being what earlier panels left of its columns, `product`."""
    chains, _, columns = rest.shape
    least = tolerance * torch.linalg.vector_norm(product, dim=-2)
    unused = torch.ones(chains, columns, dtype=torch.bool, device=rest.device)
    order = torch.empty(chains, columns, dtype=torch.int64, device=rest.device)
    left, upper = torch.empty_like(rest), rest.new_zeros(chains, columns, columns)
    for step in range(columns):
        norms = torch.linalg.vector_norm(rest, dim=-2)
        open_ = unused & (norms > least)
        rest.masked_fill_(~open_[:, None, :], 0.0)  # a large column's noise would fill the rows of small directions
        rank = torch.where(open_, scales + torch.log2(norms), torch.where(unused, 2.0 * DEAD, 4.0 * DEAD))
        pivot = rank.argmax(dim=-1, keepdim=True)
        norm = torch.where(open_.gather(-1, pivot), norms.gather(-1, pivot), math.inf)
        column = rest.gather(-1, pivot[:, None, :].expand(chains, rest.shape[1], 1)) / norm[:, None, :]
        row = column.mT @ rest
        rest -= column @ row
        left[:, :, step : step + 1], upper[:, step : step + 1], order[:, step : step + 1] = column, row, pivot
        unused.scatter_(-1, pivot, value=False)
    return order, left, upper.gather(-1, order[:, None, :].expand_as(upper))


def _reorthonormalised(left: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(Q, R) of columns that are orthonormal but for rounding, or zero; by Cholesky's QR, which keeps R triangular."""
    gram = left.mT @ left
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    diagonal.masked_fill_(diagonal == 0, 1.0)
    upper = torch.linalg.cholesky(gram, upper=True)
    return torch.linalg.solve_triangular(upper, left, upper=True, left=False), upper


def _without_lost(
    order: torch.Tensor, left: torch.Tensor, upper: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The columns that gave no direction last, and Q and R cut off behind the directions that there are."""
    lost = upper.diagonal(dim1=-2, dim2=-1) == 0
    kept = lost.to(torch.int8).argsort(dim=-1, stable=True)
    rank = max(1, int((~lost).sum(dim=-1).max()))
    rows = kept[:, :rank]
    left = left.gather(-1, rows[:, None, :].expand(-1, left.shape[1], -1))
    upper = upper.gather(1, rows[:, :, None].expand(-1, -1, upper.shape[-1]))
    return order.gather(-1, kept), left, upper.gather(-1, kept[:, None, :].expand_as(upper))
