"""Reports on the singular values of layers, and on tests of them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sao_cli.reports.report import Report


@dataclass(frozen=True, kw_only=True)
class KSTest(Report):
    """A Kolmogorov-Smirnov test; see measure.values.ks for each quantity's definition.

    `n2` is None for a continuous law. `log10_pvalue` stays finite where `pvalue` underflows to 0. `law` tells how
    the p-value was found, "exact" or "asymptotic", and `note` what there is to know about that. `pvalue_holm` is
    the p-value with Holm's correction over the rows of one report, None where there is but one.
    """

    statistic: float
    pvalue: float
    log10_pvalue: float
    n1: int
    n2: int | None
    reference: str
    resolution: float
    law: str
    note: str | None = None
    pvalue_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Repeats(Report):
    """The p-values of `count` repeats, the first of which is the row's own: their median and 5 and 95 % quantiles.

    `fraction_below_005` of them are under 0.05; `pvalue_median_holm` is the median after Holm's correction over rows.
    """

    count: int
    pvalue_median: float
    pvalue_5: float
    pvalue_95: float
    fraction_below_005: float
    statistic_median: float
    pvalue_median_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Within(Report):
    """The fraction of the singular values that are at most `eps` away from 1."""

    eps: float
    fraction: float


@dataclass(frozen=True, kw_only=True)
class LayerSpectrum(Report):
    """The singular values of one layer's Jacobian J = D W, and their facts; see measure.layer.spectrum for definitions.

    `exact` is False where the values are quantiles of an estimated density; `density_error` then tells how far its
    distribution function is off, `error_kind` that this is an "estimate", and `reason` how it came about; both are
    None where `exact`. `frobenius_norm` is exact by every route, and `sigma_max` no quantile, but a lower bound.
    `reason` also says why a number is None. `singular_values` (min(m, n),), descending, and the reference's, are no
    part of the report unless they are asked for.
    """

    layer: int
    method: str
    activation: str
    m: int
    n: int
    nnz: int
    sparsity: float
    c: float
    d: float
    sigma_max: float
    sigma_min: float | None
    mean: float
    std: float
    rank: int | None
    condition: float | None
    isometry_error: float
    frobenius_norm: float
    stable_rank: float | None
    effective_rank: float | None
    within: Within
    exact: bool
    density_error: float | None
    error_kind: str | None
    ks: KSTest | None
    repeats: Repeats | None
    reason: str | None
    singular_values: NDArray[np.float64] = field(repr=False)
    reference_values: NDArray[np.float64] | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class KernelSpectrum(LayerSpectrum):
    """The singular values of a convolution as a linear map of images; see measure.convolution.kernel_spectrum.

    m and n are the sides of that map; nnz, sparsity, c and d are of its kernel-level mask: each one is a whole kernel.
    `kernel` (c_out, c_in, k_1, ..., k_D) is the kernel's shape, `scheme` what made it where that is known.
    `reshaped_sigma_max` is the largest singular value of the (c_out, c_in k_1 ... k_D) matrix, which is not the map's.
    """

    scheme: str | None
    kernel: tuple[int, ...]
    image: tuple[int, ...]
    outputs: tuple[int, ...]
    padding: str | int
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    reshaped_sigma_max: float
