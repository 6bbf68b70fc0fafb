"""Welch's test and the rank test beside scipy's, and beside all divisions counted one by one."""

import itertools

import numpy as np
import pytest
from scipy import stats

from sao_cli.measure.values.two_samples import rank_test, welch

PAIRS = [(3, 5, 0.0), (2, 2, 1.0), (8, 4, 3.0), (20, 30, 0.5)]


@pytest.mark.parametrize(("n", "m", "shift"), PAIRS)
def test_welch_beside_scipy(n, m, shift):
    rng = np.random.default_rng(n)
    before, after = rng.normal(size=n), shift + 3 * rng.normal(size=m)
    found, told = welch(before, after), stats.ttest_ind(after, before, equal_var=False)
    interval = told.confidence_interval(0.95)
    assert found.difference == pytest.approx(after.mean() - before.mean(), rel=1e-12)
    assert found.pvalue == pytest.approx(told.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_welch_can_t_tell_without_a_spread():
    assert welch([1.0], [2.0, 3.0])[1:] == (None, None, None, "n = 1 and 2: a spread takes 2 or more on each side")
    assert welch([1.0, 1.0], [2.0, 2.0]).difference == 1.0
    assert welch([1.0, 1.0], [2.0, 2.0]).reason.startswith("neither side varies")
    assert welch([1.0, 1.0], [2.0, 3.0]).pvalue == pytest.approx(1 - 2 / np.pi * np.arctan(3))  # of Cauchy's law


def test_rounding_is_no_spread():
    assert welch([1.0, 1.0 + 2e-16], [1.0, 1.0 - 2e-16]).pvalue is None
    assert welch([1.0, 1.0 + 1e-12], [1.0, 1.0 - 1e-12]).pvalue is not None


@pytest.mark.parametrize(("n", "m", "shift"), PAIRS)
def test_ranks_beside_scipy(n, m, shift):
    rng = np.random.default_rng(n)
    before, after = rng.normal(size=n), shift + rng.normal(size=m)
    told = stats.mannwhitneyu(before, after, method="exact").pvalue
    assert rank_test(before, after) == pytest.approx(told, rel=1e-9)
    assert rank_test(after, before) == pytest.approx(told, rel=1e-9)


@pytest.mark.parametrize(
    ("before", "after"), [([1, 1, 2], [2, 2, 3, 4]), ([0, 0], [0, 0, 1]), ([5, 5], [5, 5]), ([1, 3, 3, 3], [3, 3, 9])]
)
def test_ties_are_counted_over_all_divisions(before, after):
    ranks = stats.rankdata([*before, *after])
    centre = len(before) * (len(ranks) + 1) / 2
    gaps = [abs(sum(part) - centre) for part in itertools.combinations(ranks, len(before))]
    own = abs(sum(ranks[: len(before)]) - centre)
    assert rank_test(before, after) == pytest.approx(np.mean([gap >= own - 1e-9 for gap in gaps]), rel=1e-12)


def test_many_numbers_take_the_normal_law():
    rng = np.random.default_rng(1)
    before, after = rng.integers(0, 9, 70).astype(float), rng.integers(1, 10, 50).astype(float)
    told = stats.mannwhitneyu(before, after, method="asymptotic", use_continuity=False).pvalue
    assert rank_test(before, after) == pytest.approx(told, rel=1e-9)
    assert rank_test([2.0] * 40, [2.0] * 40) == 1.0
