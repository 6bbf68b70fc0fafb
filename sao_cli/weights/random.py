"""Independent random weights on a mask: the initialisations that know nothing of isometry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.base.names import check
from sao_cli.base.rng import VALUES, generator
from sao_cli.catalog import LAWS
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Mask

if TYPE_CHECKING:
    from numpy.random import Generator


def random_values(mask: Mask, law: str, *, seed: int = 0, layer: int = 1) -> Values:
    """(nnz,) float64: independent values of mean 0 on the ones of `mask`, by the law of that name in LAWS.

    With d_i the degree of an entry's row (its fan-in) and c_j that of its column (its fan-out), the variance is

        normal, uniform, lecun-normal, lecun-uniform   1 / d_i          SAO's RG-N and RG-U; LeCun et al. 1998
        glorot-normal, glorot-uniform                  2 / (d_i + c_j)  Glorot and Bengio 2010, their eq. 16
        he-normal, he-uniform                          2 / d_i          He et al. 2015, their eq. 10

    Each row has a degree of its own, so that on an irregular mask, too, an output keeps the variance of its inputs:
    h_i is a sum of d_i products. On an all-ones mask these are the standard initialisations. Uniform values are drawn
    from [-sqrt(3 v), sqrt(3 v)) for the variance v. None is 0: files take a 0 for no entry.

    Raises SaoError for another law. O(nnz).

    >>> from sao_cli.masks.sao import sao_mask
    >>> values = random_values(sao_mask(1000, 1000, 10), "uniform")
    >>> bool(abs(values).max() < 0.3**0.5)
    True
    """
    check("law", law, LAWS)
    draw, variance = _LAWS[law]
    require_memory(32 * mask.nnz, f"random values for {mask.nnz} ones")
    values = _without_zeros(draw, generator(seed, layer, VALUES), mask.nnz)
    values *= np.sqrt(variance(mask))
    return values


def _normal(rng: Generator, count: int) -> Values:
    return rng.standard_normal(count)


def _uniform(rng: Generator, count: int) -> Values:
    """On [-sqrt(3), sqrt(3)), so of variance 1."""
    values: Values = (2 * rng.random(count) - 1) * np.sqrt(3)
    return values


def _without_zeros(draw: Callable[[Generator, int], Values], rng: Generator, count: int) -> Values:
    values = draw(rng, count)
    while (zero := np.flatnonzero(values == 0)).size:
        values[zero] = draw(rng, zero.size)
    return values


def _one_over_fan_in(mask: Mask) -> Values:
    return 1 / _fan_in(mask)


def _two_over_fan_in(mask: Mask) -> Values:
    return 2 / _fan_in(mask)


def _two_over_both(mask: Mask) -> Values:
    return 2 / (_fan_in(mask) + mask.column_degrees[mask.indices])


def _fan_in(mask: Mask) -> NDArray[np.float64]:
    """(nnz,) the degree of each entry's row."""
    return np.repeat(mask.row_degrees.astype(np.float64), mask.row_degrees)


_LAWS = {
    "normal": (_normal, _one_over_fan_in),
    "uniform": (_uniform, _one_over_fan_in),
    "lecun-normal": (_normal, _one_over_fan_in),
    "lecun-uniform": (_uniform, _one_over_fan_in),
    "glorot-normal": (_normal, _two_over_both),
    "glorot-uniform": (_uniform, _two_over_both),
    "he-normal": (_normal, _two_over_fan_in),
    "he-uniform": (_uniform, _two_over_fan_in),
}
