"""The inputs at which Jacobians are taken."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.rng import INPUTS, generator


def drawn_inputs(inputs: int, shape: Sequence[int], input_std: float = 1.0, seed: int = 0) -> NDArray[np.float64]:
    """(inputs, *shape) draws of x ~ N(0, input_std^2 I).

    Raises SaoError for fewer than one input and for an `input_std` that is negative or not finite, MemoryLimitError.
    """
    if inputs < 1:
        raise SaoError(f"{inputs} inputs: a Jacobian is taken at one at least")
    if not (math.isfinite(input_std) and input_std >= 0):
        raise SaoError(f"input_std {input_std}: a standard deviation is a finite number from 0; the default is 1")
    sizes = " x ".join(map(str, shape))
    require_memory(16.0 * inputs * math.prod(shape), f"{inputs} inputs of {sizes} numbers", "choose fewer inputs")
    # no layer is number 0, and Lanczos starts, which are, name one number alone
    return input_std * generator(seed, 0, INPUTS, 0).standard_normal((inputs, *shape))
