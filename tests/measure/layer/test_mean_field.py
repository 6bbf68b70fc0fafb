"""Mean-field moments against closed forms, against scipy's quadrature, and against wide networks themselves."""

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy import integrate

from sao_cli.base.errors import SaoError
from sao_cli.catalog import PLAIN_ACTIVATIONS
from sao_cli.measure.layer.activations import ActivationFunction, activation_derivative, activation_value
from sao_cli.measure.layer.mean_field import LayerMoments, gaussian_moments, jacobian_moments
from sao_cli.weights.haar import haar_matrix


@pytest.mark.parametrize("activation", PLAIN_ACTIVATIONS)
@pytest.mark.parametrize("variance", [1e-12, 0.3, 400.0, 1e6])
def test_moments_are_scipys_integrals(activation, variance):
    """Over h itself, where phi bends, whatever the width of the law is, and over z beyond."""
    scale = math.sqrt(variance)
    bends = [0.0, *(end for end in (1 / scale, 6 / scale, 40 / scale, 3.0, 7.0) if end < 12), 12.0]
    edges = sorted({end for bend in bends for end in (bend, -bend)})
    for found, function in zip(
        gaussian_moments(activation, variance),
        (
            lambda h: activation_derivative(activation, h) ** 2,
            lambda h: activation_derivative(activation, h) ** 4,
            lambda h: activation_value(activation, h) ** 2,
        ),
        strict=True,
    ):
        exact = 0.0
        for low, high in itertools.pairwise(edges):
            exact += integrate.quad(
                lambda z, f=function: float(f(scale * z)) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
                *(low, high),
                limit=200,
                epsabs=1e-11 * found,
                epsrel=1e-11,
            )[0]
        assert found == pytest.approx(exact, rel=1e-10, abs=0)


@pytest.mark.parametrize(
    ("activation", "variance", "expected"),
    [
        ("sigmoid", 1e6, (6.649033718504392e-05, 2.8495869083750583e-06, 0.49960105837583)),
        ("tanh", 1e12, (5.319230405351578e-07, 3.647472277955697e-07, 0.9999992021154392)),
        ("silu", 1e6, (0.5000857623112095, 0.5002182837521261, 499999.9986875416)),
        ("softplus", 1e9, (0.49998738433741063, 0.499976871285255, 500000000.00003034)),
        ("selu", 1e6, (0.5526028302594281, 0.610330560091088, 551987.8260218953)),
        ("gelu", 1e-12, (0.2500000000006366, 0.06250000000095493, 2.5000000000047745e-13)),
    ],
)
def test_moments_from_multi_precision(activation, variance, expected):
    """mpmath's quadrature with 30 digits, split where phi bends."""
    assert gaussian_moments(activation, variance) == pytest.approx(expected, rel=1e-13, abs=0)


def test_closed_forms():
    assert gaussian_moments("linear", 2.5) == pytest.approx((1, 1, 2.5))
    assert gaussian_moments("relu", 2.5) == pytest.approx((0.5, 0.5, 1.25))
    inside = math.erf(1 / math.sqrt(2 * 0.7))
    assert gaussian_moments("hard-tanh", 0.7)[:2] == pytest.approx((inside, inside))
    exact = 4 / math.pi / math.sqrt(1 + 4 * 0.7)  # of the slope 2/sqrt(pi) exp(-h^2)
    assert gaussian_moments("erf", 0.7)[0] == pytest.approx(exact)


@pytest.mark.parametrize("variance", [0.3, 1.0, 400.0])
@pytest.mark.parametrize("clip", [None, 0.2])
def test_panels_end_at_thresholds(variance, clip):
    """Without, E phi'^2 of cst at sparsity 0.85 would be one in a hundred off."""
    cst = ActivationFunction("soft-threshold" if clip is None else "cst", tau=1.4395314709384557, clip=clip)
    normal = statistics.NormalDist(0, math.sqrt(variance))
    inside = 2 * ((1 if clip is None else normal.cdf(cst.tau + clip)) - normal.cdf(cst.tau))
    assert gaussian_moments(cst, variance)[:2] == pytest.approx((inside, inside), rel=1e-12)


def test_a_relu_stack_gains_one_in_variance_a_layer():
    he = LayerMoments(mean_square=2.0, mean=2.0, spread=0.0)
    found = jacobian_moments([he] * 30, "relu")
    np.testing.assert_allclose(found.log_mean, 0, atol=1e-12)
    np.testing.assert_allclose(found.relative_variance, np.arange(1, 31))
    np.testing.assert_allclose(found.preactivation_variance, 2.0)
    gaussian = LayerMoments(mean_square=2.0, mean=2.0, spread=1.0)
    np.testing.assert_allclose(jacobian_moments([gaussian] * 30, "relu").relative_variance, 2 * np.arange(1, 31))


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu"])
@pytest.mark.parametrize("orthogonal", [True, False])
def test_wide_networks_do_as_predicted(activation, orthogonal):
    """Five layers of width 400, eight networks: the means lie within four standard errors and 1/width effects."""
    width, depth, gain, input_std = 400, 5, 1.2, 0.8
    spread = 0.0 if orthogonal else 1.0
    layer = LayerMoments(mean_square=gain**2, mean=gain**2, spread=spread)
    predicted = jacobian_moments([layer] * depth, activation, input_std=input_std)
    means, variances = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x, jacobian = input_std * rng.standard_normal(width), np.eye(width)
        for _ in range(depth):
            weight = haar_matrix(width, width, rng) if orthogonal else rng.standard_normal((width, width)) / width**0.5
            h = gain * weight @ x
            x = activation_value(activation, h)
            jacobian = activation_derivative(activation, h)[:, None] * (gain * weight @ jacobian)
        squares = np.linalg.svd(jacobian, compute_uv=False) ** 2
        means.append(squares.mean())
        variances.append(squares.var() / squares.mean() ** 2)
    for found, exact in ((means, math.exp(predicted.log_mean[-1])), (variances, predicted.relative_variance[-1])):
        error = np.std(found, ddof=1) / math.sqrt(len(found))
        assert np.mean(found) == pytest.approx(exact, abs=4 * error + 0.02 * exact)


def test_an_activation_without_slope_ends_everything():
    found = jacobian_moments([LayerMoments(mean_square=1.0, mean=1.0, spread=0.0)] * 2, "relu", input_std=0.0)
    assert found.log_mean[-1] == -math.inf
    assert found.relative_variance[-1] == math.inf


def test_bad_input():
    layer = LayerMoments(mean_square=1.0, mean=1.0, spread=0.0)
    with pytest.raises(SaoError, match="did you mean 'tanh'"):
        jacobian_moments([layer], "tahn")
    with pytest.raises(SaoError, match="input_std -1"):
        jacobian_moments([layer], "tanh", input_std=-1.0)


def test_at_the_edge_of_chaos_with_biases_the_mean_is_1_at_every_depth():
    """Known values: cst, s = 0.85, m = 1, q* = 1."""
    cst = ActivationFunction("cst", tau=1.4395314709384557, clip=1.0)
    square, bias = 2.718699753098352**2, 0.8361399228510996**2
    layer = LayerMoments(mean_square=square, mean=square, spread=1.0, bias_square=bias)
    found = jacobian_moments([layer] * 30, cst, input_std=math.sqrt((1 - bias) / square))
    np.testing.assert_allclose(found.preactivation_variance, 1, rtol=1e-9)
    np.testing.assert_allclose(found.log_mean, 0, atol=1e-8)
    np.testing.assert_allclose(found.relative_variance, 7.391328347497041 * np.arange(1, 31), rtol=1e-8)
