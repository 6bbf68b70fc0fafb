"""The torch activations against the derivatives by formula, by automatic differentiation, and against torch's own."""

import numpy as np
import pytest
import torch

from sao_cli.base.errors import SaoError
from sao_cli.catalog import ACTIVATIONS
from sao_cli.measure.layer.activations import activation_derivative
from sao_cli.nets.layers.activation import activation_module

H = np.concatenate([np.linspace(-60, 60, 4001), [0.0, -1.0, 1.0]])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_automatic_derivative_is_the_formulas_also_at_kinks_and_in_the_tails(name):
    h = torch.tensor(H, requires_grad=True)
    activation_module(name)(h).sum().backward()
    np.testing.assert_allclose(h.grad.numpy(), activation_derivative(name, H), rtol=1e-12, atol=4e-16)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_are_those_of_torch_functional(name):
    h = torch.linspace(-15, 15, 101, dtype=torch.float64)
    functions = {"linear": torch.clone, "erf": torch.special.erf, "hard-tanh": torch.nn.functional.hardtanh}
    expected = functions.get(name) or getattr(torch.nn.functional, name.replace("-", "_"))
    torch.testing.assert_close(activation_module(name)(h), expected(h), rtol=1e-14, atol=0)


def test_the_modules_hold_no_parameters_and_another_name_is_refused():
    assert not any(list(activation_module(name).parameters()) for name in ACTIVATIONS)
    with pytest.raises(SaoError, match="unknown activation 'tan'; did you mean 'tanh'"):
        activation_module("tan")
