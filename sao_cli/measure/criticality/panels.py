"""Integrals over the normal law by Gauss-Legendre rules on panels that end where a function has a kink or bends."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from sao_cli.data.arrays import Values
from sao_cli.measure.criticality.normal_law import density

NODES = 24  # of a panel, of which none is long beside what phi or the density does on it
FAR = 12.0  # standard deviations; what is beyond has a mass of 1e-32
_ENDS = (0.0, FAR / 4, FAR / 2, 3 * FAR / 4, FAR)
BENDS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # of |h|, between which phi bends little


def panel_rule(
    centres: ArrayLike, scales: ArrayLike, ends: Iterable[float], nodes: int = NODES
) -> tuple[Values, Values]:
    """(n, N) points z and weights w with sum w f(z) = E f(z), z ~ N(0, 1), of f that bends at h = centre + scale z.

    `centres` and `scales` > 0 broadcast to (n,); `ends` are places h where panels end, besides multiples of 3 standard
    deviations. Panels grow with |h| as far as phi bends, however wide the law is, and then with it: a rule over all of
    its width would see a narrow slope, such as the sigmoid's at a variance of 1e6, at a few nodes only. O(n N).

    >>> z, w = panel_rule(0.0, 1.0, [])
    >>> round(float((w * z**4).sum()), 12)
    3.0
    """
    centre, scale = (np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in (centres, scales))
    centre, scale = np.broadcast_arrays(centre, scale)
    with np.errstate(over="ignore"):
        inner = (np.array(sorted(set(ends)))[None, :] - centre[:, None]) / scale[:, None]
    fixed = np.broadcast_to([*_ENDS, *(-end for end in _ENDS[1:])], (len(centre), 2 * len(_ENDS) - 1))
    edges = np.sort(np.clip(np.concatenate([fixed, inner], axis=1), -FAR, FAR), axis=1)
    middle, half = (edges[:, 1:] + edges[:, :-1]) / 2, (edges[:, 1:] - edges[:, :-1]) / 2
    points, weights = _rule(nodes)
    z = middle[:, :, None] + half[:, :, None] * points
    w = half[:, :, None] * weights * density(z)
    return z.reshape(len(centre), -1), w.reshape(len(centre), -1)


def bends(kinks: Iterable[float]) -> list[float]:
    """Places where panels end for a function with these kinks: those, and where smooth ones bend."""
    return sorted({*kinks, *BENDS, *(-bend for bend in BENDS)})


@functools.cache
def _rule(nodes: int) -> tuple[Values, Values]:
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return points, weights
