"""The singular values of a layer as a small histogram, all that a page keeps of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

BINS = 24  # at least so many over the values
SMALLEST = 1e-100  # what is smaller is drawn as nothing


class Histogram(NamedTuple):
    """`counts[k]` values are nearest to k `width`; `median` is theirs."""

    width: float
    counts: tuple[int, ...]
    median: float


def histogram(values: ArrayLike) -> Histogram:
    """The Histogram of singular values (k,), k > 0, finite: at most 2 BINS + 1 bins, of which 0 is the first's middle.

    1 is a middle too where the largest value is under BINS, so that what is equal but for rounding stays together. A
    value on a border counts in the upper bin. O(k).

    >>> histogram([0, 24, 36, 48]).counts[::6]
    (1, 0, 1, 1, 1)
    """
    import numpy as np

    sample = np.asarray(values, dtype=np.float64)
    width = _width(float(sample.max()))
    bins = np.rint(sample / width + 1e-6).astype(np.int64)
    return Histogram(width, tuple(np.bincount(bins).tolist()), float(np.median(sample)))


def _width(top: float) -> float:
    if top < SMALLEST:
        return 1 / BINS
    if top >= BINS or top < 0.5:  # 1 is in the first bin, or out of sight
        return top / BINS
    return 1 / math.ceil(BINS / top)
