"""`SAOConv2d`: a 2-D convolution on an SAO mask that holds, and convolves with, its K blocks of kernels alone."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.base.names import check
from sao_cli.base.rng import VALUES, generator
from sao_cli.catalog import SCHEMES
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Indices, Mask
from sao_cli.masks.degrees import divisors
from sao_cli.masks.sao import sao_mask
from sao_cli.nets.initialise.matrices import check_gain, whole_degree
from sao_cli.nets.layers.frame import Frame, Sizes
from sao_cli.nets.layers.linear import equal_groups
from sao_cli.nets.layers.sparse_conv import SparseConv2d, require_range
from sao_cli.weights.haar import haar_blocks
from sao_cli.weights.kernels.build_kernels import build_kernel

# Channels of a group for which oneDNN has a vectorised gradient of the weights. Of narrower groups it takes three times
# as long as of groups made as wide by zeros, which cost the forward pass a quarter more.
LANES = {torch.float32: 8, torch.bfloat16: 16, torch.float16: 16}


class SAOConv2d(SparseConv2d):
    """A 2-D convolution on an SAO mask: K = c_in/d disjoint groups of d inputs and c outputs, all joined by kernels.

    Parameters are `weight` (K, c, d, k, k), whose entry (g, i, j) is the kernel from the j-th input of group g to its
    i-th output, and `bias` (c_out,) or None. Buffers, kept in the state_dict, are `inputs` (K, d), the inputs of each
    group, and `places` (c_out,), where each output stands among the K c rows of the blocks.
    Forward and backward gather the inputs by group, make one convolution of K groups and gather the outputs:
    O(c_out d k^2) a pixel, where the masked dense layer needs O(c_out c_in k^2). On a CPU, while the weight needs a
    gradient, groups narrower than LANES go several at a time, with zeros between them: more products, and less time.

    The values are those of build_kernel(c_out, c_in, kernel_size, d=degree, scheme=scheme, ...), to the last bit in
    float64 and rounded otherwise:

    - `delta`: SAO-Delta (SAO, section IV-C; Xiao et al. 2018): a Haar-random semi-orthogonal c x d matrix a group in
      the centre tap, index k // 2, and zeros around it, which are parameters and train. With padding that keeps the
      image (circular, or zeros k // 2 at odd k) and stride 1 all singular values are 1. `looks_linear` gives the
      paper's Eq. 5 for ReLU, [[H, -H], [-H, H]]: 2 and 0;
    - `eco`: SAO-ECO, for c_in = c_out: one orthogonal block a group and frequency; all singular values are 1 at stride
      1 with circular padding and dilation n/k on an image of side n (ECOConv2d stays so when it is trained);
    - `normal`, `uniform`: mean 0 and variance 1/(d k^2), the paper's RG-N and RG-U.

    All else is nn.Conv2d's, but for the bias, which begins at 0. Layers of one model need numbers of their own
    (`layer` = 1, 2, ...), or they share groups and values.

    Raises InfeasibleError for a degree that resolve_degree refuses, and SaoError for unknown names and for options
    that do not go together.

    >>> layer = SAOConv2d(8, 8, 3, padding=1, degree=4)
    >>> layer
    SAOConv2d(8, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), degree=4, groups=2)
    >>> x = torch.ones(2, 8, 6, 6)
    >>> torch.allclose(layer(x), layer.to_conv2d()(x), atol=1e-6)
    True
    """

    inputs: Tensor
    places: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        *,
        degree: int,
        bias: bool = True,
        padding_mode: str = "zeros",
        scheme: str = "delta",
        looks_linear: bool = False,
        gain: float = 1.0,
        arrangement: str = "random",
        seed: int = 0,
        layer: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Module.__init__(self)
        frame = Frame.of(kernel_size, stride, padding, dilation, padding_mode)
        _check_scheme(scheme, in_channels, out_channels)
        check_gain(gain)
        self.scheme, self.looks_linear, self.gain, self.arrangement = scheme, looks_linear, gain, arrangement
        self.seed, self.layer = seed, layer
        degree = whole_degree(degree) or 0
        if self._has_plain_blocks:
            mask = sao_mask(out_channels, in_channels, degree, seed=seed, layer=layer, arrangement=arrangement)
            self._assemble(mask, frame, bias, device, dtype)
            self.reset_parameters()
        else:
            kernel = self._built(out_channels, in_channels, degree, frame.kernel_size)
            self._assemble(kernel.mask, frame, bias, device, dtype)
            if not self.weight.is_meta:
                self._put_(self._blocks_of(kernel))

    @classmethod
    def from_mask(
        cls,
        mask: Mask,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        *,
        bias: bool = True,
        padding_mode: str = "zeros",
        seed: int = 0,
        layer: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """The layer on `mask` (c_out, c_in), whose components are all K_{c,d} of one shape, by the delta scheme.

        Raises SaoError for any other mask. O(nnz (k^2 + min(c, d))).

        >>> SAOConv2d.from_mask(sao_mask(4, 8, 4), 3).groups
        2
        """
        frame = Frame.of(kernel_size, stride, padding, dilation, padding_mode)
        made = cls.unfilled(mask, frame, bias, device, dtype)
        made.seed, made.layer = seed, layer
        made.reset_parameters()
        return made

    @classmethod
    def unfilled(cls, mask: Mask, frame: Frame, bias: bool, device: Any, dtype: torch.dtype | None) -> Self:
        """The layer on `mask` with undefined values, for a caller who fills them."""
        made = super().unfilled(mask, frame, bias, device, dtype)
        made.scheme, made.looks_linear, made.gain, made.arrangement = "delta", False, 1.0, "random"
        return made

    @property
    def degree(self) -> int:
        """The row degree d: how many inputs each output reads."""
        return int(self.weight.shape[2])

    @property
    def groups(self) -> int:
        """K, the number of blocks."""
        return int(self.weight.shape[0])

    @property
    def kernels(self) -> Tensor:
        """(K c d,) the places o c_in + i of the kernels, in the order of the weight."""
        outputs = self.places.argsort().view(self.groups, -1, 1)
        return (outputs * self.in_channels + self.inputs[:, None, :]).flatten()

    def reset_parameters(self) -> None:
        """Fill the kernels with the values of the layer's seed, the same every time, and the bias with 0."""
        if self.weight.is_meta:
            return
        if self._has_plain_blocks:
            groups, outputs, degree = self.weight.shape[:3]
            blocks = haar_blocks(groups, outputs, degree, generator(self.seed, self.layer, VALUES))
            self._put_(torch.from_numpy(self.gain * blocks)[..., None, None])
        else:
            kernel = self._built(self.out_channels, self.in_channels, self.degree, self.kernel_size)
            self._group_(*equal_groups(kernel.mask))  # a loaded state_dict may have brought other groups
            self._put_(self._blocks_of(kernel))

    def forward(self, x: Tensor) -> Tensor:
        """(..., c_out, height', width') outputs of (..., c_in, height, width) inputs, with or without a batch.

        Raises SaoError for inputs of another number of channels or axes.
        """
        weight, groups = self._merged()
        bias = None if self.bias is None else torch.zeros_like(self.bias).index_copy(0, self.places, self.bias)
        taken = self._checked(x).index_select(-3, self.inputs.flatten())
        return self.frame.convolved(taken, weight, bias, groups).index_select(-3, self.places)

    def _merged(self) -> tuple[Tensor, int]:
        """The kernel (K c, r d, k, k) of r groups side by side, zeros between them, and how many such there are."""
        groups, outputs, degree, *taps = self.weight.shape
        trains = torch.is_grad_enabled() and self.weight.requires_grad
        together = merged_groups(groups, min(outputs, degree), self.weight) if trains else 1
        if together == 1:
            return self.weight.flatten(0, 1), groups
        blocks = self.weight.view(-1, together, outputs, 1, degree, *taps)
        apart = torch.eye(together, dtype=blocks.dtype, device=blocks.device).view(together, 1, together, 1, 1, 1)
        return (blocks * apart).reshape(groups * outputs, together * degree, *taps), groups // together

    @property
    def _has_plain_blocks(self) -> bool:
        """Whether each block is a Haar-random matrix in the centre tap, drawn without the dense kernel around it."""
        return self._is_central and not self.looks_linear

    @property
    def _is_central(self) -> bool:
        return SCHEMES[self.scheme].central

    def _built(self, c_out: int, c_in: int, degree: int, size: tuple[int, int]) -> Kernel:
        return build_kernel(
            c_out,
            c_in,
            (1, 1) if self._is_central else size,
            scheme=self.scheme,
            method="sao",
            d=degree,
            gain=self.gain,
            looks_linear=self.looks_linear,
            seed=self.seed,
            layer=self.layer,
            arrangement=self.arrangement,
        )

    def _blocks_of(self, kernel: Kernel) -> Tensor:
        """(K, c, d, ...) the blocks of `kernel` in the order of the weight."""
        kernels = torch.from_numpy(kernel.values.copy()).flatten(0, 1)
        return kernels[self.kernels.cpu()].view(*self.weight.shape[:3], *kernel.size)

    def _put_(self, values: Tensor) -> None:
        """Fill the weight with these values, which are the centre tap's where all is there; the bias with 0."""
        require_range(values, self.weight.dtype)
        with torch.no_grad():
            if self._is_central:
                self.weight.zero_()
                self.weight[..., self.kernel_size[0] // 2, self.kernel_size[1] // 2] = values[..., 0, 0].to(self.weight)
            else:
                self.weight.copy_(values)
            if self.bias is not None:
                self.bias.zero_()

    def _sparsity_repr(self) -> str:
        scheme = "" if self._is_central else f", scheme={self.scheme}"
        return f"degree={self.degree}, groups={self.groups}{scheme}"

    def _assemble(self, mask: Mask, frame: Frame, bias: bool, device: Any, dtype: torch.dtype | None) -> None:
        inputs, outputs = equal_groups(mask)
        self._start(mask, frame, (len(inputs), outputs.shape[1], inputs.shape[1]), bias, device, dtype)
        for name, shape in (("inputs", inputs.shape), ("places", (mask.m,))):
            self.register_buffer(name, torch.empty(shape, dtype=torch.int64, device=device))
        self._group_(inputs, outputs)

    def _group_(self, inputs: Indices, outputs: Indices) -> None:
        places = np.empty(outputs.size, dtype=np.int64)
        places[outputs.reshape(-1)] = np.arange(outputs.size)
        self.inputs.copy_(torch.from_numpy(inputs.astype(np.int64)))
        self.places.copy_(torch.from_numpy(places))


def merged_groups(groups: int, narrow: int, weight: Tensor) -> int:
    """How many groups of `narrow` channels one group of the convolution takes, so that it is as wide as LANES.

    1 where the weight is not on a CPU, or no number near to it divides `groups`.

    >>> merged_groups(16, 4, torch.empty(1)), merged_groups(16, 4, torch.empty(1).double())
    (2, 1)
    """
    lanes = LANES.get(weight.dtype, 1) if weight.device.type == "cpu" else 1
    wanted = -(-lanes // narrow)
    return next((r for r in divisors(groups) if wanted <= r < 2 * wanted), 1)


def _check_scheme(scheme: str, c_in: int, c_out: int) -> None:
    check("scheme", scheme, SCHEMES)
    row = SCHEMES[scheme]
    layer = row.layer.partition(":")[2]
    if row.grows:
        raise SaoError(f"scheme {scheme!r} makes kernels larger than the one asked for; {layer} holds and trains it")
    if row.circular and c_in != c_out:
        raise SaoError(
            f"scheme {scheme!r} needs as many inputs as outputs here, and these are {c_in} and {c_out}; "
            f"{layer} takes any"
        )
