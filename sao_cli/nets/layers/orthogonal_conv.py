"""What convolutions that stay orthogonal share: strides as channels, and groups of channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad as padded

from sao_cli.base.errors import SaoError
from sao_cli.data.mask import Indices
from sao_cli.masks.degrees import resolve_degree
from sao_cli.masks.sao import sao_mask
from sao_cli.nets.initialise.matrices import whole_degree
from sao_cli.nets.layers.linear import equal_groups
from sao_cli.weights.kernels.channels import checked_size


class OrthogonalConv2d(nn.Module):  # type: ignore[misc]
    """What ECOConv2d and SOCConv2d share: the stride by space-to-depth, and channels in K disjoint groups.

    The c_in s^2 channels after torch.nn.functional.pixel_unshuffle and the c_out outputs are channels of a square
    convolution with c = max(c_in s^2, c_out) of both: missing inputs are zeros, and the first c_out outputs are
    selected (SAO, section IV-C). A degree d, a divisor of c, splits those into K = c/d groups of d inputs and d
    outputs, by sao_mask(c, c, d). The buffers `inputs` (K, q) and `places` (c_out,) say which, as in SAOLinear; they
    are None where K is 1.
    """

    weight: nn.Parameter
    bias: Tensor | None
    inputs: Tensor | None
    places: Tensor | None

    # (B, K r, ...) outputs by group, of (B, K q, ...) inputs by group
    _convolved: Callable[[Tensor], Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int,
        degree: int | None,
        seed: int,
        layer: int,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        for name, number in (("in_channels", in_channels), ("out_channels", out_channels), ("stride", stride)):
            if number < 1:
                raise SaoError(f"{name} {number}; it is a whole number from 1")
        if (dtype or torch.get_default_dtype()) not in (torch.float32, torch.float64):
            raise SaoError(f"{dtype or torch.get_default_dtype()} is too coarse; choose torch.float32 or torch.float64")
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride
        self.kernel_size = checked_size(kernel_size, 2)
        degree = whole_degree(degree)
        self.degree = None if degree is None else resolve_degree(self.channels, self.channels, d=degree)
        self.seed, self.layer = seed, layer

    @property
    def channels(self) -> int:
        """c = max(c_in s^2, c_out), the channels of the square convolution."""
        return max(self.in_channels * self.stride**2, self.out_channels)

    @property
    def groups(self) -> int:
        """K = c/d, the number of groups of channels; 1 where no degree was asked for."""
        return 1 if self.degree is None else self.channels // self.degree

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_out, n_1/s, n_2/s) of images (B, c_in, n_1, n_2), or without B. SaoError for images that do not fit."""
        batch = x if x.ndim == 4 else x[None]
        if batch.ndim != 4 or batch.shape[1] != self.in_channels:
            raise SaoError(
                f"an input of shape {tuple(x.shape)}; this convolution reads (B, {self.in_channels}, n_1, n_2)"
            )
        sides = batch.shape[2:]
        if min(sides) < 1 or any(side % self.stride for side in sides):
            raise SaoError(
                f"an image of {sides[0]} x {sides[1]} for stride {self.stride}; its sides must be multiples of it"
            )
        out = self._selected(self._convolved(self._gathered(_space_to_depth(batch, self.stride))))
        return out if x.ndim == 4 else out[0]

    def extra_repr(self) -> str:
        """The layer's sizes, as print shows them."""
        sizes = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        sparse = "" if self.degree is None else f", degree={self.degree}, groups={self.groups}"
        return f"{sizes}{sparse}, bias={self.bias is not None}"

    def _set_groups(self, inputs: Indices, outputs: Indices, device: Any) -> None:
        """Take group k's inputs from inputs[k] and put its outputs at outputs[k]; what is above c_out is dropped."""
        self._width = int(inputs.max()) + 1  # the channels that are read, zeros among them
        if self.groups == 1:
            self.inputs = self.places = None  # as no buffers: torch.export (2.13) counts buffers that are None
            return
        places = np.argsort(outputs.reshape(-1), kind="stable")[: self.out_channels]
        self.register_buffer("inputs", torch.as_tensor(inputs.astype(np.int64), device=device))
        self.register_buffer("places", torch.as_tensor(places, device=device))

    def _gathered(self, x: Tensor) -> Tensor:
        if (missing := self._width - x.shape[1]) > 0:
            x = padded(x, (0, 0, 0, 0, 0, missing))
        return x if self.inputs is None else x.index_select(1, self.inputs.flatten())

    def _selected(self, out: Tensor) -> Tensor:
        out = out[:, : self.out_channels] if self.places is None else out.index_select(1, self.places)
        return out if self.bias is None else out + self.bias.to(out.dtype)[:, None, None]

    def _groups_of_channels(self) -> tuple[Indices, Indices]:
        """(K, d) inputs and (K, d) outputs of the groups, each ascending, among the c channels."""
        c = self.channels
        if self.degree is None:
            return np.arange(c)[None], np.arange(c)[None]
        return equal_groups(sao_mask(c, c, self.degree, seed=self.seed, layer=self.layer))


def _space_to_depth(x: Tensor, stride: int) -> Tensor:
    """torch.nn.functional.pixel_unshuffle, which (2.13) leaves an empty batch its sides."""
    blocks = x.unflatten(3, (-1, stride)).unflatten(2, (-1, stride))
    return blocks.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


def own_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """A context without autocast on the device of `tensor`: what must be exact stays in its dtype."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
