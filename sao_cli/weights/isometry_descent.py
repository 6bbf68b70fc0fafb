"""Approximate isometry by gradient descent, as the signal propagation paper has it: slow, and with signals kept."""

from __future__ import annotations

import numpy as np

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import one_thread
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Mask
from sao_cli.weights.isometry import EPS, ROUNDING

RATE = 0.1  # the paper's, and its steps are 10,000


def descend_to_isometry(mask: Mask, start: Values, steps: int, *, progress: Progress = silent) -> Values:
    """(nnz,) float64: `start` after `steps` of gradient descent on ||W W^T - I||_F, W the values on `mask`.

    The objective of Lee et al. (ICLR 2020), the norm and not its square, by their rate 0.1; W is taken on its smaller
    side, where theirs has the outputs. A step is W <- W - 0.1 * 2 G W / ||G||_F on the mask, G = W W^T - I: a gradient
    of a norm does not vanish, so each layer ends in a zigzag about a residual of 0.2 or so, and goes on through what
    weights.isometry.isometry stops before, uneven values. It stops at rounding. No value becomes 0.

    Raises FormatError for a start that does not fit and SaoError for steps below 0. O(m n min(m, n)) a step.

    >>> mask = Mask.from_dense([[1, 1], [0, 1]])
    >>> descend_to_isometry(mask, np.array([1.0, 0.1, 1.0]), 1).round(3)
    array([ 0.986, -0.042,  0.986])
    """
    if steps < 0:
        raise SaoError(f"{steps} steps of a descent; they are 0 at least")
    if np.shape(start) != (mask.nnz,):
        raise FormatError(f"a start of shape {np.shape(start)} for a mask of {mask.nnz} ones; each one needs one value")
    places = (mask.entry_rows, mask.indices) if mask.m <= mask.n else (mask.indices, mask.entry_rows)
    weight = np.zeros((min(mask.shape), max(mask.shape)))
    weight[places] = start
    kept = np.zeros(weight.shape, dtype=bool)
    kept[places] = True
    identity = np.eye(len(weight))
    with one_thread(len(weight)):
        for step in range(steps):
            gram = weight @ weight.T - identity
            norm = float(np.linalg.norm(gram))
            if norm <= ROUNDING * max(mask.shape):
                break
            weight -= (2 * RATE / norm) * (gram @ weight) * kept
            progress("descending to an isometry, steps", step, steps)
    values: Values = weight[places]
    return np.copysign(np.maximum(np.abs(values), EPS), values)
