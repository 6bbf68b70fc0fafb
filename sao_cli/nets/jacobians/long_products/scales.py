"""Columns as numbers near 1 times powers of two, whose exponents are kept apart so that nothing leaves the range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.nets.jacobians.long_products.arithmetic import Array, column_norms, namespace

DEAD = -(2**40)  # the exponent of a direction that is exactly zero: 2^DEAD times anything that can be held is 0
FAR = 32  # bits


def power_of_two(exponents: Array, dtype: Any) -> Array:
    """2^exponents in `dtype`, exactly, on the same device; past its normal numbers 0 and the largest one.

    Made of bits, since a library's exp2 need not be exact, and never infinite, since that times 0 is no number.

    >>> power_of_two(np.array([-2000, -1022, 3]), np.float64).tolist()
    [0.0, 2.2250738585072014e-308, 8.0]
    """
    xp = namespace(exponents)
    if dtype == xp.float64:
        return ((exponents + 1023).clip(0, 2046) << 52).view(xp.float64)
    return (xp.asarray((exponents + 127).clip(0, 254), dtype=xp.int32) << 23).view(xp.float32)


def rescaled_(product: Array) -> Array:
    """(B, r) exponents that make up for it, when the largest magnitude of each column is brought into [0.5, 1)."""
    limit = 1022 if product.dtype == namespace(product).float64 else 126  # what power_of_two has exactly
    shift = binary_exponents(peaks(product, axis=-2)).clip(-limit, limit)
    product *= power_of_two(-shift, product.dtype)[:, None, :]
    return shift


def peaks(matrices: Array, axis: int) -> Array:
    """The largest magnitudes of rows (-1) or columns (-2), without an array of all; eight times as fast as a norm."""
    xp = namespace(matrices)
    return xp.maximum(xp.amax(matrices, axis=axis), -xp.amin(matrices, axis=axis))


def binary_exponents(numbers: Array) -> Array:
    """e, int64, of numbers f 2^e with f in [0.5, 1), and 0 of 0."""
    xp = namespace(numbers)
    return xp.asarray(xp.frexp(numbers)[1], dtype=xp.int64)


def normalised_(product: Array, exponents: Array) -> Array:
    """The exponents that make up for it, when the columns of `product` get norms in [0.5, 1), or stay 0."""
    shift = rescaled_(product)  # or the squares of small numbers would be 0
    norms = column_norms(product)
    rest = binary_exponents(norms)
    product *= power_of_two(-rest, product.dtype)[:, None, :]
    return namespace(product).where((norms > 0) & is_live(exponents), exponents + shift + rest, DEAD)


def is_live(exponents: Array) -> Array:
    """Whether directions with these exponents are not exactly zero."""
    return exponents > DEAD // 2


def range_bits(scales: NDArray[np.float64]) -> float:
    """log2 of the largest of some magnitudes (..., k) over the smallest that is not 0, the most along the last axis."""
    low = np.where(scales > 0, scales, np.inf).min(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.log2(scales.max(axis=-1)) - np.log2(low)
    return float(np.where(np.isfinite(bits), bits, 0.0).max())


def graded_bits(dtype: Any) -> float:
    """Rows or columns whose magnitudes span more bits than this are graded: a quarter of a number's in `dtype`."""
    return -math.log2(namespace(dtype).finfo(dtype).eps) / 4


def column_exponents(peaks: NDArray[np.float64], graded: float) -> NDArray[np.int64] | None:
    """Powers of two (n,) to take out of a matrix's columns, whose largest magnitudes are `peaks`; None for none.

    Each column's own where they span more than `graded` bits, those of zeros being the smallest; else one for all where
    it is beyond FAR. Then products with what is left stay in the range of float32, too.
    """
    found = np.frexp(peaks)[1].astype(np.int64)
    live = peaks > 0
    if range_bits(peaks) > graded:
        return np.where(live, found, found[live].min())
    common = int(found[live].max()) if live.any() else 0
    return np.full(len(peaks), common) if abs(common) > FAR else None
