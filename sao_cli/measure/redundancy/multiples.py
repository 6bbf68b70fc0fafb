"""Which rows of an array are multiples of another one, found by sorting instead of comparing each with each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.arrays import Values
from sao_cli.data.precision import PRECISIONS

Indices = NDArray[np.intp]

_ROUNDINGS = 4  # eps: two multiples of one row, each rounded once, and a ratio of two of their numbers are 2 apart
_KEYS = 3  # random sums by which rows are told apart before any are compared number by number


class Multiples(NamedTuple):
    """Row i is `ratio[i]` times row `of[i]`, which is i itself, with a ratio of 1, where it is no multiple."""

    of: Indices
    ratio: Values

    @property
    def dropped(self) -> NDArray[np.bool_]:
        """Which rows are multiples of another one."""
        dropped: NDArray[np.bool_] = self.of != np.arange(len(self.of))
        return dropped


def multiples(rows: NDArray[Any], passes: Callable[[float], bool], dtype: str = "float64") -> Multiples:
    """Which of `rows` (k, length) are multiples of another, by factors that `passes` lets through.

    `passes` is asked for -1, 2 and -2, as ActivationFunction.passes answers. Where it lets through 1 and maybe -1
    alone, all bits must agree. Where it lets through others, no number may be further from the multiple than 4 eps
    times itself, which rounding both rows to `dtype` once explains, and a product with the row is off by more. It is
    the eps of float32 at most: of narrower types, whose rounding would show, a multiple must be exact to that. There
    the rows of a class are told as multiples of its longest (by the largest number, the first of equals), so that
    |ratio| is 1 at most, and rows of zeros are none.

    Rows with the same random sums, to rounding, are compared number by number, and no others: O(k (length + log k)).

    >>> multiples([[1.0, 2.0], [3.0, 6.0], [-1.0, -2.0], [1.0, 3.0]], lambda factor: factor > 0).of.tolist()
    [1, 1, 2, 3]
    """
    rows = np.asarray(rows, dtype=np.float64) + 0.0  # of -0.0 too
    found = Multiples(np.arange(len(rows)), np.ones(len(rows)))
    if passes(2.0):
        _fill_scaled(rows, passes(-2.0), _ROUNDINGS * min(PRECISIONS[dtype], PRECISIONS["float32"]), found)
    else:
        _fill_equal(rows, passes(-1.0), found)
    return found


def _fill_equal(rows: Values, or_opposite: bool, found: Multiples) -> None:
    first: dict[bytes, tuple[int, float]] = {}
    for i in range(len(rows)):
        sign = -1.0 if or_opposite and rows[i, (rows[i] != 0).argmax()] < 0 else 1.0
        j, other = first.setdefault((sign * rows[i] + 0.0).tobytes(), (i, sign))
        found.of[i], found.ratio[i] = j, sign * other


def _fill_scaled(rows: Values, or_negative: bool, tolerance: float, found: Multiples) -> None:
    length = rows.shape[1]
    peaks = np.abs(rows).max(axis=1, initial=0.0)
    live = np.flatnonzero(peaks)
    if len(live) < 2:
        return
    sums = np.abs(rows[live] / peaks[live, None]) @ np.random.default_rng(0).exponential(size=(length, _KEYS + 1))
    keys = np.zeros((len(rows), _KEYS))
    keys[live] = sums[:, 1:] / sums[:, :1]
    for alike in _alike(live, keys, 3 * (tolerance + length * PRECISIONS["float64"])):
        members = alike[np.lexsort((alike, -peaks[alike]))]
        while len(members) > 1:
            j, others = members[0], members[1:]
            same, ratios = _compared(rows, peaks, j, others, tolerance)
            if not or_negative:
                same &= ratios > 0
            found.of[others[same]], found.ratio[others[same]] = j, ratios[same]
            members = others[~same]


def _alike(members: Indices, keys: Values, window: float) -> Iterator[Indices]:
    """Those of `members` that no key tells apart, two or more: neighbours in order are within a relative window."""
    if not keys.shape[1]:
        yield members
        return
    members = members[np.argsort(keys[members, 0], kind="stable")]
    ordered = keys[members, 0]
    cuts = np.flatnonzero(np.diff(ordered) > window * ordered[1:]) + 1
    for part in np.split(members, cuts):
        if len(part) > 1:
            yield from _alike(part, keys[:, 1:], window)


def _compared(
    rows: Values, peaks: Values, j: int, others: Indices, tolerance: float
) -> tuple[NDArray[np.bool_], Values]:
    """Which of the other rows are multiples of row j, and by what, from the largest number of row j."""
    place = int(np.abs(rows[j]).argmax())
    ratios = rows[others, place] / rows[j, place]
    scaled = rows[others] / peaks[others, None]
    multiple = (ratios / peaks[others])[:, None] * rows[j]
    same: NDArray[np.bool_] = (np.abs(scaled - multiple) <= tolerance * np.abs(scaled)).all(axis=1)
    return same, ratios
