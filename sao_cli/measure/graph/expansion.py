"""Eigenvalue conditions of a mask: is its bipartite graph connected, biregular, Ramanujan?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.names import check
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import CRITERIA
from sao_cli.data.mask import Groups, Indices, Mask, MaskLike
from sao_cli.data.nm_pattern import NMPattern
from sao_cli.measure.graph.edge import FAILS, UNDECIDED, Edge, Question, edge_of_groups, group_sizes
from sao_cli.measure.graph.exact_ties import TIE_SIDE, Bound
from sao_cli.measure.graph.nm_groups import has_pattern, most_by_group, nm_facts
from sao_cli.reports.masks import Expansion

if TYPE_CHECKING:
    from sao_cli.measure.graph.components import Components


def expansion(
    mask: MaskLike,
    *,
    criterion: str = "paper",
    failure_probability: float = 1e-9,
    seed: int = 0,
    progress: Progress = silent,
) -> Expansion:
    """The eigenvalue conditions of `mask`, an (m, n) pattern with row degrees d and column degrees c.

    `mask` is a Mask or anything that Mask.of takes.

    lambda_1 >= lambda_2 >= ... are the singular values of M with multiplicity, over all components;
    `lambda_2_distinct` is the second largest distinct one: for a biregular mask the largest in any component
    once each component's trivial sqrt(c d) is set aside, for others with values within the error taken as equal.
    `bound` = sqrt(c - 1) + sqrt(d - 1), of the mean degrees where the mask is irregular (as Pal et al. 2022
    do), and None where one of those is below 1. Then

    - `ramanujan`: connected, and lambda_2 <= bound (Lubotzky, Phillips and Sarnak 1988; Feng and Li 1996 for c != d);
    - `ramanujan_paper`: biregular, and lambda_2_distinct <= bound (Esguerra et al. 2023, Fig. 7);
    - `holds`: the one of these that `criterion` ("paper" or "standard") names, or that the mask has the pattern that it
      is, N:M as in 2:4: M divides n, and no row has more than N ones in a group of M consecutive inputs;
    - `nm`: the sparsest such pattern that it has, of M = 2, 4, 8, 16, 32, and `ones_of_4` the most ones in four inputs;
    - `spectral_gap` = lambda_1 - lambda_2, `delta_s` = bound - lambda_2 (after Hoang et al. 2023), and
      `regularity_gap` = lambda_1 - sqrt(c d), 0 exactly when the mask is biregular (Collatz and Sinogowitz 1957).

    A verdict is None, and `reason` says why, where lambda_2 is nearer to the bound than can be told; up to 512 on a
    component's shorter side, whether they are equal is decided in whole numbers, and that holds ("exact tie").
    `error` is that of lambda_2 and lambda_2_distinct, and `error_kind` says what it is: a "bound" where they come from
    a "closed form" (complete bipartite components, cycles, paths), a "dense svd" (up to 512 x 512), a "gram matrix" (up
    to 512 on the shorter side) or "cholesky" (up to 4096 on the shorter side) where the margin to the bound allows;
    after "lanczos, upper bound fails with probability ..." and "ritz value above the bound" it is residual^2/gap plus
    rounding, an "estimate". `failure_probability` is the chance, over the random start that `seed` makes, that a
    certificate is wrong: 0 for the deterministic routes.

    Raises SaoError for an unknown criterion or a probability outside (0, 1). O(nnz) for complete bipartite
    components; O(nnz n^(1/3)) for random graphs, some ten n-vectors of memory.

    >>> from sao_cli.data.mask import Mask
    >>> report = expansion(Mask.from_dense([[1, 1, 0], [0, 1, 1], [1, 0, 1]]))  # a cycle of six nodes
    >>> report.lambda_1, round(report.lambda_2, 12), report.bound, report.holds
    (2.0, 1.0, 2.0, True)
    """
    groups = _check(criterion, failure_probability)
    graph = _Graph(Mask.of(mask))
    degrees = graph.degrees if graph.biregular else None
    wanted = graph.exact_bound if graph.biregular or graph.connected else None
    edge = graph.edge(Question(wanted, degrees, failure_probability, seed, progress))
    values = _summarise(graph, edge)
    ramanujan = _verdict(edge) if graph.connected else False
    paper = _verdict(edge) if graph.biregular else False
    bound = graph.bound
    return Expansion(
        layer=1,
        m=graph.mask.m,
        n=graph.mask.n,
        nnz=graph.mask.nnz,
        density=graph.mask.density,
        sparsity=graph.mask.sparsity,
        biregular=graph.biregular,
        c=graph.c,
        d=graph.d,
        row_degree=graph.row_degree,
        column_degree=graph.column_degree,
        components=graph.components,
        connected=graph.connected,
        dead_inputs=graph.dead_inputs,
        dead_outputs=graph.dead_outputs,
        lambda_1=values.first,
        lambda_2=values.second,
        lambda_2_distinct=values.distinct,
        bound=bound,
        spectral_gap=values.first - values.second,
        delta_s=None if bound is None else bound - values.second,
        regularity_gap=0.0 if graph.biregular else values.first - math.sqrt(graph.c * graph.d),
        ramanujan=ramanujan,
        ramanujan_paper=paper,
        criterion=criterion,
        holds=paper if criterion == "paper" else ramanujan if groups is None else has_pattern(graph.mask, groups),
        **nm_facts(most_by_group(graph.mask)),
        error=values.error,
        error_kind=edge.error_kind,
        certificate=", ".join(edge.routes) or "closed form",
        failure_probability=edge.failure_probability,
        reason=_reason(graph, values, undecided=None in (ramanujan, paper)),
    )


def is_ramanujan(
    mask: MaskLike, *, failure_probability: float = 1e-9, seed: int = 0, progress: Progress = silent
) -> bool | None:
    """Whether `mask` is connected with lambda_2 <= bound (`Expansion.ramanujan`), None where it can't be told.

    `mask` is a Mask or anything that Mask.of takes.
    The same verdict as `expansion`'s, sooner: the process stops at the first Ritz value above the bound, or at the
    first certificate below it, whatever accuracy lambda_2 has by then.
    """
    _check("standard", failure_probability)
    graph = _Graph(Mask.of(mask))
    if not graph.connected:
        return False
    degrees = graph.degrees if graph.biregular else None
    return _verdict(
        graph.edge(Question(graph.exact_bound, degrees, failure_probability, seed, progress, verdict_only=True))
    )


def mask_singular_values(mask: MaskLike) -> NDArray[np.float64]:
    """(min(m, n),) all singular values of `mask`, or what Mask.of takes, descending, with multiplicity.

    Component by component: closed forms for complete bipartite graphs, cycles and paths, dense SVDs (one LAPACK
    call for all components of one shape) for the others. Raises SaoError where a component's shorter side is over
    4096, and MemoryLimitError where its dense matrix would not fit. O(nnz) in closed form, else the sum over
    components of height * width * min(height, width).

    >>> from sao_cli.data.mask import Mask
    >>> mask_singular_values(Mask.from_dense([[1, 1, 0], [1, 1, 0]]))
    array([2., 0.])
    """
    mask = Mask.of(mask)
    if mask.groups is not None:
        heights, widths = group_sizes(mask.groups)
        parts = [np.sqrt((heights * widths).astype(np.float64))]
    else:
        from sao_cli.measure.graph.component_edges import singular_values_of_components
        from sao_cli.measure.graph.components import find_components

        parts = list(singular_values_of_components(find_components(mask)))
    values = np.zeros(min(mask.shape))
    found = np.sort(np.concatenate(parts))[::-1]  # no more than these: each component has its shorter side's
    values[: len(found)] = found
    return values


@dataclass(frozen=True)
class _Values:
    """The largest, second and second distinct singular value, and a bound on the errors of the latter two."""

    first: float
    second: float
    distinct: float
    error: float


class _Graph:
    """What is known of a mask's graph without its eigenvalues: degrees, components, the bound."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.row_degree = _range(mask.row_degrees)
        self.column_degree = self._column_range()
        self.biregular = mask.nnz > 0 and all(low == high for low, high in (self.row_degree, self.column_degree))
        self.degrees = (self.column_degree[1], self.row_degree[1])
        self.c: float
        self.d: float
        self.c, self.d = self.degrees if self.biregular else (mask.nnz / mask.n, mask.nnz / mask.m)

    @cached_property
    def dead_outputs(self) -> int:
        return int((self._parts.rows < 0).sum())

    @cached_property
    def dead_inputs(self) -> int:
        return int((self._parts.columns < 0).sum())

    @property
    def components(self) -> int:
        return self._parts.count + self.dead_inputs + self.dead_outputs

    @property
    def connected(self) -> bool:
        return self.components == 1

    @property
    def bound(self) -> float | None:
        return None if self.exact_bound is None else self.exact_bound.value

    @cached_property
    def exact_bound(self) -> Bound | None:
        return Bound.of(self.mask.nnz, self.mask.m, self.mask.n)

    def edge(self, question: Question) -> Edge:
        """The two largest singular values of each component; the closed form where all are complete."""
        parts = self._parts
        if isinstance(parts, Groups):
            return edge_of_groups(*self._sizes)
        from sao_cli.measure.graph.component_edges import edge_of_components

        return edge_of_components(parts, question)

    @cached_property
    def _parts(self) -> Groups | Components:
        groups = self.mask.groups
        if groups is not None:
            return groups
        from sao_cli.measure.graph.components import find_components

        return find_components(self.mask)

    def _column_range(self) -> tuple[int, int]:
        if not isinstance(self._parts, Groups) or self.mask.nnz == 0:
            return _range(self.mask.column_degrees)
        heights, _ = self._sizes  # a column's degree is its group's height: no pass over the ones
        return 0 if self.dead_inputs else int(heights.min()), int(heights.max())

    @cached_property
    def _sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        groups = self.mask.groups
        assert groups is not None
        return group_sizes(groups)


def _check(criterion: str, failure_probability: float) -> NMPattern | None:
    """The pattern that the criterion is, None of the eigenvalue conditions."""
    groups = NMPattern.parse(criterion) if ":" in criterion else None
    if groups is None:
        check("criterion", criterion, CRITERIA, ", or a pattern N:M, as in 2:4")
    if not 0 < failure_probability < 1:
        raise SaoError(f"failure probability {failure_probability:g} is not between 0 and 1; 1e-9 is the default")
    return groups


def _range(degrees: Indices) -> tuple[int, int]:
    return int(degrees.min()), int(degrees.max())


def _verdict(edge: Edge) -> bool | None:
    if (edge.verdict == FAILS).any():
        return False
    return None if (edge.verdict == UNDECIDED).any() else True


def _summarise(graph: _Graph, edge: Edge) -> _Values:
    """Put the components' values together; zeros stand for singular values that no component has."""
    candidates = np.concatenate((edge.first, edge.second, [0.0, 0.0]))
    second, first = np.partition(candidates, -2)[-2:].tolist()
    second_error = float(edge.second_error.max(initial=0.0))
    first_error = float(edge.first_error.max(initial=0.0))
    if graph.biregular:
        distinct = float(edge.second.max())
        return _Values(first, second, distinct, second_error if graph.connected else max(first_error, second_error))
    error = max(first_error, second_error)
    largest = edge.first >= first - 2 * error
    # a connected graph's largest singular value is simple, so that no second value is a copy of the first
    distinct = float(np.where(largest, edge.second, edge.first).max(initial=0.0))
    return _Values(first, second, distinct, error)


def _reason(graph: _Graph, values: _Values, undecided: bool) -> str | None:
    bound = graph.bound
    if bound is None:
        return (
            f"there is no bound: the mean degrees are c = {graph.c:.6g} and d = {graph.d:.6g}, and it needs 1 or more"
        )
    if not undecided:
        return None
    value = values.distinct if graph.biregular else values.second
    return (
        f"lambda_2 = {value:.15g} is {abs(bound - value):.2g} from the bound {bound:.15g}, too near to tell: "
        f"it is known to {values.error:.2g}, no certificate was found, and exact ties are decided up to {TIE_SIDE} on "
        "a component's shorter side"
    )
