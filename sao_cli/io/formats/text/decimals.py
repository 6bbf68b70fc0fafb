"""Decimal digits and float64, both ways, many at a time, and where exact arithmetic has to decide instead."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Whole = NDArray[np.int64]
Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]

_SAFE = 270  # the largest power of ten by which no part of a product gets too large or too small for float64
_SPLIT = 2.0**27 + 1
_PRODUCT_ERROR = 2.0**-100  # relative, and eight times the sum of all roundings in _times_power
_TENS = np.array([float(f"1e{power}") for power in range(-5, 21)])
_DOUBT = 2.0**-20  # in units of the 17th digit: far more than all roundings


def rounded_products(digits: Words, exponents: Whole) -> tuple[Floats, Truths]:
    """The float64 nearest to digits[i] * 10**exponents[i], and where it is known to be that.

    The product is computed to 2**-100 of itself. Where all numbers that near round to one float64, that is the
    nearest; elsewhere (ties, an accident in 2**46, and |exponents| > 270) the value is worthless. This is what
    W. D. Clinger, How to read floating point numbers accurately (PLDI 1990), does in extended precision. O(k).

    >>> rounded_products(np.array([25, 2**53 + 1], np.uint64), np.array([-2, 0]))
    (array([2.50000000e-01, 9.00719925e+15]), array([ True, False]))
    """
    safe = np.abs(exponents) <= _SAFE
    if not safe.all():
        exponents = np.where(safe, exponents, 0)
    upper = (digits >> 11).view(np.int64).astype(np.float64) * 2048  # 53 bits and 11: both exact
    lower = (digits & 2047).view(np.int64).astype(np.float64)
    high = upper + lower
    product, rest = _times_power(high, lower - (high - upper), exponents)
    error = product * _PRODUCT_ERROR
    values = product + (rest - error)
    return values, safe & (values == product + (rest + error))


def shortest_digits(values: Floats) -> tuple[Whole, Whole, Truths]:
    """The fewest digits that read back as |values|, the power of ten of the first, and where they are known.

    They are those of repr, the nearest among the fewest, as a whole number of 17 digits (zeros fill the end). They
    are known where repr writes no exponent, 1e-4 <= |value| < 1e16, but for ties; elsewhere they are worthless.

    Let X be |value| in units of its 17th digit. A decimal reads back as the value if it is nearer to X than half the
    gap to the next float64, which is 0.55 to 11.1 here: so at most one of 15 digits does, one or more of 16 may, and
    the nearest of 17 always. (The gap below a power of two is half as wide; but all of them from 1e-4 to 1e16 have 16
    digits or fewer, and none is that near one of 15.) As in F. Loitsch, Printing floating-point numbers quickly and
    accurately with integers (PLDI 2010), what is too close to call is left to slower arithmetic. O(k).

    >>> shortest_digits(np.array([0.1, -250.0]))
    (array([10000000000000000, 25000000000000000]), array([-1,  2]), array([ True,  True]))
    """
    sizes = np.abs(values)
    known = (sizes >= 1e-4) & (sizes < 1e16)
    sizes = np.where(known, sizes, 1.0)
    bits = sizes.view(np.int64)
    exponents = ((bits >> 52) - 1023) * 1233 >> 12  # 1233 / 4096 is log10(2), so at most one too low
    exponents += sizes >= _TENS.take(exponents + 6)
    whole, rest = _times_power(sizes, np.zeros(1), 16 - exponents)  # exact, as powers of ten up to 22 are
    floor = np.floor(rest)
    digits, rest = whole.astype(np.int64) + floor.astype(np.int64), rest - floor
    half_gap = ((bits + 1).view(np.float64) - sizes) * (_TENS.take(21 - exponents) / 2)
    (short, short_off), (middle, middle_off), (full, full_off) = (_nearest(digits, rest, step) for step in (100, 10, 1))
    found = np.where(short_off < half_gap, short, np.where(middle_off < half_gap, middle, full))
    known &= (np.abs(short_off - half_gap) > _DOUBT) & (np.abs(middle_off - half_gap) > _DOUBT)
    known &= (middle_off < 5 - _DOUBT) | (middle_off > half_gap)
    known &= (full_off < 0.5 - _DOUBT) | (found != full)
    return found, exponents, known & (found < 10**17)


def _nearest(digits: Whole, rest: Floats, step: int) -> tuple[Whole, Floats]:
    """The multiple of `step` that is nearest to digits + rest, and how far off it is; rest is in 0 .. 1."""
    below = digits // step * step
    off = (digits - below) + rest
    return below + step * (off > step / 2), np.minimum(off, step - off)


def _times_power(high: Floats, low: Floats, exponents: Whole) -> tuple[Floats, Floats]:
    """(high + low) * 10**exponents as an unevaluated sum, to 2**-100 of it; |low| is at most half an ulp of high.

    T. J. Dekker, A floating-point technique for extending the available precision (Numerische Mathematik 18, 1971).
    """
    least = int(exponents.min(initial=0))
    table = np.array([_power(exponent) for exponent in range(least, int(exponents.max(initial=0)) + 1)])
    places = exponents - least
    power, power_low, power_top, power_bottom = (column.take(places) for column in table.T.copy())
    product = high * power
    top, bottom = _halves(high)
    error = bottom * power_bottom - (product - top * power_top - bottom * power_top - top * power_bottom)
    return product, error + (high * power_low + low * power)


def _halves(number: Any) -> tuple[Any, Any]:
    """Two numbers of 26 bits that sum to `number`: products of such are exact."""
    scaled = _SPLIT * number
    top = scaled - (scaled - number)
    return top, number - top


@cache
def _power(exponent: int) -> tuple[float, float, float, float]:
    """10**exponent as a float64, what that lacks as another, and the halves of the first."""
    numerator, denominator = 10 ** max(exponent, 0), 10 ** max(-exponent, 0)
    power = numerator / denominator  # Python divides whole numbers with one correct rounding
    top, bottom = power.as_integer_ratio()
    return power, (numerator * bottom - top * denominator) / (denominator * bottom), *_halves(power)
