"""The plane of sigma_w and sigma_b: the curve of the edge of chaos, and where a variance has several fixed points."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.data.arrays import Values
from sao_cli.measure.criticality.moments import moments
from sao_cli.measure.criticality.variance_map import NOTHING
from sao_cli.measure.layer.activations import ActivationFunction

_VARIANCES = 1000  # between 1e-6 and 1e6 times the largest sigma_b^2 or 1: the q at which V(q) - q is looked at


class EdgeCurve(NamedTuple):
    """sigma_w and sigma_b of the edge of chaos, float64 of the shape of q*; NaN where there is none."""

    sigma_w: Values
    sigma_b: Values


def edge_curve(activation: str | ActivationFunction, q_star: ArrayLike) -> EdgeCurve:
    """The edge of chaos at every q*: variance_map.edge_of_chaos of many. O(size).

    >>> curve = edge_curve("tanh", [0.5, 1.0])
    >>> curve.sigma_w.round(4).tolist(), edge_curve("sigmoid", 1.0).sigma_b.tolist()
    ([1.2992, 1.4674], nan)
    """
    q = np.asarray(q_star, dtype=np.float64)
    found = moments(activation, q)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sigma_w_square = 1 / found.slope_square
        sigma_b_square = q - found.square * sigma_w_square
    sigma_b_square = np.where(np.abs(sigma_b_square) <= NOTHING * q, 0.0, sigma_b_square)
    there = np.isfinite(sigma_w_square) & (sigma_b_square >= 0)
    return EdgeCurve(*(np.sqrt(np.where(there, one, np.nan)) for one in (sigma_w_square, sigma_b_square)))


def fixed_point_counts(
    activation: str | ActivationFunction, sigma_w: ArrayLike, sigma_b: ArrayLike
) -> NDArray[np.int64]:
    """(len(sigma_b), len(sigma_w)) whole numbers: how many fixed points q > 0 the variance has at each pair.

    Changes of sign of V(q) - q on a grid of 1000 variances, which is one table of E phi^2 for all pairs: a picture's
    44,000 in a second. Pairs of roots within 3 % of each other may be missed, and double roots are; fixed_variances
    finds them.

    Raises SaoError for numbers below 0 or not finite, MemoryLimitError for what would not fit.

    >>> fixed_point_counts("tanh", [0.9, 1.5], [0.0, 0.5]).tolist()
    [[0, 1], [1, 1]]
    """
    across, up = (np.asarray(one, dtype=np.float64).reshape(-1) for one in (sigma_w, sigma_b))
    for number in (*across, *up):
        if not (math.isfinite(number) and number >= 0):
            raise SaoError(f"sigma {number}: a standard deviation is a finite number from 0")
    require_memory(8.0 * (len(across) * (_VARIANCES * 3 + len(up))), "a phase diagram", "choose fewer points")
    q = max(1.0, float(np.square(up).max(initial=0.0))) * np.geomspace(1e-6, 1e6, _VARIANCES)
    rises = np.square(across)[:, None] * moments(activation, q).square - q
    counts = np.empty((len(up), len(across)), dtype=np.int64)
    for row, level in enumerate(np.square(up)):
        above = rises + level > 0
        counts[row] = (above[:, 1:] != above[:, :-1]).sum(axis=1)
    return counts
