"""The activation functions of `sao_cli.measure.layer.activations` as torch modules, by the same names."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from sao_cli.measure.layer.activations import LEAK, check_activation


class Erf(nn.Module):  # type: ignore[misc]
    """The error function as a module, which torch.nn lacks.

    >>> Erf()(torch.zeros(1)).item()
    0.0
    """

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """erf(h), of the shape and dtype of `h`. O(size)."""
        return torch.erf(h)


def activation_module(activation: str) -> nn.Module:
    """A new module that computes phi(h), for one of the names of `sao_cli.measure.layer.activations.ACTIVATIONS`.

    It has no parameters, keeps shape and dtype, and may be called as a function. Its automatic derivative is
    activation_derivative's, at kinks too. `softplus` keeps log(1 + e^h) up to h = 40, where float64 can't tell it from
    h; torch.nn.Softplus gives h from 20 on, with a derivative that is 2e-9 too large.

    Raises SaoError for another name.

    >>> activation_module("relu")(torch.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    check_activation(activation)
    return _MODULES[activation]()


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
