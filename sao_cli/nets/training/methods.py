"""What the methods' names mean: how a network is made, and how and when it is pruned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import prune

from sao_cli.catalog import ARCHITECTURES, DATA, TRAIN_METHODS
from sao_cli.nets.initialise.critical import critical_
from sao_cli.nets.initialise.laws import initialise_by_
from sao_cli.nets.initialise.sparsify import effective_weight
from sao_cli.nets.layers.linear import SparseLinear
from sao_cli.nets.layers.rare_linear import RareLinear
from sao_cli.nets.networks.cnn import CNN
from sao_cli.nets.networks.fnn import FNN
from sao_cli.nets.networks.lenet5 import LeNet5
from sao_cli.nets.networks.lipconvnet import LipConvNet
from sao_cli.nets.training.rare_training import make_rare_
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.pruning.keep import warn_of_collapse
from sao_cli.pruning.pruner import Prunable, Pruner
from sao_cli.pruning.rules import RulePruner

Kept = dict[str, NDArray[np.bool_]]


def build_model(settings: TrainingSettings, channels: int, side: int, classes: int) -> nn.Module:
    """The network of `settings`, resolved ones, as it is before training, for images (channels, side, side).

    The FNN for digits has the widths 64, `width` ... `width`, 10: the paper's without its two layers that narrow 1024
    inputs down to 256. For other data they are there: inputs, 2 `width`, `width` ... `width`, classes, which is SAO's
    Table 1 for images of 1024 pixels. Listed widths are those between inputs and classes, whatever the data. The CNN on
    cifar100 and cinic10 ends as the paper's does, without pooling.

    At the edge of chaos each layer is scaled to sigma_w by its own fan-in, the first and the last too, and has biases;
    dense weights are Gaussian there but for init orthogonal. A digits' FNN of depth N has N + 1 weight matrices.

    A method that prunes is dense here, and orthogonal where `init` names no other law; prune_ makes it sparse. With
    `rare` the matrices are RareLinear layers of the same weights. Raises what the networks and initialise_by_ raise.

    >>> settings = TrainingSettings(depth=3, width=16).resolved()
    >>> build_model(settings, channels=1, side=8, classes=10).widths
    [64, 16, 16, 16, 10]
    """
    model = _built(settings, channels, side, classes)
    if settings.init is not None:
        assert settings.gain is not None
        initialise_by_(model, settings.init, gamma=settings.init_gamma, gain=settings.gain, seed=settings.seed)
    if settings.critical:
        assert settings.function is not None
        assert settings.q_star is not None
        told: dict[str, Any] = {"q_star": settings.q_star, "sigma_w": settings.sigma_w, "sigma_b": settings.sigma_b}
        weights = "gaussian" if _gaussian(settings) else None  # others have values of their own, of some variance
        critical_(model, settings.function, **told, weights=weights, seed=settings.seed)
    if settings.rare is not None:
        make_rare_(model, frobenius=bool(settings.frobenius), dropout=settings.dropout or 0.0)
    return model


def _gaussian(settings: TrainingSettings) -> bool:
    return settings.critical and TRAIN_METHODS[settings.method].dense and settings.init is None


def _built(settings: TrainingSettings, channels: int, side: int, classes: int) -> nn.Module:
    method = "dense" if TRAIN_METHODS[settings.method].dense else settings.method
    row, data = ARCHITECTURES[settings.arch], DATA[settings.data]
    depth, width = settings.sizes
    target = {"degree": settings.d, "sparsity": settings.sparsity} if method != "dense" else {}
    told = {**target, "seed": settings.seed, "dtype": getattr(torch, settings.dtype)}
    images: dict[str, Any] = {"image": side, "channels": channels, "classes": classes}
    if row.fixed:
        if method == "sao" and settings.d is None and settings.sparsity is None:
            told["degree"] = 4
        return LipConvNet(depth, base=width, **images, **told)
    told |= {"method": method, "activation": settings.function, "gain": settings.gain}
    if row.image and row.widths:
        return LeNet5(**images, **told)
    told["layers"] = settings.layers
    if row.image:
        told |= {"looks_linear": False} if settings.init is not None else {}  # its values are drawn anew
        return CNN(depth, width, form=data.form, **images, **told)
    if _gaussian(settings):
        told["values"] = "normal"  # drawn again, as all values are, but not by a QR of each layer
    inputs = channels * side**2
    if settings.hidden:  # of one layer, none is left between two ends: all are the same where it is dense
        return FNN(1, [inputs, *settings.hidden, classes], dense_ends=len(settings.hidden) > 1, **told)
    narrowing = [] if data.bundled else [2 * width]
    return FNN(depth, [inputs, *narrowing, width, classes], **told)


def prune_(model: nn.Module, settings: TrainingSettings) -> Pruner:
    """Prune `model`, any but a LipConvNet, in place by the rule of the method of `settings` (SAO, section III-E).

    What it keeps is told by pruning.rules.RulePruner; of a convolution it keeps or drops whole kernels. The first and
    the last layer stay dense, but for `all_layers`. Masks are torch.nn.utils.prune's, and what is pruned becomes
    exactly 0. Of a dense network fresh from build_model it leaves what FNN(method=...) has. A SaoWarning tells of
    layers of which nothing is left. Gives what chose. O(weights).

    >>> settings = TrainingSettings(method="lmp-s", depth=3, width=16).resolved()
    >>> model = build_model(settings, 1, 8, 10)
    >>> _ = prune_(model, settings)
    >>> [int(layer.weight_mask.sum()) for layer in prunable(model)]
    [64, 64]
    """
    rule = TRAIN_METHODS[settings.method].rule
    pruner = RulePruner(rule, d=settings.d, sparsity=settings.sparsity, seed=settings.seed)
    layers = prunable(model, settings.prunes_ends)
    taps = [layer.weight[0, 0].numel() for layer in layers]
    unit = math.gcd(*taps)  # so that equal kernels count as one each, as when built
    first = 1 if settings.prunes_ends else 2
    prune_layers_(
        {f"layer {number}": layer for number, layer in enumerate(layers, first)}, pruner, [one // unit for one in taps]
    )
    return pruner


def prune_layers_(
    layers: Mapping[str, nn.Module], pruner: Pruner, sizes: Sequence[int], before: Callable[[], None] = lambda: None
) -> None:
    """Mask the `layers`, by name, by what the pruner keeps of them all; a unit of each counts as its size.

    `before` is called when it is known what stays, and nothing is masked yet. A SaoWarning tells of layers of which
    nothing is left. O(weights).
    """
    weights = [
        _as_prunable(name, layer, number, size)
        for number, ((name, layer), size) in enumerate(zip(layers.items(), sizes, strict=True), 1)
    ]
    pruner.prepare(weights)
    masks = [pruner.mask(weight, weight.read()) for weight in weights]
    before()
    for layer, mask in zip(layers.values(), masks, strict=True):
        kept = torch.from_numpy(mask.to_dense())
        mask_(layer, kept if kept.numel() < layer.weight.numel() else kept.view(layer.weight.shape))
    warn_of_collapse([name for name, mask in zip(layers, masks, strict=True) if not mask.nnz])


def prunable(model: nn.Module, all_layers: bool = False) -> list[nn.Module]:
    """The layers that are sparse or may be pruned, first layer first: without the network's first and its last, or all.

    Of a LipConvNet, whose layers are computed from their parameters, there are none.
    """
    if isinstance(model, LipConvNet):
        return []
    layers = [part for part in model.net if next(part.parameters(), None) is not None]
    if isinstance(model, CNN):
        layers.append(model.classifier)
    return layers if all_layers else layers[1:-1]


def mask_(layer: nn.Module, kept: Tensor) -> None:
    """Mask an nn.Linear or convolution by torch.nn.utils.prune where `kept`, booleans, is False.

    It is (m, n), or of the weight's shape.
    """
    shape = layer.weight.shape
    mask = kept.view(*kept.shape, *[1] * (len(shape) - kept.ndim)).expand(shape).to(layer.weight.device)
    with torch.no_grad():
        layer.weight.mul_(mask)
        prune.custom_from_mask(layer, "weight", mask)


def kept_places(model: nn.Module, all_layers: bool = False) -> Kept:
    """Where each of the prunable layers may have weights, booleans by the layer's name.

    They are of the weight's shape, or (m, n) of a layer of blocks. By its mask or its blocks' places, not by its
    values. O(weights).
    """
    names = {id(module): name for name, module in model.named_modules()}
    return {names[id(layer)]: _kept(layer) for layer in prunable(model, all_layers)}


def require_zeros(model: nn.Module, kept: Kept) -> None:
    """Raise RuntimeError, which is a bug and never the user's fault, where a weight outside `kept` is not exactly 0."""
    modules = dict(model.named_modules())
    for name, places in kept.items():
        weight = dense_weight_of(modules[name]).cpu().numpy()
        outside = np.count_nonzero(weight[~places])
        if outside:
            raise RuntimeError(f"{outside} weights of layer {name!r} that its mask excludes are not zero")


def dense_weight_of(layer: nn.Module) -> Tensor:
    """The weight that the layer's next forward uses as a dense tensor, detached, with exact zeros."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return effective_weight(layer)
    dense: Tensor = layer.to_dense().detach()
    return dense


def _kept(layer: nn.Module) -> NDArray[np.bool_]:
    if hasattr(layer, "weight_mask"):
        return np.asarray((layer.weight_mask != 0).cpu().numpy())
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return np.ones(tuple(layer.weight.shape), dtype=bool)
    if isinstance(layer, RareLinear):
        return np.ones((layer.out_features, layer.in_features), dtype=bool)
    if isinstance(layer, SparseLinear):
        kept = np.zeros((layer.out_features, layer.in_features), dtype=bool)
        np.put_along_axis(kept, layer.entries()[0].cpu().numpy(), True, axis=1)
        return kept
    return np.asarray(layer.to_kernel().mask.to_dense())


def _as_prunable(name: str, layer: nn.Module, number: int, size: int) -> Prunable:
    """The layer's weight, whose kernels count as `size` each."""
    shape = tuple(layer.weight.shape)
    return Prunable(shape[0], shape[1], number, partial(_numbers, layer), size, name=name, shape=shape)


def _numbers(layer: nn.Module) -> NDArray[Any]:
    return np.asarray(effective_weight(layer).cpu().numpy())
