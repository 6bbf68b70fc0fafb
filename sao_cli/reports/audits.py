"""Reports on checkpoints: rows, chains, summaries, comparisons, failed checks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.reports.changes import StoredWeight
from sao_cli.reports.masks import GraphFacts, LayerSize, MaskCounts
from sao_cli.reports.report import Report, fact
from sao_cli.reports.spectra import KSTest, Measurement, OperatorFacts, Reshaped, SpectrumFacts


class TailLaw(Report, theory=13):
    """A law of the tail, fitted to the same values as the power law and compared with it; see models.audit.tail_laws.

    A parameter that the law does not have is null, and so are those of a lognormal law that is likeliest in its limit,
    the power law.
    """

    ratio: float = fact(
        "log-likelihood of the power law less that of this one, normalised: the power law is likelier where it is "
        "positive, this one where it is negative",
        unit="R/(s sqrt(n)), R = sum over n values x of log p(x) - log q(x), s their standard deviation",
    )
    pvalue: float = fact(
        "chance of a ratio so far from 0 if both laws were as near to the truth (Vuong 1989; Clauset, Shalizi and "
        "Newman 2009)",
        unit="erfc(|ratio|/sqrt(2)); of a law that contains the power law, erfc(sqrt(|R|))",
    )
    alpha: float | None = fact(
        "exponent of the truncated power law", unit="density x^-alpha exp(-decay x/xmin)", default=None
    )
    decay: float | None = fact(
        "rate of the exponential law or factor, 0 where no factor fits better", unit="1/xmin", default=None
    )
    mu: float | None = fact("mean of log(x/xmin) under the lognormal law before it is cut at xmin", default=None)
    sigma: float | None = fact("standard deviation of log(x/xmin) under that law", default=None)


class TailFacts(Report, theory=13):
    """The tail of a spectrum, with --heavy-tail; see models.audit.heavy_tail."""

    alpha: float | None = fact(
        "exponent of a power law of the eigenvalues s_i^2", unit="density x^-alpha", compared=True, default=None
    )
    xmin: float | None = fact("the eigenvalue from which on the law holds", default=None)
    alpha_distance: float | None = fact("largest gap between the law and the eigenvalues", default=None)
    mp_edge: float | None = fact(
        "upper edge of the Marchenko-Pastur law of singular values",
        unit="sqrt(v) (sqrt(m) + sqrt(n)), v the mean square of the entries",
        default=None,
    )
    outliers: int | None = fact("singular values above that edge", compared=True, default=None)
    tw_edge: float | None = fact(
        "what the largest singular value of a Gaussian matrix of that shape and v is above in 5 of 100 cases, by the "
        "Tracy-Widom law",
        unit="sqrt(v (mu + 0.9793 s)), mu = (a + b)^2, s = (a + b) (1/a + 1/b)^(1/3), a^2 = m - 1/2, b^2 = n - 1/2",
        default=None,
    )
    tw_outliers: int | None = fact("singular values above tw_edge", compared=True, default=None)
    truncated_power_law: TailLaw | None = fact("a power law with an exponential factor, of the same tail", default=None)
    exponential: TailLaw | None = fact("an exponential law of the same tail", default=None)
    lognormal: TailLaw | None = fact("a lognormal law of the same tail", default=None)
    favoured: str | None = fact(
        '"power_law", "truncated_power_law", "exponential" or "lognormal": the simplest law of the tail that no other '
        "beats at a p-value below 0.1; null where the values do not tell",
        compared=True,
        default=None,
    )
    random_distance: float | None = fact(
        "how far a matrix's singular values are from those of its own numbers in random places, by --seed",
        unit="Kolmogorov-Smirnov statistic, 0 to 1",
        compared=True,
        default=None,
    )


class WeightFacts(
    Reshaped[None], Measurement[None], SpectrumFacts[None], GraphFacts[None], MaskCounts[None], theory=13
):
    """What is true of the numbers of a weight; see models.audit.row for the definitions."""

    kernel_sparsity: float | None = fact("share of a convolution's kernels that are zero as wholes", default=None)
    scale: float | None = fact("root mean square of the singular values", compared=True, default=None)
    ks_sao: KSTest | None = fact("the test against an SAO layer of about the same density", default=None)
    sao_degree: int | None = fact("row degree of that layer", default=None)
    error: float | None = fact("where they are `exact`: about how far rounding moved the singular values", default=None)


class ContextFacts(Report, theory=15):
    """A weight in its network, as it ran: null of a file alone, which does not tell what runs."""

    effective: int | None = fact(
        "weights that lie on a path from an input to an output of the network", compared=True, default=None
    )
    effective_sparsity: float | None = fact(
        "share of weights that lie on no path", unit="1 - effective/parameters", compared=True, default=None
    )
    unreached_inputs: int | None = fact(
        "units that it reads, which depend on no input of the network", compared=True, default=None
    )
    unreached_outputs: int | None = fact(
        "units that it writes, which depend on no input of the network", compared=True, default=None
    )
    lost_inputs: int | None = fact(
        "units of which it makes nothing that an output of the network reads", compared=True, default=None
    )
    lost_outputs: int | None = fact(
        "units that it writes, and no output of the network reads", compared=True, default=None
    )


class AuditRow(
    ContextFacts,
    TailFacts,
    OperatorFacts[None],
    WeightFacts,
    LayerSize[None],
    StoredWeight[None],
    record="layer",
    table="name shape sparsity components dead_inputs dead_outputs sigma_max sigma_min stable_rank ks.pvalue alpha "
    "outliers",
    spare="stable_rank shape components alpha outliers ks.pvalue",
    theory=13,
):
    """The facts of one tensor of a checkpoint: a line of `sao audit`, and what `audit_weight` gives.

    `None` stands for what is not known or has no meaning, and `reason` says why.
    """

    near_zero: float | None = fact("share of numbers that --threshold counts as zeros, and are not", default=None)
    digest: str | None = fact(
        "digest of the numbers: equal ones, in whatever dtype, have equal digests", compared=True, default=None
    )
    skipped: bool = fact("it was not audited", compared=True, default=False)
    reason: str | None = fact("why it was skipped, or why something is null", default=None)
    singular_values: NDArray[np.float64] | None = fact("(min(m, n),) float64, descending", default=None, repr=False)
    pattern: Any = fact("where the weights are", default=None, repr=False)


class AuditChain(Report, record="chain", theory=13):
    """Who reaches whom through a run of layers, each of which reads what the one before gives: a line of `sao audit`.

    Where nothing says that they run one after another, `order` and the facts are None, for the `reason`.
    """

    chain: int = fact("number of the chain, from 1")
    layers: int = fact("how many layers there are")
    layer_names: tuple[str, ...] = fact("their names, first layer first")
    order: str | None = fact('what says that they run one after another: "numbered names" or "as given"', default=None)
    assumed: str | None = fact("what is taken for granted then", default=None)
    inputs: int | None = fact("inputs of the first layer", default=None)
    outputs: int | None = fact("outputs of the last layer", default=None)
    reachable: float | None = fact("share of the input-output pairs that some path joins", default=None)
    odd_paths: float | None = fact("share of the pairs that an odd number of paths joins", default=None)
    full_at: int | None = fact("the first depth at which every input reaches every output, in layers", default=None)
    minimum_possible: int | None = fact("the least depth at which the degrees allow that", default=None)
    lost_inputs: int | None = fact(
        "inputs that reach no output; with --list, the keys of ListedUnits have their numbers", default=None
    )
    unreached_outputs: int | None = fact("outputs that no input reaches", default=None)
    lost_input_units: tuple[int, ...] = fact("numbers of those inputs, from 0", default=(), repr=False)
    unreached_output_units: tuple[int, ...] = fact("numbers of those outputs, from 0", default=(), repr=False)
    reachable_after: tuple[float, ...] = fact("`reachable` after each layer", default=())
    effective: int | None = fact(
        "weights that lie on a path from an input to an output; null where a layer is a kernel, whose taps may read "
        "padding alone",
        default=None,
    )
    effective_sparsity: float | None = fact(
        "share of weights that lie on no path", unit="1 - effective/parameters", default=None
    )
    effective_compression: float | None = fact(
        "how many times fewer those on a path are; null where there is none", unit="parameters/effective", default=None
    )
    collapsed_layers: int | None = fact(
        "layers of which nothing is left; where `reachable` is 0 without one, no signal passes all the same",
        default=None,
    )
    reason: str | None = fact("why something is null", default=None)


class AuditSummary(Report, record="summary", theory=13):
    """An audit in one line, its last; see models.audit.chains.audit_summary.

    One weight under several names is counted once in parameters and dead units. `worst_isometry`, `worst_condition`,
    `largest` and `smallest` have the `name` of a layer and the number in question.
    """

    summary: bool = fact("true: this line closes the report", default=True)
    tensors: int = fact("tensors that were looked at")
    rows: int = fact("tensors that were audited")
    skipped_tensors: int = fact("tensors that were not")
    skipped_reasons: dict[str, int] = fact("how many of them for which reason, the most frequent first")
    unread: tuple[str, ...] = fact("names of weights that should have been audited and could not be")
    matrices: int = fact("matrices among the audited")
    kernels: int = fact("kernels of convolutions among the audited")
    total_parameters: int = fact("numbers of all tensors whose shape is known")
    audited_parameters: int = fact("numbers of the audited ones")
    kept_parameters: int = fact("numbers of the audited ones that are not zero")
    overall_sparsity: float | None = fact(
        "share of zeros in all of them together", unit="1 - kept_parameters/audited_parameters"
    )
    estimated: int = fact("layers whose singular values are not exact")
    dead_inputs: int = fact("inputs that no output reads, of all layers")
    dead_outputs: int = fact("outputs that read no input, of all layers")
    disconnected: tuple[str, ...] = fact("names of layers whose graph has several components")
    rank_deficient: tuple[str, ...] = fact("names of layers whose rank is below min(m, n)")
    worst_isometry: dict[str, Any] | None = fact("the layer with the largest isometry_error")
    worst_condition: dict[str, Any] | None = fact("the layer with the largest condition number")
    largest: dict[str, Any] | None = fact("the layer with the largest sigma_max")
    smallest: dict[str, Any] | None = fact("the layer with the least sigma_min")
    chains: int = fact("chains that are claimed")
    blocked_chains: int = fact("those with an input that reaches no output, or an output that none reaches")


class ComparisonSummary(AuditSummary, record="summary", theory=13):
    """The last line of `sao audit --compare`: the summary of the later checkpoint."""

    statuses: dict[str, int] = fact("how many tensors have which status")


class AuditComparison(
    Report,
    record="change",
    table="name status sparsity effective components rank dead_inputs dead_outputs sigma_max sigma_min stable_rank",
    spare="stable_rank rank components effective sigma_max sigma_min",
    theory=13,
):
    """How a tensor differs between two checkpoints: a line of `sao audit --compare`, and with --module the network's.

    Weights that differ while their facts do not have another `digest`.
    """

    name: str = fact("name of the tensor")
    status: str = fact('"same", "changed", "reshaped", "only before" or "only after"')
    changes: dict[str, dict[str, Any]] = fact(
        'each fact that differs, as {"before", "after", "difference"}, the last null where one of them is no number'
    )


class CheckFailure(Report, record="failure", theory=13):
    """A row that fails a check: what `Audit.failures` and `check` have."""

    name: str = fact("name of the tensor")
    check: str = fact("the condition")
    field: str = fact("the field that was looked at")
    value: Any = fact("what it is")
    reason: str | None = fact("why it can't be told", default=None)
