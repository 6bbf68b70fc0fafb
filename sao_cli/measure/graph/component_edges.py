"""The singular values of a mask's components, each by the cheapest route that is exact enough."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.threads import one_thread
from sao_cli.measure.graph.certificates import gram_matrix
from sao_cli.measure.graph.components import Components
from sao_cli.measure.graph.edge import (
    EPSILON,
    EXACT_SIDE,
    FAILS,
    HOLDS,
    UNDECIDED,
    Edge,
    Numbers,
    Question,
    Values,
    root,
    roots,
)
from sao_cli.measure.graph.exact_ties import TIE_SIDE, is_tie
from sao_cli.measure.graph.large_component import LargeComponent
from sao_cli.measure.krylov.lanczos import Gram
from sao_cli.reports.report import ESTIMATE

DENSE_ENTRIES = 2**18  # height * width up to which a component gets a dense SVD: 512 x 512 takes about 0.1 s
GRAM_SIDE = 512  # shorter side up to which one with more entries than that has its Gram matrix formed, exactly


@dataclass(frozen=True, eq=False)
class Kinds:
    """Which components go by which route: arrays of component numbers.

    `complete` (K_{a,b}), `cycle` and `path` have closed forms, `dense` ones get an SVD, `long` ones, with a short side,
    the eigenvalues of their Gram matrix, and `large` ones Lanczos.
    Cycles and paths matter: their gap shrinks as 1/length^2, and no Krylov process would resolve it.
    """

    complete: Numbers
    cycle: Numbers
    path: Numbers
    dense: Numbers
    long: Numbers
    large: Numbers

    @classmethod
    def of(cls, components: Components) -> Kinds:
        ones, entries = components.ones, components.heights * components.widths
        nodes, squares = components.heights + components.widths, components.squared_degrees
        complete = ones == entries
        # among connected graphs with as many ones, all degrees 2 (or 2 but for two ends) make the least squares
        cycle = ~complete & (ones == nodes) & (squares == 4 * nodes)
        path = ~complete & (ones == nodes - 1) & (squares == 4 * nodes - 6)
        other = ~(complete | cycle | path)
        small = entries <= DENSE_ENTRIES
        short = np.minimum(components.heights, components.widths) <= GRAM_SIDE
        kinds = (complete, cycle, path, other & small, other & ~small & short, other & ~small & ~short)
        return cls(*map(np.flatnonzero, kinds))


def edge_of_components(components: Components, question: Question) -> Edge:
    """The edge of any mask, component by component, by the routes of `Kinds`."""
    edge = Edge.of(components.count)
    kinds = Kinds.of(components)
    _closed_forms(components, kinds, edge)
    _dense(components, kinds.dense, edge)
    _long(components, kinds.long, edge)
    _compare(edge, question.bound_squared)
    _lanczos(components, kinds.large, edge, question)
    _ties(components, edge, question)
    if question.degrees is not None:
        edge.first, edge.first_error = roots(np.full(components.count, math.prod(question.degrees)))
    return edge


def singular_values_of_components(components: Components) -> Iterator[Values]:
    """The singular values of every live component, in no order; zeros may be left out."""
    kinds = Kinds.of(components)
    _refuse_large(components, np.concatenate((kinds.long, kinds.large)))
    yield np.sqrt(components.ones[kinds.complete].astype(np.float64))
    for length in components.heights[kinds.cycle].tolist():
        yield np.abs(2 * np.cos(np.pi / length * np.arange(length)))
    for nodes in (components.ones[kinds.path] + 1).tolist():
        yield 2 * np.cos(np.pi / (nodes + 1) * np.arange(1, nodes // 2 + 1))
    for chosen in (kinds.dense, kinds.long, kinds.large):
        for _, matrices in components.batches(chosen):
            yield np.linalg.svd(matrices, compute_uv=False).astype(np.float64, copy=False).reshape(-1)


def _closed_forms(components: Components, kinds: Kinds, edge: Edge) -> None:
    chosen = kinds.complete
    edge.first[chosen], edge.first_error[chosen] = roots(components.ones[chosen])
    edge.first[kinds.cycle] = 2
    edge.second[kinds.cycle] = 2 * np.cos(np.pi / components.heights[kinds.cycle])
    angle = np.pi / (components.ones[kinds.path] + 2)
    edge.first[kinds.path], edge.second[kinds.path] = 2 * np.cos(angle), 2 * np.cos(2 * angle)
    for chosen in (kinds.cycle, kinds.path):
        edge.first_error[chosen] = edge.second_error[chosen] = 2 * EPSILON
    if len(kinds.complete) + len(kinds.cycle) + len(kinds.path):
        edge.routes["closed form"] = None


def _dense(components: Components, chosen: Numbers, edge: Edge) -> None:
    for batch, matrices in components.batches(chosen):
        values = np.linalg.svd(matrices, compute_uv=False)
        edge.first[batch], edge.second[batch] = values[:, 0], values[:, 1]
        # LAPACK's bound is p(m, n) eps sigma_1 with a modest p; the sum of the sides is more than is ever seen
        error = EPSILON * sum(matrices.shape[1:]) * values[:, 0]
        edge.first_error[batch] = edge.second_error[batch] = error
        edge.routes["dense svd"] = None


def _long(components: Components, chosen: Numbers, edge: Edge) -> None:
    """Their Gram matrices hold whole numbers, exactly: no long sum of roundings is left, however long the rows are."""
    for component, mask in zip(chosen.tolist(), components.masks(chosen), strict=True):
        squares = np.linalg.eigvalsh(gram_matrix(Gram(mask)))[-2:].tolist()
        error = 4 * EPSILON * min(mask.shape) * squares[1]  # as for a dense SVD
        edge.second[component], edge.second_error[component] = root(squares[0], error)
        edge.first[component], edge.first_error[component] = root(squares[1], error)
        edge.routes["gram matrix"] = None


def _compare(edge: Edge, bound_squared: float | None) -> None:
    if bound_squared is None:
        return
    bound = math.sqrt(bound_squared)
    slack = edge.second_error + EPSILON * bound
    edge.verdict[edge.second + slack > bound] = UNDECIDED
    edge.verdict[edge.second - slack > bound] = FAILS


def _lanczos(components: Components, chosen: Numbers, edge: Edge, question: Question) -> None:
    for component, mask in zip(chosen.tolist(), components.masks(chosen), strict=True):
        process = LargeComponent(mask, question, component, question.failure_probability / len(chosen))
        process.run()
        edge.first[component], edge.first_error[component] = process.first
        edge.second[component], edge.second_error[component] = process.second
        edge.verdict[component] = process.verdict
        edge.routes[process.route] = None
        edge.failure_probability += process.failure_probability
        if not process.certain:
            edge.error_kind = ESTIMATE


def _ties(components: Components, edge: Edge, question: Question) -> None:
    """The verdicts that are left open, where the second value may be the bound itself: see is_tie."""
    bound = question.bound
    shorter = np.minimum(components.heights, components.widths)
    chosen = np.flatnonzero((edge.verdict == UNDECIDED) & (shorter <= TIE_SIDE))
    if bound is None:
        return
    for component, mask in zip(chosen.tolist(), components.masks(chosen), strict=True):
        question.progress("exact tie", 0, None)
        with one_thread():
            tie = is_tie(gram_matrix(Gram(mask)), bound)
        if tie:
            edge.verdict[component] = HOLDS
            edge.second[component], edge.second_error[component] = bound.value, 2 * EPSILON * bound.value
            edge.routes["exact tie"] = None


def _refuse_large(components: Components, large: Numbers) -> None:
    for height, width in zip(components.heights[large].tolist(), components.widths[large].tolist(), strict=True):
        what = f"the dense SVD of a connected component of {height} x {width}"
        if min(height, width) > EXACT_SIDE:
            raise SaoError(
                f"{what} would take too long: all singular values are computed up to {EXACT_SIDE} on the shorter "
                "side; the two largest can be had at any size (expansion, or verify without a plot)"
            )
        require_memory(24 * height * width, what)
