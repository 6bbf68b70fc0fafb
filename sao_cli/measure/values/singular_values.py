"""The singular values of a weight, exactly wherever that can be afforded, and their distribution beyond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix, MatrixLike
from sao_cli.measure.graph.edge import EXACT_SIDE
from sao_cli.measure.values.by_component import EXACT_ENTRIES, WeightComponents, exceeds, labelled
from sao_cli.measure.values.density import PRODUCTS, SpectralDensity, spectral_density
from sao_cli.measure.values.norms import longest_line, matrix_norm

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class SingularValues:
    """(min(m, n),) `values`, descending: the singular values where `exact`, else as many quantiles of their density.

    `error` estimates how far their distribution function is off, None where it is exact, and `reason` says why. The
    first of the values is then the largest that is known for certain, a lower bound, and no quantile. `norm` is the
    root of the sum of all squares, ||W||_F, where that is known from the numbers themselves, by whatever route the
    values were found.
    """

    values: Values
    exact: bool
    error: float | None = None
    reason: str | None = None
    norm: float | None = None

    @classmethod
    def estimated(
        cls, density: SpectralDensity, why: str, *, norm: float | None = None, at_least: float = 0.0
    ) -> SingularValues:
        """What a density tells, with all that is known better: the largest Ritz value, or `at_least` where that is
        more, comes first, and no value is above it. `why` says why an estimate has to do. O(size log size).
        """
        values = density.quantiles(density.size)
        largest = max(density.sigma_max, at_least)
        values = np.minimum(values, largest)
        values[0] = largest
        reason = (
            f"stochastic density: {density.probes} probes of {density.steps} Lanczos steps, CDF error about "
            f"{density.error:.1g}, sigma_max a lower bound; {why}"
        )
        return cls(values=values, exact=False, error=density.error, reason=reason, norm=norm)


def singular_values(weight: MatrixLike) -> Values:
    """(min(m, n),) float64: all singular values of `weight`, (m, n), descending, with multiplicity and zeros.

    `weight` is a Matrix or anything that Matrix.of takes.

    Component by component of the bipartite graph of its non-zeros: a permutation makes the weight block diagonal, and
    the singular values are those of the blocks. Blocks of one shape share a LAPACK call; rows and columns have norms,
    patterns without values the closed forms of mask_singular_values, and a large well-conditioned block its Gram
    matrix. So exact to rounding: the backward error of each block's SVD, a modest multiple of eps times the block's
    own sigma_max.

    Raises SaoError where a component's shorter side is over 4096 or it has over 2^27 entries (`is_affordable` tells
    before, `spectral_density` goes on from there), FormatError for values that are not finite, MemoryLimitError. The
    sum over components of height * width * min(height, width), so O(nnz d) for an SAO weight.

    >>> singular_values(Matrix.from_dense(np.array([[3.0, 0.0, 4.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])))
    array([5., 2., 0.])
    """
    return _all_values(WeightComponents.of(Matrix.of(weight)))


def is_affordable(mask: Mask) -> bool:
    """Whether `singular_values` computes any weight on `mask`: no connected component is too large for an SVD.

    It may go further than that: explicit zeros among the values can take a component apart, and patterns without
    values have closed forms. O(nnz) for complete components, O(nnz log n) at most.

    >>> is_affordable(Mask.from_dense(np.ones((8, 8))))
    True
    """
    return not exceeds(labelled(mask), EXACT_SIDE).any()


def measured_singular_values(
    weight: Matrix,
    *,
    exact_side: int = EXACT_SIDE,
    products: int = PRODUCTS,
    seed: int = 0,
    layer: int = 1,
    progress: Progress = silent,
) -> SingularValues:
    """The singular values of `weight`, exactly where `singular_values` can and no component's shorter side is past
    `exact_side`, else quantiles of `spectral_density` within `products`.

    Raises what they raise, but for sizes. `seed` and `layer` name the random numbers of the density; the cost is that
    of the one or the other.

    >>> measured_singular_values(Matrix.from_dense(np.diag([1.0, 2.0]))).values
    array([2., 1.])
    """
    parts = WeightComponents.of(weight)
    large = parts.too_large(exact_side)
    norm = matrix_norm(parts.weight)
    if not len(large):
        return SingularValues(values=_all_values(parts), exact=True, norm=norm)
    density = spectral_density(
        weight, seed=seed, layer=layer, products=products, exact_side=exact_side, progress=progress
    )
    why = f"{_what(parts, large)} is left out"
    return SingularValues.estimated(density, why, norm=norm, at_least=longest_line(parts.weight))


def _all_values(parts: WeightComponents) -> Values:
    if len(large := parts.too_large()):
        raise SaoError(
            f"{_what(parts, large)} would take too long: singular values are computed up to {EXACT_SIDE} on the "
            f"shorter side and {EXACT_ENTRIES} entries; spectral_density gives their distribution at any size"
        )
    values = np.zeros(min(parts.weight.shape))
    found = np.sort(parts.values(np.arange(parts.components.count)))[::-1]
    values[: len(found)] = found  # no more than these: each component has its shorter side's
    return values


def _what(parts: WeightComponents, large: NDArray[np.int64]) -> str:
    heights, widths = parts.components.heights[large], parts.components.widths[large]
    largest = int(np.argmax(np.minimum(heights, widths)))
    return f"the dense SVD of a connected component of {heights[largest]} x {widths[largest]}"
