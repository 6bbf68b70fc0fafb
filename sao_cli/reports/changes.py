"""Reports on weights of a checkpoint that were changed, or were asked for and stayed as they are."""

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from sao_cli.reports.report import Report
from sao_cli.reports.weights import RepairFacts


@dataclass(frozen=True, kw_only=True)
class StoredWeight(Report):
    """What a checkpoint tells of a weight itself; the fields are AuditRow's of the same names."""

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    groups: int | None
    transposed: bool
    assumed: str | None
    masked_by: str | None
    tied_with: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SkippedWeight(StoredWeight):
    """A weight that was asked for and is as it was, for the `reason`."""

    skipped: bool = True
    reason: str


@dataclass(frozen=True, kw_only=True)
class PrunedWeight(StoredWeight):
    """What pruning by `method` left of a weight; `d` is the row degree of an SAO mask, None of others.

    `kept_norm` is the share of the squared Frobenius norm that is left, None of a weight that was all zeros, and
    `kept_norm_bound` what no SAO mask of that degree exceeds, None for other methods. `before` and `after` are facts of
    an AuditRow by their names; "nnz" and "sparsity" alone where no others were asked for, or for the "reason" there.
    """

    method: str
    d: int | None
    kept_norm: float | None
    kept_norm_bound: float | None
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PruneSummary(Report):
    """All weights together: `pruned` and `skipped` count them, `weights` and `nnz` the numbers in the pruned ones.

    `sparsity` is of the pruned ones, `overall_sparsity` of all of the checkpoint's, which have `all_weights` numbers.
    `dense_ends` are the first and the last, kept dense, by `order`, which is "numbered names" or, where those tell
    none, None. `kept_norm` is the share of the pruned ones' squared norm that is left.
    """

    summary: bool = True
    pruned: int
    skipped: int
    weights: int
    nnz: int
    asked_sparsity: float | None
    sparsity: float
    all_weights: int
    overall_sparsity: float
    dense_ends: tuple[str, ...]
    order: str | None
    kept_norm: float | None


@dataclass(frozen=True, kw_only=True)
class RepairedWeight(RepairFacts, StoredWeight):
    """What a repair did to a weight of a checkpoint; see RepairFacts and StoredWeight for the fields."""


@dataclass(frozen=True, kw_only=True)
class RepairSummary(Report):
    """How many weights were `repaired` and `skipped`; `log10_gain` is of the product of the repaired ones' gains."""

    summary: bool = True
    repaired: int
    skipped: int
    log10_gain: float


Changed = TypeVar("Changed", bound=StoredWeight)
Summary = TypeVar("Summary", bound=Report)


class Changes(NamedTuple, Generic[Changed, Summary]):
    """What was done to a checkpoint: a row for each weight asked for, in the natural order of names, and a summary."""

    rows: tuple[Changed | SkippedWeight, ...]
    summary: Summary

    @property
    def changed(self) -> list[Changed]:
        """The rows of the weights that were changed."""
        return [row for row in self.rows if not isinstance(row, SkippedWeight)]
