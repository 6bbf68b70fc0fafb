"""Reports on the singular values of layers, and on tests of them."""

from typing import Generic, Never

import numpy as np
from numpy.typing import NDArray

from sao_cli.reports.masks import LayerSize, MaskCounts, MeanDegrees, NamedLayer
from sao_cli.reports.report import Gap, Report, fact


class KSTest(Report, theory=10):
    """A Kolmogorov-Smirnov test of singular values against others; see measure.values.ks."""

    statistic: float = fact(
        "largest gap between the distribution functions F and G, values within `resolution` counting as equal",
        unit="max over x of max(F(x) - G(x + r), G(x) - F(x + r), 0)",
    )
    pvalue: float = fact("chance of such a gap, or a larger one, between draws from one law")
    log10_pvalue: float = fact("its logarithm, finite where the p-value underflows to 0", unit="log10")
    n1: int = fact("values that are tested")
    n2: int | None = fact("values of the reference; null for a continuous law")
    reference: str = fact("what they are compared with")
    resolution: float = fact("slack r: values so near count as equal", unit="that of the values")
    law: str = fact('how the p-value was found, "exact" or "asymptotic"')
    note: str | None = fact("what there is to know about that", default=None)
    pvalue_holm: float | None = fact(
        "the p-value with Holm's correction over the rows of one report; null where there is but one", default=None
    )


class Repeats(Report, theory=10):
    """The p-values of several repeats, the first of which is the row's own."""

    count: int = fact("how many repeats")
    pvalue_median: float = fact("median of the p-values")
    pvalue_5: float = fact("5 % quantile of the p-values")
    pvalue_95: float = fact("95 % quantile of the p-values")
    fraction_below_005: float = fact("share of the p-values that are under 0.05")
    statistic_median: float = fact("median of the statistics")
    pvalue_median_holm: float | None = fact("median after Holm's correction over rows", default=None)


class Within(Report, theory=9):
    """How many singular values are near to 1."""

    eps: float = fact("how near")
    fraction: float = fact("share of the singular values that are so near to 1", unit="|s_i - 1| <= eps")


class SpectrumFacts(Report, Generic[Gap], theory=9):
    """The k = min(m, n) singular values s_1 >= ... >= s_k of a map, in numbers; see measure.layer.spectrum."""

    sigma_max: float | Gap = fact(
        "largest singular value; a lower bound where `exact` is false", unit="s_1", compared=True, default=None
    )
    sigma_min: float | None = fact("least singular value", unit="s_k", compared=True, default=None)
    mean: float | Gap = fact("mean of the singular values", compared=True, default=None)
    std: float | Gap = fact("standard deviation of the singular values", compared=True, default=None)
    rank: int | None = fact(
        "singular values that can be told from zero; of several inputs, the least",
        unit="how many s_i > max(m, n) eps s_1, eps of the dtype",
        compared=True,
        default=None,
    )
    condition: float | None = fact("condition number, of full rank alone", unit="s_1/s_k", compared=True, default=None)
    frobenius_norm: float | Gap = fact("Frobenius norm", unit="sqrt(sum s_i^2)", compared=True, default=None)
    stable_rank: float | None = fact("stable rank", unit="sum s_i^2 / s_1^2", compared=True, default=None)
    effective_rank: float | None = fact(
        "effective rank", unit="exp(-sum p_i ln p_i), p_i = s_i / sum s", compared=True, default=None
    )
    isometry_error: float | Gap = fact("how far from an isometry", unit="max |s_i - 1|", compared=True, default=None)


class Measurement(Report, Generic[Gap], theory=9):
    """How singular values compare with those of a reference, and how exact they are."""

    ks: KSTest | None = fact(
        "the test against the reference; of an audit, against equal values `scale`", theory=10, default=None
    )
    exact: bool | Gap = fact("the values are computed, and no quantiles of an estimated density", default=None)
    density_error: float | None = fact(
        "where they are not `exact`: how far the distribution function may be off", default=None
    )
    error_kind: str | None = fact('"bound", never exceeded, or "estimate"', default=None)


class Reshaped(Report, Generic[Gap], theory=12):
    """A convolution's kernel as the matrix that some tools take it for."""

    reshaped_sigma_max: float | Gap = fact(
        "largest singular value of the (c_out, c_in k_1 ... k_D) matrix, which is not the map's",
        compared=True,
        default=None,
    )


class OperatorFacts(Reshaped[Gap], theory=12):
    """A convolution as a linear map of images; see measure.convolution.kernel_spectrum."""

    scheme: str | None = fact("what made the kernel, where that is known: delta, eco, soc ...", default=None)
    image: tuple[int, ...] | Gap = fact("sides of the images that are read", default=None)
    output_image: tuple[int, ...] | Gap = fact("sides of the images that come out", default=None)
    padding: str | int | Gap = fact("padding, or how many zeros on each side", default=None)
    stride: tuple[int, ...] | Gap = fact("stride along each axis", default=None)
    dilation: tuple[int, ...] | Gap = fact("dilation along each axis", default=None)
    groups: int | Gap = fact("groups of channels", compared=True, default=None)


class LayerSetting(NamedLayer, theory=9):
    """Which layer is measured, and how it was made."""

    method: str = fact('method that made the weights; empty, or "given", where that is not known')
    activation: str = fact("activation phi of the Jacobian's D = diag(phi'(h))")


class LayerSpectrum(
    Measurement[Never],
    SpectrumFacts[Never],
    MeanDegrees,
    MaskCounts[Never],
    LayerSize[Never],
    LayerSetting,
    record="layer",
    table="layer name method activation sparsity sigma_min sigma_max mean rank ks.statistic ks.pvalue ks.pvalue_holm "
    "repeats.pvalue_median repeats.fraction_below_005",
    spare="mean sigma_min sparsity rank ks.pvalue_holm repeats.fraction_below_005 ks.statistic",
    theory=9,
):
    """The singular values of one layer's Jacobian J = D W: a line of `sao spectrum`, and what `spectrum` gives.

    Where they are not `exact`, they are quantiles of an estimated density; `frobenius_norm` is exact by every route.
    """

    within: Within = fact("how many values are near to 1")
    repeats: Repeats | None = fact("the spread of the p-value, with --repeats")
    reason: str | None = fact("why something is null, or an estimate")
    singular_values: NDArray[np.float64] = fact("(min(m, n),) float64, descending; with --singular-values", repr=False)
    reference_values: NDArray[np.float64] | None = fact("those of the reference, descending", repr=False)


class KernelSpectrum(OperatorFacts[Never], LayerSpectrum, record="layer", theory=12):
    """The singular values of a convolution as a linear map of images: a line of `sao spectrum` for a kernel.

    m and n are the sides of that map; nnz, sparsity, c and d are of its kernel-level mask: each one is a whole kernel.
    """

    kernel: tuple[int, ...] = fact("shape of the kernel, (c_out, c_in, k_1, ..., k_D)")
