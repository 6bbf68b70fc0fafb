"""Which of many scored weights stay: exactly so many, the largest, the first among equals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import InfeasibleError, SaoWarning
from sao_cli.data.arrays import Booleans, Values

Places = NDArray[np.intp]

SAMPLE = 10_000  # scores that tell about where a threshold is
NO_SIGNAL = "no signal passes (layer collapse)"  # where one layer follows another
NAMED = 5  # weights of which nothing is left that a warning names


def keep_largest(magnitudes: Values, count: int) -> Places:
    """(count,) the places of the `count` largest of `magnitudes` (size,), ascending; of equal ones the first are kept.

    Raises InfeasibleError unless 1 <= count <= size. O(size), by partition.

    >>> keep_largest(np.array([1.0, 3.0, 2.0, 2.0, 2.0]), 3)
    array([1, 2, 3])
    """
    check_count(count, magnitudes.size, "vector")
    least = np.partition(magnitudes, magnitudes.size - count)[magnitudes.size - count]
    return np.flatnonzero(at_or_above(magnitudes, least, count - int(np.count_nonzero(magnitudes > least))))


def at_or_above(scores: Values, least: float, ties: int) -> Booleans:
    """Where `scores` (size,) are above `least`, and at the first `ties` places where they are just that. O(size).

    >>> at_or_above(np.array([1.0, 2.0, 1.0]), 1.0, 1).tolist()
    [True, True, False]
    """
    kept = scores > least
    kept[np.flatnonzero(scores == least)[:ties]] = True
    return kept


def drop_least_(alive: Booleans, scores: Values, count: int) -> None:
    """Make all but `count` of `alive` (size,) false: the places of the least `scores`; of equal ones the last go first.

    What keep_largest keeps of those that are alive, at the cost of a few passes where few are dropped: the threshold is
    looked for among what is below a pivot, which a sample tells. O(size).

    >>> alive = np.array([True, True, False, True, True])
    >>> drop_least_(alive, np.array([2.0, 1.0, 9.0, 1.0, 3.0]), 3)
    >>> alive
    array([ True,  True, False, False,  True])
    """
    dropped = int(np.count_nonzero(alive)) - count
    check_count(count, count + dropped, "selection")
    if dropped:
        least = _least_kept(alive, scores, dropped)
        alive &= scores >= least
        if over := int(np.count_nonzero(alive)) - count:
            alive[np.flatnonzero(alive & (scores == least))[-over:]] = False


def _least_kept(alive: Booleans, scores: Values, dropped: int) -> float:
    """The score in place `dropped`, from 0, of those that are alive in ascending order."""
    step = max(len(scores) // SAMPLE, 1)
    sample = np.sort(scores[::step][alive[::step]])
    place = 2 * dropped * len(sample) // max(int(np.count_nonzero(alive)), 1) + 10
    if step > 1 and place < len(sample) // 2:
        below = scores[(scores <= sample[place]) & alive]
        if len(below) > dropped:
            return float(np.partition(below, dropped)[dropped])
    return float(np.partition(scores[alive], dropped)[dropped])


def check_count(count: int, size: int, what: str) -> None:
    if not 1 <= count <= size:
        raise InfeasibleError(f"no {what} keeps {count} weights; it has 1 to {size} to keep")


def warn_of_collapse(empty: Sequence[str], signals: str = NO_SIGNAL) -> None:
    """Warn where pruning left nothing of weights or layers, named in `empty`, and of what `signals` do then."""
    if empty:
        more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
        told = f"nothing is left of {', '.join(empty[:NAMED])}{more}: {signals}; prune less"
        warnings.warn(told, SaoWarning, stacklevel=3)


def warn_of_death(reachable: float | None, collapsed: int | None) -> None:
    """Warn where no signal passes, though something is left of each layer: no input reaches an output."""
    if reachable == 0 and not collapsed:
        told = "no input reaches an output, though no layer is empty: the network is dead; prune less"
        warnings.warn(told, SaoWarning, stacklevel=3)
