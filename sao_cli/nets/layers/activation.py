"""The activation functions of `sao_cli.measure.layer.activations` as torch modules, by the same names."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from sao_cli.measure.layer.activations import LEAK, ActivationFunction, ThresholdShape


class Erf(nn.Module):  # type: ignore[misc]
    """The error function as a module, which torch.nn lacks.

    >>> Erf()(torch.zeros(1)).item()
    0.0
    """

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """erf(h), of the shape and dtype of `h`. O(size)."""
        return torch.erf(h)


class ThresholdActivation(nn.Module):  # type: ignore[misc]
    """relu-tau, soft-threshold, crelu and cst (ActivationFunction). Its slope is 0 at every kink.

    torch.clamp's gradient is 1 at its ends; those of relu, softshrink and hardtanh are 0.

    >>> ThresholdActivation(ActivationFunction("crelu", tau=1.0, clip=0.5))(torch.tensor([0.5, 1.25, 9.0])).tolist()
    [0.0, 0.25, 0.5]
    """

    def __init__(self, function: ActivationFunction) -> None:
        super().__init__()
        self.function, self._threshold = function, function.threshold or ThresholdShape()

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """phi(h), of the shape and dtype of `h`. O(size)."""
        tau, clip, left = self._threshold
        past = h  # softshrink by 0 would have slope 0 at 0, where an odd function without threshold has 1
        if tau:
            past = functional.softshrink(h, tau) if tau > 0 else h - tau
        past = past if left else functional.relu(past)
        return past if math.isinf(clip) else functional.hardtanh(past, -clip, clip)

    def extra_repr(self) -> str:
        """What it prints."""
        return str(self.function)


def activation_module(activation: str | ActivationFunction) -> nn.Module:
    """A new module that computes phi(h), for a name of catalog.ACTIVATIONS or an ActivationFunction.

    It has no parameters, keeps shape and dtype, and may be called as a function. Its automatic derivative is
    activation_derivative's, at kinks too. `softplus` keeps log(1 + e^h) up to h = 40, where float64 can't tell it from
    h; torch.nn.Softplus gives h from 20 on, with a derivative that is 2e-9 too large.

    Raises SaoError for another name, and for one that needs numbers too.

    >>> activation_module("relu")(torch.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    function = ActivationFunction.of(activation)
    return _MODULES[function.name]() if function.name in _MODULES else ThresholdActivation(function)


_MODULES: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky-relu": lambda: nn.LeakyReLU(LEAK),
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "selu": nn.SELU,
    "softplus": lambda: nn.Softplus(threshold=40),
    "erf": Erf,
    "hard-tanh": nn.Hardtanh,
    "sigmoid": nn.Sigmoid,
}
