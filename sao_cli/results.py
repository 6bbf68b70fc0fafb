"""Frozen dataclasses, one a kind of report; `to_dict()` gives what strict JSON can hold."""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Report:
    """A row of a report."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python values, in order; NaN and infinities become None."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self)}


def plain(value: Any) -> Any:
    """`value` with numpy scalars and arrays, tuples and mappings turned into what json.dumps(allow_nan=False) takes."""
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
    """The degrees that one layer can have, and those nearest to what was asked.

    `feasible` lists every feasible row degree d, ascending; `c`, `d`, `sparsity` and `parameters` (ones in the
    mask; biases are not counted) are of the chosen one, and None where no target was given.
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
    """Eigenvalue conditions of one mask; see measure.expansion for each quantity's definition.

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
