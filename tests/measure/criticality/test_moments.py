"""Moments against multi-precision, closed forms against quadrature, and derivatives against differences."""

import math

import mpmath
import numpy as np
import pytest

from sao_cli.base.errors import SaoError
from sao_cli.catalog import PLAIN_ACTIVATIONS
from sao_cli.measure.criticality.moments import _integrated, inactive_share, moments
from sao_cli.measure.criticality.normal_law import density, survival, tail_point
from sao_cli.measure.layer.activations import ActivationFunction

CLOSED = [
    *map(ActivationFunction, ("linear", "relu", "leaky-relu", "hard-tanh")),
    ActivationFunction("relu-tau", tau=1.0364333894937894),
    ActivationFunction("relu-tau", tau=-0.4),
    ActivationFunction("soft-threshold", tau=1.4395314709384557),
    ActivationFunction("crelu", tau=0.8, clip=1.3),
    ActivationFunction("crelu", tau=-0.4, clip=0.7),
    ActivationFunction("cst", tau=1.4395314709384557, clip=1.0),
]


@pytest.mark.parametrize("function", CLOSED, ids=str)
def test_closed_forms_are_quadratures(function):
    """Relative to the size of each moment at the same q, as a derivative can be 0 by cancelling."""
    q = np.array([0.05, 0.3, 1.0, 4.0, 300.0])
    found, other = moments(function, q), _integrated(function, q)
    sizes = (found.square, found.square / q, found.square / q**2, found.fourth, 1, 1)
    for one, two, size in zip(found, other, sizes, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-13 * np.max(size))


def exactly(phi, slope, kinks, q):
    """E phi^2, its two derivatives by q, E phi^4, E phi'^2 and E phi'^4, by mpmath's quadrature and differences."""
    edges = sorted({-mpmath.inf, mpmath.inf, mpmath.mpf(0), *(mpmath.mpf(kink) for kink in kinks)})

    def mean(function, variance):
        law = lambda x: mpmath.exp(-x * x / (2 * variance)) / mpmath.sqrt(2 * mpmath.pi * variance)  # noqa: E731
        return mpmath.quad(lambda x: function(x) * law(x), edges)

    square = lambda variance: mean(lambda x: phi(x) ** 2, variance)  # noqa: E731
    step = mpmath.mpf("1e-8")
    low, middle, high = (square(q + sign * step) for sign in (-1, 0, 1))
    curved = (high - 2 * middle + low) / step**2
    rest = (mean(lambda x: phi(x) ** 4, q), mean(lambda x: slope(x) ** 2, q), mean(lambda x: slope(x) ** 4, q))
    return [float(one) for one in (middle, (high - low) / (2 * step), curved, *rest)]


def test_a_clipped_threshold_has_the_moments_of_thirty_digits():
    tau, clip = mpmath.mpf("0.75"), mpmath.mpf("0.5")
    sign = lambda x: -1 if x < 0 else 1  # noqa: E731
    phi = lambda x: sign(x) * min(max(abs(x) - tau, 0), clip)  # noqa: E731
    slope = lambda x: int(tau < abs(x) < tau + clip)  # noqa: E731
    with mpmath.workdps(30):
        exact = exactly(phi, slope, [-1.25, -0.75, 0.75, 1.25], mpmath.mpf("0.6"))
    assert moments(ActivationFunction("cst", tau=0.75, clip=0.5), 0.6) == pytest.approx(exact, rel=1e-11)


def test_a_smooth_function_has_the_moments_of_thirty_digits():
    with mpmath.workdps(30):
        exact = exactly(mpmath.tanh, lambda x: 1 / mpmath.cosh(x) ** 2, [-2, 2], mpmath.mpf("0.6"))
    assert moments("tanh", 0.6) == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize("name", PLAIN_ACTIVATIONS)
def test_the_identities_are_derivatives_without_a_second_derivative_of_phi(name):
    step = 1e-5
    low, middle, high = (moments(name, 0.7 + sign * step) for sign in (-1, 0, 1))
    assert middle.slope == pytest.approx((high.square - low.square) / (2 * step), rel=1e-8)
    assert middle.curvature == pytest.approx((high.slope - low.slope) / (2 * step), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("function", [*CLOSED, "tanh", "gelu"], ids=str)
def test_moments_go_on_to_zero_variance(function):
    tiny, zero = moments(function, 1e-10), moments(function, 0.0)
    assert zero.square == pytest.approx(tiny.square, abs=1e-9)
    assert zero.slope == pytest.approx(tiny.slope, abs=1e-8)
    assert zero.slope_square == pytest.approx(tiny.slope_square, abs=1e-8)
    assert np.isfinite(np.array(zero)).all()


@pytest.mark.parametrize("function", [CLOSED[5], CLOSED[9]], ids=str)
def test_scales_go_along(function):
    """phi_{c tau, c clip}(c x) = c phi(x), so at c^2 q: moments by their powers of c."""
    c, clip = 2.5, None if function.clip is None else 2.5 * function.clip
    scaled = moments(ActivationFunction(function.name, c * function.tau, clip), c**2 * 0.8)
    plain = moments(function, 0.8)
    assert np.array(scaled) == pytest.approx(np.array(plain) * [c**2, 1, c**-2, c**4, 1, 1], rel=1e-12)


def test_shares_of_units_at_zero():
    assert inactive_share(CLOSED[9], 1.0) == pytest.approx(0.85)
    assert inactive_share(CLOSED[4], 1.0) == pytest.approx(0.85)
    assert inactive_share(CLOSED[4], [0.0, 1e12]).tolist() == pytest.approx([1.0, 0.5], abs=1e-6)
    assert inactive_share("silu", 1.0) == 0


def test_the_normal_law_keeps_its_tail():
    assert survival(10.0) == pytest.approx(7.61985302416e-24, rel=1e-11)
    assert density([0.0, np.inf, 1e200]).tolist() == [1 / math.sqrt(2 * math.pi), 0.0, 0.0]
    assert survival(tail_point(1e-12)) == pytest.approx(1e-12)
    with pytest.raises(SaoError, match="share 0"):
        tail_point(0.0)


@pytest.mark.parametrize("q", [-1.0, math.nan, math.inf])
def test_a_variance_is_a_number_from_zero(q):
    with pytest.raises(SaoError, match="a variance is a finite number from 0"):
        moments("relu", [1.0, q])
