"""A network's Jacobian with biases, whatever its gains: against automatic differentiation and many digits."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from torch import nn

from sao_cli.base.errors import FormatError, SaoError, SaoWarning
from sao_cli.catalog import PLAIN_ACTIVATIONS
from sao_cli.data.matrix import Matrix
from sao_cli.measure.criticality.variance_map import edge_of_chaos, input_std
from sao_cli.measure.layer.activations import ActivationFunction, activation_derivative, activation_value
from sao_cli.measure.layer.mean_field import LayerMoments, jacobian_moments
from sao_cli.nets.jacobians.chain import network_jacobian
from sao_cli.nets.jacobians.points import drawn_inputs
from sao_cli.nets.layers.activation import activation_module
from sao_cli.weights.biases import normal_biases
from sao_cli.weights.build_weights import weight_stack

THRESHOLDS = [
    ActivationFunction("relu-tau", tau=0.1),
    ActivationFunction("soft-threshold", tau=0.2),
    ActivationFunction("crelu", tau=-0.1, clip=2.0),
    ActivationFunction("cst", tau=0.1, clip=1.5),
]


def plain_network(widths, activation, seed):
    """An nn.Sequential in float64 with `activation` after every layer but the last, and normal biases."""
    torch.manual_seed(seed)
    layers = [nn.Linear(n, m) for n, m in itertools.pairwise(widths)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=1.3 / layer.in_features**0.5)
        nn.init.normal_(layer.bias, std=0.5)
    return nn.Sequential(*[part for layer in layers for part in (layer, activation_module(activation))][:-1]).double()


@pytest.mark.parametrize("depth", [10, 7])
@pytest.mark.parametrize("activation", [*PLAIN_ACTIVATIONS, *THRESHOLDS], ids=str)
def test_ten_layers_with_biases_are_jacrevs(activation, depth):
    network = plain_network([14, 20, *[16] * 8, 6], activation, seed=3)
    linear = list(network)[::2]
    x = np.random.default_rng(1).standard_normal((3, 14))
    stack, biases = ([getattr(layer, name).detach().numpy() for layer in linear] for name in ("weight", "bias"))
    [row] = network_jacobian(stack, activation, biases=biases, linear_output=True, depths=[depth], x=x)
    part = network if depth == 10 else network[: 2 * depth]
    for one, found in zip(x, row.log10_values, strict=True):
        exact = torch.linalg.svdvals(torch.func.jacrev(part)(torch.from_numpy(one))).detach().numpy()
        np.testing.assert_allclose(10**found, exact, rtol=1e-7, atol=1e-13 * exact[0])


def many_digits(stack, biases, activation, x, digits=60):
    """log10 of the singular values of the Jacobian at x, descending."""
    forms = {
        "linear": (lambda h: h, lambda h: mpmath.mpf(1)),
        "relu": (lambda h: max(h, 0), lambda h: mpmath.mpf(int(h > 0))),
        "leaky-relu": (lambda h: h if h > 0 else h * mpmath.mpf(0.01), lambda h: mpmath.mpf(1 if h > 0 else 0.01)),
        "tanh": (mpmath.tanh, lambda h: 1 / mpmath.cosh(h) ** 2),
        "silu": (lambda h: h * sigma(h), lambda h: sigma(h) + h * sigma(h) * sigma(-h)),
        "softplus": (lambda h: mpmath.log1p(mpmath.exp(h)) if h < 1000 else h, lambda h: sigma(h)),
    }
    with mpmath.workdps(digits):
        phi, slope = forms[activation]
        x, product = mpmath.matrix([mpmath.mpf(float(one)) for one in x]), mpmath.eye(len(x))
        for weight, bias in zip(stack, biases, strict=True):
            W = mpmath.matrix(weight.tolist())
            h = W * x + mpmath.matrix([mpmath.mpf(float(one)) for one in bias])
            product = mpmath.diag([slope(one) for one in h]) * W * product
            x = mpmath.matrix([phi(one) for one in h])
        values = mpmath.svd_r(product, compute_uv=False)
        return [float(mpmath.log10(one)) if one else -math.inf for one in sorted(values, reverse=True)]


def sigma(h):
    return 1 / (1 + mpmath.exp(-h)) if h > -1000 else mpmath.mpf(0)


@pytest.mark.parametrize("gain", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("activation", ["leaky-relu", "silu", "softplus"])
def test_gains_near_the_end_of_float64_leave_biases_their_place(activation, gain):
    """A small gain leaves nothing but biases; beside what a large one has made, a unit reads its bias alone."""
    rng = np.random.default_rng(7)
    stack = [gain * (0.1 + rng.random((4, 4))) for _ in range(4)]
    stack[1][2] = 0.0
    stack[2][1] = [0, 0, gain, 0]  # reads that unit alone
    biases = [rng.standard_normal(4) for _ in stack]
    x = rng.random(4)
    exact = many_digits(stack, biases, activation, x, 3000)
    live = [one for one in exact if one > exact[0] - 2900]  # of 3000 digits
    for dtype, error in (("float64", 1e-9), ("float32", 1e-3)):
        [row] = network_jacobian(stack, activation, biases=biases, depths=[4], x=x, dtype=dtype)
        assert len(live) == row.rank >= 2
        np.testing.assert_allclose(row.log10_values[0][: row.rank], live, atol=error)


@pytest.mark.parametrize("activation", ["relu", "leaky-relu", "silu"])
def test_a_unit_beside_one_that_grows_keeps_its_own_number(activation):
    """Two units that never meet, one at 10^40 times the other and more: one power of two for both would lose it."""
    stack = [np.diag([1e40, 0.5])] * 12
    biases = [np.array([0.0, 0.25])] * 12
    for given in (biases, [np.zeros(2)] * 12):
        [row] = network_jacobian(stack, activation, biases=given, depths=[12], x=np.array([1.0, 0.75]))
        np.testing.assert_allclose(row.log10_values[0], many_digits(stack, given, activation, [1.0, 0.75]), rtol=1e-12)
        assert row.rank == 2


def test_small_numbers_that_come_back_have_all_their_digits():
    stack = [factor * np.eye(2) for factor in (1e-200, 1e-120, 1e200, 1e120)]
    x = np.array([0.3, -1.2])
    [row] = network_jacobian(stack, "tanh", depths=[4], x=x)
    expected = np.sort(np.log10(activation_derivative("tanh", x) * 1.0))[::-1]
    np.testing.assert_allclose(row.log10_values[0], expected, rtol=1e-9)


def test_each_layer_alone_is_where_the_biases_put_it():
    stack = [weight.to_dense() for weight in weight_stack([8, 12, 6], method="dense", gain=1.2)]
    biases = [np.linspace(-1, 1, 12), np.linspace(0, 1, 6)]
    x = np.random.default_rng(3).standard_normal(8)
    rows = list(network_jacobian(stack, "tanh", biases=biases, x=x, by_layer=True))
    for row, weight, bias in zip(rows, stack, biases, strict=True):
        h = weight @ x + bias
        exact = np.linalg.svd(activation_derivative("tanh", h)[:, None] * weight, compute_uv=False)
        np.testing.assert_allclose(10 ** row.log10_values[0], exact, rtol=1e-10)
        x = activation_value("tanh", h)


def test_predictions_know_the_mean_square_of_each_bias():
    stack = weight_stack([16] * 5, method="dense", gain=1.1)
    biases = [None, np.zeros(16), np.full(16, 0.1), None]
    plain, rows = (list(network_jacobian(stack, "tanh", biases=given)) for given in (None, biases))
    assert rows[1].to_dict() == plain[1].to_dict()
    assert rows[2].predicted_log10_mean_square < plain[2].predicted_log10_mean_square  # a wider h, of less slope
    square = float(np.square(drawn_inputs(1, [16], 1.0, 0)).mean())
    layers = [LayerMoments(mean_square=1.21, mean=1.21, spread=0.0, bias_square=one) for one in (0, 0, 0.01, 0)]
    wanted = jacobian_moments(layers, "tanh", input_std=math.sqrt(square))
    for row, log_mean in zip(rows, wanted.log_mean, strict=True):
        assert row.predicted_log10_mean_square == pytest.approx(log_mean / math.log(10), rel=1e-9)
    *_, last = network_jacobian(stack, "tanh", linear_output=True)
    linear = plain[2].predicted_log10_mean_square + 2 * math.log10(1.1)
    assert last.predicted_log10_mean_square == pytest.approx(linear, rel=1e-12)


def test_at_the_edge_of_chaos_the_mean_square_is_as_predicted():
    """Known values: cst, s = 0.85, m = 1. With 200 units q differs by network, and so does what is predicted of it."""
    cst = ActivationFunction("cst", tau=1.4395314709384557, clip=1.0)
    sigma_w, sigma_b = 2.718699753098352, 0.8361399228510996
    told = {"inputs": 2, "input_std": math.sqrt(1 - sigma_b**2) / sigma_w, "depths": [10], "sigma_b": sigma_b}
    found, predicted = [], []
    for seed in range(12):
        stack = weight_stack([200] * 11, method="dense", values="normal", gain=sigma_w, seed=seed)
        [row] = network_jacobian(stack, cst, seed=seed, **told)
        found.append(math.log10(row.variance + row.mean**2))
        predicted.append(row.predicted_log10_mean_square)
        assert row.predicted_relative_variance == pytest.approx(10 * 7.391328347497041, rel=0.15)
    for logs in (found, predicted):
        assert abs(np.mean(logs)) < 4 * np.std(logs) / math.sqrt(12)  # 1 at the edge of chaos
        assert np.std(logs) < 0.6


def test_rows_of_few_ones_under_a_threshold_are_told():
    start = edge_of_chaos(ActivationFunction("cst", tau=1.44, clip=1.0))
    sparse, fuller = (weight_stack([60] * 4, method="rg-n", d=d, gain=start.sigma_w) for d in (4, 20))
    asked = {"sigma_b": start.sigma_b, "input_std": input_std(start, 1.0)}
    with pytest.warns(SaoWarning, match=r"reads 4 inputs, d \(1 - s\) = 0\.\d+ of which .*; d = 1\d is better"):
        list(network_jacobian(sparse, start.activation, **asked))
    list(network_jacobian(sparse, start.activation, by_layer=True, **asked))  # nothing is predicted
    list(network_jacobian(fuller, start.activation, **asked))
    pruned = [one.to_dense() for one in fuller]
    pruned[1][7] = 0.0
    list(network_jacobian(pruned, start.activation, **asked))  # one dead row says nothing of the others
    with pytest.warns(SaoWarning, match="Jacobian is off$"):  # without biases all dies out, whatever is read
        list(network_jacobian(sparse, start.activation, input_std=0.01))


def test_drawn_biases_are_normal_biases_of_the_seed():
    stack = weight_stack([16] * 4, method="dense", gain=1.5)
    biases = [normal_biases(16, 0.3, seed=5, layer=number) for number in (1, 2, 3)]
    drawn, given = (
        list(network_jacobian(stack, "tanh", seed=5, **told)) for told in ({"sigma_b": 0.3}, {"biases": biases})
    )
    for one, two in zip(drawn, given, strict=True):
        np.testing.assert_array_equal(one.log10_values, two.log10_values)
        assert (one.sigma_b, two.sigma_b) == (0.3, 0.0)
    with pytest.raises(SaoError, match=r"sigma_b 0.3 draws biases, and others are given"):
        network_jacobian(stack, "tanh", sigma_b=0.3, biases=biases)
    with pytest.raises(SaoError, match=r"sigma_b -0.3: the standard deviation"):
        network_jacobian(stack, "tanh", sigma_b=-0.3)


@pytest.mark.parametrize(
    ("biases", "said"),
    [
        ([None], "1 biases for 2 layers"),
        ([None, np.zeros(7)], r"layer 2 has 8 outputs and a bias of shape \(7,\)"),
        ([np.full(8, np.inf), None], "bias of layer 1 has inf as number 1"),
    ],
)
def test_biases_that_do_not_fit_are_one_line(biases, said):
    with pytest.raises(FormatError, match=said):
        network_jacobian([Matrix.from_dense(np.eye(8))] * 2, biases=biases)
