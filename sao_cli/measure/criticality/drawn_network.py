"""One network that is drawn, its weights and all: what its layers do at several inputs, beside what chains foretell."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.rng import BIASES, INPUTS, VALUES, generator
from sao_cli.data.arrays import Values
from sao_cli.measure.criticality.variance_map import VarianceMap
from sao_cli.measure.layer.activations import activation_value


class DrawnSignals(NamedTuple):
    """Of each input at each layer, (inputs, depth) float64: the mean square of h_l, and the share of zeros phi(h_l)."""

    q: Values
    inactive: Values


def drawn_signals(
    variance_map: VarianceMap, q: float, *, depth: int, width: int, inputs: int = 64, seed: int = 0
) -> DrawnSignals:
    """What one network of `depth` layers of `width` units does at Gaussian inputs that give layer 1 the variance `q`.

    h_1 = W_1 x + b_1 and h_{l+1} = W_{l+1} phi(h_l) + b_{l+1}, W ~ N(0, sigma_w^2/width), b ~ N(0, sigma_b^2), and x ~
    N(0, (q - sigma_b^2)/sigma_w^2). Chains are of one input in many networks: here inputs share their weights, and so
    what these do to q. Values beyond float64 are infinite or NaN.

    Raises SaoError for a size below 1 and a q that the biases alone pass, MemoryLimitError for what would not fit.
    O(depth width^2 inputs).

    >>> from sao_cli.measure.criticality.variance_map import edge_of_chaos
    >>> found = drawn_signals(edge_of_chaos("relu"), 1.0, depth=3, width=50)
    >>> found.q.shape, found.inactive.shape
    ((64, 3), (64, 3))
    """
    for name, number in (("depth", depth), ("width", width), ("inputs", inputs)):
        if number < 1:
            raise SaoError(f"{name} {number}: it is a whole number from 1")
    square = q - variance_map.sigma_b**2
    if square < 0 or not variance_map.sigma_w:
        raise SaoError(f"q {q}: biases alone give {variance_map.sigma_b**2:g}, and no input has less")
    require_memory(8.0 * (2 * width**2 + inputs * (3 * width + 2 * depth)), "a network's layer", "choose fewer units")
    x = math.sqrt(square) / variance_map.sigma_w * generator(seed, 0, INPUTS).standard_normal((inputs, width))
    found = DrawnSignals(np.empty((inputs, depth)), np.empty((inputs, depth)))
    with np.errstate(over="ignore", invalid="ignore"):
        for layer in range(depth):
            weight = generator(seed, layer, VALUES).standard_normal((width, width))
            bias = generator(seed, layer, BIASES).standard_normal(width)
            h = variance_map.sigma_w / math.sqrt(width) * (x @ weight.T) + variance_map.sigma_b * bias
            x = activation_value(variance_map.activation, h)
            found.q[:, layer], found.inactive[:, layer] = np.square(h).mean(axis=1), (x == 0).mean(axis=1)
    return found
