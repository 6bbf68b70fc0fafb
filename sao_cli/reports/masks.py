"""Reports on masks: feasible degrees, expansion, reachability."""

from dataclasses import dataclass

from sao_cli.reports.report import Report


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
