"""LeNet-5 as Caffe has it, the small convolutional network of the pruning literature, by any method."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sao_cli.base.errors import InfeasibleError
from sao_cli.catalog import ARCHITECTURES
from sao_cli.data.kernel import Kernel
from sao_cli.data.matrix import Matrix
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.nets.initialise.matrices import check_gain, whole_degree
from sao_cli.nets.layers.activation import activation_module
from sao_cli.nets.networks.plain_layers import conv_layer, linear_layer
from sao_cli.weights.kernels.build_kernels import build_kernel

TAPS, POOL = 5, 2
LEAST_IMAGE = 16  # of which one pixel is left after the second pooling


class LeNet5(nn.Module):  # type: ignore[misc]
    """20 and 50 kernels of 5 x 5 without padding, each followed by a 2 x 2 max pooling, 500 neurons, and the classes.

    LeNet-5 of LeCun et al. (Proc. IEEE 86, 1998) as Caffe's MNIST example has it, which is what SNIP and others prune:
    430,500 weights for grey images of 28 x 28. There one ReLU follows the 500 neurons; here `activation`, one of
    ACTIVATIONS, follows every hidden layer, before its pooling (our choice, and most implementations').

    `method`, `degree`, `sparsity`, `gain` and `seed` are those of build_kernel, and layer l is its layer l; a linear
    layer is one of 1 x 1 kernels. The first convolution and the last layer are dense, as in CNN. Biases begin at 0.
    Kernels are delta-orthogonal by default: one tap of 25 is not 0.

    `image` is the side of the images, 16 at least, and `channels` theirs. `dtype` and `device` are torch's defaults
    unless told. torch's random state is left alone. `net` is an nn.Sequential. Takes (..., channels, image, image).

    Raises InfeasibleError for smaller images and for degrees that can't be, SaoError for unknown names.

    >>> model = LeNet5(image=28)
    >>> sum(parameter.numel() for parameter in model.parameters() if parameter.ndim > 1)
    430500
    >>> model(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        image: int = 28,
        channels: int = 1,
        classes: int = 10,
        method: str = "dense",
        degree: int | None = None,
        sparsity: float | None = None,
        activation: str | ActivationFunction = "relu",
        gain: float = 1.0,
        bias: bool = True,
        seed: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        activation = ActivationFunction.of(activation)
        check_gain(gain)
        first, second, hidden = ARCHITECTURES["lenet5"].widths
        sizes = [(first, channels, TAPS), (second, first, TAPS)]
        sizes += [(hidden, second * _left(image) ** 2, 1), (classes, hidden, 1)]
        place = {"device": device or torch.get_default_device(), "dtype": dtype or torch.get_default_dtype()}
        asked = {"method": method, "d": whole_degree(degree), "sparsity": sparsity}
        dense = {"method": "dense"}
        kernels = [
            build_kernel(*size, gain=gain, seed=seed, layer=layer, **(asked if 1 < layer < len(sizes) else dense))
            for layer, size in enumerate(sizes, 1)
        ]
        parts: list[nn.Module] = []
        for kernel in kernels[:2]:
            parts += [conv_layer(kernel, 1, 0, bias, place), activation_module(activation), nn.MaxPool2d(POOL)]
        linear = [linear_layer(_matrix(kernel), bias, place) for kernel in kernels[2:]]
        self.net = nn.Sequential(*parts, nn.Flatten(-3), linear[0], activation_module(activation), linear[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores (..., classes) of images (..., channels, image, image)."""
        return self.net(x)


def _left(image: int) -> int:
    """The side of what the second pooling gives."""
    if image < LEAST_IMAGE:
        raise InfeasibleError(
            f"image {image}: two 5 x 5 convolutions and poolings leave nothing of it; LeNet-5 reads images of "
            f"{LEAST_IMAGE} pixels at least"
        )
    for _ in range(2):
        image = (image - TAPS + 1) // POOL
    return image


def _matrix(kernel: Kernel) -> Matrix:
    """A kernel of one tap as the matrix that it is."""
    mask = kernel.mask
    return Matrix(mask, kernel.values[mask.entry_rows, mask.indices, 0, 0])
