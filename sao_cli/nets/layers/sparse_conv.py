"""`SparseConv2d`: a 2-D convolution that holds the kernels that any mask keeps, and no others."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.nets.initialise.kernels import random_taps
from sao_cli.nets.initialise.matrices import dtype_name
from sao_cli.nets.layers.blank import blank
from sao_cli.nets.layers.frame import Frame, Sizes
from sao_cli.nets.layers.linear import current_tensor


class SparseConv2d(nn.Module):  # type: ignore[misc]
    """A 2-D convolution with a kernel-level mask: of each pair of channels, the k x k kernel is held or does not exist.

    Parameters are `weight` (nnz, k, k), the kernels of `mask` (c_out, c_in) row by row, and `bias` (c_out,) or None.
    The buffer `kernels` (nnz,) holds their places o c_in + i, so that a state_dict carries the whole layer.
    Every forward puts the kernels into a dense one and convolves with it: with masks of no structure that is mostly
    faster than gathering each output's inputs (which takes 0.7 to 30 times as long, at 64 and 256 channels). So it
    saves parameters, optimiser state and gradients, and no time; SAOConv2d saves that too.

    Options are nn.Conv2d's. The kernels are normal with mean 0 and variance 1/(d k^2), d being the kernels of their
    output, drawn for `seed` and `layer`; the bias begins at 0. `from_kernel` takes other values.

    Raises SaoError for options that nn.Conv2d has not.

    >>> from sao_cli.masks.sao import sao_mask
    >>> layer = SparseConv2d(sao_mask(8, 8, 2), 3, padding=1)
    >>> layer
    SparseConv2d(8, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), kernels=16)
    >>> layer(torch.ones(1, 8, 5, 5)).shape, sum(parameter.numel() for parameter in layer.parameters())
    (torch.Size([1, 8, 5, 5]), 152)
    """

    in_channels: int
    out_channels: int
    frame: Frame
    weight: nn.Parameter
    bias: nn.Parameter | None
    kernels: Tensor

    def __init__(
        self,
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
    ) -> None:
        super().__init__()
        frame = Frame.of(kernel_size, stride, padding, dilation, padding_mode)
        self._assemble(mask, frame, bias, device, dtype)
        self.seed, self.layer = seed, layer
        self.reset_parameters()

    @classmethod
    def from_kernel(
        cls,
        kernel: Kernel,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        *,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """The layer with the values of `kernel` (c_out, c_in, k, k) and its mask; the bias is 0.

        `dtype` is the kernel's own unless told. Raises SaoError for a kernel of another number of axes, and
        FormatError for values that overflow the dtype.

        >>> from sao_cli.weights.kernels.build_kernels import build_kernel
        >>> SparseConv2d.from_kernel(build_kernel(8, 8, method="lmp", sparsity=0.75)).weight.shape
        torch.Size([16, 3, 3])
        """
        if len(kernel.size) != 2:
            raise SaoError(f"a kernel of shape {kernel.shape}; a 2-D convolution has one of (c_out, c_in, k, k)")
        frame = Frame.of(kernel.size, stride, padding, dilation, padding_mode)
        made = cls.unfilled(kernel.mask, frame, bias, device, dtype or getattr(torch, kernel.dtype))
        made.take_(torch.from_numpy(kernel.values.copy()))
        return made

    @classmethod
    def from_conv2d(cls, conv: nn.Conv2d) -> Self:
        """The same layer as `conv`; a copy, in its dtype, on its device.

        A kernel is kept where torch.nn.utils.prune keeps a tap of it (`weight_mask`), and where the weight is not
        pruned, where it has a tap that is not 0; all taps of a kept kernel are parameters. reset_parameters fills the
        kernels as if the layer had been made with seed 0. Raises SaoError for groups, and for what is no nn.Conv2d.
        O(c_out c_in k^2).

        >>> conv = prune.random_structured(nn.Conv2d(6, 9, 3), "weight", 2, dim=1)  # two inputs less
        >>> SparseConv2d.from_conv2d(conv).weight.shape
        torch.Size([36, 3, 3])
        """
        if not isinstance(conv, nn.Conv2d):
            raise SaoError(f"a {type(conv).__name__} is no torch.nn.Conv2d; only such a layer can be converted")
        if conv.groups != 1:
            raise SaoError(f"a convolution of {conv.groups} groups can't be converted; only groups=1 can")
        weight, bias = current_tensor(conv, "weight"), current_tensor(conv, "bias")
        assert weight is not None
        mask = Mask.from_torch((getattr(conv, "weight_mask", weight) != 0).flatten(2).any(2))
        frame = Frame.of(conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.padding_mode)
        made = cls.unfilled(mask, frame, bias is not None, weight.device, weight.dtype)
        made.take_(weight, bias)
        return made

    @classmethod
    def unfilled(cls, mask: Mask, frame: Frame, bias: bool, device: Any, dtype: torch.dtype | None) -> Self:
        """The layer on `mask` with undefined values, for a caller who fills them."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._assemble(mask, frame, bias, device, dtype)
        made.seed, made.layer = 0, 1
        return made

    @property
    def kernel_size(self) -> tuple[int, int]:
        """The taps along each axis of the image."""
        return self.frame.kernel_size

    @property
    def stride(self) -> tuple[int, int]:
        """The pixels from one place of the kernel to the next, along each axis."""
        return self.frame.stride

    @property
    def padding(self) -> tuple[int, int] | str:
        """What is added on both sides of each axis, or 'same' or 'valid'."""
        return self.frame.padding

    @property
    def dilation(self) -> tuple[int, int]:
        """The pixels from one tap to the next, along each axis."""
        return self.frame.dilation

    @property
    def padding_mode(self) -> str:
        """What is added: one of nn.Conv2d's padding modes."""
        return self.frame.padding_mode

    def reset_parameters(self) -> None:
        """Fill the kernels with the values of the layer's seed, the same every time, and the bias with 0."""
        if self.weight.is_meta:
            return
        taps = random_taps(self._mask(), self.kernel_size, seed=self.seed, layer=self.layer)
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(taps).view_as(self.weight))
            if self.bias is not None:
                self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(..., c_out, height', width') outputs of (..., c_in, height, width) inputs, with or without a batch.

        Raises SaoError for inputs of another number of channels or axes.
        """
        return self.frame.convolved(self._checked(x), self._scattered(self.weight), self.bias, 1)

    def to_dense(self) -> Tensor:
        """The weight as a dense (c_out, c_in, k, k) tensor, through which gradients flow back to the kernels.

        Raises MemoryLimitError where the CPU could not hold it. O(c_out c_in k^2).
        """
        shape = (self.out_channels, self.in_channels, *self.kernel_size)
        if self.weight.device.type == "cpu":
            needed = self.weight.element_size() * int(np.prod(shape))
            require_memory(needed, f"a dense kernel of {' x '.join(map(str, shape))}")
        return self._scattered(self.weight)

    def to_conv2d(self) -> nn.Conv2d:
        """The same layer as an nn.Conv2d masked by torch.nn.utils.prune (weight_orig, weight_mask); a copy.

        `prune.remove` makes the zeros permanent. Raises as to_dense does. O(c_out c_in k^2).
        """
        weight = self.to_dense().detach()
        conv = blank(
            nn.Conv2d,
            self.in_channels,
            self.out_channels,
            **self.frame._asdict(),
            bias=self.bias is not None,
            device=weight.device,
            dtype=weight.dtype,
        )
        with torch.no_grad():
            conv.weight.copy_(weight)
            if self.bias is not None:
                conv.bias.copy_(self.bias)
        return prune.custom_from_mask(conv, "weight", self._scattered(torch.ones_like(self.weight)))

    def to_kernel(self) -> Kernel:
        """The weight as a Kernel, on the CPU, to be measured or written; its mask is the layer's. O(c_out c_in k^2)."""
        weight = self.to_dense().detach().cpu()
        return Kernel(weight.double().numpy(), self._mask(), dtype_name(weight))

    def take_(self, dense: Tensor, bias: Tensor | None = None) -> None:
        """Fill the kernels with their parts of `dense` (c_out, c_in, k, k), and the bias with `bias`, or 0.

        Raises FormatError for a value that overflows the layer's dtype, before anything is changed.
        """
        taps = dense.flatten(0, 1)[self.kernels.to(dense.device)]
        require_range(taps, self.weight.dtype)
        with torch.no_grad():
            self.weight.copy_(taps.view_as(self.weight))
            if self.bias is not None:
                self.bias.copy_(torch.zeros_like(self.bias) if bias is None else bias)

    def extra_repr(self) -> str:
        """The layer's sizes, as print shows them."""
        frame = self.frame
        said = [f"{self.in_channels}, {self.out_channels}, kernel_size={frame.kernel_size}, stride={frame.stride}"]
        if frame.padding != (0, 0):
            said.append(f"padding={frame.padding!r}")
        if frame.dilation != (1, 1):
            said.append(f"dilation={frame.dilation}")
        if frame.padding_mode != "zeros":
            said.append(f"padding_mode={frame.padding_mode}")
        said.append(self._sparsity_repr())
        if self.bias is None:
            said.append("bias=False")
        return ", ".join(said)

    def _sparsity_repr(self) -> str:
        return f"kernels={len(self.kernels)}"

    def _assemble(self, mask: Mask, frame: Frame, bias: bool, device: Any, dtype: torch.dtype | None) -> None:
        self._start(mask, frame, (mask.nnz,), bias, device, dtype)
        places = mask.entry_rows.astype(np.int64) * mask.n + mask.indices
        self.register_buffer("kernels", torch.as_tensor(places, device=device))

    def _start(
        self, mask: Mask, frame: Frame, lead: tuple[int, ...], bias: bool, device: Any, dtype: torch.dtype | None
    ) -> None:
        """Sizes, and parameters of which the values are left undefined; the bias is 0."""
        self.out_channels, self.in_channels = mask.shape
        self.frame = frame
        self.weight = nn.Parameter(torch.empty((*lead, *frame.kernel_size), device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(mask.m, device=device, dtype=dtype)) if bias else None

    def _mask(self) -> Mask:
        rows, columns = np.divmod(self.kernels.cpu().numpy(), self.in_channels)
        return Mask.from_entries(rows, columns, (self.out_channels, self.in_channels), {"method": type(self).__name__})

    def _scattered(self, values: Tensor) -> Tensor:
        """The dense kernel with `values`, shaped as the weight, where the weight's kernels stand."""
        m, n, taps = self.out_channels, self.in_channels, self.kernel_size
        return values.new_zeros(m * n, *taps).index_copy(0, self.kernels, values.view(-1, *taps)).view(m, n, *taps)

    def _checked(self, x: Tensor) -> Tensor:
        if x.ndim not in (3, 4) or x.shape[-3] != self.in_channels:
            raise SaoError(
                f"inputs of shape {tuple(x.shape)} for a convolution of {self.in_channels} channels, which reads "
                f"(batch, {self.in_channels}, height, width) or one image without the batch"
            )
        return x


def require_range(values: Tensor, dtype: torch.dtype) -> None:
    """Raise FormatError where a value of `values` overflows `dtype`."""
    largest = float(values.abs().max()) if values.numel() else 0.0
    if largest > torch.finfo(dtype).max:
        name = str(dtype).removeprefix("torch.")
        raise FormatError(f"a weight of {largest:.6g} overflows {name}; choose a smaller gain or a wider dtype")
