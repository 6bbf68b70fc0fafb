"""Activation functions and their derivatives, by name: x = phi(h), and D = diag(phi'(h)) of a layer's Jacobian."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.names import check
from sao_cli.catalog import ACTIVATIONS

Array = NDArray[np.float64]

LEAK = 0.01  # torch.nn.LeakyReLU's default slope
SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al. 2017, as torch.nn.SELU
SELU_SCALE = 1.0507009873554804934193349852946


def activation_value(activation: str, h: ArrayLike) -> Array:
    """phi(h), float64, of the shape of the pre-activations `h`; the functions are those of activation_derivative.

    Raises SaoError for a name that is none of catalog.ACTIVATIONS. O(size).

    >>> activation_value("relu", [-1.0, 0.0, 2.0]).tolist()
    [0.0, 0.0, 2.0]
    """
    check_activation(activation)
    h = np.asarray(h, dtype=np.float64)
    with np.errstate(under="ignore", over="ignore"):
        return _FUNCTIONS[activation][0](h)


def activation_derivative(activation: str, h: ArrayLike) -> Array:
    """phi'(h), float64, of the shape of the pre-activations `h`.

    The functions are those of torch.nn with its default constants: `gelu` is x Phi(x) by the error function (not the
    tanh fit), `softplus` has beta = 1, `leaky-relu` slope 0.01 below 0, and `erf` is the error function. At a kink
    the value is torch's: 0 at 0 for `relu` and at -1 and 1 for `hard-tanh`, the left one at 0 for `leaky-relu` and
    `selu`. Right to a few units in the last place also where phi' is tiny. O(size).

    Raises SaoError for a name that is none of catalog.ACTIVATIONS.

    >>> activation_derivative("relu", [-1.0, 0.0, 2.0]).tolist()
    [0.0, 0.0, 1.0]
    """
    check_activation(activation)
    h = np.asarray(h, dtype=np.float64)
    with np.errstate(under="ignore", over="ignore"):
        return _FUNCTIONS[activation][1](h)


def check_activation(activation: str) -> None:
    """Raise SaoError, with the nearest name, where `activation` is none of catalog.ACTIVATIONS."""
    check("activation", activation, ACTIVATIONS)


def _sigmoid(h: Array) -> Array:
    decay = np.exp(-np.abs(h))
    rising: Array = np.where(h >= 0, 1.0, decay) / (1 + decay)
    return rising


def _sigmoid_slope(h: Array) -> Array:
    """sigma (1 - sigma), without the difference that cancels."""
    decay = np.exp(-np.abs(h))
    slope: Array = decay / np.square(1 + decay)
    return slope


def _gelu_slope(h: Array) -> Array:
    from scipy.special import ndtr

    slope: Array = ndtr(h) + h * np.exp(-h * h / 2) / np.sqrt(2 * np.pi)
    return slope


def _gelu(h: Array) -> Array:
    from scipy.special import ndtr

    value: Array = h * ndtr(h)
    return value


def _erf(h: Array) -> Array:
    from scipy.special import erf

    value: Array = erf(h)
    return value


# phi and phi'.
_FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "linear": (np.copy, np.ones_like),
    "tanh": (np.tanh, lambda h: 4 * _sigmoid_slope(2 * h)),
    "relu": (lambda h: np.maximum(h, 0.0), lambda h: (h > 0).astype(np.float64)),
    "leaky-relu": (lambda h: np.where(h > 0, h, LEAK * h), lambda h: np.where(h > 0, 1.0, LEAK)),
    "silu": (lambda h: h * _sigmoid(h), lambda h: _sigmoid(h) + h * _sigmoid_slope(h)),
    "gelu": (_gelu, _gelu_slope),
    "selu": (
        lambda h: SELU_SCALE * np.where(h > 0, h, SELU_ALPHA * np.expm1(np.minimum(h, 0))),
        lambda h: SELU_SCALE * np.where(h > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(h, 0))),
    ),
    "softplus": (lambda h: np.maximum(h, 0) + np.log1p(np.exp(-np.abs(h))), _sigmoid),
    "erf": (_erf, lambda h: 2 / np.sqrt(np.pi) * np.exp(-h * h)),
    "hard-tanh": (lambda h: np.clip(h, -1.0, 1.0), lambda h: (np.abs(h) < 1).astype(np.float64)),
    "sigmoid": (_sigmoid, _sigmoid_slope),
}
