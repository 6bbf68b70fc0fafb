"""Columns as numbers near 1 times powers of two, whose exponents are kept apart so that nothing leaves the range."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

DEAD = -(2**40)  # the exponent of a direction that is exactly zero: 2^DEAD times anything that can be held is 0
FAR = 32  # bits

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


def rescaled_(product: torch.Tensor) -> torch.Tensor:
    """(B, r) exponents that make up for it, when the largest magnitude of each column is brought into [0.5, 1)."""
    peaks = torch.maximum(product.amax(dim=-2), -product.amin(dim=-2))  # eight times as fast as a norm to infinity
    limit = 1022 if product.dtype == torch.float64 else 126  # what power_of_two has exactly
    shift = torch.frexp(peaks).exponent.to(torch.int64).clamp(-limit, limit)
    product *= power_of_two(-shift, product.dtype)[:, None, :]
    return shift


def normalised_(product: torch.Tensor, exponents: torch.Tensor) -> torch.Tensor:
    """The exponents that make up for it, when the columns of `product` get norms in [0.5, 1), or stay 0."""
    shift = rescaled_(product)  # or the squares of small numbers would be 0
    norms = torch.linalg.vector_norm(product, dim=-2)
    rest = torch.frexp(norms).exponent.to(torch.int64)
    product *= power_of_two(-rest, product.dtype)[:, None, :]
    return torch.where((norms > 0) & is_live(exponents), exponents + shift + rest, DEAD)


def is_live(exponents: Exponents) -> Exponents:
    """Whether directions with these exponents are not exactly zero."""
    live: Exponents = exponents > DEAD // 2  # type: ignore[assignment]  # of bool
    return live


def range_bits(scales: NDArray[np.float64]) -> float:
    """log2 of the largest of some magnitudes (..., k) over the smallest that is not 0, the most along the last axis."""
    low = np.where(scales > 0, scales, np.inf).min(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.log2(scales.max(axis=-1)) - np.log2(low)
    return float(np.where(np.isfinite(bits), bits, 0.0).max())


def graded_bits(dtype: torch.dtype) -> float:
    """Rows or columns whose magnitudes span more bits than this are graded: a quarter of a number's in `dtype`."""
    return -math.log2(torch.finfo(dtype).eps) / 4


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
