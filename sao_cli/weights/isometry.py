"""Approximate isometry: values on any mask that bring its singular values towards 1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Indices, Mask, MaskLike
from sao_cli.measure.graph.components import Components, find_components
from sao_cli.measure.graph.matching import matched_rows
from sao_cli.reports.weights import Isometry
from sao_cli.weights.random import random_values

LARGEST_SIDE = 4096  # of a component's shorter side: some 40 s a step
BYTES_PER_ENTRY = 100  # of a component's dense matrix, at the height of a step
LEAST_GAIN = 0.02  # a step that takes off less of the residual is the last
KEPT = 0.5  # of the effective ones beyond 1, on the longer side, that a step must leave
MAX_STEPS = 50
EPS = 2.0**-52
ROUNDING = 16 * EPS  # times the longer side: a residual as near to its least is at it
STOPPED = ("floor", "slow", "drift", "steps")
FLOOR, SLOW, DRIFT, STEPS = range(4)


def isometry(
    mask: MaskLike,
    *,
    start: Values | None = None,
    max_steps: int | None = None,
    seed: int = 0,
    layer: int = 1,
    progress: Progress = silent,
) -> Isometry:
    """Values on `mask`, a Mask or what Mask.of takes, that lower ||W^T W - I||_F in a few alternating projections.

    W is taken on its smaller side.

    The objective is that of Lee, Ajanthan, Gould and Torr (ICLR 2020), who minimise it by gradient descent. Here
    W <- M * polar(W), component by component: the nearest matrix whose singular values are all 1 (U V^T of the SVD),
    and then the nearest to that on the mask; from `start` (nnz,), which is random_values(mask, "normal") unless
    given. On complete bipartite components, as of SAO masks, the first step is exact.

    Where no two rows share two columns, as nearly everywhere in a sparse random graph, only
    permutations (m != n: one entry a line of the longer side) are isometries. There, for m <= n,
    residual^2 = sum over rows (sum w^2 - 1)^2 + sum over columns ((sum w^2)^2 - sum w^4), so that whatever lowers it
    makes the values uneven: steps beyond the first few only find a permutation. A component takes no more, by

    - "floor", when the residual is within rounding of the least that its structural rank allows;
    - "drift", when one more would leave less than half of the effective ones beyond 1, in lines of the longer side,
      that the first step left: half of the way to a permutation;
    - "slow", when a step took off less than 2 % of the residual, or (very rarely) raised it and is not taken;
    - "steps", when there were `max_steps`, 50 unless given; 0 tell of `start` itself what an Isometry holds.

    Measured on a Ramanujan mask, n = 256, d = 4: after 0, 1, 2, 3, 5, 10 and 20 steps the residual is 16.3, 9.7, 8.8,
    7.6, 5.2, 2.1 and 1.4 (it is 16 for W = 0), and the effective ones are 2.19, 2.14, 1.85, 1.57, 1.23, 1.04 and 1.02.
    It stops after 2 or 3 steps, as the seed has it, with singular values from about 0.004 to 1.38. Masks that have
    other isometries come near them: 256 x 256 two-stage, d = 16, goes from 17 to 1.0 in 16 steps and keeps 3.9 of 6.4
    effective ones (it would stop at 6.3, were two thirds to be kept); 128 x 128 of density 0.5 goes from 11 to 1.6 in
    28 steps and keeps all 22 (1.1 after 50, did 1 % suffice).

    Entries below 2^-52, rounding in a matrix of norm 1, are raised to it, so that no value is 0.

    Raises SaoError where a component's shorter side is over 4096 and for a negative `max_steps`, FormatError for a
    start that does not fit, and MemoryLimitError. O(h w min(h, w)) a step for a component of h x w, and O(nnz sqrt(n))
    for the structural rank.

    >>> from sao_cli.masks.sao import sao_mask
    >>> fit = isometry(sao_mask(8, 8, 4))
    >>> fit.residual < 1e-13, fit.steps, fit.stopped
    (True, 1, 'floor')
    """
    max_steps = MAX_STEPS if max_steps is None else max_steps
    if max_steps < 0:
        raise SaoError(f"max_steps = {max_steps} is negative; it is 0 at least")
    mask = Mask.of(mask)
    parts = find_components(mask)
    _require_parts(parts)
    values = random_values(mask, "normal", seed=seed, layer=layer) if start is None else _checked(start, mask)
    ranks = _structural_ranks(parts)
    fits = []
    for chosen, places, pattern in _batches(parts):
        weights = np.zeros(pattern.shape)
        weights[pattern] = values[places]
        fit = _fit(weights, pattern, ranks[chosen], max_steps, progress)
        values[places] = weights[pattern]
        fits.append(fit)
    values = np.copysign(np.maximum(np.abs(values), EPS), values)
    return _report(mask, values, fits, int(ranks.sum()))


@dataclass(frozen=True, eq=False)
class _Fit:
    """What is known of each matrix in a batch: singular values (count, shorter side), and (count,) for the others."""

    singular_values: Values
    residuals: Values
    steps: NDArray[np.int64]
    stopped: NDArray[np.int64]


def _fit(
    weights: Values, pattern: NDArray[np.bool_], ranks: NDArray[np.int64], max_steps: int, progress: Progress
) -> _Fit:
    """Alternating projections of each matrix in a batch, from `weights`, which they replace."""
    count, height, width = weights.shape
    least = np.sqrt(min(height, width) - ranks) + ROUNDING * max(height, width)
    factors, singular_values = _polar(weights)
    residuals = _residuals(singular_values)
    going = residuals > least
    fit = _Fit(singular_values, residuals, np.zeros(count, np.int64), np.where(going, STEPS, FLOOR))
    active, factors = np.flatnonzero(going), factors[going]
    kept = np.zeros(count)
    for step in range(1, max_steps + 1):
        if not len(active):
            break
        progress("approaching an isometry, steps", step, None)
        steps = pattern[active] * factors
        ones = _effective_ones_of_lines(steps)
        if step == 1:
            kept[active] = 1 + KEPT * (ones - 1)
        even = ones >= kept[active]
        fit.stopped[active[~even]] = DRIFT
        active, steps = active[even], steps[even]
        factors, singular_values = _polar(steps)
        lower, going = _accept(fit, active, step, singular_values, least[active])
        weights[active[lower]] = steps[lower]
        active, factors = active[going], factors[going]
    return fit


def _accept(
    fit: _Fit, active: Indices, step: int, singular_values: Values, least: Values
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For which of the active components the step lowers the residual, so that it is taken, and which go on."""
    before, after = fit.residuals[active], _residuals(singular_values)
    lower = after < before
    taken = active[lower]
    fit.singular_values[taken] = singular_values[lower]
    fit.residuals[taken] = after[lower]
    fit.steps[taken] = step
    at_floor, slow = after <= least, after > (1 - LEAST_GAIN) * before
    fit.stopped[active] = np.select([at_floor, slow], [FLOOR, SLOW], STEPS)
    return lower, ~(at_floor | slow)


def _polar(matrices: Values) -> tuple[Values, Values]:
    """The polar factors U V^T (count, height, width), and the singular values."""
    left, singular_values, right = np.linalg.svd(matrices, full_matrices=False)
    return left @ right, singular_values


def _residuals(singular_values: Values) -> Values:
    residuals: Values = np.sqrt(np.square(singular_values**2 - 1).sum(axis=1))
    return residuals


def _effective_ones_of_lines(matrices: Values) -> Values:
    """(count,) the mean participation ratio of the lines of each matrix's longer side."""
    squares = matrices * matrices
    axis = 2 if matrices.shape[1] >= matrices.shape[2] else 1
    sums, fourths = squares.sum(axis=axis), np.square(squares).sum(axis=axis)
    ratios: Values = (sums**2 / np.maximum(fourths, np.finfo(np.float64).tiny)).mean(axis=1)
    return ratios


def _report(mask: Mask, values: Values, fits: list[_Fit], rank: int) -> Isometry:
    side = min(mask.shape)
    singular_values = np.concatenate([np.zeros(0), *(fit.singular_values.reshape(-1) for fit in fits)])
    missing = side - len(singular_values)  # each component has its shorter side's; the others are 0
    worst = max(fits, key=lambda fit: fit.residuals.max(), default=None)
    return Isometry(
        values=values,
        residual=math.sqrt(float(np.square(singular_values**2 - 1).sum()) + missing),
        residual_floor=math.sqrt(side - rank),
        structural_rank=rank,
        effective_ones=_effective_ones(mask, values),
        sigma_min=0.0 if missing else float(singular_values.min()),
        sigma_max=float(singular_values.max(initial=0.0)),
        steps=max((int(fit.steps.max()) for fit in fits), default=0),
        stopped=STOPPED[FLOOR if worst is None else int(worst.stopped[worst.residuals.argmax()])],
    )


def _effective_ones(mask: Mask, values: Values) -> float | None:
    squares = values**2
    sums = np.bincount(mask.entry_rows, squares, minlength=mask.m)
    fourths = np.bincount(mask.entry_rows, squares**2, minlength=mask.m)
    live = mask.row_degrees > 0
    return float((sums[live] ** 2 / fourths[live]).mean()) if live.any() else None


def _structural_ranks(parts: Components) -> NDArray[np.int64]:
    """(count,) the size of each component's maximum matching."""
    if parts.mask.groups is not None:
        return np.minimum(parts.heights, parts.widths)
    matched = matched_rows(parts.mask.to_scipy())
    return np.bincount(parts.rows[matched], minlength=parts.count)


def _batches(parts: Components) -> Iterator[tuple[Indices, Indices, NDArray[np.bool_]]]:
    """Components of one shape, where their ones stand among the mask's, and their patterns (count, height, width)."""
    by_component = np.argsort(parts.rows[parts.mask.entry_rows], kind="stable")
    starts = np.cumsum(parts.ones) - parts.ones
    for chosen, dense in parts.batches(np.arange(parts.count)):
        ones = parts.ones[chosen]
        ends = np.cumsum(ones)
        places = np.repeat(starts[chosen] - ends + ones, ones) + np.arange(ends[-1])
        yield chosen, by_component[places], dense != 0


def require_isometry_size(mask: Mask) -> None:
    """Raise SaoError or MemoryLimitError where `mask` has a component that is too large for `isometry`. O(nnz)."""
    _require_parts(find_components(mask))


def structural_rank(mask: Mask) -> int:
    """The most that the rank of a matrix on `mask` can be: the size of a maximum matching. O(nnz sqrt(m + n)).

    >>> structural_rank(Mask.from_dense([[1, 0, 0], [1, 0, 0], [0, 1, 1]]))
    2
    """
    return int(_structural_ranks(find_components(mask)).sum())


def _require_parts(parts: Components) -> None:
    if not parts.count:
        return
    largest = int(np.minimum(parts.heights, parts.widths).argmax())
    height, width = int(parts.heights[largest]), int(parts.widths[largest])
    if min(height, width) > LARGEST_SIDE:
        raise SaoError(
            f"isometry needs the SVD of each connected component, and one here is {height} x {width}; its shorter side "
            f"can be {LARGEST_SIDE} at most: choose a smaller layer, other values, or an sao or two-stage mask"
        )
    sizes = parts.heights * parts.widths
    entries = max(int(sizes.max()), min(int(sizes.sum()), 2**21))  # small components come 2**21 entries at a time
    require_memory(BYTES_PER_ENTRY * entries + 48 * parts.mask.nnz, f"isometry of a {height} x {width} component")


def _checked(start: Values, mask: Mask) -> Values:
    values = np.array(start, dtype=np.float64)
    if values.shape != (mask.nnz,):
        raise FormatError(f"a start of shape {values.shape} for a mask of {mask.nnz} ones; each one needs one value")
    if not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values))[0])
        raise FormatError(f"entry {wrong} of the start is {values[wrong]}; every value must be a finite number")
    return values
