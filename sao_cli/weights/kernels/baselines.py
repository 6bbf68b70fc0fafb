"""What orthogonal kernels are compared with: independent values, and what pruning leaves of a dense kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sao_cli.base.names import check
from sao_cli.catalog import METHODS, SCHEMES
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.masks.lrp import lrp_mask
from sao_cli.pruning.scores.magnitude import unit_magnitudes
from sao_cli.pruning.units import largest_units
from sao_cli.weights.kernels.channels import (
    Taps,
    channel_mask,
    checked_size,
    degrees_of,
    placed,
    require_kernel_memory,
    told,
)
from sao_cli.weights.random import random_values

KERNEL_LAWS = tuple(name for name, row in SCHEMES.items() if row.law)


def random_kernel(
    c_out: int,
    c_in: int,
    size: int | Sequence[int] = 3,
    *,
    law: str = "normal",
    axes: int = 2,
    degree: int | None = None,
    seed: int = 0,
    layer: int = 1,
    arrangement: str = "random",
) -> Kernel:
    """A (c_out, c_in, *size) kernel of independent values, `law` normal or uniform, of mean 0 and variance 1/(d k^D).

    d is the number of kernels that an output channel reads: c_in, or `degree` on an SAO mask (RG-N and RG-U of SAO,
    section IV, for kernels). An output then has the variance of its inputs, away from the border.

    Raises SaoError for another law, InfeasibleError as sao_mask does, MemoryLimitError. O(c_out c_in k^D).

    >>> kernel = random_kernel(64, 64, degree=4)
    >>> kernel.mask.nnz, bool(abs(36 * kernel.values[kernel.mask.to_dense()].var() - 1) < 0.1)
    (256, True)
    """
    check("law", law, KERNEL_LAWS)
    taps = checked_size(size, axes)
    kept = c_out * (c_in if degree is None else degree)
    require_kernel_memory(c_out, c_in, taps, 24 * kept * math.prod(taps))
    mask = channel_mask(c_out, c_in, degree, seed=seed, layer=layer, arrangement=arrangement)
    facts = {} if degree is None else {"arrangement": arrangement}
    mask = told(mask, "dense" if degree is None else "sao", law, taps, seed=seed, layer=layer, **facts)
    values = random_values(_tap_by_tap(mask, taps), law, seed=seed, layer=layer)
    return Kernel(placed(mask, values.reshape(mask.nnz, -1), taps), mask)


def masked_kernel(dense: Kernel, mask: Mask, method: str = "rg-s") -> Kernel:
    """What `mask` keeps of the kernel `dense`: RG-S of a dense orthogonal one (SAO, section IV-C). O(size).

    >>> from sao_cli.masks.sao import sao_mask
    >>> masked_kernel(Kernel.from_dense(np.ones((4, 4, 3))), sao_mask(4, 4, 2))
    Kernel(4 x 4 x 3, kernels=8, float64)
    """
    values = np.zeros(dense.shape)
    values[mask.entry_rows, mask.indices] = dense.values[mask.entry_rows, mask.indices]
    facts: dict[str, Any] = {"method": method, **degrees_of(mask)}
    if METHODS[method].keeps:
        facts["nnz"] = mask.nnz
    elif "arrangement" in mask.provenance:
        facts["arrangement"] = mask.provenance["arrangement"]
    mask = Mask(mask.indptr, mask.indices, mask.shape, {**dense.mask.provenance, **facts})
    return Kernel(values, mask, dense.dtype)


def lmp_kernel(dense: Kernel, count: int) -> Kernel:
    """The `count` kernels of `dense` of the largest Frobenius norms; of equal ones the first, row by row.

    Local magnitude pruning of whole 2-D kernels (SAO, section III-E). Raises InfeasibleError unless
    1 <= count <= c_out c_in. O(size).

    >>> lmp_kernel(Kernel.from_dense(np.array([[[1.0, 1.0], [2.0, 0.0]]])), 1).values[0, 1]
    array([2., 0.])
    """
    return masked_kernel(dense, largest_units(unit_magnitudes(dense.values), count), "lmp")


def lrp_kernel(dense: Kernel, count: int, *, seed: int = 0, layer: int = 1) -> Kernel:
    """`count` kernels of `dense` at the uniformly random places of lrp_mask (SAO, section III-E).

    Raises InfeasibleError unless 1 <= count <= c_out c_in. O(size).

    >>> lrp_kernel(random_kernel(8, 8), 10)
    Kernel(8 x 8 x 3 x 3, kernels=10, float64)
    """
    return masked_kernel(dense, lrp_mask(*dense.mask.shape, count, seed=seed, layer=layer), "lrp")


def _tap_by_tap(mask: Mask, size: Taps) -> Mask:
    """The mask of the reshaped kernel (c_out, c_in k^D): each one of `mask` as all its taps, side by side."""
    taps = math.prod(size)
    columns = np.multiply(mask.indices[:, None], taps, dtype=np.int64) + np.arange(taps)
    ends = np.multiply(mask.indptr, taps, dtype=np.int64)
    return Mask(ends, columns.reshape(-1), (mask.m, mask.n * taps))
