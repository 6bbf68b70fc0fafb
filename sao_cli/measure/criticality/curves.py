"""What pictures of a variance map show: curves of it, and of others near it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Values
from sao_cli.measure.criticality.fixed_points import fixed_variances
from sao_cli.measure.criticality.variance_map import VarianceMap, edge_of_chaos
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.reports.criticalities import Criticality

_POINTS = 400
_CLIPS = 41


class SlopeCurve(NamedTuple):
    """V'(q*) at the edge of chaos, by the clip."""

    clips: Values  # (n,)
    slopes: Values  # (n,)
    alone: NDArray[np.bool_]  # (n,): q* is the only fixed point


def map_of(row: Criticality) -> VarianceMap:
    """The variance map that a row is of."""
    return VarianceMap(ActivationFunction(row.activation, row.tau, row.clip), row.sigma_w, row.sigma_b)


def variance_curve(variance_map: VarianceMap, points: Sequence[float], q_star: float) -> tuple[Values, Values]:
    """(400,) q from 0 to a third past all fixed `points`, twice q* at least, and V(q) there. O(1)."""
    q = np.linspace(0.0, max(2 * q_star, 1.35 * max(points, default=0.0)), _POINTS)
    return q, variance_map.value(q)


def slope_curve(function: ActivationFunction, q_star: float) -> SlopeCurve:
    """41 clips from a thirtieth to thrice sqrt(q*), or up to 1.5 of the function's own.

    Raises SaoError for a function that is not clipped, and where there is no edge of chaos.
    """
    if function.clip is None:
        raise SaoError(f"the slope by the clip is of functions that take one, and {function} takes none")
    high = max(3 * np.sqrt(q_star), 1.5 * function.clip)
    clips = np.linspace(np.sqrt(q_star) / 30, high, _CLIPS)
    maps = [edge_of_chaos(ActivationFunction(function.name, function.tau, float(clip)), q_star) for clip in clips]
    slopes = np.array([float(one.slope(q_star)) for one in maps])
    return SlopeCurve(clips, slopes, np.array([len(fixed_variances(one, q_star)) == 1 for one in maps]))
