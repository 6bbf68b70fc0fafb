"""Weights and biases of given variances in all layers of a network, as mean-field theory counts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import nn

from sao_cli.base.errors import SaoError
from sao_cli.base.names import check
from sao_cli.base.rng import VALUES, generator
from sao_cli.catalog import ENSEMBLES
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.measure.criticality.few_ones import warn_of_few_ones
from sao_cli.measure.criticality.moments import inactive_share
from sao_cli.measure.criticality.variance_map import starting_map
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.nets.initialise.layer_choice import CONVOLUTIONS, KINDS
from sao_cli.nets.initialise.matrices import check_gain, dtype_name
from sao_cli.nets.layers.linear import SAOLinear, SparseLinear
from sao_cli.nets.layers.orthogonal_conv import OrthogonalConv2d
from sao_cli.nets.layers.sparse_conv import SparseConv2d
from sao_cli.weights.biases import check_sigma_b, normal_biases
from sao_cli.weights.dense_laws import dense_values
from sao_cli.weights.haar import haar_blocks
from sao_cli.weights.orthogonal import orthogonal_values
from sao_cli.weights.random import random_values


def critical_(
    model: nn.Module,
    activation: str | ActivationFunction,
    *,
    q_star: float = 1.0,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
    weights: str | None = "gaussian",
    seed: int = 0,
) -> nn.Module:
    """`model`, in place, at the edge of chaos of `activation`, which follows its layers: chi_1 = 1 and V(q*) = q*.

    starting_map tells sigma_w and sigma_b, and set_variances_ draws by them, for `weights` and `seed` as there. Inputs
    are to have the mean square (q* - sigma_b^2)/sigma_w^2, which is E phi^2 at the edge of chaos, so that the outputs
    of the first layer have the variance q* too. How many hidden outputs are 0, and how fast a q off q* comes back, is
    the activation's, which sparse_activation makes by them.

    Warns (SaoWarning) where a row reads so few inputs, d, that d (1 - s) < 2 of them are not 0: sums of these are far
    from normal, and chi_1 is not 1. Raises what starting_map and set_variances_ raise; the cost of set_variances_.

    >>> from sao_cli import sparse_activation
    >>> from sao_cli.nets import activation_module
    >>> phi = sparse_activation("cst", activation_sparsity=0.85, slope=0.7)
    >>> model = critical_(nn.Sequential(nn.Linear(64, 300), activation_module(phi), nn.Linear(300, 10)), phi)
    >>> round(float(model[0].bias.detach().std()), 1)
    0.8
    """
    start = starting_map(activation, q_star, sigma_w, sigma_b)
    set_variances_(model, start.sigma_w, start.sigma_b, weights=weights, seed=seed)
    degrees = [int(mask.row_degrees.min()) for layer in _layers(model) if (mask := _mask(layer)) is not None]
    degrees += [layer.degree for layer in _layers(model) if isinstance(layer, SAOLinear)]
    if degrees:
        warn_of_few_ones(min(degrees), float(inactive_share(start.activation, q_star)))
    return model


def set_variances_(
    model: nn.Module, sigma_w: float, sigma_b: float, *, weights: str | None = "gaussian", seed: int = 0
) -> nn.Module:
    """`model`, in place: h = W x + b of each layer has the variance sigma_w^2 E[x^2] + sigma_b^2.

    Layers are nn.Linear, with a torch.nn.utils.prune mask or without, nn.Conv1d, 2d and 3d, and SAOLinear; all else
    stays as it is. Layer l, from 1 in the order of model.modules(), has the streams of layer l of `seed`, its biases
    another than its weights. `weights` is one of ENSEMBLES or None:

    - "gaussian": W_ij ~ N(0, sigma_w^2/d_i), d_i the weights that output i reads with: its fan-in, in the first and the
      last layer too, or the ones of its row of the mask;
    - "orthogonal": Haar orthogonal, in a convolution's centre tap; on a mask of an nn.Linear Haar blocks, which needs
      components that are complete, as an SAO mask's. Then, as by None, scaled;
    - None: the weights that are there, scaled so that ||W||_F^2 = m sigma_w^2. So an orthogonal W of m rows and n < m
      columns is sqrt(m/n) sigma_w Q: with less, its outputs would have n/m of the variance.

    Biases are N(0, sigma_b^2), and 0 where sigma_b is. Zero padding lets a convolution's edge have less.

    Numbers are drawn in float64 on the CPU and rounded to the layer's dtype. Raises SaoError for a sigma_w that is no
    positive finite number, a sigma_b that is none from 0 or has no bias to go to, sparse layers of other kinds, weights
    that are all 0 or leave their dtype, what dense_values and orthogonal_values raise, and then the model is as it was.
    Their cost a layer.

    >>> linear = set_variances_(nn.Linear(400, 300), 2.0, 0.5)
    >>> round(400 * float(linear.weight.detach().var()), 1), bool(linear.bias.any())
    (4.0, True)
    """
    check_gain(sigma_w)
    check_sigma_b(sigma_b)
    if weights is not None:
        check("weights", weights, ENSEMBLES)
    layers = list(_layers(model))
    if sigma_b and (bare := [number for number, layer in enumerate(layers, 1) if layer.bias is None]):
        raise SaoError(f"sigma_b {sigma_b:g} is of biases, and layer {bare[0]} has none; make it with bias=True")
    drawn = []
    for number, layer in enumerate(layers, 1):
        values, held = _DRAWN[weights](layer, number, seed), _weight(layer, number)
        scale = 1.0 if weights == "gaussian" else _root_mean_square(layer, values, number)
        drawn.append(torch.from_numpy(sigma_w / scale * values).to(held))
        if not bool(torch.isfinite(drawn[-1]).all()):
            raise SaoError(f"layer {number}: weights of this size leave the range of {dtype_name(held)}")
    with torch.no_grad():
        for number, (layer, weight) in enumerate(zip(layers, drawn, strict=True), 1):
            _put_(layer, number, weight)
    draw_biases_(layers, sigma_b, seed)
    return model


def draw_biases_(layers: Iterable[nn.Module], sigma_b: float, seed: int = 0) -> None:
    """Fill the biases of `layers`, in place, with normal_biases of their numbers from 1; those of None stay so.

    >>> draw_biases_([linear := nn.Linear(2, 2)], 0.0)
    >>> bool(linear.bias.any())
    False
    """
    for number, layer in enumerate(layers, 1):
        if layer.bias is not None:
            drawn = normal_biases(layer.bias.numel(), sigma_b, seed=seed, layer=number)
            with torch.no_grad():
                layer.bias.copy_(torch.from_numpy(drawn))


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    """The layers that have weights to set; SaoError for sparse ones whose weights are not free to be anything."""
    for module in model.modules():
        if isinstance(module, KINDS) or type(module) is SAOLinear:
            yield module
        elif isinstance(module, SparseLinear | SparseConv2d | OrthogonalConv2d):
            raise SaoError(
                f"a {type(module).__name__} holds no weights of independent values; nn.Linear, nn.Conv and SAOLinear do"
            )


def _gaussian(layer: nn.Module, number: int, seed: int) -> Values:
    shape = tuple(_weight(layer, number).shape)
    if isinstance(layer, SAOLinear):
        return generator(seed, number, VALUES).standard_normal(shape) / math.sqrt(layer.degree)
    if (mask := _mask(layer)) is None:
        return dense_values(shape, "vs-l", seed=seed, layer=number)
    return _dense(mask, random_values(mask, "normal", seed=seed, layer=number)).reshape(shape)


def _orthogonal(layer: nn.Module, number: int, seed: int) -> Values:
    shape = tuple(_weight(layer, number).shape)
    if isinstance(layer, SAOLinear):
        count, outputs, degree = shape
        return haar_blocks(count, outputs, degree, generator(seed, number, VALUES))
    mask = _mask(layer)
    if isinstance(layer, CONVOLUTIONS) and (mask is not None or layer.groups > 1):
        raise SaoError(f"layer {number}: a convolution of groups, or under a mask, is no Haar orthogonal one")
    if mask is None:
        return dense_values(shape, "orthogonal", seed=seed, layer=number)
    return _dense(mask, orthogonal_values(mask, seed=seed, layer=number))


def _given(layer: nn.Module, number: int, _: int) -> Values:
    values: Values = _weight(layer, number).detach().double().cpu().numpy()
    mask = _mask(layer)
    return values if mask is None else values * mask.to_dense().reshape(values.shape)


_DRAWN: dict[str | None, Callable[[nn.Module, int, int], Values]] = {
    "gaussian": _gaussian,
    "orthogonal": _orthogonal,
    None: _given,
}


def _root_mean_square(layer: nn.Module, values: Values, number: int) -> float:
    """||W||_F/sqrt(m): how much larger the outputs of unit inputs are."""
    rows = values.shape[0] * values.shape[1] if isinstance(layer, SAOLinear) else values.shape[0]
    norm = float(np.linalg.norm(values))
    if not norm:
        raise SaoError(f"layer {number}: its weights are all 0, and no factor gives them a variance")
    return norm / math.sqrt(rows)


def _weight(layer: nn.Module, number: int) -> nn.Parameter:
    weight = layer._parameters.get("weight_orig", layer._parameters.get("weight"))
    if weight is None or nn.parameter.is_lazy(weight):
        raise SaoError(f"layer {number}: its weight is computed from other parameters, or has no size yet")
    return weight


def _mask(layer: nn.Module) -> Mask | None:
    """The (m, fan_in) mask of torch.nn.utils.prune, where there is one."""
    return Mask.from_torch(layer.weight_mask.flatten(1)) if hasattr(layer, "weight_mask") else None


def _dense(mask: Mask, values: Values) -> Values:
    return np.asarray(Matrix(mask, values).to_dense())


def _put_(layer: nn.Module, number: int, values: torch.Tensor) -> None:
    _weight(layer, number).copy_(values)
    if hasattr(layer, "weight_mask"):  # what the next forward computes, for those who read it before
        layer.weight = layer.weight_orig * layer.weight_mask
