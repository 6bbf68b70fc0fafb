"""`ECOConv2d`: a convolution that stays orthogonal in training, because its transform's slices do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.rng import VALUES, generator
from sao_cli.data.arrays import Values
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Indices, Mask
from sao_cli.nets.layers.orthogonal_conv import OrthogonalConv2d, own_precision
from sao_cli.weights.haar import haar_blocks
from sao_cli.weights.kernels.channels import told
from sao_cli.weights.kernels.eco import SCHEME

Sides = tuple[int, ...]


class ECOConv2d(OrthogonalConv2d):
    """A dilated circular convolution whose transform is semi-orthogonal at every frequency, before and in training.

    Explicitly Constructed Orthogonal convolution (Yu et al., ICLR 2022; SAO, sections III-D.4 and IV-C). The kernel of
    k_1 x k_2 taps is the inverse discrete Fourier transform of slices P[u] = P[-u], which for 3 x 3 are L = 5 real
    matrices; it is eco_kernel's, centred on tap k // 2. It is applied with dilation n/k, which is taken from the
    image's sides n at each call, and cyclic padding. Then the frequencies of the image meet those of the kernel only,
    and all singular values of the layer are 1: without fail where n is a multiple of k, or a divisor of it, such as 1,
    where some of the taps (or all) fall on one pixel. Other sides are refused. `n` is the side after the stride,
    which is a rearrangement of s x s pixels into channels (pixel_unshuffle).

    Unequal channels and `degree` as OrthogonalConv2d has it: exactly the fraction d/c of all 2-D kernels is kept.
    Only what is kept is held: of each group as many inputs and outputs as the fullest group has, r x q numbers.

    `weight` (L, K, r, q) begins at 0 and moves the slices away from the Haar-random buffer `base` of that shape:
    see orthonormal_moved. Near 0 that is P = base + the part of `weight` that is tangent to the orthogonal matrices,
    so that learning rates are those of a free weight; weight decay draws the slices to where they began. `base`, drawn
    from `seed` and `layer` and kept in the state_dict, is that of eco_kernel with the same seed where all groups are
    of equal size (dense, or c_in s^2 = c_out). Rounding aside, the slices are orthonormal for every finite `weight`.

    The forward pass works on slices: the real transform of the pixels that share their remainders modulo n/k, one
    small matrix product a frequency, and back: O(d + k_1 k_2) a pixel and output where a convolution needs
    O(d k_1 k_2), and O(L' c d min(r, q)) for the L' slices that these sides need (1 where n = 1), again at each call:
    nothing is kept that could grow stale. Under autocast the slices stay in their own precision. torch.export takes the
    layer with any batch, for the sides at hand; ONNX has no operation that solves the system of orthonormal_moved.

    Raises InfeasibleError for a degree that does not divide c, SaoError for sizes below 1 and for other dtypes than
    float32 and float64, MemoryLimitError for what would not fit.

    >>> layer = ECOConv2d(2, 8, 3, stride=2, degree=4)
    >>> layer
    ECOConv2d(2, 8, kernel_size=(3, 3), stride=2, degree=4, groups=2, bias=True)
    >>> x = torch.ones(1, 2, 12, 12)
    >>> layer(x).shape, bool(abs(layer(x).norm() / x.norm() - 1) < 1e-6)
    (torch.Size([1, 8, 6, 6]), True)
    """

    base: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int = 1,
        *,
        degree: int | None = None,
        bias: bool = True,
        seed: int = 0,
        layer: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, degree, seed, layer, dtype)
        read = in_channels * stride**2
        inputs, outputs = self._groups_of_channels()
        rows = max(1, int((outputs < out_channels).sum(axis=1).max()))
        columns = max(1, int((inputs < read).sum(axis=1).max()))
        self._set_groups(inputs[:, :columns], outputs[:, :rows], device)
        shape = (_slice_count(self.kernel_size), self.groups, rows, columns)
        require_memory(
            6 * 8 * math.prod(shape), f"{shape[0] * shape[1]} slices of {rows} x {columns}", "choose fewer channels"
        )
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.register_buffer("base", torch.empty(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the slices of the layer's seed, the same every time, and set `weight` and the bias to 0."""
        if self.weight.is_meta:
            return
        slices, groups, rows, columns = self.base.shape
        drawn = haar_blocks(slices * groups, rows, columns, generator(self.seed, self.layer, VALUES))
        with torch.no_grad():
            self.base.copy_(torch.from_numpy(drawn).view_as(self.base))
            self.weight.zero_()
            if self.bias is not None:
                self.bias.zero_()

    def slices(self, which: Tensor | None = None) -> Tensor:
        """(L, K, r, q), or those `which` are named: the transform's semi-orthogonal slices, differentiable."""
        base, weight = (part if which is None else part[which] for part in (self.base, self.weight))
        with own_precision(base):
            if base.shape[-2] >= base.shape[-1]:
                return orthonormal_moved(base, weight)
            return orthonormal_moved(base.mT, weight.mT).mT

    def to_dense(self) -> Tensor:
        """The kernel (c_out, c_in s^2, k_1, k_2), through which gradients flow back. O(c_out c_in s^2 k_1 k_2)."""
        size = self.kernel_size
        taps = _taps(size)
        slices = self.slices()
        _, groups, rows, columns = slices.shape
        if slices.device.type == "cpu":
            entries = len(taps) * groups * rows * self._width
            require_memory(2 * entries * slices.element_size(), f"a dense kernel of {entries} numbers")
        values = (torch.as_tensor(taps).to(slices) @ slices.flatten(1)).view(-1, groups, rows, columns)
        dense = values.new_zeros(len(taps), groups, rows, self._width)
        dense = dense.scatter(3, self._columns(values.device)[:, None, :].expand_as(values), values).flatten(1, 2)
        rows_first = dense[:, : self.out_channels] if self.places is None else dense.index_select(1, self.places)
        kept = rows_first[:, :, : self.in_channels * self.stride**2]
        return kept.movedim(0, 2).unflatten(2, size)

    def kernel(self) -> Kernel:
        """The kernel that is applied, as a Kernel (c_out, c_in s^2, k_1, k_2) on the CPU, with its mask."""
        dense = self.to_dense().detach().cpu()
        dtype = str(dense.dtype).removeprefix("torch.")
        return Kernel(dense.double().numpy(), self._mask(), dtype)

    def _convolved(self, x: Tensor) -> Tensor:
        count, _, *sides = x.shape
        grid = self._grid(sides)
        basis, slice_of, needed = _transform(grid, self.kernel_size)
        slices = self.slices(None if len(needed) == len(self.base) else needed.to(x.device))
        slices = slices[slice_of.to(x.device)].flatten(0, 1)
        waves = basis.to(slices)
        (height, width), (down, across) = grid, (side // g for side, g in zip(sides, grid, strict=True))
        # pixels (i n/k + a, j n/k + b) of one (a, b) are a k_1 x k_2 image of their own, convolved without dilation
        pixels = x.reshape(count, x.shape[1], height, down, width, across).permute(2, 4, 1, 0, 3, 5)
        samples = count * down * across
        spectrum = (waves @ pixels.flatten(0, 1).flatten(1)).view(len(slices), slices.shape[2], samples)
        out = waves.t() @ torch.bmm(slices, spectrum).view(len(waves), self.groups * slices.shape[1] * samples)
        out = out.view(height, width, self.groups * slices.shape[1], count, down, across)
        return out.permute(3, 2, 0, 4, 1, 5).flatten(4).flatten(2, 3)

    def _grid(self, sides: Sequence[int]) -> Sides:
        """The frequencies along each axis; SaoError for a side on which the layer would not be orthogonal."""
        for side, taps in zip(sides, self.kernel_size, strict=True):
            if side % taps and taps % side:
                raise SaoError(
                    f"a side of {side} (after stride {self.stride}) for {taps} taps; an ECO convolution is orthogonal "
                    f"only on a multiple of {taps} or a divisor of it: resize to {side - side % taps or 1} or "
                    f"{side + -side % taps}"
                )
        return tuple(min(pair) for pair in zip(sides, self.kernel_size, strict=True))

    def _columns(self, device: torch.device) -> Tensor:
        return torch.arange(self._width, device=device)[None] if self.inputs is None else self.inputs

    def _mask(self) -> Mask:
        columns = self._columns(torch.device("cpu")).cpu().numpy()
        group = np.zeros(self.out_channels, int) if self.places is None else self.places.cpu() // self.base.shape[2]
        read = columns[np.asarray(group)]
        c_in = self.in_channels * self.stride**2
        rows, places = np.nonzero(read < c_in)
        mask = Mask.from_entries(rows, read[rows, places], (self.out_channels, c_in))
        facts = {} if self.stride == 1 else {"stride": self.stride}
        method = "dense" if self.degree is None else "sao"
        return told(mask, method, SCHEME, self.kernel_size, seed=self.seed, layer=self.layer, **facts)


def orthonormal_moved(base: Tensor, weight: Tensor) -> Tensor:
    """(..., n, p) with orthonormal columns: `base`, whose columns are orthonormal, moved along by `weight`.

    With B = base and X = weight, both (..., n, p), n >= p, the tangent part of X at B is Y + B Omega, where
    Y = X - B B^T X and Omega = (B^T X - X^T B)/2, and the result is the Cayley transform of the skew matrix
    S = Y B^T - B Y^T + B Omega B^T at B (Wen and Yin, Math. Program. 142, 2013, 397),

        Q = (I - S/2)^-1 (I + S/2) B = (2 B + Y) T^-1 - B,      T = I - Omega/2 + Y^T Y/4.

    The second form needs no n x n matrix, and p x p systems only. It is orthonormal: 4 I + Y^T Y = 2 (T + T^T)
    gives Q^T Q = I + T^-T (4 I + Y^T Y - 2 T - 2 T^T) T^-1 = I; and T is never singular, since T + T^T >= 2 I. To first
    order Q = B + Y + B Omega. Every Q is reached but those with B^T Q + I singular. O(n p^2 + p^3).

    >>> base = torch.linalg.qr(torch.randn(5, 3, dtype=torch.float64))[0]
    >>> Q = orthonormal_moved(base, torch.randn(5, 3, dtype=torch.float64))
    >>> torch.allclose(Q.mT @ Q, torch.eye(3, dtype=torch.float64))
    True
    """
    along = base.mT @ weight
    system = torch.eye(base.shape[-1], dtype=base.dtype, device=base.device) - (along - along.mT) / 4
    doubled = 2 * base
    if base.shape[-2] > base.shape[-1]:  # a square base leaves no Y
        across = weight - base @ along
        system = system + across.mT @ across / 4
        doubled = doubled + across
    return torch.linalg.solve(system, doubled, left=False) - base


def _transform(grid: Sides, size: Sides) -> tuple[Tensor, ...]:
    """_waves as tensors; torch.compile takes them for constants of the sides, and does not look inside."""
    return tuple(torch.tensor(part) for part in _waves(grid, size))


# What torch.compiler.assume_constant_result does; but that loads the compiler, a second, and most compile nothing.
_transform._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(maxsize=16)
def _waves(grid: Sides, size: Sides) -> tuple[Values, Indices, Indices]:
    """The real orthonormal waves (G, G) on a grid, the slices at their frequencies, and which slices these are.

    Wave f is a row: cos or sin of 2 pi <u, p/grid>, a pair for u != -u. Its slice is P[u size/grid], whose number among
    the slices of the whole kernel is the third result at the place that the second result says.
    """
    count = math.prod(grid)
    require_memory(64 * count**2, f"the transform of {count} taps", "choose a smaller kernel_size")
    frequencies = np.indices(grid).reshape(2, -1).T
    number = _numbers(frequencies, grid)
    opposite = _numbers(-frequencies, grid)
    angle = 2 * np.pi * (frequencies[:, None] * frequencies % grid / grid).sum(axis=2)
    paired = np.where(number < opposite, np.cos(angle.T), np.sin(angle.T)).T * math.sqrt(2)
    basis = np.where(number == opposite, np.cos(angle.T), paired.T).T / math.sqrt(count)
    fold: Indices = np.floor_divide(size, grid)
    slices = _slice_numbers(size)[_numbers(frequencies * fold, size)]
    needed, slice_of = np.unique(slices, return_inverse=True)
    return basis, slice_of.reshape(-1), needed


def _slice_count(size: Sides) -> int:
    """L: half of the frequencies and of those that are their own opposites, 0 and, where k is even, k/2."""
    return (math.prod(size) + math.prod(2 - k % 2 for k in size)) // 2


def _slice_numbers(size: Sides) -> Indices:
    """(k_1 k_2,) the slice of each frequency, row by row: P[u] = P[-u], numbered by the first u of each pair."""
    frequencies = np.indices(size).reshape(2, -1).T
    first = np.minimum(_numbers(frequencies, size), _numbers(-frequencies, size))
    return np.unique(first, return_inverse=True)[1].reshape(-1)


def _numbers(frequencies: Indices, grid: Sides) -> Indices:
    numbers: Indices = np.ravel_multi_index(tuple((frequencies % grid).T), grid)
    return numbers


def _taps(size: Sides) -> Values:
    """(k_1 k_2, L): what each slice adds to each tap, the inverse transform centred on tap k // 2."""
    basis, slice_of, needed = _waves(size, size)
    response = (basis * basis[:, :1]).T @ np.eye(len(needed))[slice_of]  # of each slice alone to an impulse at 0
    centred = np.roll(response.reshape(*size, -1), [k // 2 for k in size], axis=(0, 1))
    return centred.reshape(len(basis), -1)
