"""What fusing a weight would cost and save, by the threshold of its angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Values
from sao_cli.measure.redundancy.fusing import TAU_EUC, fuse
from sao_cli.measure.redundancy.unit_vectors import FLOOR
from sao_cli.measure.values.norms import frobenius_norm

TAUS = tuple(float(f"{tau:.3g}") for tau in np.geomspace(1e-6, 1e-1, 11))


class FusingCurve(NamedTuple):
    """By `tau_cos` (count,): `errors` ||W - P W' Q||_F / ||W||_F, and `saved` 1 - m' n' / (m n), of its numbers."""

    tau_cos: Values
    errors: Values
    saved: Values


def fusing_curve(
    weight: NDArray[Any],
    tau_cos: Sequence[float] = TAUS,
    *,
    tau_euc: float = TAU_EUC,
    floor: float = FLOOR,
    progress: Progress = silent,
) -> FusingCurve:
    """The FusingCurve of a weight (m, n): measure.redundancy.fusing.fuse for each of `tau_cos`, each from W itself.

    Raises what `fuse` does, and MemoryLimitError. Costs `fuse` as often as there are thresholds;
    four copies of the weight.

    >>> curve = fusing_curve(np.array([[1.0, 0.0], [1.0, 0.01]]), (1e-6, 1e-2))
    >>> curve.errors.round(4).tolist(), curve.saved.tolist()
    ([0.0, 0.005], [0.0, 0.75])
    """
    size = np.size(weight)
    require_memory(64.0 * size, f"fusing {size} numbers")
    dense = np.asarray(weight, dtype=np.float64)
    norm = frobenius_norm(dense)
    errors, saved = [], []
    for number, tau in enumerate(tau_cos):
        fused, _ = fuse(dense, tau_cos=tau, tau_euc=tau_euc, floor=floor)
        changed = frobenius_norm(dense - fused.product())
        errors.append(changed / norm if norm else math.inf if changed else 0.0)
        saved.append(1 - fused.weight.size / dense.size)
        progress("fusing by tau_cos", number + 1, len(tau_cos))
    return FusingCurve(np.array(tau_cos, dtype=np.float64), np.array(errors), np.array(saved))
