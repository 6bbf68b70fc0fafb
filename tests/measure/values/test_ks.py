"""Kolmogorov-Smirnov tests against counted paths, determinants in fractions, scipy, and Table 6 of the SAO paper."""

import math
import subprocess
import sys
import warnings
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError
from sao_cli.measure.values import ks
from sao_cli.measure.values.ks import holm, kolmogorov_tail, ks_test, ks_test_law, one_sample_tail, two_sample_tail

QUARTERS = st.lists(st.integers(0, 12).map(lambda k: k / 4), min_size=1, max_size=9)  # ties, and exact sums
TABLE_6 = {  # p-values as printed, and the k for which D = k/256 gives them
    "4.2323e-153": 256,
    "2.97E-102": 224,
    "4.7366e-107": 228,
    "1.42E-96": 219,
    "2.55E-93": 216,
    "1.53E-62": 182,
    "8.92E-54": 170,
    "2.0662e-30": 130,
    "0.416029": 20,
    "0.839583": 14,
    "0.999982": 7,
}


def near(expected, rel):
    """Within `rel` of it, relatively: pytest's own default would also let any 1e-12 pass, and tails are smaller."""
    return pytest.approx(expected, rel=rel, abs=0)


def uniform(x):
    return np.clip(x, 0.0, 1.0)


def counted(n1, n2, gap):
    """The paths to (n1, n2) on which |x n2 - y n1| >= gap somewhere, one by one in whole numbers."""
    column = [0] * (n2 + 1)
    for x in range(n1 + 1):
        for y in range(n2 + 1):
            column[y] = (1 if x == y == 0 else (column[y] if x else 0) + (column[y - 1] if y else 0)) * (
                abs(x * n2 - y * n1) < gap
            )
    return math.comb(n1 + n2, n1) - column[n2]


def log10_of(part, whole):
    return math.log10(part) - math.log10(whole)


def steck(n, d):
    """P(D >= d) for n uniform draws, in fractions: Steck's determinant for U_(i) in (i/n - d, (i-1)/n + d)."""
    low = [max(Fraction(i, n) - d, Fraction(0)) for i in range(1, n + 1)]
    high = [min(Fraction(i - 1, n) + d, Fraction(1)) for i in range(1, n + 1)]

    def entry(i, j):
        return max(high[i] - low[j], Fraction(0)) ** (j - i + 1) / math.factorial(j - i + 1)

    minors = [Fraction(1)]  # leading minors of a Hessenberg matrix with ones below the diagonal
    for j in range(n):
        minors.append(sum((-1) ** (j - i) * entry(i, j) * minors[i] for i in range(j + 1)))
    return 1 - math.factorial(n) * minors[n]


@pytest.mark.parametrize(("printed", "k"), TABLE_6.items())
def test_table_6_of_the_paper(printed, k):
    test = ks_test(np.arange(256.0), np.arange(256.0) + k - 0.5 * (k > 0) + 0.25)
    digits = len(printed.lower().split("e")[0].replace(".", "").lstrip("0"))
    assert test.statistic == k / 256
    assert float(f"{test.pvalue:.{digits - 1}e}") == float(printed)
    assert (test.n1, test.n2, test.law, test.note, test.reference) == (256, 256, "exact", None, "given")


@given(a=QUARTERS, b=QUARTERS, slack=st.integers(0, 6).map(lambda k: k / 4))
def test_statistic_by_its_definition(a, b, slack):
    def share(values, x):
        return Fraction(sum(value <= x for value in values), len(values))

    corners = sorted({x for value in a + b for x in (value, value - slack)})
    places = [corners[0] - 1, *corners, *(x - 1 / 64 for x in corners), corners[-1] + 1]
    expected = max(
        max(share(a, x) - share(b, x + slack), share(b, x) - share(a, x + slack), Fraction(0)) for x in places
    )
    test = ks_test(a, b, resolution=slack)
    assert test.statistic == float(expected)
    assert test == ks_test(a[::-1], b, resolution=slack)
    assert test.statistic <= ks_test(a, b).statistic
    assert test.resolution == slack


def test_slack_undoes_the_rounding_of_ties_and_leaves_real_differences():
    exact = np.repeat([1.0, 2.0, 3.0], 500)
    rounded = exact + 1e-7 * np.random.default_rng(0).standard_normal(1500)
    assert ks_test(exact, rounded).pvalue < 1e-15
    assert ks_test(exact, rounded, resolution=1e-6).pvalue == 1.0
    assert ks_test(exact, rounded + 0.5, resolution=1e-6).statistic == 1 / 3
    assert ks_test([1e308, 1.7e308], [1.0, 2.0], resolution=1e308).statistic == 0.5


@settings(max_examples=50)
@given(a=st.lists(st.floats(-1, 1), min_size=1, max_size=30), b=st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_pvalue_is_scipys(a, b):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        theirs = scipy.stats.ks_2samp(a, b, method="exact")
    ours = ks_test(a, b)
    assert ours.statistic == near(theirs.statistic, 1e-15)
    # it falls back on its asymptotic law, and warns, where its exact value comes out above 1
    assert ours.pvalue == near(1.0 if said else theirs.pvalue, 1e-9)


@pytest.mark.parametrize(("n1", "n2", "shift"), [(400, 300, 0.1), (256, 200, 0.8), (60, 600, 0.3), (333, 333, 0.4)])
def test_pvalue_of_larger_samples_is_scipys(n1, n2, shift):
    rng = np.random.default_rng(n1)
    a, b = rng.standard_normal(n1), rng.standard_normal(n2) + shift
    theirs = scipy.stats.ks_2samp(a, b, method="exact")
    assert ks_test(a, b).pvalue == near(theirs.pvalue, 1e-9)


@given(n1=st.integers(1, 14), n2=st.integers(1, 14), share=st.fractions(0, 1))
def test_two_sample_law_counts_paths(n1, n2, share):
    gap = math.ceil(share * n1 * n2)
    expected = Fraction(counted(n1, n2, gap), math.comb(n1 + n2, n1))
    tail = two_sample_tail(n1, n2, gap)
    assert tail.pvalue == near(float(expected), 1e-14)
    assert tail.log10_pvalue == pytest.approx(math.log10(expected), rel=1e-13, abs=1e-14)
    assert tail == two_sample_tail(n2, n1, gap)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8, 0.97, 1.0])
@pytest.mark.parametrize(("n1", "n2"), [(300, 299), (300, 300), (500, 40)])
def test_two_sample_law_in_the_tail(n1, n2, share):
    gap = round(share * n1 * n2)
    part, whole = counted(n1, n2, gap), math.comb(n1 + n2, n1)
    tail = two_sample_tail(n1, n2, gap)
    assert tail.pvalue == near(part / whole, 1e-12)
    assert tail.log10_pvalue == pytest.approx(log10_of(part, whole), rel=1e-12, abs=1e-13)


def test_tails_beyond_floating_point():
    n1, n2 = 10_000, 9_999
    whole = math.comb(n1 + n2, n1)
    alone, next_to_it = two_sample_tail(n1, n2, n1 * n2), two_sample_tail(n1, n2, n1 * n2 - n1)
    assert (alone.pvalue, next_to_it.pvalue) == (0.0, 0.0)
    assert alone.log10_pvalue == pytest.approx(log10_of(2, whole), abs=1e-10)
    assert next_to_it.log10_pvalue == pytest.approx(log10_of(2 * (n1 + n2), whole), abs=1e-10)
    assert ks_test(np.arange(1000), np.arange(1000) + 1e4).log10_pvalue == near(
        log10_of(2, math.comb(2000, 1000)), 1e-12
    )


@pytest.mark.parametrize(("n", "h"), [(1000, 20), (1000, 60), (1000, 400), (1000, 700), (10_000, 100)])
def test_counting_paths_agrees_with_the_sum_for_equal_sizes(n, h):
    paths, terms = ks._path_tail(n, n, h * n), two_sample_tail(n, n, h * n)
    assert paths.pvalue == near(terms.pvalue, 1e-11)
    assert paths.log10_pvalue == near(terms.log10_pvalue, 1e-11)


def test_the_least_gaps_are_certain():
    assert two_sample_tail(7, 7, 0) == two_sample_tail(5, 7, 0) == (1.0, 0.0)
    assert two_sample_tail(7, 7, 7) == two_sample_tail(5, 7, 1) == (1.0, 0.0)
    same = ks_test([1.0, 2.0], [2.0, 1.0])
    assert (same.statistic, same.pvalue, same.log10_pvalue) == (0.0, 1.0, 0.0)


def test_large_samples_take_the_asymptotic_law_and_say_so():
    a, b = np.arange(ks.EXACT_SIZE + 1) / 100.0, np.arange(5000) / 49.0
    test = ks_test(a, b, reference="even")
    size = len(a) * len(b) / (len(a) + len(b))
    assert test.law == "asymptotic"
    assert test.note == "asymptotic p-value: 10001 and 5000 values, and it is exact up to 10000"
    assert test.pvalue == near(scipy.special.kolmogorov(math.sqrt(size) * test.statistic), 1e-12)
    assert ks_test(a[1:], b).law == "exact"
    assert ks_test_law(np.arange(10_001) / 10_000, uniform, reference="uniform").note == (
        "asymptotic p-value: 10001 values, and it is exact up to 10000"
    )


@pytest.mark.parametrize("x", [0.05, 0.19, 0.25, 0.6, 1.0, 1.3, 2.5, 18.0])
def test_kolmogorovs_law_is_scipys(x):
    assert kolmogorov_tail(x).pvalue == near(scipy.special.kolmogorov(x), 1e-12)


def test_kolmogorovs_law_at_its_ends():
    assert kolmogorov_tail(0.0) == kolmogorov_tail(0.04) == (1.0, 0.0)
    assert kolmogorov_tail(30.0).pvalue == 0.0
    assert kolmogorov_tail(30.0).log10_pvalue == near(math.log10(2) - 1800 / math.log(10), 1e-14)
    below, above = kolmogorov_tail(math.nextafter(1.18, 0)), kolmogorov_tail(1.18)
    assert below == near(above, 1e-14)


@given(n=st.integers(1, 16), share=st.floats(0.01, 0.99))
def test_one_sample_law_by_determinants(n, share):
    expected = steck(n, Fraction(share))
    tail = one_sample_tail(n, share)
    assert tail.pvalue == near(float(expected), 1e-9)
    assert tail.log10_pvalue == pytest.approx(math.log10(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("n", [3, 20, 140, 1000, 10_000])
@pytest.mark.parametrize("x", [0.3, 0.8, 1.3, 1.9, 2.1, 3.0])
def test_one_sample_law_is_scipys(n, x):
    d = min(x / math.sqrt(n), 0.9)
    # between 140 values and n D^2 = 2.2 scipy gives an expansion that is right to six digits
    rough = n > 140 and x < 1.9
    assert one_sample_tail(n, d).pvalue == near(scipy.stats.kstwo.sf(d, n), 1e-6 if rough else 1e-9)


@pytest.mark.parametrize(("d", "expected"), [(0.008, 0.5414432245014966), (0.016, 0.01182312458587374)])
def test_one_sample_law_of_ten_thousand_values(d, expected):
    # the expected values: a sweep over the corners of the band by Poisson steps, with a 64-bit mantissa
    assert one_sample_tail(10_000, d).pvalue == near(expected, 2e-11)


@pytest.mark.parametrize("n", [17, 300, 3000])
def test_the_two_routes_of_the_one_sample_law_meet(n):
    d = 2 / math.sqrt(n)
    assert 1 - ks._inside_probability(n, d) == near(ks._one_sided_tail_twice(n, d).pvalue, 1e-10)


def test_one_sample_law_at_its_ends():
    assert one_sample_tail(10, 0.05) == one_sample_tail(10, 0.0) == (1.0, 0.0)
    assert one_sample_tail(10, 1.0) == (0.0, -math.inf)
    assert one_sample_tail(3, 1 - 2**-20).pvalue == near(2 * 2.0**-60, 1e-12)


def test_one_sample_law_beyond_floating_point():
    n, d = 2000, Fraction(0.999)
    shares = [Fraction(j, n) for j in range(n) if d + Fraction(j, n) < 1]
    twice = 2 * sum(
        math.comb(n, j) * d * (d + share) ** (j - 1) * (1 - d - share) ** (n - j) for j, share in enumerate(shares)
    )
    tail = one_sample_tail(n, float(d))
    assert tail.pvalue == 0.0
    assert tail.log10_pvalue == near(log10_of(twice.numerator, twice.denominator), 1e-12)


@given(values=st.lists(st.integers(-8, 72).map(lambda k: k / 64), min_size=1, max_size=9), k=st.integers(0, 20))
def test_statistic_against_a_law_by_its_definition(values, k):
    slack = k / 64

    def share(x, before=False):
        return sum(value < x or (value == x and not before) for value in values) / len(values)

    places = {x for value in values for x in (value, value - slack)} | {-2.0, 0.0, 1.0, 2.0}
    expected = max(max(share(x) - uniform(x + slack), uniform(x) - share(x + slack, before=True), 0.0) for x in places)
    test = ks_test_law(values, uniform, resolution=slack, reference="uniform")
    assert test.statistic == pytest.approx(expected, abs=1e-15)
    assert (test.n1, test.n2, test.reference, test.resolution) == (len(values), None, "uniform", slack)


def test_one_sample_test_is_scipys():
    values = np.random.default_rng(0).standard_normal(100)
    theirs = scipy.stats.ks_1samp(values, scipy.special.ndtr, method="exact")
    ours = ks_test_law(values, scipy.special.ndtr, reference="normal")
    assert (ours.statistic, ours.pvalue) == near((theirs.statistic, theirs.pvalue), 1e-12)
    assert (ours.law, ours.note) == ("exact", None)


@given(eighths=st.lists(st.integers(0, 64), min_size=1, max_size=8), alpha=st.integers(0, 63))
def test_holm_rejects_step_by_step(eighths, alpha):
    pvalues, alpha = np.array(eighths) / 64, alpha / 64
    rejected = np.zeros(len(pvalues), dtype=bool)
    for step, position in enumerate(np.argsort(pvalues, kind="stable")):
        if pvalues[position] * (len(pvalues) - step) > alpha:
            break
        rejected[position] = True
    adjusted = holm(pvalues)
    assert np.array_equal(adjusted <= alpha, rejected)
    assert (adjusted >= pvalues).all()
    assert adjusted.max() <= 1.0


def test_holm_of_nothing_is_nothing():
    assert len(holm([])) == 0


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: ks_test([], [1.0]), "the first sample is empty; a test needs at least one value"),
        (lambda: ks_test([1.0], [0.0, math.nan]), "the second sample has nan at position 2; every value must be a"),
        (lambda: ks_test([1.0, -math.inf], [1.0]), "the first sample has -inf at position 2"),
        (lambda: ks_test([[1.0]], [1.0]), r"the first sample has shape \(1, 1\) and type float64; a sample is a list"),
        (lambda: ks_test(["a"], [1.0]), "a sample is a list of real numbers"),
        (lambda: ks_test([1.0], [1.0], resolution=-1), "resolution -1; it is a finite number, 0 or more"),
        (lambda: ks_test([1.0], [1.0], resolution=math.nan), "resolution nan"),
        (lambda: ks_test_law([1.0], uniform, resolution=math.inf, reference=""), "resolution inf"),
        (lambda: ks_test_law([], uniform, reference=""), "the sample is empty"),
        (lambda: ks_test_law([0.5], lambda x: 2 * x + 1, reference=""), r"the cdf is 2 at 0.5; .* in \[0, 1\]"),
        (lambda: ks_test_law([0.5], lambda x: 0.5, reference=""), r"the cdf gives shape \(\) for \(1,\)"),
        (lambda: holm([0.5, 1.5]), "p-value 1.5; every p-value is a number from 0 to 1"),
        (lambda: holm([math.nan]), "p-value nan"),
    ],
)
def test_bad_input_is_told_in_one_line(call, told):
    with pytest.raises(FormatError, match=told) as failure:
        call()
    assert "\n" not in str(failure.value)


def test_a_test_loads_no_scipy():
    code = "import sys; from sao_cli.measure.values.ks import *; ks_test([1.], [2., 3.]); one_sample_tail(50, 0.1)"
    told = f"{code}; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
