"""The standard normal law: its density p, its tail, and its points by tail."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Values

_ERFC = np.frompyfunc(math.erfc, 1, 1)  # 0.1 us a number; to load scipy.special takes longer than all of a row


def density(z: ArrayLike) -> Values:
    """p(z) = exp(-z^2/2)/sqrt(2 pi), float64, of the shape of `z`; infinities give 0."""
    with np.errstate(under="ignore", over="ignore"):
        found: Values = np.exp(-np.square(np.asarray(z, dtype=np.float64)) / 2) / math.sqrt(2 * math.pi)
    return found


def survival(z: ArrayLike) -> Values:
    """1 - Phi(z), float64, of the shape of `z`, with all of its digits in the upper tail.

    >>> float(survival(0.0)), float(survival(np.inf))
    (0.5, 0.0)
    """
    return 0.5 * np.asarray(_ERFC(np.asarray(z, dtype=np.float64) / math.sqrt(2)), dtype=np.float64)


def tail_point(share: float) -> float:
    """The z with 1 - Phi(z) = `share`, a number between 0 and 1; SaoError for another.

    >>> round(tail_point(0.15), 12)
    1.036433389494
    """
    from statistics import NormalDist

    if not 0 < share < 1:
        raise SaoError(f"share {share}: a tail of the normal law has a probability between 0 and 1")
    return -NormalDist().inv_cdf(share) + 0.0
