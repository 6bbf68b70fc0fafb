"""Reports on weights of a checkpoint that were changed, or were asked for and stayed as they are."""

from typing import Any, Generic, NamedTuple, Never, TypeVar

from sao_cli.reports.frames import Reports
from sao_cli.reports.report import Gap, Report, fact
from sao_cli.reports.weights import RepairFacts


class StoredWeight(Report, Generic[Gap], theory=13):
    """A tensor of a checkpoint, and what the file tells of it besides its numbers."""

    name: str = fact("name of the tensor")
    kind: str | Gap = fact(
        '"matrix" or "kernel", "bias" where those are pruned too; "weight" of one of which not even the shape is '
        "known; null of what is no weight"
    )
    shape: tuple[int, ...] | Gap = fact("shape, as it is stored")
    dtype: str = fact("dtype, as it is stored", compared=True)
    transposed: bool | Gap = fact("it is stored with its inputs first", compared=True, default=None)
    assumed: str | None = fact("what the file does not tell and is taken for granted", default=None)
    masked_by: str | None = fact("the mask beside it that is multiplied in", default=None)
    tied_with: tuple[str, ...] = fact("under which other names the same weight is stored", default=())
    provenance: dict[str, Any] | None = fact("where the file says that it came from", default=None, repr=False)


class ChosenWeight(StoredWeight[Never], theory=13):
    """A weight that was asked for."""

    groups: int | None = fact("groups of channels; null of a matrix, or where they are not known")


class SkippedWeight(ChosenWeight, record="layer", theory=13):
    """A weight that was asked for and is as it was: a line of `sao prune` and `sao repair`."""

    skipped: bool = fact("true", default=True)
    reason: str = fact("why it is as it was")


class PrunedWeight(
    ChosenWeight,
    record="layer",
    table="name shape sparsity effective_sparsity components dead_inputs dead_outputs sigma_max sigma_min kept_norm",
    spare="shape components sigma_max sigma_min",
    theory=13,
):
    """What pruning left of a weight: a line of `sao prune`, and a row of `prune_checkpoint`."""

    method: str = fact("method that pruned it")
    d: int | None = fact("row degree of an SAO mask; null of others")
    kept_norm: float | None = fact("share of the squared Frobenius norm that is left; null of a weight of zeros")
    kept_norm_bound: float | None = fact("what no SAO mask of that degree keeps more than; null of other methods")
    kept: int = fact("numbers that the mask keeps")
    effective: int | None = fact(
        "weights that lie on a path from an input to an output of what is left of the network; null where that can't "
        "be told"
    )
    effective_sparsity: float | None = fact("share of weights that lie on no path", unit="1 - effective/parameters")
    collapsed: bool = fact("nothing of it is left")
    dead_inputs: int | None = fact("inputs that no output reads: columns of zeros; null where groups are not known")
    dead_outputs: int = fact("outputs that read no input: rows of zeros")
    before: dict[str, Any] = fact("WeightFacts of it before; nnz and sparsity alone with --no-facts")
    after: dict[str, Any] = fact("WeightFacts of it after; `reason` says why something is null")


class PrunedTotals(Report, theory=13):
    """How many weights were pruned, and how many numbers they hold."""

    summary: bool = fact("true: this line closes the report", default=True)
    pruned: int = fact("weights that were pruned")
    skipped_tensors: int = fact("weights that were asked for and are as they were")
    weights: int = fact("numbers in the pruned ones")
    nnz: int = fact("those of them that are not zero")
    asked_sparsity: float | None = fact("share of zeros that was asked for; null for a degree")
    sparsity: float = fact("share of zeros in the pruned ones", unit="1 - nnz/weights")
    all_weights: int = fact("numbers in all weights of the checkpoint")
    overall_sparsity: float = fact("share of zeros in all weights of the checkpoint")
    dense_ends: tuple[str, ...] = fact("names of the first and the last weight, which were kept dense")
    order: str | None = fact('what tells which these are: "numbered names", or null where the names tell no order')
    kept_norm: float | None = fact("share of the pruned ones' squared Frobenius norm that is left")


class WhatStays(Report, Generic[Gap], theory=16):
    """What pruning left of a network: the numbers that masks keep, and which of them lie on a path."""

    kappa: int | None = fact(
        "how many numbers of the pruned ones the sparsity leaves; null for a degree", unit="round((1 - s) weights)"
    )
    kept: int | Gap = fact("numbers of the pruned ones that masks keep")
    compression: float | None = fact("how many times fewer they are; null where none is", unit="weights/kept")
    effective: int | None = fact("weights of the pruned ones that lie on a path; null where that can't be told")
    effective_sparsity: float | None = fact("share of them that lie on no path", unit="1 - effective/weights")
    effective_compression: float | None = fact(
        "how many times fewer those on a path are; null where there is none", unit="weights/effective"
    )
    collapsed_layers: int | Gap = fact("pruned weights of which nothing is left")
    ties_at_threshold: int | None = fact(
        "units that were dropped though they score as much as the least that is kept; null unless all are compared"
    )
    zero_scores: int | None = fact("units that are kept though they score 0; null unless all are compared")
    reachable: float | None = fact("share of the network's input-output pairs that some path joins")
    lost_inputs: int | None = fact("inputs of the network that reach no output")
    unreached_outputs: int | None = fact("outputs of the network that no input reaches")
    unknown: tuple[str, ...] | Gap = fact(
        "operations of the module of which nothing is known; the facts of paths are bounds where there are"
    )
    assumed: str | None = fact("what a file alone does not tell of its network, and is taken for granted")
    reason: str | None = fact("why something is null")


class PruneSummary(WhatStays[Never], PrunedTotals, record="summary"):
    """All weights together: the last line of `sao prune`."""


class RepairedWeight(
    RepairFacts,
    ChosenWeight,
    record="layer",
    table="name shape residual effective_ones sigma_min sigma_max change stopped",
    spare="shape effective_ones",
):
    """What a repair did to a weight of a checkpoint: a line of `sao repair`, and a row of `repair_checkpoint`."""


class RepairSummary(Report, record="summary", theory=13):
    """All weights together: the last line of `sao repair`."""

    summary: bool = fact("true: this line closes the report", default=True)
    repaired: int = fact("weights that were repaired")
    skipped_tensors: int = fact("weights that were asked for and are as they were")
    log10_gain: float = fact("of the product of the repaired weights' gains", unit="log10")


Changed = TypeVar("Changed", bound=ChosenWeight)
Summary = TypeVar("Summary", bound=Report)


class Changes(NamedTuple, Generic[Changed, Summary]):
    """What was done to a checkpoint: a row for each weight asked for, in the natural order of names, and a summary."""

    rows: Reports[Changed | SkippedWeight]
    summary: Summary

    @property
    def changed(self) -> list[Changed]:
        """The rows of the weights that were changed."""
        return [row for row in self.rows if not isinstance(row, SkippedWeight)]
