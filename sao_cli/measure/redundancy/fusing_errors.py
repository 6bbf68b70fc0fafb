"""How far a fused weight is from the one that it stands for."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import PROBES, generator
from sao_cli.base.threads import SMALL, one_thread
from sao_cli.measure.krylov.lanczos import Lanczos, Ritz, iterate, random_direction
from sao_cli.measure.redundancy.fusing import Fused
from sao_cli.measure.values.by_array import DenseGram
from sao_cli.measure.values.norms import frobenius_norm

_CONVERGED = 1e-6  # of an eigenvalue of the Gram matrix: half of it in a singular value


class FusingErrors(NamedTuple):
    """||W - V|| / ||W||, V = P W' Q, in the Frobenius and in the spectral norm; 0 of a W of zeros that stays one."""

    frobenius: float
    spectral: float


def fusing_errors(weight: NDArray[Any], fused: Fused, progress: Progress = silent) -> FusingErrors:
    """What fusing has changed a weight (m, n) by: FusingErrors, of differences in float64.

    Spectral norms are the largest value of an SVD up to 512 on the shorter side, and beyond it that of a Lanczos
    process, from below, to 1e-6. O(m n) beside those; two copies of the weight.

    >>> weight = np.array([[1.0, 0.0], [0.0, 1e-3]])
    >>> fused = Fused(np.array([[1.0]]), np.array([0, 0]), np.array([1.0, 0.0]), np.array([0, 0]), np.array([1.0, 0.0]))
    >>> errors = fusing_errors(weight, fused)
    >>> round(errors.frobenius, 9), round(errors.spectral, 9)
    (0.001, 0.001)
    """
    difference = np.asarray(weight, dtype=np.float64) - fused.product()
    changed = frobenius_norm(difference)
    if not changed:
        return FusingErrors(0.0, 0.0)
    norm = frobenius_norm(weight)
    return FusingErrors(
        changed / norm if norm else math.inf,
        largest_singular_value(difference, progress) / largest_singular_value(weight, progress) if norm else math.inf,
    )


def largest_singular_value(dense: NDArray[Any], progress: Progress = silent) -> float:
    """sigma_max of a dense (m, n) array of finite numbers, in float64: by an SVD, or a Lanczos process beyond 512.

    >>> largest_singular_value(np.diag([3.0, 4.0]))
    4.0
    """
    if not dense.any():
        return 0.0
    with one_thread(min(dense.shape)):
        if min(dense.shape) <= SMALL:
            peak = float(np.abs(dense).max())
            return peak * float(np.linalg.svd(np.asarray(dense, np.float64) / peak, compute_uv=False)[0])
        return _by_lanczos(dense, progress)


def _by_lanczos(dense: NDArray[Any], progress: Progress) -> float:
    gram = DenseGram(dense)
    process = Lanczos(gram, random_direction(gram, generator(0, 1, PROBES)))

    def enough(pair: Ritz) -> bool:
        return pair.error <= _CONVERGED * pair.value

    bound = math.ldexp(frobenius_norm(dense), -gram.exponent) ** 2
    ritz, _ = iterate(process, enough, 1e-15 * bound, progress, "spectral norm")
    return math.ldexp(math.sqrt(max(ritz.value, 0.0)), gram.exponent)
