"""Whether two samples of a few numbers, such as accuracies over seeds, are of one mean, or of one law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95  # of a confidence interval
ROUNDING = 1e-14  # of the largest number: what varies less, varies by rounding alone; our choice
EXACT = 56  # numbers of both samples up to which all divisions are counted


class Difference(NamedTuple):
    """Of two means: how far apart they are, between which numbers with 95 % confidence, and Welch's p-value.

    The last three are None, for the `reason`, where they can't be told.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    pvalue: float | None = None
    reason: str | None = None


def welch(before: Sequence[float], after: Sequence[float]) -> Difference:
    """mean(after) - mean(before), its 95 % confidence interval, and the two-sided p-value of Welch's t-test.

    t = difference / e with e^2 = s_1^2/n_1 + s_2^2/n_2, and Student's law with
    nu = e^4 / (s_1^4/(n_1^2 (n_1 - 1)) + s_2^4/(n_2^2 (n_2 - 1))) degrees of freedom (Welch, Biometrika 34, 1947): the
    samples are independent and about normal, of any variances. It can't be told of fewer than 2 numbers on a side, or
    where neither varies by more than rounding. O(n).

    >>> round(welch([1.0, 2.0, 3.0], [4.0, 6.0]).pvalue, 4)
    0.1444
    """
    from scipy.special import stdtr, stdtrit

    difference = math.fsum(after) / len(after) - math.fsum(before) / len(before)
    counts = [len(before), len(after)]
    if min(counts) < 2:
        return Difference(difference, reason=f"n = {counts[0]} and {counts[1]}: a spread takes 2 or more on each side")
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (before, after)]
    peak = max(abs(one) for side in (before, after) for one in side)
    if (error := math.sqrt(sum(parts))) <= ROUNDING * peak:
        return Difference(difference, reason="neither side varies, so that there is no spread to compare with")
    shares = [part / error**2 for part in parts]
    freedom = 1 / sum(share**2 / (count - 1) for share, count in zip(shares, counts, strict=True))
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    pvalue = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Difference(difference, difference - half, difference + half, pvalue)


def rank_test(before: Sequence[float], after: Sequence[float]) -> float:
    """The two-sided p-value of the Mann-Whitney test: how often the ranks are as uneven, if both are of one law.

    Ties get the mean of their ranks, and the law of the rank sum is that over all divisions of the numbers into two
    samples of these sizes: exact with ties too, up to 56 numbers; beyond, normal with the variance that ties leave
    (Lehmann, Nonparametrics, 1975, section 1.4). It assumes no law, and can't be small for few numbers: never below
    2/C(n_1 + n_2, n_1). O(n^4) for n up to 56.

    >>> rank_test([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    0.1
    """
    from scipy.special import ndtr

    numbers = np.array([*before, *after], dtype=np.float64)
    _, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(counts) - counts + 1)[places]  # twice the mean rank: a whole number
    total, first = len(numbers), len(before)
    centre = first * (total + 1)  # of twice the rank sum
    gap = abs(int(doubled[:first].sum()) - centre)
    if total <= EXACT:
        divisions = _rank_sums(doubled, first)
        sums = np.arange(len(divisions))
        return float(divisions[np.abs(sums - centre) >= gap].sum() / divisions.sum())
    variance = first * (total - first) * (float(np.square(doubled - (total + 1.0)).sum()) / (total - 1)) / total
    return min(1.0, 2 * float(ndtr(-gap / math.sqrt(variance)))) if variance else 1.0


def _rank_sums(ranks: NDArray[np.int64], chosen: int) -> NDArray[np.float64]:
    """How many choices of so many of the ranks have each sum; below 2^53 of 56, and so exact."""
    found = np.zeros((chosen + 1, int(ranks.sum()) + 1))
    found[0, 0] = 1
    for rank in ranks:
        found[1:, rank:] += found[:-1, : found.shape[1] - rank].copy()
    sums: NDArray[np.float64] = found[chosen]
    return sums
