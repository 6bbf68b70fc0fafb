"""Frozen dataclasses, one a kind of report; `to_dict()` gives what strict JSON can hold."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

BOUND, ESTIMATE = "bound", "estimate"  # what an error is: never exceeded, or only likely


@dataclass(frozen=True, kw_only=True)
class Report:
    """A row of a report."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python values, in order; NaN and infinities become None."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self) if item.repr}


def plain(value: Any) -> Any:
    """`value` with numpy scalars and arrays, tuples, mappings and reports as what json.dumps(allow_nan=False) takes."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Report):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True, kw_only=True)
class Plan(Report):
    """The degrees that one layer can have, and what its method makes of what was asked.

    `feasible` lists every feasible row degree d, ascending; `c`, `d`, `sparsity` and `parameters` (ones in the
    mask; biases are not counted) are of the layer that is built, and None where no target was given; `c` is None too
    where columns vary in their degrees, and `d` where rows do.
    """

    layer: int
    m: int
    n: int
    c: int | None
    d: int | None
    sparsity: float | None
    parameters: int | None
    feasible: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Expansion(Report):
    """Eigenvalue conditions of one mask; see measure.graph.expansion for each quantity's definition.

    `None` stands for what can't be told, and `reason` then says why.
    """

    m: int
    n: int
    nnz: int
    density: float
    sparsity: float
    biregular: bool
    c: float
    d: float
    row_degree: tuple[int, int]
    column_degree: tuple[int, int]
    components: int
    connected: bool
    dead_inputs: int
    dead_outputs: int
    lambda_1: float
    lambda_2: float
    lambda_2_distinct: float
    bound: float | None
    spectral_gap: float
    delta_s: float | None
    regularity_gap: float
    ramanujan: bool | None
    ramanujan_paper: bool | None
    criterion: str
    holds: bool | None
    error: float
    error_kind: str
    certificate: str
    failure_probability: float
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Depth(Report):
    """Who reaches whom through the first `layer` layers of a stack; fractions are of all input-output pairs."""

    layer: int
    inputs: int
    outputs: int
    reachable: float
    odd_paths: float
    rank_f2: int | None
    unreached_outputs: int
    lost_inputs: int
    full: bool


@dataclass(frozen=True, kw_only=True)
class ReachSummary(Report):
    """The last line of a reachability report: the first full depth, and the least that the degrees allow."""

    summary: bool = True
    layers: int
    full_at: int | None
    minimum_possible: int | None


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


@dataclass(frozen=True, kw_only=True)
class DepthJacobian(Report):
    """The singular values of a network's input-output Jacobian at one depth; see nets.jacobians.chain for definitions.

    Over the min(m, n) singular values of each of `inputs` Jacobians, all together. `mean` and `variance` are None where
    they leave the range of float64, and `reason` says why; the logarithms (base 10) never do. `resolved` is the
    fraction of the values that are known to within half of themselves; `log10_mean` and `log10_std` are of these, and
    `log10_sigma_min` is None where there are others. `rank` is how many values can be told from zero, the mean over
    inputs, of which some may be known to be no more. `participation` is the fraction within
    [0.5, 2]. `predicted_log10_mean_square` and `predicted_relative_variance` are mean-field theory's for the squared
    values. `log10_values` (inputs, min(m, n)), descending, -inf where not resolved, are no part of the report.
    """

    depth: int
    method: str
    activation: str
    gain: float
    m: int
    n: int
    inputs: int
    mean: float | None
    variance: float | None
    log10_sigma_max: float | None
    log10_sigma_min: float | None
    log10_mean: float | None
    log10_std: float | None
    rank: float | None
    resolved: float
    participation: float
    predicted_log10_mean_square: float | None
    predicted_relative_variance: float | None
    device: str
    dtype: str
    reason: str | None
    log10_values: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AuditRow(Report):
    """The facts of one tensor of a checkpoint; see models.audit.row for each quantity's definition.

    `None` stands for what is not known or has no meaning, and `reason` says why. `kind` is "matrix" or "kernel", or
    "weight" for one of which not even the `shape` is known, None for what is no weight. `transposed` says that it is
    stored with its inputs first, `assumed` what the file does not tell and is taken for granted, `masked_by` which mask
    beside it is multiplied in, `tied_with` under which other names the same weight is stored. `singular_values`,
    descending, and `pattern`, where the weights are, are no part of the report.
    """

    name: str
    kind: str | None
    shape: tuple[int, ...] | None
    dtype: str
    m: int | None = None
    n: int | None = None
    nnz: int | None = None
    sparsity: float | None = None
    near_zero: float | None = None
    kernel_sparsity: float | None = None
    biregular: bool | None = None
    row_degree: tuple[int, int] | None = None
    column_degree: tuple[int, int] | None = None
    components: int | None = None
    connected: bool | None = None
    dead_inputs: int | None = None
    dead_outputs: int | None = None
    lambda_2: float | None = None
    bound: float | None = None
    ramanujan: bool | None = None
    ramanujan_paper: bool | None = None
    sigma_max: float | None = None
    sigma_min: float | None = None
    mean: float | None = None
    std: float | None = None
    rank: int | None = None
    condition: float | None = None
    frobenius_norm: float | None = None
    stable_rank: float | None = None
    effective_rank: float | None = None
    isometry_error: float | None = None
    scale: float | None = None
    ks: KSTest | None = None
    ks_sao: KSTest | None = None
    sao_degree: int | None = None
    alpha: float | None = None
    xmin: float | None = None
    alpha_distance: float | None = None
    mp_edge: float | None = None
    outliers: int | None = None
    exact: bool | None = None
    error: float | None = None
    density_error: float | None = None
    error_kind: str | None = None
    scheme: str | None = None
    image: tuple[int, ...] | None = None
    outputs: tuple[int, ...] | None = None
    padding: str | int | None = None
    stride: tuple[int, ...] | None = None
    dilation: tuple[int, ...] | None = None
    groups: int | None = None
    reshaped_sigma_max: float | None = None
    transposed: bool | None = None
    assumed: str | None = None
    masked_by: str | None = None
    tied_with: tuple[str, ...] = ()
    digest: str | None = None
    skipped: bool = False
    reason: str | None = None
    singular_values: NDArray[np.float64] | None = field(default=None, repr=False)
    pattern: Any = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class AuditChain(Report):
    """Who reaches whom through a run of layers, each of which reads what the one before gives.

    `order` is what says that they run one after another, "numbered names" or "as given", and `assumed` what is taken
    for granted then. Where nothing says so `order` and the facts are None, for the `reason`. `reachable` and
    `odd_paths` are fractions of all input-output pairs at the end, `reachable_after` the first of them after each
    layer; `full_at` and `minimum_possible` count layers of the run, from 1. See measure.reach.reachability.
    """

    chain: int
    layers: tuple[str, ...]
    order: str | None = None
    assumed: str | None = None
    inputs: int | None
    outputs: int | None
    reachable: float | None
    odd_paths: float | None
    full_at: int | None
    minimum_possible: int | None
    lost_inputs: int | None
    unreached_outputs: int | None
    reachable_after: tuple[float, ...]
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditSummary(Report):
    """An audit in one line; see models.audit.chains.audit_summary.

    Lists hold layers' names, `unread` of those that should have been measured and could not be; `worst_isometry`,
    `worst_condition`, `largest` and `smallest` have the name of a layer and the number in question, None where no
    layer has one. `overall_sparsity` is of all of them together, and has a name of its own so that a filter on rows'
    `sparsity` leaves this line out.
    """

    summary: bool = True
    tensors: int
    rows: int
    skipped: int
    skipped_reasons: dict[str, int]
    unread: tuple[str, ...]
    matrices: int
    kernels: int
    total_parameters: int
    audited_parameters: int
    kept_parameters: int
    overall_sparsity: float | None
    estimated: int
    dead_inputs: int
    dead_outputs: int
    disconnected: tuple[str, ...]
    rank_deficient: tuple[str, ...]
    worst_isometry: dict[str, Any] | None
    worst_condition: dict[str, Any] | None
    largest: dict[str, Any] | None
    smallest: dict[str, Any] | None
    chains: int
    blocked_chains: int


@dataclass(frozen=True, kw_only=True)
class AuditComparison(Report):
    """How a tensor differs between two checkpoints.

    `status` is "same", "changed", "reshaped", "only before" or "only after"; `changes` maps each fact that differs to
    {"before", "after", "difference"}, the last None where one of them is no number. Weights that differ while their
    facts do not have another `digest`.
    """

    name: str
    status: str
    changes: dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class CheckFailure(Report):
    """A row that fails a check: the `field` that was looked at, what it is, and why where it can't be told."""

    name: str
    check: str
    field: str
    value: Any
    reason: str | None = None
