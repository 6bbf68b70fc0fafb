"""The redundancy of one weight: its ranks, its nearest rows and columns, and what fusing them would save and cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.measure.redundancy.fusing import TAU_COS, TAU_EUC, fuse
from sao_cli.measure.redundancy.fusing_errors import fusing_errors
from sao_cli.measure.redundancy.pairs import Pair, nearest_pairs, zero_vectors
from sao_cli.measure.redundancy.ranks import TAU_RELATIVE, ranks
from sao_cli.measure.redundancy.unit_vectors import FLOOR
from sao_cli.models.audit.reasons import UNMEASURED, said
from sao_cli.reports.redundancies import AxisRedundancy, NearPair, RankRow

Facts = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Redundancy:
    """What counts as redundant: the slack `tau`, absolute, or else `tau_relative` times sigma_max; the thresholds and
    the `floor` of fusing, as measure.redundancy.fusing.fuse has them; and how many `pairs` are told.

    Raises SaoError for thresholds out of range.
    """

    tau: float | None = None
    tau_relative: float = TAU_RELATIVE
    tau_cos: float = TAU_COS
    tau_euc: float = TAU_EUC
    floor: float = FLOOR
    pairs: int = 1

    def __post_init__(self) -> None:
        for name, value in (("--tau", self.tau), ("--tau-relative", self.tau_relative)):
            if value is not None and not 0 < value < np.inf:
                raise SaoError(f"{name} {value:g}; it is a slack: a finite number above 0")
        if self.pairs < 1:
            raise SaoError(f"--pairs {self.pairs}; it is how many are told, 1 or more")
        fuse(np.eye(1), tau_cos=self.tau_cos, tau_euc=self.tau_euc, floor=self.floor)  # which says what is wrong


def rank_weight(
    weight: NDArray[Any],
    bias: NDArray[Any] | None = None,
    *,
    name: str = "",
    dtype: str | None = None,
    asked: Redundancy | None = None,
    progress: Progress = silent,
) -> RankRow:
    """The RankRow of an array with 2 axes, (m, n), or of a kernel (c_out, c_in, k_1, ...) as (c_out, c_in k_1 ...).

    `bias` (m,) belongs to it, and `dtype` is what the numbers were born in, where numpy lacks it. Ranks are those of
    measure.redundancy.ranks.ranks, pairs those of measure.redundancy.pairs.nearest_pairs, of rows and columns without
    the bias. Fusing is measure.redundancy.fusing.fuse's with the rule "svd", along both axes; where no pair is within
    tau_cos and no vector below the floor there is nothing to fuse, and it is not tried.

    Raises FormatError for what is no weight or not finite. What is out of reach is None, and `reason` says so. Cost:
    that of the functions named.

    >>> row = rank_weight(np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 1.0], [0.0, 0.0, 3.0]]), name="layer")
    >>> row.rank, row.columns.pairs[0].j, row.fusions, row.parameters_saved, row.error_frobenius < 1e-15
    (2, 1, 1, 3, True)
    """
    asked = asked or Redundancy()
    weight = np.asarray(weight)
    if weight.ndim < 2 or not weight.size:
        raise FormatError(f"shape {weight.shape}: a weight has 2 axes or more, each of at least 1")
    matrix = weight.reshape(len(weight), -1)
    reasons: list[str] = []
    facts: Facts = {"columns": _axis(matrix.T, asked, progress), "rows": _axis(matrix, asked, progress)}
    facts |= _ranks(matrix, bias, dtype, asked, progress, reasons)
    facts |= _fusing(matrix, facts, asked, progress, reasons)
    return RankRow(
        name=name,
        kind="matrix" if weight.ndim == 2 else "kernel",
        shape=weight.shape,
        dtype=dtype or weight.dtype.name,
        m=matrix.shape[0],
        n=matrix.shape[1],
        bias=bias is not None,
        reason="; ".join(dict.fromkeys(reasons)) or None,
        **facts,
    )


def _axis(vectors: NDArray[Any], asked: Redundancy, progress: Progress) -> AxisRedundancy:
    pairs = nearest_pairs(vectors, asked.pairs, floor=asked.floor, progress=progress)
    return AxisRedundancy(
        zero=len(zero_vectors(vectors, asked.floor)),
        max_cosine=abs(pairs[0].cosine) if pairs else None,
        pairs=tuple(map(_told, pairs)),
    )


def _told(pair: Pair) -> NearPair:
    return NearPair(i=pair.i, j=pair.j, cosine=pair.cosine, distance=pair.distance, ratio=pair.ratio)


def _ranks(
    matrix: NDArray[Any],
    bias: NDArray[Any] | None,
    dtype: str | None,
    asked: Redundancy,
    progress: Progress,
    reasons: list[str],
) -> Facts:
    try:
        found = ranks(matrix, bias, tau=asked.tau, tau_relative=asked.tau_relative, dtype=dtype, progress=progress)
    except UNMEASURED as error:
        reasons.append(said(error))
        return {}
    return dict(vars(found))


def _fusing(matrix: NDArray[Any], facts: Facts, asked: Redundancy, progress: Progress, reasons: list[str]) -> Facts:
    if not any(_may_fuse(facts[axis], asked) for axis in ("columns", "rows")):
        return {"fusions": 0, "parameters_saved": 0, "error_frobenius": 0.0, "error_spectral": 0.0}
    try:
        require_memory(64.0 * matrix.size, f"fusing {matrix.shape[0]} x {matrix.shape[1]}")
        fused, fusions = fuse(
            matrix, tau_cos=asked.tau_cos, tau_euc=asked.tau_euc, floor=asked.floor, progress=progress
        )
        errors = fusing_errors(matrix, fused, progress)
    except UNMEASURED as error:
        reasons.append(said(error))
        return {}
    return {
        "fusions": fusions,
        "parameters_saved": matrix.size - fused.weight.size,
        "error_frobenius": errors.frobenius,
        "error_spectral": errors.spectral,
    }


def _may_fuse(axis: AxisRedundancy, asked: Redundancy) -> bool:
    """Whether a vector is to be removed, or the nearest pair is near enough; 1e-12 is more than its rounding."""
    return axis.zero > 0 or (axis.max_cosine is not None and 1 - axis.max_cosine <= asked.tau_cos + 1e-12)
