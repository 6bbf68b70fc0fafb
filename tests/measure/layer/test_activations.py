"""The derivatives against torch's automatic differentiation, and against decimal arithmetic where they are tiny."""

import math

import numpy as np
import pytest

from sao_cli.base.errors import SaoError
from sao_cli.catalog import ACTIVATIONS
from sao_cli.measure.layer.activations import activation_derivative, activation_value

H = np.concatenate([np.linspace(-12, 12, 4001), [0.0, -1.0, 1.0, 1e-300, -1e-300]])


def torch_function(name):
    torch = pytest.importorskip("torch")
    return {
        "linear": lambda x: x * 1,
        "leaky-relu": torch.nn.LeakyReLU(),
        "hard-tanh": torch.nn.Hardtanh(),
        "erf": torch.erf,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
    }.get(name) or getattr(torch.nn.functional, name)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_derivative_is_automatic_differentiations(name):
    torch = pytest.importorskip("torch")
    h = torch.tensor(H, requires_grad=True)
    torch_function(name)(h).sum().backward()
    np.testing.assert_allclose(activation_derivative(name, H), h.grad.numpy(), rtol=1e-12, atol=4e-16)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_value_is_torchs(name):
    torch = pytest.importorskip("torch")
    expected = torch_function(name)(torch.tensor(H)).numpy()
    np.testing.assert_allclose(activation_value(name, H), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "exact"), [("tanh", 4 * math.exp(-60)), ("sigmoid", math.exp(-30))])
@pytest.mark.parametrize("sign", [1, -1])
def test_tails_keep_their_relative_accuracy(name, exact, sign):
    assert activation_derivative(name, sign * 30.0) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nothing_overflows(name):
    for function in (activation_derivative, activation_value):
        assert np.isfinite(function(name, [-1e300, -800.0, 800.0, 1e300])).all()


def test_all_eleven_are_there_and_another_name_is_refused_with_the_nearest():
    names = "linear tanh relu leaky-relu silu gelu selu softplus erf hard-tanh sigmoid"
    assert tuple(names.split()) == tuple(ACTIVATIONS)
    with pytest.raises(SaoError, match="unknown activation 'siluu'; did you mean 'silu'"):
        activation_derivative("siluu", 0.0)
