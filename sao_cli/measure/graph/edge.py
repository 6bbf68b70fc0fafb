"""What is asked of a mask's graph, and its answer: two singular values a component, in closed form for groups."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.progress import Progress
from sao_cli.data.mask import Groups
from sao_cli.measure.graph.exact_ties import Bound
from sao_cli.reports.report import BOUND

EXACT_SIDE = 4096  # shorter side up to which all singular values are computed: about a minute
EPSILON = float(np.finfo(np.float64).eps)
HOLDS, FAILS, UNDECIDED = 1, 0, -1

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Question:
    """What a component's second singular value is compared with, and how sure the answer must be.

    `bound` is None where no comparison is wanted. `degrees` is (c, d) for a biregular mask, whose
    largest singular value is then known to be sqrt(c d). `verdict_only`: lambda_2 need not be accurate.
    """

    bound: Bound | None
    degrees: tuple[int, int] | None
    failure_probability: float
    seed: int
    progress: Progress
    verdict_only: bool = False

    @property
    def bound_squared(self) -> float | None:
        return None if self.bound is None else self.bound.squared


@dataclass(eq=False)
class Edge:
    """The two largest singular values of each live component (0 where there is no second), and their errors.

    `verdict` says for each component whether the second is within the bound: HOLDS, FAILS or UNDECIDED.
    `routes` names the ways by which they were found; `failure_probability` is that of all verdicts together, and
    `error_kind` what the errors are: BOUND, or ESTIMATE where one of them is.
    """

    first: Values
    second: Values
    first_error: Values
    second_error: Values
    verdict: NDArray[np.int8]
    routes: dict[str, None] = field(default_factory=dict)  # an ordered set
    failure_probability: float = 0.0
    error_kind: str = BOUND

    @classmethod
    def of(cls, count: int) -> Edge:
        """`count` components whose second value is 0, which is within every bound."""
        first, second, first_error, second_error = np.zeros((4, count))
        return cls(first, second, first_error, second_error, np.full(count, HOLDS, dtype=np.int8))


def group_sizes(groups: Groups) -> tuple[Numbers, Numbers]:
    """(count,) heights and widths of the groups. O(m + n)."""
    heights, widths = (
        np.bincount(labels if labels.min() >= 0 else labels[labels >= 0], minlength=groups.count)
        for labels in (groups.rows, groups.columns)
    )
    return heights, widths


def edge_of_groups(heights: Numbers, widths: Numbers) -> Edge:
    """The edge of disjoint complete bipartite graphs K_{a,b}: sqrt(a b) and 0 each."""
    edge = Edge.of(len(heights))
    edge.first, edge.first_error = roots(heights * widths)
    edge.routes["closed form"] = None
    return edge


def roots(squares: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """sqrt of whole numbers, and half a unit in the last place where it is not exact."""
    values = np.sqrt(squares.astype(np.float64))
    exact = np.rint(values).astype(np.int64) ** 2 == squares
    return values, np.where(exact, 0.0, np.spacing(values) / 2)


def root(square: float, error: float) -> tuple[float, float]:
    """sqrt(square), and how far off it is where square is known to `error`."""
    value = math.sqrt(max(square, 0.0))
    up, down = math.sqrt(max(square + error, 0.0)) - value, value - math.sqrt(max(square - error, 0.0))
    return value, max(up, down) + EPSILON * value
