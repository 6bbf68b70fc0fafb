"""How parallel the rows of a matrix are to each other, all pairs together, and what random directions would be."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.rng import PROBES, generator
from sao_cli.base.threads import one_thread
from sao_cli.data.arrays import Values
from sao_cli.measure.redundancy.unit_vectors import FLOOR, UnitVectors

SAMPLED = 1024  # vectors whose pairs are looked at, where there are more
BINS = 100

_NUMBERS = 2**24  # of unit vectors held at once


class CosineHistogram(NamedTuple):
    """The |cos| of pairs of vectors: `shares` (bins,) of the pairs by equal bins of [0, 1], and what they would be for
    independent random directions, `expected`. Of `vectors` not zero `sampled` were taken, and all their `pairs`."""

    shares: Values
    expected: Values
    vectors: int
    sampled: int

    @property
    def pairs(self) -> int:
        """How many pairs there are of the sampled vectors."""
        return self.sampled * (self.sampled - 1) // 2


def cosine_histogram(
    vectors: NDArray[Any], *, bins: int = BINS, most: int = SAMPLED, floor: float = FLOOR, seed: int = 0
) -> CosineHistogram:
    """The CosineHistogram of the rows of `vectors`, (k, length): of all pairs of up to `most` rows.

    Rows no longer than `floor` times the longest are left out. Where more than `most` are left, or than 2^24 numbers
    have room for, that many are drawn, none twice, by `seed`. Of fewer than two vectors all shares are 0.

    Raises FormatError for numbers that are not finite, a floor out of range, and less than one bin or two vectors.
    most^2 length / 2 multiply-adds; memory for the sampled vectors and their Gram matrix.

    >>> found = cosine_histogram(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, -2.0]]), bins=2)
    >>> found.shares.round(3).tolist(), found.expected.round(3).tolist(), found.pairs
    ([0.333, 0.667], [0.333, 0.667], 3)
    """
    if bins < 1 or most < 2:
        raise FormatError(f"{bins} bins of the cosines of {most} vectors: at least 1, of at least 2")
    units = UnitVectors(vectors, floor)
    count = min(len(units), most, max(2, _NUMBERS // max(1, units.length)))
    places = np.arange(len(units))
    if count < len(units):
        places = np.sort(generator(seed, 0, PROBES).permutation(len(units))[:count])
    with one_thread(min(count, units.length)):
        taken = units.exact(places)
        cosines = np.abs((taken @ taken.T)[np.triu_indices(count, 1)])
    edges = np.linspace(0.0, 1.0, bins + 1)
    counts, _ = np.histogram(np.minimum(cosines, 1.0), edges)
    shares = counts / max(1, len(cosines))
    return CosineHistogram(shares, np.diff(random_cosine_cdf(edges, units.length)), len(units), count)


def random_cosine_cdf(cosines: NDArray[Any], length: int) -> Values:
    """The share of pairs of independent random directions of R^length whose |cos| is at most each of `cosines`.

    |cos| has a density proportional to (1 - c^2)^((length - 3) / 2) on [0, 1]; cos^2 is of the Beta distribution of
    1/2 and (length - 1) / 2. On a line, length 1, |cos| is 1.

    >>> random_cosine_cdf(np.array([0.5, 1.0]), 3).round(12).tolist()  # Archimedes: uniform
    [0.5, 1.0]
    """
    from scipy.special import betainc

    c = np.clip(np.asarray(cosines, dtype=np.float64), 0.0, 1.0)
    if length < 2:
        return np.where(c < 1, 0.0, 1.0)
    found: Values = betainc(0.5, (length - 1) / 2, c * c)
    return found
