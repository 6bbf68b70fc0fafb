"""ECO kernels: explicitly constructed in the Fourier domain, so that a dilated circular convolution is orthogonal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Values
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.weights.kernels.channels import (
    Taps,
    channel_mask,
    checked_size,
    cut_mask,
    placed,
    require_kernel_memory,
    told,
)
from sao_cli.weights.orthogonal import orthogonal_values

SCHEME = "eco"


def eco_kernel(
    c_out: int,
    c_in: int,
    size: int | Sequence[int] = 3,
    *,
    axes: int = 2,
    degree: int | None = None,
    stride: int = 1,
    seed: int = 0,
    layer: int = 1,
    arrangement: str = "random",
) -> Kernel:
    """A (c_out, c_in s^D, *size) kernel that is semi-orthogonal at each of its own frequencies; s is `stride`.

    Explicitly Constructed Orthogonal convolution (Yu et al., ICLR 2022; SAO, sections III-D.4 and IV-C). For each
    frequency u of the k-grid, P[u] is a Haar-random semi-orthogonal (c_out, c_in) matrix, independent but for
    P[u] = P[-u], and the kernel is the inverse discrete Fourier transform

        W[a] = k^-D sum_u P[u] cos(2 pi <u, a> / k),

    which is real and even in a, counted from the centre tap k // 2. That leaves L = (k^D + 1)/2 matrices for odd k, and
    (k^D + 2^D)/2 for even k.

    With `degree` d it is SAO-ECO: all P[u] share one SAO mask, which then is the kernel's. Unequal channels are the
    paper's padding and selection: the mask is the first c_out rows and c_in columns of a square SAO mask of
    max(c_out, c_in) channels, of which d is a divisor, so that the sparsity is exactly 1 - d / max(c_out, c_in). The
    values are drawn on what is kept only: rows, or columns, of a Haar matrix are Haar semi-orthogonal. Inputs may
    be left without outputs, or outputs without inputs. (A dense P[u] is drawn semi-orthogonal for the same reason.)

    With a `stride` the convolution reads its image by space-to-depth, in the channel order of
    torch.nn.functional.pixel_unshuffle, and so has c_in s^D input channels at stride 1.

    As a circular convolution with that dilation over an image of side n, its operator has the singular values of W's
    transform at the frequencies j dilation / n, j < n, along each axis. They are all 1 where each is one of W's own,
    i / k: where n divides k dilation (n = k dilation; n = 1 always), or k = 1. Elsewhere, and with other paddings, they
    spread.

    Raises InfeasibleError as sao_mask does, MemoryLimitError for what would not fit.
    O(L c_out d min(c, d) + L k^D nnz), so O(L c_out c_in min(c_out, c_in)) dense.

    >>> W = eco_kernel(4, 4, 3, degree=2).values
    >>> sums = W.sum(axis=(2, 3))  # the transform at frequency 0
    >>> bool(abs(sums @ sums.T - np.eye(4)).max() < 1e-14)
    True
    """
    taps = checked_size(size, axes)
    if stride < 1:
        raise SaoError(f"stride {stride}; a stride is at least 1")
    c_in = c_in * stride**axes
    kept = c_out * c_in if degree is None else min(c_out, c_in) * degree
    count, frequencies = _slice_count(taps), math.prod(taps)
    require_kernel_memory(c_out, c_in, taps, 8 * (3 * count * kept + 3 * count * frequencies + kept * frequencies))
    if degree is None:
        mask = channel_mask(c_out, c_in, None, seed=seed, layer=layer, arrangement=arrangement)
    else:
        _, mask = cut_mask(c_out, c_in, degree, seed=seed, layer=layer, arrangement=arrangement)
    facts: dict[str, object] = {} if degree is None else {"arrangement": arrangement}
    facts |= {} if stride == 1 else {"stride": stride}
    mask = told(mask, "dense" if degree is None else "sao", SCHEME, taps, seed=seed, layer=layer, **facts)
    slices = orthogonal_values(_copies(mask, count), seed=seed, layer=layer).reshape(count, -1)
    return Kernel(placed(mask, slices.T @ _waves(taps), taps), mask)


def _slice_count(size: Taps) -> int:
    """L: the frequencies u of the grid, u and -u counted once; 0 and k/2 are their own negatives."""
    return (math.prod(size) + math.prod(1 + (k % 2 == 0) for k in size)) // 2


def _waves(size: Taps) -> Values:
    """(L, taps): how much of each slice is in each tap, the cosines of u and -u added up and divided by k^D."""
    sides = np.array(size)[:, None]
    grid = np.indices(size).reshape(len(size), -1)
    own, negated = (np.ravel_multi_index(tuple(u), size) for u in (grid, -grid % sides))
    first = np.flatnonzero(own <= negated)
    u, places = grid[:, first, None], (grid - sides // 2)[:, None, :]
    turns = (u * places % sides[:, :, None] / sides[:, :, None]).sum(axis=0)
    waves: Values = np.cos(2 * np.pi * turns) / math.prod(size)
    waves[negated[first] != first] *= 2
    return waves


def _copies(mask: Mask, count: int) -> Mask:
    """The block-diagonal mask of `count` copies, so that the values of all slices are one draw."""
    numbers = np.arange(count)[:, None]
    ends = (mask.indptr[1:] + mask.nnz * numbers).reshape(-1)
    columns = (mask.indices + mask.n * numbers).reshape(-1)
    return Mask(np.concatenate([[0], ends]), columns, (count * mask.m, count * mask.n))
