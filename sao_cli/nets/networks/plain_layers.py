"""torch's own layers with weights that are given, masked where those are sparse."""

from __future__ import annotations

from typing import Any

from torch import nn

from sao_cli.data.kernel import Kernel
from sao_cli.data.matrix import Matrix
from sao_cli.nets.initialise.sparsify import put_weight_
from sao_cli.nets.layers.blank import blank


def linear_layer(weight: Matrix, bias: bool, place: dict[str, Any]) -> nn.Linear:
    """An nn.Linear of these weights, without a draw from torch's generator, its bias 0."""
    m, n = weight.shape
    return _filled(blank(nn.Linear, n, m, bias=bias, **place), weight)


def conv_layer(kernel: Kernel, stride: int, padding: int, bias: bool, place: dict[str, Any]) -> nn.Conv2d:
    """An nn.Conv2d of these weights, masked where kernels are removed, otherwise as linear_layer."""
    kernel = kernel.as_dtype(str(place["dtype"]).removeprefix("torch."))
    c_out, c_in, *size = kernel.values.shape
    conv = blank(nn.Conv2d, c_in, c_out, tuple(size), stride, padding=padding, bias=bias, **place)
    return _filled(conv, kernel)


def _filled(layer: nn.Module, weight: Matrix | Kernel) -> nn.Module:
    put_weight_(layer, weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
