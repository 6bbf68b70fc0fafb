"""Dense initial weights of one law in all layers of a network."""

from __future__ import annotations

import torch
from torch import nn

from sao_cli.base.errors import SaoError
from sao_cli.nets.initialise.layer_choice import KINDS
from sao_cli.nets.initialise.matrices import check_gain, dtype_name
from sao_cli.weights.dense_laws import dense_values


def initialise_by_(
    model: nn.Module, law: str, *, gamma: float | None = None, gain: float = 1.0, seed: int = 0
) -> nn.Module:
    """`model`, in place: the weight of each nn.Linear and convolution is dense_values times `gain`, its bias 0.

    Layer l, from 1 in the order of model.modules(), has the stream of layer l of `seed`. Numbers are drawn in float64
    on the CPU and rounded to the weight's dtype; all else stays as it is, and so does the model where this raises.

    Raises what dense_values raises, and SaoError for a gain that is no positive finite number and for weights that
    leave their dtype. Its cost a layer.

    >>> linear = initialise_by_(nn.Linear(400, 300), "normal", gamma=0.01, seed=1)
    >>> round(float(linear.weight.detach().std()), 2), bool(linear.bias.any())
    (0.1, False)
    """
    check_gain(gain)
    layers = [module for module in model.modules() if isinstance(module, KINDS)]
    drawn = []
    for number, layer in enumerate(layers, 1):
        values = gain * dense_values(layer.weight.shape, law, gamma=gamma, seed=seed, layer=number)
        drawn.append(torch.from_numpy(values).to(layer.weight))
        if not bool(torch.isfinite(drawn[-1]).all()):
            raise SaoError(f"layer {number}: weights of this size leave the range of {dtype_name(layer.weight)}")
    with torch.no_grad():
        for layer, weight in zip(layers, drawn, strict=True):
            layer.weight.copy_(weight)
            if layer.bias is not None:
                layer.bias.zero_()
    return model
