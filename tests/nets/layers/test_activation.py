"""The torch activations against the derivatives by formula, by automatic differentiation, and against torch's own."""

import numpy as np
import pytest
import torch

from sao_cli.base.errors import SaoError
from sao_cli.catalog import PLAIN_ACTIVATIONS
from sao_cli.measure.layer.activations import ActivationFunction, activation_derivative, activation_value
from sao_cli.nets.layers.activation import activation_module
from sao_cli.nets.networks.fnn import FNN
from sao_cli.nets.scores.synaptic_flow import synflow
from sao_cli.nets.tracing.network import Network

H = np.concatenate([np.linspace(-60, 60, 4001), [0.0, -1.0, 1.0]])


@pytest.mark.parametrize("name", PLAIN_ACTIVATIONS)
def test_the_automatic_derivative_is_the_formulas_also_at_kinks_and_in_the_tails(name):
    h = torch.tensor(H, requires_grad=True)
    activation_module(name)(h).sum().backward()
    np.testing.assert_allclose(h.grad.numpy(), activation_derivative(name, H), rtol=1e-12, atol=4e-16)


@pytest.mark.parametrize("name", PLAIN_ACTIVATIONS)
def test_values_are_those_of_torch_functional(name):
    h = torch.linspace(-15, 15, 101, dtype=torch.float64)
    functions = {"linear": torch.clone, "erf": torch.special.erf, "hard-tanh": torch.nn.functional.hardtanh}
    expected = functions.get(name) or getattr(torch.nn.functional, name.replace("-", "_"))
    torch.testing.assert_close(activation_module(name)(h), expected(h), rtol=1e-14, atol=0)


THRESHOLDS = [
    ActivationFunction("relu-tau", tau=0.75),
    ActivationFunction("relu-tau", tau=-0.75),
    ActivationFunction("soft-threshold", tau=0.75),
    ActivationFunction("soft-threshold", tau=0),
    ActivationFunction("crelu", tau=0.75, clip=1.5),
    ActivationFunction("crelu", tau=-0.75, clip=1.5),
    ActivationFunction("cst", tau=0.75, clip=1.5),
    ActivationFunction("cst", tau=0, clip=1.5),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("function", THRESHOLDS, ids=str)
def test_a_threshold_is_the_formula_with_its_slope_0_at_every_kink(function, dtype):
    H = np.concatenate([np.linspace(-4, 4, 65), [where for where, _ in function.kinks]])
    h = torch.tensor(H, dtype=dtype, requires_grad=True)
    found = activation_module(function)(h)
    found.sum().backward()
    assert (found.dtype, h.grad.dtype) == (dtype, dtype)
    np.testing.assert_array_equal(found.detach().double().numpy(), activation_value(function, H))
    np.testing.assert_array_equal(h.grad.double().numpy(), activation_derivative(function, H))


def test_a_network_prints_its_thresholds_and_is_refused_without():
    function = ActivationFunction("cst", tau=0.75, clip=1.5)
    assert "(1): ThresholdActivation(cst(tau=0.75,clip=1.5))" in str(FNN(3, (8, 8), activation=function, degree=2))
    with pytest.raises(SaoError, match="activation 'cst' needs tau and clip"):
        FNN(3, (8, 8), activation="cst", degree=2)


@pytest.mark.parametrize("function", [one for one in THRESHOLDS if one.tau >= 0], ids=str)
def test_a_network_of_thresholds_is_recorded_and_linearised_as_any_other(function):
    """Nothing of it is unknown to a record of its run, and SynFlow, which leaves activations out, reads none."""
    found, plain = (FNN(2, (8, 8, 8, 4), activation=one, degree=2) for one in (function, "linear"))
    record = Network.from_module(found, torch.ones(1, 8))
    assert (record.summary.unknown, record.summary.effective_sparsity) == ((), 1 - 128 / 224)
    for one, other in zip(*(synflow(model).values() for model in (found, plain)), strict=True):
        torch.testing.assert_close(one, other)


def test_the_modules_hold_no_parameters_and_another_name_is_refused():
    assert not any(list(activation_module(name).parameters()) for name in PLAIN_ACTIVATIONS)
    with pytest.raises(SaoError, match="unknown activation 'tan'; did you mean 'tanh'"):
        activation_module("tan")
