"""Initialisers of convolution kernels, as torch.nn.init has them: they fill (c_out, c_in, k...) in place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.catalog import LAWS, SCHEMES
from sao_cli.data.arrays import Values
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import KERNEL_AXES, Mask
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS
from sao_cli.nets.initialise.matrices import check_gain, drawn_seed, dtype_name, whole_degree
from sao_cli.weights.kernels.build_kernels import build_kernel
from sao_cli.weights.kernels.eco import SCHEME as ECO
from sao_cli.weights.kernels.soc import soc_error_bound, soc_kernel
from sao_cli.weights.random import random_values

SOC_TOLERANCE = 1e-2  # our choice: the largest error bound with which soc_orthogonal_ calls a kernel orthogonal


def kernel_(
    tensor: torch.Tensor,
    scheme: str = "delta",
    method: str | None = None,
    *,
    degree: int | None = None,
    sparsity: float | None = None,
    gain: float = 1.0,
    looks_linear: bool = False,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """`tensor` (c_out, c_in, k_1, ..., k_D), D = 1, 2, 3, filled in place with the kernel of that scheme and method.

    They are those of build_kernel, but for `soc`, which soc_orthogonal_ has; so is the rule for `degree` (kernels that
    an output channel reads) and `sparsity`: dense by neither of them. The shape is that of torch.nn.Conv1d, 2d or
    3d.weight, and kernels that are removed become 0. The values are drawn in float64 on the CPU and rounded once to the
    tensor's dtype, float64, float32, float16 or bfloat16; every device gets the same ones. Autograd does not record it.
    A tensor on the meta device stays as it is.

    Its seed is one number drawn from `generator`, torch's default one unless told, so that torch.manual_seed makes
    it reproducible.

    Raises FormatError for a tensor that is no kernel of such numbers, and what build_kernel raises. The scheme's cost.

    >>> weight = kernel_(torch.empty(16, 16, 3, 3), "delta", "lmp", sparsity=0.75)
    >>> int((weight != 0).sum())
    64
    """
    check_kernel(tensor)
    if scheme in SCHEMES and SCHEMES[scheme].grows:
        raise SaoError(
            f"scheme {scheme!r} fixes the number of terms by the kernel's size; {scheme}_orthogonal_ does that"
        )
    if tensor.is_meta:
        return tensor
    c_out, c_in, *size = tensor.shape
    kernel = build_kernel(
        c_out,
        c_in,
        size,
        scheme=scheme,
        method=method,
        d=whole_degree(degree),
        sparsity=sparsity,
        gain=gain,
        axes=len(size),
        looks_linear=looks_linear,
        seed=drawn_seed(generator),
    )
    return fill_kernel_(tensor, kernel)


def delta_orthogonal_(
    tensor: torch.Tensor, gain: float = 1.0, generator: torch.Generator | None = None, looks_linear: bool = False
) -> torch.Tensor:
    """`tensor` (c_out, c_in, k...), filled in place with a Haar-random matrix in the centre tap, and 0 around it.

    Times `gain`; see delta_kernel for where it is orthogonal (Xiao et al. 2018; SAO, Table 5), and for
    `looks_linear`, the paper's Eq. 5 for ReLU, whose singular values are 2 and 0. See kernel_ for all else.

    >>> weight = delta_orthogonal_(torch.empty(8, 4, 3, 3, dtype=torch.float64))
    >>> H = weight[:, :, 1, 1]
    >>> torch.allclose(H.T @ H, torch.eye(4, dtype=torch.float64)), int((weight != 0).sum())
    (True, 32)
    """
    return kernel_(tensor, "delta", "dense", gain=gain, looks_linear=looks_linear, generator=generator)


def sao_delta_orthogonal_(
    tensor: torch.Tensor,
    degree: int = 4,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    looks_linear: bool = False,
) -> torch.Tensor:
    """`tensor` (c_out, c_in, k...), filled in place with SAO-Delta: the centre tap is an SAO layer of that degree.

    Only the centre tells which kernels the mask keeps, since all else is 0: SAOConv2d and sparsify hold the mask too.
    See delta_kernel for what it is, and kernel_ for all else.

    >>> weight = sao_delta_orthogonal_(torch.empty(64, 64, 3, 3), degree=4)
    >>> (weight[:, :, 1, 1] != 0).sum(1).unique()
    tensor([4])
    """
    return kernel_(tensor, "delta", "sao", degree=degree, gain=gain, looks_linear=looks_linear, generator=generator)


def eco_orthogonal_(
    tensor: torch.Tensor, degree: int | None = None, gain: float = 1.0, generator: torch.Generator | None = None
) -> torch.Tensor:
    """`tensor` (c_out, c_in, k...), filled in place with an ECO kernel; SAO-ECO where a degree is given.

    As a circular convolution it is orthogonal where the image's side divides k times the dilation; see eco_kernel.
    A convolution of stride s that reads its image by pixel_unshuffle has c_in = channels s^D of the tensor's.
    See kernel_ for all else.

    >>> weight = eco_orthogonal_(torch.empty(4, 4, 3, dtype=torch.float64))
    >>> slices = torch.fft.fft(weight, dim=2)
    >>> torch.allclose(torch.linalg.svdvals(slices.permute(2, 0, 1)), torch.ones(3, 4, dtype=torch.float64))
    True
    """
    method = "dense" if degree is None else "sao"
    return kernel_(tensor, ECO, method, degree=degree, gain=gain, generator=generator)


def soc_orthogonal_(
    tensor: torch.Tensor,
    degree: int | None = None,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    scale: float = 1.0,
) -> torch.Tensor:
    """`tensor` (c_out, c_in, K...), filled in place with the exponential of a skew convolution of 3 taps an axis.

    K taps hold T = (K - 1)/2 + 1 terms of its series, and as a circular convolution all singular values are within
    soc_error_bound(scale, T) = scale^T / T! of `gain`, times `gain`: 8.3e-3 for 9 taps at scale 1. Fewer taps need a
    smaller scale, and so a kernel nearer to the identity: 0.69 at 7 taps, 0.39 at 5 and 0.14 at 3. See
    soc_kernel for what it is, and kernel_ for all else.

    Raises SaoError where the bound is above 1e-2, and for a size that is even, or not the same along all axes.

    >>> weight = soc_orthogonal_(torch.empty(4, 4, 9, dtype=torch.float64))
    >>> values = torch.linalg.svdvals(torch.fft.fft(weight, 20, dim=2).permute(2, 0, 1))
    >>> bool((values - 1).abs().max() <= 1 / 120)
    True
    """
    check_kernel(tensor)
    terms = _soc_terms(tensor.shape[2:], scale)
    check_gain(gain)
    if tensor.is_meta:
        return tensor
    c_out, c_in, *size = tensor.shape
    degree, seed = whole_degree(degree), drawn_seed(generator)
    kernel = soc_kernel(c_out, c_in, 3, axes=len(size), degree=degree, terms=terms, scale=scale, seed=seed)
    return fill_kernel_(tensor, Kernel(gain * kernel.values, kernel.mask))


def check_kernel(tensor: torch.Tensor) -> None:
    """Raise FormatError unless `tensor` is strided, has 3 to 5 axes, and a dtype in which weights are kept."""
    if tensor.ndim not in KERNEL_AXES:
        raise FormatError(
            f"a tensor of shape {tuple(tensor.shape)}; these initialisers fill a kernel (c_out, c_in, k, ...)"
        )
    if tensor.layout is not torch.strided:
        raise FormatError(f"a tensor of layout {tensor.layout}; these initialisers fill a strided one")
    if dtype_name(tensor) not in PRECISIONS:
        raise FormatError(f"a tensor of {tensor.dtype}; weights are one of {', '.join(PRECISIONS)}")


def fill_kernel_(tensor: torch.Tensor, kernel: Kernel) -> torch.Tensor:
    """`tensor` (c_out, c_in, k...), whose entries are `kernel`'s from now on, rounded to its dtype.

    Autograd records nothing. Raises FormatError for a value that overflows the dtype, before anything is changed.

    >>> bool((fill_kernel_(torch.empty(2, 2, 3), build_kernel(2, 2, axes=1)) != 0).any())
    True
    """
    rounded = kernel.as_dtype(dtype_name(tensor))
    with torch.no_grad():
        return tensor.copy_(rounded.to_torch())


def kernel_of(weight: Matrix, size: Sequence[int], *, gain: float = 1.0, seed: int = 0, layer: int = 1) -> Kernel:
    """The kernel of that size that the layer `weight` (c_out, c_in) of weight_stack stands for; its mask is the same.

    Where the provenance names one of catalog.LAWS, all taps of a kept kernel have values of it, as random_taps
    of `seed` and `layer`, times `gain`. All other weights, which have their gain, go to the centre tap, index k // 2,
    with 0 around them: the delta scheme. O(c_out c_in k^D).

    >>> from sao_cli.weights.orthogonal import sao_weight
    >>> kernel_of(sao_weight(4, 4, 2), (3, 3)) == build_kernel(4, 4, d=2)
    True
    """
    mask, law, taps = weight.mask, str(weight.mask.provenance.get("values")), math.prod(size)
    require_memory(24 * mask.m * mask.n * taps, f"a kernel of {' x '.join(map(str, (*mask.shape, *size)))}")
    dense = np.zeros((*mask.shape, taps))
    if law in LAWS:
        dense[mask.entry_rows, mask.indices] = gain * random_taps(mask, size, law, seed=seed, layer=layer)
    else:
        centre = np.ravel_multi_index(tuple(k // 2 for k in size), tuple(size))
        dense[mask.entry_rows, mask.indices, centre] = weight.values
    return Kernel(dense.reshape(*mask.shape, *size), mask)


def random_taps(mask: Mask, size: Sequence[int], law: str = "normal", *, seed: int = 0, layer: int = 1) -> Values:
    """(nnz, k_1 ... k_D) float64: independent values on all taps of the kernels that `mask` keeps, one kernel a row.

    `law` is one of catalog.LAWS, where the fans count taps: an output that reads d kernels has a fan-in of
    d k^D, so that the variance of "normal" is 1/(d k^D). On SAO masks these are random_kernel's. O(nnz k^D).

    >>> from sao_cli.masks.sao import sao_mask
    >>> random_taps(sao_mask(8, 8, 2), (3, 3)).shape
    (16, 9)
    """
    taps = math.prod(size)
    require_memory(64 * mask.nnz * taps, f"{mask.nnz} random kernels of {taps} taps")
    columns = np.multiply(mask.indices[:, None], taps, dtype=np.int64) + np.arange(taps)
    rows_of_taps = Mask(np.multiply(mask.indptr, taps, dtype=np.int64), columns.reshape(-1), (mask.m, mask.n * taps))
    values = random_values(rows_of_taps, law, seed=seed, layer=layer).reshape(mask.nnz, taps)
    if law.startswith("glorot"):  # its fan-out counts taps as well, and a column of that mask has one of them
        d, c = mask.row_degrees[mask.entry_rows], mask.column_degrees[mask.indices]
        values *= np.sqrt((taps * d + c) / (taps * (d + c)))[:, None]
    return values


def _soc_terms(size: Sequence[int], scale: float) -> int:
    """T with which S_T of a kernel of 3 taps an axis has this size, checked."""
    taps = size[0]
    if len(set(size)) > 1 or taps % 2 == 0:
        raise SaoError(f"a kernel of {' x '.join(map(str, size))} taps; soc needs an odd number, the same on each axis")
    terms = (taps - 1) // 2 + 1
    bound = soc_error_bound(scale, terms)
    if bound > SOC_TOLERANCE:
        enough = next(count for count in range(terms, 1000) if soc_error_bound(scale, count) <= SOC_TOLERANCE)
        least = (SOC_TOLERANCE * math.factorial(terms)) ** (1 / terms)
        raise SaoError(
            f"{taps} taps hold {terms} terms of the exponential, of error bound {bound:.2g} at scale {scale:g}, above "
            f"{SOC_TOLERANCE:g}; take {2 * enough - 1} taps, scale {math.floor(100 * least) / 100:g}, or SOCConv2d"
        )
    return terms
