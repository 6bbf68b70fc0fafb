"""Reports on weights that were put on a mask: isometry reached, distance from what was there."""

from __future__ import annotations

from dataclasses import dataclass, field

from sao_cli.data.arrays import Values
from sao_cli.reports.report import Report


@dataclass(frozen=True, kw_only=True)
class Isometry(Report):
    """Values on an (m, n) mask, and how far the matrix W that they make is from an isometry.

    - `values`: (nnz,) float64, row by row, none of them 0;
    - `residual`: ||W W^T - I||_F for m <= n, ||W^T W - I||_F for m >= n, the root of sum (sigma_i^2 - 1)^2 over the
      min(m, n) singular values;
    - `residual_floor`: sqrt(min(m, n) - structural_rank), below which no values on this mask come, since
      `structural_rank`, the size of a maximum matching, is the most that the rank can be;
    - `effective_ones`: the participation ratio (sum w^2)^2 / sum w^4 of a row, the mean over the rows that have a
      one; between 1 (a permutation) and the row's degree, None where there is no one at all;
    - `sigma_min`, `sigma_max`: the least and the largest of the min(m, n) singular values;
    - `steps`: how many projections the component with the most of them took, and `stopped`: why the one that
      contributes most to the residual took no more, as `isometry` tells.
    """

    values: Values
    residual: float
    residual_floor: float
    structural_rank: int
    effective_ones: float | None
    sigma_min: float
    sigma_max: float
    steps: int
    stopped: str


@dataclass(frozen=True, kw_only=True)
class Distance(Report):
    """How far a matrix W is from `gain` times an isometry; see weights.isometry.Isometry for the definitions.

    `residual` and `effective_ones` are of W / gain, the singular values those of W.
    """

    residual: float
    effective_ones: float | None
    sigma_min: float
    sigma_max: float


@dataclass(frozen=True, kw_only=True)
class RepairFacts(Report):
    """What a repair did: the distance `before` and `after`, and `change` = ||W' - W||_F / ||W||_F.

    `residual_floor`, `structural_rank`, `steps` and `stopped` are as Isometry has them; "worse" is one more reason to
    stop, where no step brought W nearer.
    """

    nnz: int
    before: Distance
    after: Distance
    residual_floor: float
    structural_rank: int
    gain: float
    steps: int
    stopped: str
    change: float


@dataclass(frozen=True, kw_only=True)
class Repair(RepairFacts):
    """What a repair did, as RepairFacts tells; `weight` is W', of W's shape and float64, and no part of the report."""

    weight: Values = field(repr=False)
