"""Lines of numbers in the form in which programs write them, read at the speed of numpy."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.io.formats.text.decimals import Floats, Whole, Words, rounded_products

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]  # indices into a text

_MOST_DIGITS = 32  # of a real; what has more is left to the slow way
_MARGIN = b"0" * _MOST_DIGITS  # so that there are as many bytes before the end of the first number too
_ZEROS = np.uint64(0x3030_3030_3030_3030)
_TO_128 = np.uint64(0x7676_7676_7676_7676)  # what lifts 10, and no digit, to a byte's highest bit
_HIGHEST_BITS = np.uint64(0x8080_8080_8080_8080)
_JOINS = np.array(  # of digits to pairs, of pairs to fours, of fours to eight: ten times the lower plus the upper ...
    [
        (10 << 8 | 1, 8, 0x00FF_00FF_00FF_00FF),
        (100 << 16 | 1, 16, 0x0000_FFFF_0000_FFFF),
        (10_000 << 32 | 1, 32, 0x0000_0000_FFFF_FFFF),
    ],
    np.uint64,
)


class Numbers(NamedTuple):
    """What k lines hold: `positions` (k, 2) int64 and `values` (k,) float64, of which a kind may have none."""

    positions: Whole
    values: Floats


class _NotPlainError(Exception):
    """The text has to be read in another way, or is wrong."""


def plain_numbers(text: bytes, positions: int, value: bool) -> Numbers | None:
    r"""What each line of `text` holds: `positions` whole numbers, then a real one if there is a `value`.

    Plain is what nearly every program writes: one blank between numbers, a line end after the last, whole numbers of
    at most 16 digits, and reals of at most 32. Anything else, wrong or only unusual, gives None. Values are correctly
    rounded. O(len(text)), without a Python step a line.

    >>> plain_numbers(b"1 2 0.5\n1 4 -1e3\n", 2, True)
    Numbers(positions=array([[1, 2],
           [1, 4]]), values=array([ 5.e-01, -1.e+03]))
    >>> plain_numbers(b"1 2 0.5.5\n", 2, True) is None
    True
    """
    if not text:
        return Numbers(np.empty((0, positions), np.int64), np.empty(0))
    buffer = np.frombuffer(bytearray(_MARGIN + text), np.uint8)
    try:
        starts, ends = _number_places(buffer, positions + value)
        found = _whole_numbers(buffer, ends[:positions], ends[:positions] - starts[:positions])
        return Numbers(found.T, _reals(text, buffer, starts[-1], ends[-1]) if value else np.empty(0))
    except _NotPlainError:
        return None


def _number_places(buffer: Bytes, width: int) -> tuple[Places, Places]:
    """Where the numbers of each line start and end: two (width, k) arrays."""
    ends = np.flatnonzero(buffer <= ord(" "))
    count = len(ends) // width
    _require(buffer[-1] == ord("\n") and buffer[ends].tobytes() == (b" " * (width - 1) + b"\n") * count)
    starts = np.empty_like(ends)
    starts[0] = len(_MARGIN)
    np.add(ends[:-1], 1, out=starts[1:])
    return starts.reshape(count, width).T.copy(), ends.reshape(count, width).T.copy()


def _whole_numbers(buffer: Bytes, ends: Places, lengths: Places) -> Whole:
    """The whole numbers of `lengths` digits, 1 to 16, before `ends`."""
    _require(lengths.min(initial=1) >= 1 and lengths.max(initial=1) <= 16)
    low, *high = _eights(buffer, ends, lengths)
    return (low + np.uint64(10**8) * high[0] if high else low).view(np.int64)


def _reals(text: bytes, buffer: Bytes, starts: Places, ends: Places) -> Floats:
    """The real numbers from `starts` to `ends`, one a line. The bytes of `buffer` get changed."""
    signs = buffer[starts]
    first = starts + ((signs == ord("-")) | (signs == ord("+")))
    last, exponents = _exponents(buffer, ends)
    points = _points(buffer, first, last)
    lengths = last - first - (points < last)
    _require(lengths.min() >= 1 and lengths.max() <= _MOST_DIGITS)
    _move_over_points(buffer, first, points, last)
    low, *high = _eights(buffer, last, lengths)
    for place, part in enumerate(high[:2], 1):
        low += part * np.uint64(10 ** (8 * place))
    values, certain = rounded_products(low, exponents - np.maximum(last - points - 1, 0))
    for part, limit in zip(high[1:], (1000, 1), strict=False):  # 64 bits hold 19 digits
        certain &= part < limit
    values = np.where(signs == ord("-"), -values, values)
    for line in np.flatnonzero(~certain):
        values[line] = float(text[starts[line] - len(_MARGIN) : ends[line] - len(_MARGIN)])
    return values


def _exponents(buffer: Bytes, ends: Places) -> tuple[Places, Whole]:
    """Where the number before each exponent ends, and the exponent: 0 where there is none."""
    marks = np.flatnonzero(buffer >= ord("A"))
    last, exponents = ends, np.zeros(len(ends), np.int64)
    if not len(marks):
        return last, exponents
    _require((buffer[marks] | 0x20 == ord("e")).all())
    lines = np.searchsorted(ends, marks)  # of two in a line, one stays among digits, and is found there
    last = ends.copy()
    last[lines] = marks
    signs = buffer[marks + 1]
    lengths = ends[lines] - marks - 1 - ((signs == ord("-")) | (signs == ord("+")))
    found = _whole_numbers(buffer, ends[lines], lengths)
    exponents[lines] = np.where(signs == ord("-"), -found, found)
    return last, exponents


def _points(buffer: Bytes, starts: Places, ends: Places) -> Places:
    """Where the point is in each number; its end where it has none."""
    second = np.minimum(starts + 1, ends)
    if (buffer[second] == ord(".")).all():  # one digit before it, as for most weights
        return second
    points = ends.copy()
    found = np.flatnonzero(buffer == ord("."))
    points[np.searchsorted(ends, found)] = found
    return points


def _move_over_points(buffer: Bytes, first: Places, points: Places, last: Places) -> None:
    """Write the digits before each point one byte further on, so that all digits are in a row."""
    counts = (points - first) * (points < last)
    for step in range(int(counts.max())):
        places = points[counts > step] - step
        buffer[places] = buffer[places - 1]


def _eights(buffer: Bytes, ends: Places, lengths: Places) -> list[Words]:
    """The last eight of the `lengths` digits before `ends`, the eight before those ..., as numbers below 10**8."""
    count = max(-(-int(lengths.max(initial=1)) // 8), 1)
    windows = np.ndarray(len(buffer) - 8 * count + 1, f"V{8 * count}", buffer, strides=(1,))
    digits = windows[ends - 8 * count].view("<u8") ^ _ZEROS
    digits &= _last_bytes(count).take(lengths).view("<u8")
    _require(not ((digits + _TO_128 | digits) & _HIGHEST_BITS).any())
    for factor, shift, kept in _JOINS:
        digits = (digits * factor >> shift) & kept
    return [np.ascontiguousarray(digits[..., place::count]) for place in range(count - 1, -1, -1)]


@cache
def _last_bytes(count: int) -> NDArray[np.void]:
    """Masks of 8 * count bytes that keep the last 0, 1, 2 ... of them."""
    size = 8 * count
    return np.frombuffer(b"".join(bytes(size - kept) + b"\xff" * kept for kept in range(size + 1)), f"V{size}")


def _require(plain: bool | np.bool_) -> None:
    if not plain:
        raise _NotPlainError
