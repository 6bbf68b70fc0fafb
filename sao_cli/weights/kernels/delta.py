"""Delta-orthogonal kernels: an orthogonal matrix at the centre tap, and zeros around it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sao_cli.data.kernel import Kernel
from sao_cli.weights.kernels.channels import (
    channel_mask,
    checked_size,
    halves,
    looks_linear_kernel,
    require_kernel_memory,
    told,
)
from sao_cli.weights.orthogonal import orthogonal_values


def delta_kernel(
    c_out: int,
    c_in: int,
    size: int | Sequence[int] = 3,
    *,
    axes: int = 2,
    degree: int | None = None,
    looks_linear: bool = False,
    seed: int = 0,
    layer: int = 1,
    arrangement: str = "random",
) -> Kernel:
    """A (c_out, c_in, *size) kernel with a Haar-random semi-orthogonal matrix H at its centre tap, zeros elsewhere.

    Delta-orthogonal (Xiao et al., ICML 2018, their Algorithm 2; SAO, Table 5). The centre is index k // 2 along each
    axis, as torch.nn.init.dirac_ has it. With `degree` d it is SAO-Delta: H is sao_weight(c_out, c_in, d), so that the
    kernel-level mask is an SAO mask of d kernels a row; their taps around the centre are zero and kept, to be trained.

    At stride 1 every pixel is multiplied by H, so the operator has the singular values of H, all 1: with circular
    padding for every size, and with zero padding for odd k. An even kernel's centre is off by half a pixel, and with
    zero padding one row of the image is shifted out, so that zeros appear.

    `looks_linear` is the paper's Eq. 5 for ReLU: H = [[H0, -H0], [-H0, H0]], where H0 has half the channels and half
    the degree. Its singular values are 2 and 0, as many of one as of the other, and not 1.

    Raises InfeasibleError as sao_mask does, SaoError for odd channels or degree with `looks_linear`, MemoryLimitError
    for what would not fit. O(c_out c_in k^D) for the zeros, and O(c_out d min(c, d)) for H.

    >>> kernel = delta_kernel(4, 8, 3, degree=4)
    >>> kernel, kernel.mask.provenance["scheme"]
    (Kernel(4 x 8 x 3 x 3, kernels=16, float64), 'delta')
    """
    taps = checked_size(size, axes)
    require_kernel_memory(c_out, c_in, taps, 48 * c_out * (c_in if degree is None else degree))
    if looks_linear:
        c_out, c_in, degree, _ = halves(c_out, c_in, degree)
    mask = channel_mask(c_out, c_in, degree, seed=seed, layer=layer, arrangement=arrangement)
    facts = {} if degree is None else {"arrangement": arrangement}
    mask = told(mask, "dense" if degree is None else "sao", "delta", taps, seed=seed, layer=layer, **facts)
    values = np.zeros((*mask.shape, math.prod(taps)))
    centre = np.ravel_multi_index(tuple(k // 2 for k in taps), taps)
    values[mask.entry_rows, mask.indices, centre] = orthogonal_values(mask, seed=seed, layer=layer)
    kernel = Kernel(values.reshape(*mask.shape, *taps), mask)
    return looks_linear_kernel(kernel) if looks_linear else kernel
