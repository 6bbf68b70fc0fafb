"""What a long product asks of its arrays: numpy's, with LAPACK and without torch, or torch's on any device.

Names that numpy and torch have in common come from `namespace`; the functions here are the rest. Where an array is
`consumed`, numpy's result takes its memory if it can, so that a product on the CPU needs little more than it holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any  # a numpy.ndarray or a torch.Tensor; all arrays of one product are alike

STRIP = 64  # rows or columns that are moved at a time within their own memory
WORKSPACE = 64  # numbers a column, with which LAPACK works in blocks


def namespace(of: Any) -> Any:
    """The module, numpy or torch, of an array or a dtype."""
    if isinstance(of, np.ndarray | np.dtype):
        return np
    import torch

    return torch


def array_of(numbers: NDArray[Any], dtype: Any, device: Any) -> Array:
    """The numbers as an array of `dtype` on `device`; a tensor is a copy, since numpy's memory may be read-only."""
    xp = namespace(dtype)
    return np.asarray(numbers, dtype=dtype) if xp is np else xp.tensor(numbers, dtype=dtype, device=device)


@contextlib.contextmanager
def quietly(of: Any) -> Iterator[None]:
    """Inside it logarithms of 0 and numbers out of range are no warnings, and nothing is kept for derivatives."""
    xp = namespace(of)
    with np.errstate(all="ignore"), contextlib.nullcontext() if xp is np else xp.no_grad():
        yield


def on_host(array: Array) -> NDArray[Any]:
    """The array as numpy's, in the same memory where that is the CPU's."""
    host: NDArray[Any] = array if isinstance(array, np.ndarray) else array.cpu().numpy()
    return host


def on_cpu(array: Array) -> bool:
    """Whether the array is numpy's, or a tensor that shares its memory with one."""
    return str(array.device).startswith("cpu")


def descending(keys: Array) -> Array:
    """The places of `keys` (B, k) from the largest on; equal ones keep their order."""
    return namespace(keys).argsort(-keys, axis=-1, stable=True)


def picked(rows: Array, places: Array) -> Array:
    """Of each row of (B, k) the numbers at its `places` (B, j)."""
    return np.take_along_axis(rows, places, axis=-1) if isinstance(rows, np.ndarray) else rows.gather(-1, places)


def rows_taken(matrices: Array, places: Array) -> Array:
    """Of each of (B, m, n) the rows at its `places` (B, k); a gather would hold a place for each number."""
    each = zip(matrices, places, strict=True)
    chosen = [one.take(at, axis=0) if isinstance(one, np.ndarray) else one.index_select(0, at) for one, at in each]
    return namespace(matrices).stack(chosen) if len(chosen) > 1 else chosen[0][None]


def columns_taken(matrices: Array, places: Array) -> Array:
    """Of each of (B, m, n) the columns at its `places` (B, k)."""
    if isinstance(matrices, np.ndarray):
        return np.stack([one.take(at, axis=1) for one, at in zip(matrices, places, strict=True)])
    return matrices.gather(2, places[:, None, :].expand(-1, matrices.shape[1], -1))


def columns_sorted(matrices: Array, order: Array) -> Array:
    """The columns of (B, m, n), consumed, in the `order` (B, n)."""
    if not isinstance(matrices, np.ndarray):
        return columns_taken(matrices, order)
    for matrix, places in zip(matrices, order, strict=True):
        for start in range(0, len(matrix), STRIP):
            matrix[start : start + STRIP] = matrix[start : start + STRIP].take(places, axis=1)
    return matrices


def rows_sorted(matrices: Array, order: Array) -> Array:
    """The rows of (B, m, n), consumed, in the `order` (B, m)."""
    return columns_sorted(matrices.mT, order).mT if isinstance(matrices, np.ndarray) else rows_taken(matrices, order)


def contiguous(matrices: Array) -> Array:
    """(B, m, n), consumed, with the numbers of a row beside each other."""
    return by_columns(matrices.mT).mT if isinstance(matrices, np.ndarray) else matrices.contiguous()


def by_columns(matrices: NDArray[Any]) -> NDArray[Any]:
    """(B, m, n), consumed, with the numbers of a column beside each other, as LAPACK wants them."""
    if matrices.mT.flags.c_contiguous:
        return matrices
    if not matrices.flags.c_contiguous or matrices.shape[1] != matrices.shape[2]:
        return np.ascontiguousarray(matrices.mT).mT
    for matrix in matrices:
        for start in range(0, len(matrix), STRIP):
            strip, rest = slice(start, start + STRIP), slice(start + STRIP, None)
            matrix[strip, strip] = matrix[strip, strip].T.copy()
            right = matrix[strip, rest].copy()
            matrix[strip, rest], matrix[rest, strip] = matrix[rest, strip].T, right.T
    return matrices.mT


def set_diagonal_(matrices: Array, diagonal: Array) -> None:
    """Write the numbers of `diagonal` (B, k) on that of (B, m, n), k = min(m, n)."""
    places = namespace(matrices).arange(diagonal.shape[-1], device=matrices.device)
    matrices[:, places, places] = diagonal


def zeros(like: Array, *shape: int) -> Array:
    """Zeros in the dtype and on the device of another array."""
    return namespace(like).zeros(shape, dtype=like.dtype, device=like.device)


def column_norms(matrices: Array) -> Array:
    """(B, n), of columns whose squares stay in range; without another array of that size."""
    if isinstance(matrices, np.ndarray):
        return np.sqrt(np.einsum("bij,bij->bj", matrices, matrices))
    return namespace(matrices).linalg.vector_norm(matrices, dim=-2)


def running_maximum(rows: Array) -> Array:
    """(B, k), at each place the largest so far."""
    return np.maximum.accumulate(rows, axis=-1) if isinstance(rows, np.ndarray) else rows.cummax(dim=-1).values


def packed_qr(matrices: Array) -> tuple[Array, Array]:
    """LAPACK's geqrf of (B, m, n), consumed: R on and above the diagonal, reflectors below it, and their factors."""
    if not isinstance(matrices, np.ndarray):
        packed, factors = namespace(matrices).geqrf(matrices)
        return packed, factors
    packed, geqrf = by_columns(matrices), _lapack("geqrf", matrices)
    found = [geqrf(one, lwork=WORKSPACE * one.shape[1], overwrite_a=1) for one in packed]
    return packed, np.stack([factors for _, factors, *_ in found])


def reflected_basis(reflectors: Array, factors: Array) -> Array:
    """(B, m, k) orthonormal columns of as many `reflectors` below the diagonal, consumed; LAPACK's orgqr."""
    if not isinstance(reflectors, np.ndarray):
        return namespace(reflectors).linalg.householder_product(reflectors, factors)
    packed, orgqr = by_columns(reflectors), _lapack("orgqr", reflectors)
    for one, scales in zip(packed, factors, strict=True):
        orgqr(one, scales, lwork=WORKSPACE * one.shape[1], overwrite_a=1)
    return packed


def triangle_solved(triangles: Array, right: Array, *, upper: bool) -> Array:
    """X of `triangles` (B, k, k) X = `right` (B, k, j); what is in the other triangle is not read."""
    if not isinstance(triangles, np.ndarray):
        return namespace(triangles).linalg.solve_triangular(triangles, right, upper=upper)
    return np.stack([_solved(one, given, upper) for one, given in zip(triangles, right, strict=True)])


def _solved(triangle: NDArray[Any], right: NDArray[Any], upper: bool) -> Array:
    solve = _blas("trsm", triangle)
    if triangle.flags.f_contiguous:
        return solve(1.0, triangle, right, lower=not upper)
    return solve(1.0, triangle.T, right, lower=upper, trans_a=1)


def triangle_times_(triangles: Array, right: Array) -> Array:
    """triu(triangles) @ right, for (B, r, n) and (B, n, k), n >= r: on a CPU in half of a product's time, by trmm.

    What is below the diagonal is not read there, and is zero elsewhere. `right` is overwritten.
    """
    if not on_cpu(triangles):
        return namespace(triangles).triu(triangles) @ right
    size = triangles.shape[1]
    for triangle, part in zip(map(np.asarray, triangles), map(np.asarray, right), strict=True):
        # as (right^T triangle^T)^T, whose memory is in Fortran's order
        product = _blas("trmm", triangle)(1.0, triangle[:, :size], part[:size].T, side=1, trans_a=1, overwrite_b=1)
        part[:size] = product.T
        if len(part) > size:
            part[:size] += triangle[:, size:] @ part[size:]
    return right[:, :size]


def subtract_product_(matrices: Array, left: Array, right: Array) -> None:
    """matrices -= left @ right, in place."""
    if isinstance(matrices, np.ndarray):
        matrices -= left @ right
    else:
        matrices.baddbmm_(left, right, alpha=-1.0)


def _lapack(name: str, like: NDArray[Any]) -> Any:
    from scipy.linalg import lapack

    return getattr(lapack, ("d" if like.dtype == np.float64 else "s") + name)


def _blas(name: str, like: NDArray[Any]) -> Any:
    from scipy.linalg import blas

    return getattr(blas, ("d" if like.dtype == np.float64 else "s") + name)
