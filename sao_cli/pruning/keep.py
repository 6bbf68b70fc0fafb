"""Which of many scored weights stay: exactly so many, the largest, the first among equals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import InfeasibleError, SaoWarning
from sao_cli.data.arrays import Values

Places = NDArray[np.intp]

NAMED = 5  # weights of which nothing is left that a warning names


def keep_largest(magnitudes: Values, count: int) -> Places:
    """(count,) the places of the `count` largest of `magnitudes` (size,), ascending; of equal ones the first are kept.

    Raises InfeasibleError unless 1 <= count <= size. O(size), by partition.

    >>> keep_largest(np.array([1.0, 3.0, 2.0, 2.0, 2.0]), 3)
    array([1, 2, 3])
    """
    check_count(count, magnitudes.size, "vector")
    least = np.partition(magnitudes, magnitudes.size - count)[magnitudes.size - count]
    kept = magnitudes > least
    ties = np.flatnonzero(magnitudes == least)
    kept[ties[: count - int(np.count_nonzero(kept))]] = True
    return np.flatnonzero(kept)


def check_count(count: int, size: int, what: str) -> None:
    if not 1 <= count <= size:
        raise InfeasibleError(f"no {what} keeps {count} weights; it has 1 to {size} to keep")


def warn_of_collapse(empty: Sequence[str], passes: bool = False) -> None:
    """Warn where pruning left nothing of weights or layers, named in `empty`; signals may pass beside them."""
    if empty:
        more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
        signal = "signals pass beside it" if passes else "no signal passes"
        told = f"nothing is left of {', '.join(empty[:NAMED])}{more}: {signal} (layer collapse); prune less"
        warnings.warn(told, SaoWarning, stacklevel=3)
