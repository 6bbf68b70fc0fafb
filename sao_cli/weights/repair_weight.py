"""Trained or pruned weights brought towards an isometry on the mask that they have."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Values
from sao_cli.data.kernel import WeightLike, dense_weight_of
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.reports.weights import Distance, Isometry, Repair
from sao_cli.weights.isometry import isometry, require_isometry_size, structural_rank
from sao_cli.weights.isometry_descent import descend_to_isometry


def repair(
    weight: WeightLike,
    *,
    dtype: str | None = None,
    gain: float | None = None,
    max_steps: int | None = None,
    descent: int | None = None,
    progress: Progress = silent,
) -> Repair:
    """The Repair of `weight` (m, n), or of a kernel that is a matrix: approximate isometry on the mask that is there.

    `weight` is an array, or anything else that data.kernel.weight_of takes.
    The alternating projections of weights.isometry.isometry start from the values themselves: of a dense matrix, and of
    complete bipartite components, as an SAO mask's, the result is the polar factor, the nearest isometry that there
    is; on other masks one that is near in the sense of those projections. No zero becomes anything else.

    `gain` is what it is to be an isometry times; by None the root mean square singular value stays what it is, and with
    it ||W||_F, so that the gain is ||W||_F / sqrt(structural rank), the size that so many equal values must have.
    `descent` is a number of steps of gradient descent in the place of the projections, which `max_steps` limits
    (weights.isometry_descent: the paper's way, of thousands of steps).
    Values are rounded to `dtype`, the weight's own unless named, and `after` is of the rounded ones. Where they come no
    nearer to an isometry, or W is one within such rounding, W' is W, bit for bit.

    Raises FormatError for a weight that can't be repaired, as whole_matrix tells, SaoError for a gain that is not
    positive and for a component too large, and MemoryLimitError. O(h w min(h, w)) a step for a component of h x w.

    >>> found = repair(np.array([[2.0, 0.1], [0.0, 2.0]]))
    >>> found.before.residual > 0.05, found.after.residual < found.before.residual
    (True, True)
    """
    if gain is not None and not 0 < gain < math.inf:
        raise SaoError(f"gain {gain:g}; it is a positive number, or keep")
    dense, born = dense_weight_of(weight)
    if (reason := whole_matrix(dense)) is not None:
        raise FormatError(reason)
    matrix = Matrix.from_dense(_of_centre(dense), dtype=dtype or born)
    assert matrix.values is not None  # whole_matrix lets no booleans through
    mask, values = matrix.mask, matrix.values
    rank = structural_rank(mask)
    keep = _norm(values) / math.sqrt(rank)
    target = keep if gain is None else gain
    before = isometry(mask, start=values / target, max_steps=0)
    if descent is None:
        fit = isometry(mask, start=values / target, max_steps=max_steps, progress=progress)
    else:
        fit = _descended(mask, values / target, descent, progress)
    scale = target if gain is not None else keep * math.sqrt(rank) / _norm(fit.values)
    made = Matrix(mask, fit.values * scale).as_dtype(matrix.dtype).values
    assert made is not None
    after = isometry(mask, start=made / target, max_steps=0)
    rounding = math.sqrt(max(mask.shape)) * matrix.eps  # about what is left of an isometry that is stored in its dtype
    at_floor = math.hypot(before.residual_floor, rounding) >= before.residual
    worse = at_floor or fit.steps == 0 or after.residual >= before.residual
    made, after = (values, before) if worse else (made, after)
    return Repair(
        nnz=mask.nnz,
        before=_distance(before, target),
        after=_distance(after, target),
        residual_floor=before.residual_floor,
        structural_rank=rank,
        gain=target,
        steps=0 if worse else fit.steps,
        stopped="floor" if at_floor else "worse" if worse and fit.steps else fit.stopped,
        change=_norm(made - values) / _norm(values),
        weight=_put_back(made, mask, dense.shape),
    )


def _descended(mask: Mask, start: Values, steps: int, progress: Progress) -> Isometry:
    values = descend_to_isometry(mask, start, steps, progress=progress)
    return replace(isometry(mask, start=values, max_steps=0), steps=steps, stopped="steps")


def whole_matrix(weight: NDArray[Any]) -> str | None:
    """Why `weight` can't be repaired; None for a matrix, and for a kernel with no more than its centre tap live.

    A convolution whose one tap is at the centre, as those of 1 x 1, is its matrix (c_out, c_in) at every pixel.
    Booleans are masks, and all zeros have no values to start from; the components of what is left must be in reach.
    """
    if weight.ndim < 2 or weight.size == 0:
        return f"shape {weight.shape}: no matrix"
    if weight.dtype.kind not in "iuf":
        return f"its numbers are of type {weight.dtype}; a weight has real numbers"
    if not np.any(weight):
        return "all zeros, and nothing to start from"
    if weight.ndim > 2:
        centre = _of_centre(weight)
        if centre.shape == () or np.count_nonzero(centre) < np.count_nonzero(weight):
            size = " x ".join(map(str, weight.shape[2:]))
            return f"a {size} convolution, which is more than its centre tap; only matrices are repaired"
    try:
        require_isometry_size(Mask.from_dense(_of_centre(weight)))
    except SaoError as error:
        return str(error)
    return None


def _of_centre(weight: NDArray[Any]) -> NDArray[Any]:
    """(m, n): the matrix itself, or the centre tap of a kernel; without axes where an even size has no centre."""
    if any(size % 2 == 0 for size in weight.shape[2:]):
        return np.zeros(())
    return weight[(slice(None), slice(None), *(size // 2 for size in weight.shape[2:]))]


def _put_back(values: Values, mask: Mask, shape: tuple[int, ...]) -> Values:
    whole = np.zeros(shape)
    _of_centre(whole)[mask.entry_rows, mask.indices] = values
    return whole


def _distance(found: Isometry, gain: float) -> Distance:
    return Distance(
        residual=found.residual,
        effective_ones=found.effective_ones,
        sigma_min=gain * found.sigma_min,
        sigma_max=gain * found.sigma_max,
    )


def _norm(values: Values) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    return largest * float(np.linalg.norm(values / largest)) if largest else 0.0
