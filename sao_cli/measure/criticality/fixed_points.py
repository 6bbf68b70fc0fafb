"""All fixed points of a variance map, those included where it only touches the diagonal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sao_cli.data.arrays import Values
from sao_cli.measure.criticality.variance_map import NOTHING, VarianceMap
from sao_cli.measure.layer.activations import activation_derivative, activation_value

MARGINAL = 1e-9  # |V' - 1| and |chi_1 - 1| that count as none
_LOW, _HIGH = 1e-8, 1e6  # in units of q*
_A_DECADE, _SMOOTH = 64, 16  # points of the grid; of functions without closed forms, which bend less
_HALVINGS = 60
_FIRST, _REACHED = 100, 1e-9  # steps of the map, and how near to a fixed point they are to come


class FixedVariance(NamedTuple):
    """A q with V(q) = q; stable, unstable, half-stable or neutral."""

    q: float
    slope: float
    curvature: float
    stability: str


def fixed_variances(variance_map: VarianceMap, q_star: float = 1.0) -> list[FixedVariance]:
    """All fixed points from 0 to 1e6 q*, ascending; of a bounded phi there are none beyond its bound.

    Between places where V' = 1 the difference V(q) - q is monotone, so that it has one root where its signs at the two
    ends differ, and a double one where it is 0 at such a place. These places are found as sign changes of V' - 1 on a
    grid of 64 points a decade (16 without closed forms), with `q_star` itself among them, where the edge of chaos has
    its double root: no sign of V(q) - q changes there. Where V(q) = q on all of the grid, as of a ReLU at the edge of
    chaos, q* stands for all.
    0 is one where sigma_b = 0 and sigma_w phi(0) = 0.

    Stable means |V'| < 1, half-stable |V' - 1| <= 1e-9 with V'' != 0, which attracts from one side and lets run away on
    the other; at 0, with nothing below, it is stable where V'' < 0. Neutral is V' = 1 and V'' = 0. O(grid).

    >>> from sao_cli.measure.criticality.variance_map import edge_of_chaos
    >>> [point.stability for point in fixed_variances(edge_of_chaos("relu"))]
    ['neutral']
    """
    grid = _grid(variance_map, q_star)
    excess = variance_map.value(grid) - grid
    if (np.abs(excess) <= NOTHING * grid).all():
        return [FixedVariance(q_star, 1.0, 0.0, "neutral")]
    places = np.unique([grid[0], *_turns(variance_map, grid), grid[-1]])
    height = variance_map.value(places) - places
    touching = np.abs(height) <= NOTHING * places
    signs = np.where(touching, 0.0, np.sign(height))
    low, high = places[:-1], places[1:]
    between = signs[:-1] * signs[1:] < 0
    roots = _halved(lambda q: variance_map.value(q) - q, low[between], high[between])
    found = np.sort(np.concatenate([roots, places[touching]]))
    if abs(float(variance_map.value(q_star)) - q_star) <= NOTHING * q_star:  # as it was asked for, to the last bit
        found = np.unique(np.where(np.abs(found - q_star) <= 1e-6 * q_star, q_star, found))
    return [*_at_zero(variance_map, grid[0]), *(_told(variance_map, float(q)) for q in found)]


def attracting(variance_map: VarianceMap, points: list[FixedVariance], start: float) -> FixedVariance | None:
    """The fixed point that q, V(q), V(V(q)), ... tends to from q = `start`; None where it is none of `points`.

    After its first steps q moves one way, up to the next of `points` above or down to the next below.
    """
    q = start
    for _ in range(_FIRST):
        before, q = q, float(variance_map.value(q))
        if not q < _HIGH * start:
            return None
    reached = [point for point in points if abs(point.q - q) <= _REACHED * max(q, start)]
    ahead = [point for point in points if (point.q - q) * (q - before) > 0]
    return min(reached or ahead, key=lambda point: abs(point.q - q), default=None)


def _grid(variance_map: VarianceMap, q_star: float) -> Values:
    shape = variance_map.activation.threshold
    high = _HIGH * q_star
    if shape is not None and math.isfinite(shape.clip):
        high = 1.01 * (variance_map.sigma_b**2 + variance_map.sigma_w**2 * shape.clip**2)
    high = max(high, 2 * q_star)
    count = math.ceil((_A_DECADE if shape else _SMOOTH) * math.log10(high / (_LOW * q_star)))
    return np.unique([*np.geomspace(_LOW * q_star, high, count), q_star])


def _turns(variance_map: VarianceMap, grid: Values) -> Values:
    """Where V' = 1 in between."""
    above = variance_map.slope(grid) > 1
    changes = np.flatnonzero(above[:-1] != above[1:])
    return _halved(lambda q: variance_map.slope(q) - 1, grid[changes], grid[changes + 1])


def _halved(function: Callable[[Values], Values], low: Values, high: Values) -> Values:
    """A root of `function` between each `low` and `high`, where its signs differ."""
    if not low.size:
        return low
    rising = function(high) > 0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        up = (function(middle) > 0) == rising
        low, high = np.where(up, low, middle), np.where(up, middle, high)
    return (low + high) / 2


def _told(variance_map: VarianceMap, q: float) -> FixedVariance:
    found = variance_map.moments(q)
    slope, curvature = (variance_map.sigma_w**2 * float(one) for one in (found.slope, found.curvature))
    return FixedVariance(q, slope, curvature, _stability(slope, curvature * q))


def _stability(slope: float, bend: float) -> str:
    if abs(slope - 1) <= MARGINAL:
        return "half-stable" if abs(bend) > MARGINAL else "neutral"
    return "stable" if abs(slope) < 1 else "unstable"


def _at_zero(variance_map: VarianceMap, near: float) -> list[FixedVariance]:
    """0 as a fixed point, where it is one: V' there is sigma_w^2 times the mean square of the slopes on its sides."""
    if variance_map.sigma_b or variance_map.sigma_w * activation_value(variance_map.activation, 0.0):
        return []
    tiny = 1e-9 * math.sqrt(near)
    slopes = activation_derivative(variance_map.activation, [-tiny, tiny])
    slope = variance_map.sigma_w**2 * float(np.square(slopes).mean())
    curvature = variance_map.sigma_w**2 * float(variance_map.moments(near).curvature)
    stability = _stability(slope, curvature)
    return [
        FixedVariance(0.0, slope, curvature, "stable" if stability == "half-stable" and curvature < 0 else stability)
    ]
