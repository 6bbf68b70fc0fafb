"""LipConvNet: the paper's 1-Lipschitz network of SOC and ECO convolutions and MaxMin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sao_cli.base.memory import MODULE_BYTES, require_layers
from sao_cli.base.names import load
from sao_cli.base.threads import one_thread
from sao_cli.catalog import SCHEMES
from sao_cli.masks.architectures import BLOCKS, LIP_IMAGE, ConvShape, conv_degrees, lipconvnet_shapes
from sao_cli.masks.degrees import check_sizes
from sao_cli.nets.initialise.matrices import whole_degree
from sao_cli.nets.layers.eco_conv import ECOConv2d
from sao_cli.nets.layers.max_min import MaxMin


class LipConvNet(nn.Module):  # type: ignore[misc]
    """LipConvNet-N of SAO's Table 4, N = `depth`: lipconvnet_shapes(depth) convolutions, each followed by MaxMin.

    Blocks 1 and 2 are of SOCConv2d, with zero padding and `terms` of its series, blocks 3 to 5 of ECOConv2d, with
    circular padding. Both fold a stride into channels, and both stay orthogonal in training. MaxMin permutes its
    inputs, so every layer's Jacobian is semi-orthogonal: an ECO layer's to rounding, an SOC layer's within its
    `error_bound`. `head` is an ECOConv2d of one pixel, which is an orthogonal linear layer (our choice; the paper
    names a linear one). So the network is 1-Lipschitz, at initialisation and after, but for those errors.

    A layer with no more outputs than inputs, folded strides counted, keeps the norm of gradients: all do but the last,
    from 512 to 1024 channels, and the first, from the image's few channels. These two keep the norm of what comes in.

    `degree` or `sparsity` makes all but the first convolution sparse, as conv_degrees tells: SAO-ECO, and on the same
    principle SAO-SOC (our choice: the paper leaves open whether its SOC layers are pruned). All are dense by neither.

    `image` is 24 or a multiple of 72; `base` is the channels of the first block, the paper's 32. The blocks are in
    `blocks`, an nn.Sequential of five. `dtype` and `device` are torch's defaults unless told.

    Raises what lipconvnet_shapes and conv_degrees raise, and MemoryLimitError for what would not fit.

    >>> model = LipConvNet(5, base=4, dtype=torch.float64)
    >>> model(torch.zeros(2, 3, 24, 24, dtype=torch.float64)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int = 5,
        *,
        image: int = LIP_IMAGE,
        channels: int = 3,
        classes: int = 10,
        base: int = 32,
        degree: int | None = None,
        sparsity: float | None = None,
        terms: int = 12,
        bias: bool = True,
        seed: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        shapes = lipconvnet_shapes(depth, image=image, channels=channels, base=base)
        require_layers(len(shapes), "a network", MODULE_BYTES)
        degrees = conv_degrees(shapes, d=whole_degree(degree), sparsity=sparsity)
        read = shapes[-1].c_out * shapes[-1].out_side ** 2
        check_sizes(classes, read)
        told = {"bias": bias, "seed": seed, "device": device, "dtype": dtype}
        layers = [
            _convolution(shape, degree, terms, layer=layer, **told)
            for layer, (shape, degree) in enumerate(zip(shapes, degrees, strict=True), 1)
        ]
        length = depth // BLOCKS
        self.blocks = nn.Sequential(*(_block(layers[start : start + length]) for start in range(0, depth, length)))
        with one_thread(min(read, classes)):
            self.head = ECOConv2d(read, classes, 1, layer=depth + 1, **told)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 32 base, side, side): what the blocks make of images (B, channels, image, image); B may be absent."""
        return self.blocks(x) if x.ndim == 4 else self.blocks(x[None])[0]  # MaxMin reads channels from axis 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores (B, classes) of images (B, channels, image, image); B may be absent."""
        return self.head(self.features(x).flatten(-3)[..., None, None]).flatten(-3)


def _convolution(shape: ConvShape, degree: int | None, terms: int, **told: Any) -> nn.Module:
    sizes = (shape.c_in, shape.c_out, shape.size, shape.stride)
    row = SCHEMES[shape.scheme]
    build: Callable[..., nn.Module] = load(row.layer)
    if "terms" in row.takes:
        return build(*sizes, terms=terms, degree=degree, **told)
    with one_thread(min(shape.c_out, shape.reads)):  # a second thread on busy cores: 15 s for the dense network, not 2
        return build(*sizes, degree=degree, **told)


def _block(convolutions: list[nn.Module]) -> nn.Sequential:
    return nn.Sequential(*(part for conv in convolutions for part in (conv, MaxMin())))
