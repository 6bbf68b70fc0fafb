"""The Marchenko-Pastur law against its integral, its arcsines, the quarter circle, and a random matrix."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate

from sao_cli.base.errors import FormatError
from sao_cli.measure.values.marchenko_pastur import singular_value_law

SIZES = [(1, 1, 1.0), (64, 64, 1 / 64), (100, 400, 0.25), (400, 100, 9.0), (1000, 999, 1e-9), (2, 2000, 1.0)]


def near(expected, rel):
    """Within `rel` of it, relatively: pytest's own default would also let any 1e-12 pass, and tails are smaller."""
    return pytest.approx(expected, rel=rel, abs=0)


def within(law, shares):
    lower, upper = law.support
    return lower + np.asarray(shares) * (upper - lower)


@pytest.mark.parametrize(("m", "n", "variance"), SIZES)
def test_cdf_is_the_integral_of_the_pdf(m, n, variance):
    law = singular_value_law(m, n, variance)
    lower, upper = law.support
    middle, half = (upper + lower) / 2, (upper - lower) / 2

    def slope(angle):  # the substitution smooths the square roots at both edges
        return float(law.pdf(middle + half * math.sin(angle))) * half * math.cos(angle)

    shares = [1e-9, 1e-4, 0.1, 0.35, 0.5, 0.8, 0.99, 1 - 1e-6, 1 - 1e-9]
    angles = [-math.pi / 2, *np.arcsin(2 * np.array(shares) - 1)]
    pieces = [
        scipy.integrate.quad(slope, *ends, epsabs=1e-14, epsrel=1e-13, limit=200)[0]
        for ends in itertools.pairwise(angles)
    ]
    assert law.cdf(within(law, shares)) == pytest.approx(np.cumsum(pieces), abs=1e-12)


@pytest.mark.parametrize(("m", "n", "variance"), SIZES)
def test_cdf_is_the_sum_of_arcsines(m, n, variance):
    law = singular_value_law(m, n, variance)
    s = within(law, np.linspace(0.05, 0.95, 19))
    q = min(m, n) / max(m, n)
    x = s**2 / (variance * max(m, n))
    root = np.sqrt(((1 + math.sqrt(q)) ** 2 - x) * (x - (1 - math.sqrt(q)) ** 2))
    first = (1 + q) * np.arcsin((x - 1 - q) / (2 * math.sqrt(q)))
    second = (1 - q) * np.arcsin(((1 + q) * x - (1 - q) ** 2) / (2 * math.sqrt(q) * x))
    assert law.cdf(s) == pytest.approx(0.5 + (root + first - second) / (2 * math.pi * q), abs=1e-15 / q * 10)


def test_square_matrices_have_the_quarter_circle():
    law = singular_value_law(50, 50, 0.02)
    s = np.linspace(0, 2, 41)
    assert law.support == near((0.0, 2.0), 1e-15)
    assert law.pdf(s[:-1]) == near(np.sqrt(4 - s[:-1] ** 2) / math.pi, 1e-13)
    assert law.cdf(s) == pytest.approx((s * np.sqrt(4 - s**2) / 2 + 2 * np.arcsin(s / 2)) / math.pi, abs=1e-14)


def test_mean_square_is_the_sum_of_variances():
    law = singular_value_law(30, 70, 0.5)
    total, _ = scipy.integrate.quad(lambda s: s * s * law.pdf(s), *law.support)
    assert total == near(70 * 0.5, 1e-8)


@pytest.mark.parametrize(("m", "n"), [(300, 400), (400, 400), (400, 40)])
def test_a_gaussian_matrix_follows_the_law(m, n):
    weight = 0.3 * np.random.default_rng(1).standard_normal((m, n))
    values = np.sort(np.linalg.svd(weight, compute_uv=False))
    law = singular_value_law(m, n, 0.09).cdf(values)
    count = len(values)
    distance = max((np.arange(1, count + 1) / count - law).max(), (law - np.arange(count) / count).max())
    assert distance < 3 / count  # singular values repel: they are off by log(n)/n, not by n^(-1/2)


def test_transposing_and_scaling():
    s = np.linspace(0, 4, 33)
    wide, tall, scaled = (singular_value_law(*shape) for shape in ((20, 90, 0.01), (90, 20, 0.01), (20, 90, 0.09)))
    assert np.array_equal(wide.cdf(s), tall.cdf(s))
    assert np.array_equal(wide.pdf(s), tall.pdf(s))
    assert scaled.cdf(3 * s) == pytest.approx(wide.cdf(s), abs=1e-14)
    assert 3 * scaled.pdf(3 * s) == near(wide.pdf(s), 1e-12)


def test_outside_the_support():
    law = singular_value_law(3, 12, 1.0)
    lower, upper = law.support
    outside = np.array([-math.inf, -1.0, 0.0, math.nextafter(lower, 0), math.nextafter(upper, 9), math.inf])
    assert (law.pdf(outside) == 0).all()
    assert law.cdf(outside).tolist() == [0, 0, 0, 0, 1, 1]
    assert law.cdf([[lower, upper]]).shape == (1, 2)
    assert singular_value_law(3, 3, 1.0).pdf([-0.5, 0.0]) == pytest.approx([0.0, 1 / math.sqrt(3) / math.pi * 2])
    assert np.isnan([law.pdf(math.nan), law.cdf(math.nan)]).all()


@pytest.mark.parametrize("variance", [1e-308, 1e308])
def test_extreme_variances(variance):
    law = singular_value_law(3, 12, variance)
    assert law.cdf(math.sqrt(variance) * 3.5) == near(singular_value_law(3, 12, 1.0).cdf(3.5), 1e-12)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((0, 4, 1.0), "a matrix of 0 x 4; a layer needs at least one output and one input"),
        ((4, 4, 0.0), "variance 0; the entries need a variance that is finite and above 0"),
        ((4, 4, math.nan), "variance nan"),
        ((4, 4, math.inf), "variance inf"),
    ],
)
def test_bad_laws_are_told(arguments, told):
    with pytest.raises(FormatError, match=told):
        singular_value_law(*arguments)
