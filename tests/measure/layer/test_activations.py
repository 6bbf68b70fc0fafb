"""The derivatives against torch's automatic differentiation, and against decimal arithmetic where they are tiny."""

import math

import numpy as np
import pytest

from sao_cli.base.errors import SaoError
from sao_cli.catalog import ACTIVATIONS, PLAIN_ACTIVATIONS
from sao_cli.measure.layer.activations import ActivationFunction, activation_derivative, activation_value

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


@pytest.mark.parametrize("name", PLAIN_ACTIVATIONS)
def test_each_derivative_is_automatic_differentiations(name):
    torch = pytest.importorskip("torch")
    h = torch.tensor(H, requires_grad=True)
    torch_function(name)(h).sum().backward()
    np.testing.assert_allclose(activation_derivative(name, H), h.grad.numpy(), rtol=1e-12, atol=4e-16)


@pytest.mark.parametrize("name", PLAIN_ACTIVATIONS)
def test_each_value_is_torchs(name):
    torch = pytest.importorskip("torch")
    expected = torch_function(name)(torch.tensor(H)).numpy()
    np.testing.assert_allclose(activation_value(name, H), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "exact"), [("tanh", 4 * math.exp(-60)), ("sigmoid", math.exp(-30))])
@pytest.mark.parametrize("sign", [1, -1])
def test_tails_keep_their_relative_accuracy(name, exact, sign):
    assert activation_derivative(name, sign * 30.0) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("name", PLAIN_ACTIVATIONS)
def test_nothing_overflows(name):
    for function in (activation_derivative, activation_value):
        assert np.isfinite(function(name, [-1e300, -800.0, 800.0, 1e300])).all()


THRESHOLDS = [
    ActivationFunction("relu-tau", tau=0.75),
    ActivationFunction("relu-tau", tau=-0.75),
    ActivationFunction("soft-threshold", tau=0.75),
    ActivationFunction("crelu", tau=0.75, clip=1.5),
    ActivationFunction("crelu", tau=-0.75, clip=1.5),
    ActivationFunction("cst", tau=0.75, clip=1.5),
]


@pytest.mark.parametrize("function", THRESHOLDS, ids=str)
def test_a_threshold_by_its_definition(function):
    tau, clip = function.tau, function.clip or math.inf
    for h in (-9.0, -2.25, -1.0, -0.75, -0.5, 0.0, 0.5, 0.75, 1.0, 2.0, 2.25, 9.0):
        x, sign = (abs(h), math.copysign(1, h)) if function.name in ("soft-threshold", "cst") else (h, 1)
        assert activation_value(function, h) == sign * min(max(x - tau, 0), clip)
        assert activation_derivative(function, h) == float(tau < x < tau + clip)


@pytest.mark.parametrize("function", [*THRESHOLDS, *map(ActivationFunction, PLAIN_ACTIVATIONS)], ids=str)
def test_kinks_are_where_slopes_jump_and_nowhere_else(function):
    tiny = 1e-9
    places = np.unique([*np.linspace(-3, 3, 25), *(where for where, _ in function.kinks)])
    jumps = activation_derivative(function, places + tiny) - activation_derivative(function, places - tiny)
    np.testing.assert_allclose(jumps, [dict(function.kinks).get(place, 0.0) for place in places], atol=1e-8)
    if function.name not in ("leaky-relu", "selu"):
        assert not any(activation_derivative(function, [where for where, _ in function.kinks]))


def test_special_cases_are_the_functions_that_have_names():
    for name, function in {
        "relu": ActivationFunction("relu-tau", tau=0),
        "linear": ActivationFunction("soft-threshold", tau=0),
        "hard-tanh": ActivationFunction("cst", tau=0, clip=1),
    }.items():
        plain = ActivationFunction(name)
        assert (function.threshold, function.kinks) == (plain.threshold, plain.kinks)
        np.testing.assert_array_equal(activation_value(function, H), activation_value(name, H))
        np.testing.assert_array_equal(activation_derivative(function, H), activation_derivative(name, H))


def test_a_function_is_its_name_and_its_numbers():
    function = ActivationFunction("cst", tau=1.4395314709384557, clip=1)
    assert str(function) == "cst(tau=1.4395314709384557,clip=1)"
    assert len({function, ActivationFunction("cst", tau=1.4395314709384557, clip=1.0)}) == 1
    assert ActivationFunction.of("tanh") is ActivationFunction.of("tanh")
    assert str(ActivationFunction("relu-tau", tau=-0.0)) == "relu-tau(tau=0)"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("cst",), r"activation 'cst' needs tau and clip: ActivationFunction\('cst', tau=..., clip=...\) in Python"),
        (("cst", 1.0), "activation 'cst' needs tau and clip"),
        (("relu-tau", 1.0, 1.0), "activation 'relu-tau' needs tau and no clip"),
        (("tanh", 1.0), "activation 'tanh' takes neither tau nor clip; leave them out"),
        (("crelu", 1.0, 0.0), "clip 0: it is a number above 0"),
        (("crelu", math.nan, 1.0), "tau nan: it is a finite number"),
        (("cst", -0.5, 1.0), "tau -0.5: cst would jump at 0; its tau is a number from 0"),
        (("cts", 0.5, 1.0), "unknown activation 'cts'; did you mean 'cst'"),
    ],
)
def test_what_is_no_function_is_refused_in_a_line(given, said):
    with pytest.raises(SaoError, match=said) as refused:
        ActivationFunction(*given)
    assert "\n" not in str(refused.value)


def test_a_name_that_needs_numbers_is_refused_at_every_door():
    for door in (activation_value, activation_derivative):
        with pytest.raises(SaoError, match="activation 'soft-threshold' needs tau"):
            door("soft-threshold", 0.0)


def test_all_names_are_there_and_another_is_refused_with_the_nearest():
    names = "linear tanh relu leaky-relu silu gelu selu softplus erf hard-tanh sigmoid"
    assert tuple(names.split()) == tuple(PLAIN_ACTIVATIONS)
    assert tuple(ACTIVATIONS) == (*PLAIN_ACTIVATIONS, "relu-tau", "soft-threshold", "crelu", "cst")
    with pytest.raises(SaoError, match="unknown activation 'siluu'; did you mean 'silu'"):
        activation_derivative("siluu", 0.0)
