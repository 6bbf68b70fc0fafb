"""The inputs at which Jacobians are taken."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sao_cli.base.errors import FormatError, SaoError, SaoWarning
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import INPUTS, generator
from sao_cli.data.arrays import Values
from sao_cli.io.datasets.samples import load_samples
from sao_cli.io.output import shown


def drawn_inputs(inputs: int, shape: Sequence[int], input_std: float = 1.0, seed: int = 0) -> Values:
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


def sample_inputs(
    data: str,
    folder: str | None,
    inputs: int,
    shape: Sequence[int],
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Values:
    """(inputs, *shape), the first test samples of named data, standardised, or those of FILE.npz as they are.

    Raises what load_samples and fitted_inputs raise, and SaoError where there are fewer.
    """
    count = max(inputs, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaoWarning)  # that a few are not of all classes, which no Jacobian asks for
        found = load_samples(data, folder, count, "test", inputs=math.prod(shape), seed=seed, progress=progress)
    return fitted_inputs(found.x, inputs, shape, data)


def fitted_inputs(samples: ArrayLike, inputs: int, shape: Sequence[int], data: str) -> Values:
    """(inputs, *shape) of the first `samples` (N, ...), which are of that shape, or of its numbers as a vector.

    A first size of 1 counts samples. Raises FormatError for other shapes, and SaoError for more than there are.
    """
    x = np.asarray(samples, dtype=np.float64)
    fitting = [tuple(shape)] + [tuple(shape[1:])] * (len(shape) > 1 and shape[0] == 1)
    if not {x.shape[1:], (math.prod(x.shape[1:]),)} & set(fitting):
        given, wanted = ("x".join(map(str, sizes)) for sizes in (x.shape[1:], fitting[-1]))
        raise FormatError(f"{shown(data)}: its samples are {given}, and the network's inputs are {wanted}")
    if not 1 <= inputs <= len(x):
        raise SaoError(f"{inputs} inputs: of {shown(data)} there are from 1 to {len(x)}")
    return x[:inputs].reshape(inputs, *shape)
