"""Dense initial weights as signal propagation is studied with: normal of some variance, or orthogonal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.base.names import check
from sao_cli.base.rng import VALUES, generator
from sao_cli.base.threads import one_thread
from sao_cli.catalog import INITS
from sao_cli.data.arrays import Values
from sao_cli.weights.haar import haar_matrix

_VARIANCES: dict[str, Callable[[int, int], float]] = {
    "vs-l": lambda fan_in, _: 1 / fan_in,
    "vs-g": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "vs-h": lambda fan_in, _: 2 / fan_in,
}


def dense_values(
    shape: Sequence[int], law: str, *, gamma: float | None = None, seed: int = 0, layer: int = 1
) -> Values:
    """A float64 weight (m, n), or kernel (c_out, c_in, k...), of a law of catalog.INITS.

    vs-l, vs-g and vs-h are independent normal numbers, not truncated, of variance 1/fan_in, 2/(fan_in + fan_out) and
    2/fan_in, where fan_in = c_in k^D and fan_out = c_out k^D of a kernel; `normal` has variance `gamma`: a variance,
    not a deviation (Lee et al., ICLR 2020). `orthogonal` is a Haar-random semi-orthogonal matrix, and of a kernel
    stands in the centre tap, among zeros (delta-orthogonal: Xiao et al., ICML 2018), which needs c_in <= c_out.

    Raises SaoError for another law and what check_gamma raises, InfeasibleError for more channels in than out.
    O(weights), or that of a QR.

    >>> round(float(dense_values((300, 400), "vs-h").var() * 400), 1)
    2.0
    """
    check("init", law, INITS)
    check_gamma(law, gamma)
    rng, taps = generator(seed, layer, VALUES), math.prod(shape[2:])
    if law == "orthogonal":
        return _delta_orthogonal(shape, rng, layer)
    variance = _VARIANCES[law](shape[1] * taps, shape[0] * taps) if gamma is None else gamma
    values: Values = math.sqrt(variance) * rng.standard_normal(shape)
    return values


def check_gamma(law: str, gamma: float | None) -> None:
    """Raise SaoError unless `gamma` is a positive finite number for a law that takes it, and None for the others."""
    takes = INITS[law].takes_gamma
    if not takes and gamma is not None:
        raise SaoError(f"init_gamma {gamma:g} is a variance, and init {law} has its own; leave one out")
    if takes and gamma is None:
        raise SaoError(f"init {law} has no variance of its own; give init_gamma, as 0.01")
    if gamma is not None and not (math.isfinite(gamma) and gamma > 0):
        raise SaoError(f"init_gamma {gamma}: it is a variance, a positive finite number")


def _delta_orthogonal(shape: Sequence[int], rng: np.random.Generator, layer: int) -> Values:
    m, n, *taps = shape
    if taps and n > m:
        raise InfeasibleError(
            f"layer {layer}: a convolution of {n} channels to {m}; init orthogonal needs no more channels in than out, "
            "choose vs-l, vs-g or vs-h"
        )
    values = np.zeros(shape)
    centre: Any = (..., *(k // 2 for k in taps))
    with one_thread(min(m, n)):
        values[centre] = haar_matrix(m, n, rng)
    return values
