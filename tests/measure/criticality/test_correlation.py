"""The correlation map against closed forms, Monte Carlo and differences; its lengths, its law and known values."""

import math

import numpy as np
import pytest

from sao_cli import (
    ActivationFunction,
    SaoError,
    VarianceMap,
    correlation_gaps,
    edge_of_chaos,
    fixed_variances,
    sparse_activation,
)
from sao_cli.measure.criticality.correlation import (
    correlation_slope,
    decay_law,
    fixed_correlation,
    gap_after,
    relaxation,
)
from sao_cli.measure.layer.activations import activation_derivative, activation_value

CST = edge_of_chaos(sparse_activation("cst", activation_sparsity=0.85, clip=1.0))
MAPS = [
    CST,
    edge_of_chaos("tanh"),
    edge_of_chaos("selu"),
    edge_of_chaos(ActivationFunction("crelu", tau=0.3, clip=0.4)),
]


@pytest.mark.parametrize("c", [-1.0, -0.4, 0.0, 0.5, 0.999])
def test_relu_has_the_arc_cosine_kernel(c):
    """Cho and Saul 2009: C(c) = (sqrt(1 - c^2) + c (pi - arccos c))/pi."""
    exact = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi
    assert 1 - gap_after(edge_of_chaos("relu"), 1.0, 1 - c) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("c", [-0.4, 0.5, 0.99])
def test_erf_has_the_arc_sine_kernel(c):
    """Williams 1997: E erf(u_1) erf(u_2) = (2/pi) arcsin(2 c q/(1 + 2 q))."""
    edge = edge_of_chaos("erf", 0.7)
    exact = (edge.sigma_b**2 + edge.sigma_w**2 * 2 / math.pi * math.asin(2 * c * 0.7 / 2.4)) / 0.7
    assert 1 - gap_after(edge, 0.7, 1 - c) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("edge", MAPS, ids=lambda edge: edge.activation.name)
def test_pairs_of_normal_numbers_do_so(edge):
    """Within five standard errors of 400,000 pairs."""
    c, rng = 0.6, np.random.default_rng(5)
    u, v = rng.standard_normal((2, 400_000))
    w = c * u + math.sqrt(1 - c * c) * v
    for function, found in (
        (activation_value, 1 - gap_after(edge, 1.0, 1 - c) - edge.sigma_b**2),
        (activation_derivative, correlation_slope(edge, 1.0, 1 - c)),
    ):
        products = edge.sigma_w**2 * function(edge.activation, u) * function(edge.activation, w)
        assert found == pytest.approx(products.mean(), abs=5 * products.std() / math.sqrt(products.size))


@pytest.mark.parametrize("edge", MAPS, ids=lambda edge: edge.activation.name)
@pytest.mark.parametrize("gap", [0.05, 0.5, 1.7])
def test_the_slope_is_the_maps(edge, gap):
    step = 1e-5
    exact = (gap_after(edge, 1.0, gap + step) - gap_after(edge, 1.0, gap - step)) / (2 * step)
    assert correlation_slope(edge, 1.0, gap) == pytest.approx(exact, rel=1e-7)


def test_a_clipped_threshold_comes_to_one_as_kappa_over_the_square():
    law, gaps = decay_law(CST, 1.0), correlation_gaps(CST, 1.0, 0.9, 300)
    assert (law.name, law.xi, law.power) == ("algebraic", None, 2)
    assert law.kappa == pytest.approx(4.93578, rel=1e-5)
    assert (gaps[0], gaps[100], gaps[300]) == pytest.approx((0.9, 0.00042183, 5.1443e-05), rel=1e-3)
    assert gaps[300] * 300**2 == pytest.approx(law.kappa, rel=0.08)


def test_relu_has_the_published_factor():
    assert decay_law(edge_of_chaos("relu"), 1.0).kappa == pytest.approx(9 * math.pi**2 / 2, rel=1e-12)


def test_smooth_functions_come_to_one_as_kappa_over_the_depth():
    edge = edge_of_chaos("tanh", 0.5)
    law = decay_law(edge, 0.5)
    gap, step = 1e-4, 1e-6
    bend = (correlation_slope(edge, 0.5, gap - step) - correlation_slope(edge, 0.5, gap + step)) / (2 * step)
    assert (law.name, law.power) == ("algebraic", 1)
    assert law.kappa == pytest.approx(2 / bend, rel=1e-3)  # 1 - C(c) = 1 - c - C''(1) (1 - c)^2/2
    assert decay_law(edge_of_chaos("linear"), 1.0).name == "constant"


@pytest.mark.parametrize("name", ["tanh", "hard-tanh"])
def test_a_chaotic_map_comes_to_less_than_one(name):
    variance_map = VarianceMap(ActivationFunction(name), math.sqrt(2.5), math.sqrt(0.05))
    q = fixed_variances(variance_map)[-1].q
    c, gap = fixed_correlation(variance_map, q), correlation_gaps(variance_map, q, 0.9, 40)[-10:]
    assert 0 < c < 1
    assert 1 - gap_after(variance_map, q, 1 - c) == pytest.approx(c, abs=1e-12)
    rates = np.diff(np.log(np.abs(1 - gap - c)))
    assert decay_law(variance_map, q).xi == pytest.approx(-1 / rates.mean(), rel=0.02)


def test_an_ordered_map_comes_to_one_in_published_layers():
    """Schoenholz et al. 2017, tanh with sigma_w^2 = 1.3 and sigma_b^2 = 0.05."""
    variance_map = VarianceMap(ActivationFunction("tanh"), math.sqrt(1.3), math.sqrt(0.05))
    [point] = fixed_variances(variance_map)
    assert (point.q, point.slope) == pytest.approx((0.315316, 0.571123), rel=2e-4)
    assert (relaxation(point.slope), decay_law(variance_map, point.q).xi) == pytest.approx((1.7852, 7.8341), rel=2e-4)
    assert fixed_correlation(variance_map, point.q) == 1.0


def test_a_small_gap_keeps_its_digits():
    edge = edge_of_chaos("relu")
    gap = 1e-12
    assert gap_after(edge, 1.0, gap) / gap == pytest.approx(1 - 2 * math.sqrt(2 * gap) / (3 * math.pi), rel=1e-4)
    assert gap_after(edge, 1.0, 0.0) == 0.0
    with pytest.raises(SaoError, match="gap 3"):
        gap_after(edge, 1.0, 3.0)


@pytest.mark.parametrize("chi_1", [1 + 1e-7, 1.001, 30.0])
def test_correlations_of_barely_and_of_very_chaotic_maps(chi_1):
    edge = edge_of_chaos("hard-tanh")
    variance_map = VarianceMap(edge.activation, edge.sigma_w * math.sqrt(chi_1), edge.sigma_b)
    q = fixed_variances(variance_map)[-1].q
    c = fixed_correlation(variance_map, q)
    assert c <= 1
    assert gap_after(variance_map, q, 1 - c) == pytest.approx(1 - c, abs=1e-12)
