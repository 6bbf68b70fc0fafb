"""Reports on checkpoints: rows, chains, summaries, comparisons, failed checks."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.reports.report import Report
from sao_cli.reports.spectra import KSTest


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
