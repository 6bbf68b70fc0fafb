"""Kolmogorov-Smirnov tests with slack for values that tie in truth, and the exact laws of their statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.errors import FormatError
from sao_cli.reports.spectra import KSTest

Values = NDArray[np.float64]
Counts = NDArray[np.int64]

EXACT_SIZE = 10_000  # values in the larger sample up to which p-values are exact; our choice, under a second
_CROSSING = 1.18  # where Kolmogorov's two series converge equally fast: four terms of either are enough
_ONE_BELOW = 0.04  # the Kolmogorov distribution function underflows here
_APART = 4.0  # n D^2 from which one sample leaves both sides of the band with less than 1e-10 of the tail


class Tail(NamedTuple):
    """P(D' >= D), and its decimal logarithm, which stays finite where the probability underflows to 0."""

    pvalue: float
    log10_pvalue: float


CERTAIN = Tail(1.0, 0.0)


def ks_test(a: ArrayLike, b: ArrayLike, *, resolution: float = 0.0, reference: str = "given") -> KSTest:
    """The two-sample Kolmogorov-Smirnov test of `a` (n1 values) against `b` (n2 values), with slack.

    With F and G their empirical distribution functions and tol = `resolution`, in the unit of the values,

        D = max over x of max(F(x) - G(x + tol), G(x) - F(x + tol), 0),

    so that values within tol count as equal; at tol = 0 this is the usual two-sided statistic, and never larger.
    The p-value is P(D' >= D) for the usual statistic D' of n1 and n2 draws from one continuous law (Smirnov 1939),
    which slack and ties make conservative. It is exact to 1e-11, relatively, while max(n1, n2) <= EXACT_SIZE, see
    `two_sample_tail`; beyond, `law` is "asymptotic" and `note` says so, see `kolmogorov_tail`. `reference` names b.

    Raises FormatError for a sample that is empty, not one-dimensional or not finite, and for a resolution that is
    negative or not finite. O((n1 + n2) log(n1 + n2)) for D, then the cost of the law.

    >>> test = ks_test([3.0, 2.0, 1.0], [1.0 + 1e-9, 2.0 - 1e-9, 3.0], resolution=1e-8)
    >>> test.statistic, test.pvalue
    (0.0, 1.0)
    """
    first, second = _sample(a, "the first sample"), _sample(b, "the second sample")
    _check_resolution(resolution)
    n1, n2 = len(first), len(second)
    gap = max(_largest_lead(first, second, resolution), _largest_lead(second, first, resolution))
    if max(n1, n2) <= EXACT_SIZE:
        law, note, tail = "exact", None, two_sample_tail(n1, n2, gap)
    else:
        law, note = "asymptotic", f"asymptotic p-value: {n1} and {n2} values, and it is exact up to {EXACT_SIZE}"
        tail = kolmogorov_tail(math.sqrt(n1 / (n1 + n2) * n2) * (gap / (n1 * n2)))
    return KSTest(
        statistic=gap / (n1 * n2),
        pvalue=tail.pvalue,
        log10_pvalue=tail.log10_pvalue,
        n1=n1,
        n2=n2,
        reference=reference,
        resolution=float(resolution),
        law=law,
        note=note,
    )


def ks_test_law(
    values: ArrayLike, cdf: Callable[[Values], Values], *, resolution: float = 0.0, reference: str
) -> KSTest:
    """The one-sample Kolmogorov-Smirnov test of `values` (n1) against the continuous law of `cdf`, with slack.

    D as in `ks_test`, with G = `cdf`, a vectorised distribution function. The p-value P(D' >= D) is exact to 1e-9,
    relatively, while n1 <= EXACT_SIZE, see `one_sample_tail`; beyond, it is Kolmogorov's asymptotic one, `law` is
    "asymptotic" and `note` says so. D = 1 (no value where the law has any weight) can't happen under the law: its
    p-value is 0, and the logarithm minus infinity. `n2` is None; `reference` names the law.

    Raises FormatError as `ks_test` does, and where `cdf` gives anything but one number in [0, 1] a value.
    O(n1 log n1) and two calls of `cdf`, then the cost of the law.

    >>> test = ks_test_law([0.1, 0.5, 0.7], lambda x: np.clip(x, 0.0, 1.0), reference="uniform")
    >>> round(test.statistic, 12), round(test.pvalue, 12)
    (0.3, 0.886222222222)
    """
    sample = _sample(values, "the sample")
    _check_resolution(resolution)
    n = len(sample)
    with np.errstate(over="ignore"):
        after, before = _law_at(cdf, sample + resolution), _law_at(cdf, sample - resolution)
    lead = (np.arange(1, n + 1) / n - after).max()
    lag = (before - np.arange(n) / n).max()  # F(x + tol) is its left limit just below x = value - tol
    statistic = max(float(lead), float(lag))
    if n <= EXACT_SIZE:
        law, note, tail = "exact", None, one_sample_tail(n, statistic)
    else:
        law, note = "asymptotic", f"asymptotic p-value: {n} values, and it is exact up to {EXACT_SIZE}"
        tail = kolmogorov_tail(math.sqrt(n) * statistic)
    return KSTest(
        statistic=statistic,
        pvalue=tail.pvalue,
        log10_pvalue=tail.log10_pvalue,
        n1=n,
        n2=None,
        reference=reference,
        resolution=float(resolution),
        law=law,
        note=note,
    )


def holm(pvalues: ArrayLike) -> Values:
    """(k,) the p-values of k tests, adjusted by Holm's step-down method, in the order given.

    The i-th smallest becomes the largest of (k - j + 1) p_(j) over j <= i, and at most 1 (Holm, Scand. J. Statist. 6,
    1979): rejecting what is below alpha keeps the chance of any false rejection below alpha, whatever the tests'
    dependence. Raises FormatError for a p-value outside [0, 1]. O(k log k).

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    given = np.asarray(pvalues, dtype=np.float64).reshape(-1)
    if len(wrong := given[~((given >= 0) & (given <= 1))]):
        raise FormatError(f"p-value {wrong[0]:g}; every p-value is a number from 0 to 1")
    order = np.argsort(given, kind="stable")
    adjusted = np.empty_like(given)
    adjusted[order] = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    return np.minimum(adjusted, 1.0)


def two_sample_tail(n1: int, n2: int, gap: int) -> Tail:
    """P(n1 n2 D >= gap) for the two-sample statistic D of n1 and n2 draws from one continuous law, exactly.

    A merged sample is a lattice path from (0, 0) to (n1, n2), all equally likely, and D n1 n2 the largest
    |x n2 - y n1| on it. Equal sizes: Gnedenko and Korolyuk's sum (Dokl. Akad. Nauk SSSR 80, 1951), in whole
    numbers. Unequal sizes: the paths that leave the band are counted (Hodges, Ark. Mat. 3, 1958), in floating
    point, by a recursion without subtractions: right to 1e-11, relatively, far into the tail.

    O(n^2) bit operations for equal sizes (n = 10,000 in some ten milliseconds); O((n1 + n2) min(n1 D, n2 D))
    otherwise (10,000 and 9,999 in about a second at most), O(n1 + n2) memory.

    >>> two_sample_tail(2, 2, 4).pvalue  # D = 1: two of the six paths
    0.3333333333333333
    """
    if gap <= 0:
        return CERTAIN
    if n1 == n2:
        return _equal_tail(n1, -(-gap // n1))
    return _path_tail(min(n1, n2), max(n1, n2), gap)


def one_sample_tail(n: int, statistic: float) -> Tail:
    """P(D >= statistic) for the one-sample statistic D of n draws from a continuous law, right to 1e-9, relatively.

    Where n D^2 >= 4 or D >= 1/2 it is twice the one-sided tail (Smirnov 1944; Birnbaum and Tingey, Ann. Math.
    Stat. 22, 1951), a sum of positive terms: both sides of the band are left with less than 1e-10 of the tail, or
    never. Elsewhere the complement of Durbin's matrix power (Marsaglia, Tsang and Wang, J. Stat. Software 8, 2003).

    O(n) and, elsewhere, O((n D)^3 log n), where n D < 2 sqrt(n): n = 10,000 in under half a second.

    >>> round(one_sample_tail(1, 0.75).pvalue, 12)  # one uniform draw, outside (1/4, 3/4)
    0.5
    """
    if n * statistic <= 0.5:
        return CERTAIN
    if statistic >= 1:
        return Tail(0.0, -math.inf)
    if statistic >= 0.5 or n * statistic**2 >= _APART:
        return _one_sided_tail_twice(n, statistic)
    pvalue = min(max(1.0 - _inside_probability(n, statistic), 0.0), 1.0)
    return Tail(pvalue, math.log10(pvalue))


def kolmogorov_tail(x: float) -> Tail:
    """P(K >= x) for Kolmogorov's law, the limit of sqrt(n) D, or of sqrt(n1 n2 / (n1 + n2)) D for two samples.

    2 sum_{j>=1} (-1)^(j-1) exp(-2 j^2 x^2), or, by the theta functions' transformation, for small x
    1 - sqrt(2 pi)/x sum_{j>=1} exp(-(2j-1)^2 pi^2 / (8 x^2)) (Kolmogorov 1933; Feller, Ann. Math. Stat. 19, 1948).

    >>> round(kolmogorov_tail(1.0).pvalue, 12)
    0.269999671677
    """
    if x < _ONE_BELOW:
        return CERTAIN
    if x < _CROSSING:
        terms = (math.exp(-(((2 * j - 1) * math.pi / x) ** 2) / 8) for j in range(1, 5))
        pvalue = 1.0 - math.sqrt(2 * math.pi) / x * math.fsum(terms)
        return Tail(pvalue, math.log10(pvalue))
    relative = math.fsum((-1) ** (j - 1) * math.exp(-2 * (j * j - 1) * x * x) for j in range(1, 5))
    return _from_log(math.log(2 * relative) - 2 * x * x)


def _sample(values: ArrayLike, where: str) -> Values:
    """`values`, sorted."""
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "biuf":
        raise FormatError(f"{where} has shape {given.shape} and type {given.dtype}; a sample is a list of real numbers")
    if len(given) == 0:
        raise FormatError(f"{where} is empty; a test needs at least one value")
    if not (finite := np.isfinite(given)).all():
        wrong = int(np.argmin(finite))
        raise FormatError(f"{where} has {given[wrong]} at position {wrong + 1}; every value must be a finite number")
    return np.sort(given.astype(np.float64))


def _check_resolution(resolution: float) -> None:
    if not 0 <= resolution < math.inf:
        raise FormatError(f"resolution {resolution:g}; it is a finite number, 0 or more (0: no slack)")


def _largest_lead(a: Values, b: Values, resolution: float) -> int:
    """n1 n2 max over x of F(x) - G(x + resolution), for sorted samples.

    F - G rises only where F does, at the values of a, and holds that height up to the next jump: no other x counts.
    Never negative: at the last value of a, F is 1.
    """
    with np.errstate(over="ignore"):
        passed = np.searchsorted(b, a + resolution, side="right")
    return int((np.arange(1, len(a) + 1) * len(b) - passed * len(a)).max())


def _law_at(cdf: Callable[[Values], Values], x: Values) -> Values:
    given = np.asarray(cdf(x), dtype=np.float64)
    if given.shape != x.shape:
        raise FormatError(f"the cdf gives shape {given.shape} for {x.shape}; it must give one number a value")
    if not (fine := (given >= 0) & (given <= 1)).all():
        wrong = int(np.argmin(fine))
        raise FormatError(f"the cdf is {given[wrong]:g} at {x[wrong]:g}; a distribution function is in [0, 1]")
    return given


def _from_log(log_pvalue: float) -> Tail:
    log_pvalue = min(log_pvalue, 0.0)
    return Tail(math.exp(log_pvalue), log_pvalue / math.log(10))


def _equal_tail(n: int, h: int) -> Tail:
    """P(n D >= h) = 2 sum_{j>=1} (-1)^(j+1) C(2n, n - jh) / C(2n, n), in whole numbers: the terms cancel."""
    everything = term = math.comb(2 * n, n)
    leaving = 0
    for j in range(n // h):
        term = term * math.perm(n - j * h, h) // math.perm(n + (j + 1) * h, h)
        leaving += -term if j % 2 else term
    pvalue = 2 * leaving / everything
    if pvalue > 1e-300:
        return Tail(pvalue, math.log10(pvalue))
    return Tail(pvalue, math.log10(2 * leaving) - math.log10(everything))


def _path_tail(n1: int, n2: int, gap: int) -> Tail:
    """P(|x n2 - y n1| >= gap somewhere) for a uniform lattice path to (n1, n2), step by step.

    `left[x + 1]` is the probability that a path is at (x, step - x) and has left the band before, in units of
    2^unit; paths that stand outside, next to the band, are all that can come back. Every term is positive, and what
    it holds goes into the result whole: neither cancellation nor what underflows can spoil a tail.
    """
    first, stop = _band(n1, n2, gap)
    steps = np.arange(n1 + n2 + 1)
    mass, exponent = _passage(n1, n2, np.stack((steps, steps)), np.stack((first - 1, stop)))
    unit = int(exponent[mass > 0].max())
    below, above = np.ldexp(mass, np.maximum(exponent - unit, -1100).astype(np.int32)).tolist()
    start, end = first.tolist(), stop.tolist()
    left = np.zeros(n1 + 3)
    remaining_x = np.arange(n1 + 1.0, -2.0, -1.0)
    count = np.arange(n2 + n1 + 2.0)
    for step in range(1, n1 + n2 + 1):
        left[start[step - 1]] = below[step - 1]
        left[end[step - 1] + 1] = above[step - 1]
        low, high, shift = start[step], end[step], n2 - step + 1
        along_x = left[low:high] * remaining_x[low:high]
        here = left[low + 1 : high + 1]
        here *= count[low + shift : high + shift]
        here += along_x
        here /= n1 + n2 - step + 1
    log10 = math.log10(left[n1 + 1]) + unit * math.log10(2)
    return Tail(min(math.ldexp(left[n1 + 1], unit), 1.0), min(log10, 0.0))


def _band(n1: int, n2: int, gap: int) -> tuple[Counts, Counts]:
    """For each step, the first x of a path inside the band and the grid, and the x just past the last one."""
    total = n1 + n2
    steps = np.arange(total + 1)
    low = (steps * n1 - gap) // total + 1
    high = -((-steps * n1 - gap) // total)
    return np.maximum(low, np.maximum(steps - n2, 0)), np.minimum(high, np.minimum(steps, n1) + 1)


def _passage(n1: int, n2: int, steps: Counts, x: Counts) -> tuple[Values, Counts]:
    """Mantissas and binary exponents of the probability that a path to (n1, n2) is at (x, step - x); 0 off the grid.

    C(step, x) C(n1 + n2 - step, n1 - x) / C(n1 + n2, n1).
    """
    on_grid = (x >= np.maximum(steps - n2, 0)) & (x <= np.minimum(steps, n1))
    x = np.where(on_grid, x, np.maximum(steps - n2, 0))
    y, total = steps - x, n1 + n2
    factorials = _factorials(total)
    above, above_power = _product(factorials, (steps, total - steps, n1, n2))
    below, below_power = _product(factorials, (x, y, n1 - x, n2 - y, total))
    return np.where(on_grid, above / below, 0.0), above_power - below_power


def _product(factorials: tuple[Values, Counts], places: tuple[Counts | int, ...]) -> tuple[Values, Counts]:
    mantissa, exponent = np.ones(1), np.zeros(1, dtype=np.int64)
    for place in places:
        mantissa, exponent = mantissa * factorials[0][place], exponent + factorials[1][place]
    return mantissa, exponent


def _factorials(size: int) -> tuple[Values, Counts]:
    """Mantissas in [1/2, 1) and binary exponents of 0! .. size!, right to size eps; logarithms would lose more."""

    def times(factorial: tuple[float, int], k: int) -> tuple[float, int]:
        mantissa, exponent = math.frexp(factorial[0] * k)
        return mantissa, factorial[1] + exponent

    mantissas, exponents = zip(*accumulate(range(1, size + 1), times, initial=(0.5, 1)), strict=True)
    return np.array(mantissas), np.array(exponents)


def _one_sided_tail_twice(n: int, d: float) -> Tail:
    """2 P(D+ >= d), with P(D+ >= d) = d sum_{j < n(1 - d)} C(n, j) (d + j/n)^(j - 1) (1 - d - j/n)^(n - j)."""
    j = np.arange(n)
    j = j[1.0 - d - j / n > 0]
    mantissa, exponent = _factorials(n)
    log_choices = np.log(mantissa[n] / (mantissa[j] * mantissa[n - j]))
    log_choices += math.log(2) * (exponent[n] - exponent[j] - exponent[n - j])
    logs = log_choices + (j - 1) * np.log(d + j / n) + (n - j) * np.log(1.0 - d - j / n)
    return _from_log(math.log(2 * d) + float(logs.max()) + math.log(float(np.exp(logs - logs.max()).sum())))


def _inside_probability(n: int, d: float) -> float:
    """P(D < d) = n!/n^n (H^n)[k-1, k-1] with k = ceil(n d), for the (2k - 1)-square H of Marsaglia, Tsang and Wang."""
    k = math.ceil(n * d)
    power, exponent = _scaled_power(_durbin_matrix(k, k - n * d), n)
    scale: float = (math.factorial(n) << max(exponent, 0)) / (n**n << max(-exponent, 0))  # whole numbers: no overflow
    return float(power[k - 1, k - 1]) * scale


def _durbin_matrix(k: int, h: float) -> Values:
    """H: 1/(i - j + 1)! on and below the superdiagonal; the first column and the last row know where the band ends."""
    size = 2 * k - 1
    inverse = 1.0 / np.cumprod(np.arange(1.0, min(size, 170) + 1))
    inverse = np.concatenate(([1.0], inverse, np.zeros(size - len(inverse))))  # 1/p!, and 0 where that underflows
    difference = np.subtract.outer(np.arange(size), np.arange(size)) + 1
    matrix: Values = np.where(difference >= 0, inverse[np.maximum(difference, 0)], 0.0)
    order = np.arange(1, size + 1)
    correction = h**order * inverse[1:]
    matrix[:, 0] -= correction
    matrix[-1, :] -= correction[::-1]
    matrix[-1, 0] += max(2 * h - 1, 0.0) ** size * inverse[size]
    return matrix


def _scaled_power(matrix: Values, n: int) -> tuple[Values, int]:
    """(power, exponent): matrix^n = power * 2^exponent, the largest entry of power in [1/2, 1) but for n = 1."""
    power, exponent = matrix, 0
    for bit in f"{n:b}"[1:]:
        power, exponent = power @ power, 2 * exponent
        if bit == "1":
            power = power @ matrix
        shift = math.frexp(float(power.max()))[1]
        power, exponent = np.ldexp(power, -shift), exponent + shift
    return power, exponent
