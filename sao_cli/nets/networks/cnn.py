"""The paper's vanilla convolutional network, for any depth, width and method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.base.memory import MODULE_BYTES, require_layers, require_memory
from sao_cli.base.names import check
from sao_cli.base.threads import one_thread
from sao_cli.catalog import FORMS, KERNEL_METHODS, LAYERS, METHODS, SCHEMES, SIZED_SCHEMES
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.masks.architectures import ConvShape, cnn_shapes
from sao_cli.masks.degrees import DEFAULT_DEGREE, check_sizes, density_of, resolve_degree
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.nets.initialise.matrices import check_gain, whole_degree
from sao_cli.nets.initialise.sparsify import effective_weight
from sao_cli.nets.layers.activation import activation_module
from sao_cli.nets.networks.plain_layers import conv_layer, linear_layer
from sao_cli.weights.kernels.build_kernels import build_kernel
from sao_cli.weights.orthogonal import dense_weight


class CNN(nn.Module):  # type: ignore[misc]
    """The vanilla CNN of SAO's section III-D.1: cnn_shapes(depth, width) convolutions, initialised by any method.

    Each is 3 x 3 with zero padding 1 and followed by `activation`, one of ACTIVATIONS, without normalisation or
    shortcuts; the second and the third have stride 2. Then the "cifar10" form averages over the image, and the
    "cinic10" and "cifar100" forms have two more convolutions with stride 2, whose outputs are flattened (our reading),
    before a linear classifier. `image` is the side for which that is built, and `channels` those of the images.

    `method`, `scheme`, `degree` (kernels a row), `sparsity` and `seed` are those of build_kernel, and layer l of
    the network is its layer l; the degree is the feasible one nearest to 4 by neither option. The first convolution and
    the classifier are dense, "excluded from pruning" (SAO, section IV-C), and orthogonal by the same scheme. Biases
    begin at 0, and the `gain` on every layer is 1, as the paper's CNNs have "no weight rescaling".

    With "delta" every convolution of stride 1 has all singular values 1 (times gain). "eco" kernels have not, behind
    zero padding and without dilation: ECOConv2d and LipConvNet are what is orthogonal. "normal" and "uniform" are
    baselines.

    `looks_linear` (SAO, Eq. 5, for ReLU) makes each layer [[H, -H], [-H, H]] of half the channels and half the degree,
    the first one [H; -H] and the classifier [H, -H] (Balduzzi et al., ICML 2017). Pairs z, -z of channels then pass
    a ReLU without loss, and the network is linear at initialisation. "auto" does so for the activation "relu", the
    scheme "delta", and methods that keep its values.

    `layers="masked"` keeps a sparse layer as an nn.Conv2d with a torch.nn.utils.prune mask; "blocks" keeps it as an
    SAOConv2d of the same weights, that has and uses the kept kernels alone. That needs method "sao".

    `dtype` and `device` are torch's defaults unless told. torch's random state is left alone. `net` is an nn.Sequential
    of convolutions and activations, and `classifier` an nn.Linear. Takes (..., channels, image, image).

    Raises InfeasibleError for sizes and degrees that can't be, SaoError for unknown names and options that do not go
    together, MemoryLimitError for what would not fit. The cost is build_kernel's a layer.

    >>> model = CNN(4, 16, degree=4)
    >>> [kernel.mask.nnz for kernel in model.kernels()]
    [48, 64, 64, 64]
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int = 32,
        width: int = 32,
        *,
        form: str = "cifar10",
        image: int = 32,
        channels: int = 3,
        classes: int = 10,
        method: str = "sao",
        scheme: str = "delta",
        degree: int | None = None,
        sparsity: float | None = None,
        looks_linear: bool | str = "auto",
        activation: str | ActivationFunction = "tanh",
        gain: float = 1.0,
        bias: bool = True,
        layers: str = "masked",
        seed: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shapes = cnn_shapes(depth, width, form=form, image=image, channels=channels)
        check("layers", layers, LAYERS)
        check("scheme of a CNN", scheme, SIZED_SCHEMES)
        check("method", method, KERNEL_METHODS)
        activation = ActivationFunction.of(activation)
        check_gain(gain)
        if degree is not None and sparsity is not None:
            raise SaoError("degree and sparsity each fix the density; give one of them")
        if sparsity is not None:
            density_of(sparsity)  # which no layer would check where the first is the only one
        place = {"device": device or torch.get_default_device(), "dtype": dtype or torch.get_default_dtype()}
        _require_network_memory(shapes, layers, place)
        linear = _is_looks_linear(looks_linear, activation, scheme, method)
        asked = {"method": method, "d": whole_degree(degree), "sparsity": sparsity, "looks_linear": linear}
        asked |= {"scheme": scheme, "gain": gain, "seed": seed}
        make = _masked_layer if layers == "masked" else _block_layer
        first = _first_kernel(shapes[0], linear, {"scheme": scheme, "gain": gain, "seed": seed})
        convolutions = [_conv(shapes[0], first, bias, place)]
        convolutions += [make(shape, layer, asked, bias, place) for layer, shape in enumerate(shapes[1:], 2)]
        self.net = nn.Sequential(*(part for conv in convolutions for part in (conv, activation_module(activation))))
        pooled = FORMS[form].pooled
        self.pool = nn.AdaptiveAvgPool2d(1) if pooled else nn.Identity()
        read = width if pooled else width * shapes[-1].out_side ** 2
        self.classifier = _classifier(read, classes, len(shapes) + 1, linear, gain, seed, bias, place)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width, side, side): what the last convolution's activation makes of images (..., channels, n, n)."""
        return self.net(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores (..., classes) of images (..., channels, n, n); any n in the "cifar10" form, else `image`."""
        return self.classifier(self.pool(self.features(x)).flatten(-3))

    def kernels(self) -> list[Kernel]:
        """The kernels that the next forward uses, first layer first, with their masks, in the parameters' dtype.

        >>> CNN(2, 8, degree=4).kernels()
        [Kernel(8 x 3 x 3 x 3, kernels=24, float32), Kernel(8 x 8 x 3 x 3, kernels=32, float32)]
        """
        return [_kernel(module) for module in list(self.net)[::2]]


def _is_looks_linear(asked: bool | str, activation: ActivationFunction, scheme: str, method: str) -> bool:
    if asked == "auto":
        return activation.name == "relu" and SCHEMES[scheme].central and not METHODS[method].own_law
    if isinstance(asked, bool):
        return asked
    raise SaoError(f'looks_linear {asked!r}; it is True, False, or "auto"')


def _first_kernel(shape: ConvShape, looks_linear: bool, asked: dict[str, Any]) -> Kernel:
    """The dense kernel of the first layer: [H; -H] where the network looks linear."""
    if looks_linear and shape.c_out % 2:
        raise InfeasibleError(f"width {shape.c_out} is odd, and a looks-linear layer halves it; choose another")
    rows = shape.c_out // 2 if looks_linear else shape.c_out
    kernel = build_kernel(rows, shape.c_in, shape.size, method="dense", layer=1, **asked)
    return Kernel.from_dense(np.concatenate([kernel.values, -kernel.values])) if looks_linear else kernel


def _masked_layer(shape: ConvShape, layer: int, asked: dict[str, Any], bias: bool, place: dict[str, Any]) -> nn.Module:
    return _conv(shape, build_kernel(shape.c_out, shape.c_in, shape.size, layer=layer, **asked), bias, place)


def _block_layer(shape: ConvShape, layer: int, asked: dict[str, Any], bias: bool, place: dict[str, Any]) -> nn.Module:
    from sao_cli.nets.layers.sao_conv import SAOConv2d

    if asked["method"] != "sao":
        raise SaoError(f'layers="blocks" are of method \'sao\', not {asked["method"]!r}; choose layers="masked"')
    half = 2 if asked["looks_linear"] else 1
    d = asked["d"]
    if d is None and half == 2 and asked["sparsity"] is None:
        d = DEFAULT_DEGREE  # as build_kernel, which gives it to the whole of [[H, -H], [-H, H]]
    elif d is None:
        d = half * resolve_degree(shape.c_out // half, shape.c_in // half, sparsity=asked["sparsity"])
    told = {name: asked[name] for name in ("scheme", "looks_linear", "gain", "seed")}
    return SAOConv2d(
        shape.c_in, shape.c_out, shape.size, shape.stride, 1, degree=d, bias=bias, layer=layer, **told, **place
    )


def _conv(shape: ConvShape, kernel: Kernel, bias: bool, place: dict[str, Any]) -> nn.Conv2d:
    return conv_layer(kernel, shape.stride, 1, bias, place)


def _classifier(
    n: int, classes: int, layer: int, looks_linear: bool, gain: float, seed: int, bias: bool, place: dict[str, Any]
) -> nn.Linear:
    """The dense orthogonal nn.Linear at the end: [H, -H] where the network looks linear."""
    check_sizes(classes, n)
    n = n // 2 if looks_linear else n
    with one_thread(min(n, classes)):
        weight = dense_weight(classes, n, seed=seed, layer=layer).to_dense() * gain
    if looks_linear:
        weight = np.concatenate([weight, -weight], axis=1)
    return linear_layer(Matrix.from_dense(weight), bias, place)


def _kernel(layer: nn.Module) -> Kernel:
    if not isinstance(layer, nn.Conv2d):
        return layer.to_kernel()  # type: ignore[no-any-return]
    kernel = Kernel.of(effective_weight(layer))
    if not hasattr(layer, "weight_mask"):
        return kernel
    kept = layer.weight_mask.flatten(2).any(-1).cpu().numpy()  # trained values may be zero where a kernel is kept
    return Kernel(kernel.values, Mask.from_dense(kept), kernel.dtype)


def _require_network_memory(shapes: Sequence[ConvShape], layers: str, place: dict[str, Any]) -> None:
    require_layers(len(shapes), "a network", MODULE_BYTES)
    if torch.device(place["device"]).type == "cpu" and layers == "masked":
        needed = 3 * sum(shape.weights for shape in shapes) * place["dtype"].itemsize  # weight, mask, their product
        require_memory(needed, f"{len(shapes)} masked layers", 'choose layers="blocks", or smaller sizes')
