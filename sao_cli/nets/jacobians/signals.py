"""The numbers that go through a network, each with a power of two of its own, so that no gain makes them leave float64.

One power for a whole layer would not do: what one unit has grown to would push the rest, and every bias, out of range.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.catalog import ACTIVATIONS
from sao_cli.measure.layer.activations import ActivationFunction, activation_derivative, activation_value
from sao_cli.nets.jacobians.long_products.arithmetic import array_of, on_host
from sao_cli.nets.jacobians.operators import LayerOperator

Values = NDArray[np.float64]
Exponents = NDArray[np.int64]

STRAIGHT = 1e300  # where phi is its asymptote; and below 1/STRAIGHT it is its tangent at 0
NOTHING = -(2**60)  # the exponent of 0
_BITS = {8: 200, 4: 40}  # that the numbers of one product span; below, they get their own


class Signals(NamedTuple):
    """The numbers values 2^exponents, (B, n) float64 and int64, or one exponent for all."""

    values: Values
    exponents: Exponents

    @classmethod
    def of(cls, values: Values, exponents: Exponents | int = 0) -> Signals:
        """The numbers values 2^exponents with values in [0.5, 1), or 0. Exact."""
        mantissas, shift = np.frexp(values)
        return cls(mantissas, np.where(mantissas != 0, exponents + shift, NOTHING))

    def plus(self, other: Signals) -> Signals:
        """The sums, each right to a rounding, whatever the others are."""
        parts = [Signals.of(*self), Signals.of(*other)]
        top = np.maximum(*(one.exponents for one in parts))
        with np.errstate(under="ignore"):
            one, two = (np.ldexp(one.values, one.exponents - top) for one in parts)
        return Signals(one + two, top)

    def in_order(self, places: NDArray[np.int64] | None) -> Signals:
        """The numbers at `places`, or as they stand."""
        return self if places is None else Signals(self.values[:, places], self.exponents[:, places])


def preactivations(operator: LayerOperator, x: Signals, device: Any, dtype: Any) -> Signals:
    """W x (B, m) in the operator's order, of x as Signals.of gives it.

    One product suffices for nearly every layer. Numbers that are 2^200 times (in float32 2^40 times) smaller than the
    largest get another, since they matter where a unit reads nothing larger.
    """
    values, exponents = x if operator.columns is None else (x.values, x.exponents + operator.columns)
    found: Signals | None = None
    while True:
        top = exponents.max(axis=1, keepdims=True)
        below = exponents - top
        far = (below < -_BITS[dtype.itemsize]) & (values != 0)
        more = far.any()
        part = array_of(np.ldexp(np.where(far, 0.0, values) if more else values, below), dtype, device)
        h = Signals(on_host(operator.apply(part[:, :, None], None)[:, :, 0]).astype(np.float64, copy=False), top)
        found = h if found is None else found.plus(h)
        if not more:
            return found
        values, exponents = np.where(far, values, 0.0), np.where(far, exponents, NOTHING)


def activated(activation: str | ActivationFunction, h: Signals) -> tuple[Signals, Values]:
    """phi(h) and phi'(h) (B, m) of signals.

    Functions with a kink at 0 and straight sides need no scale. Others are straight where |h| is past 1e300, and those
    with phi(0) = 0 below 1e-300 too.
    """
    if ACTIVATIONS[ActivationFunction.of(activation).name].homogeneous:
        y = Signals.of(activation_value(activation, h.values), h.exponents)
        return y, activation_derivative(activation, h.values)
    with np.errstate(over="ignore", under="ignore"):
        true = np.clip(np.ldexp(h.values, h.exponents), -STRAIGHT, STRAIGHT)
    slopes, values = activation_derivative(activation, true), activation_value(activation, true)
    straight = (np.abs(true) == STRAIGHT) & (slopes != 0)
    if _through_zero(activation):
        straight |= np.abs(true) < 1 / STRAIGHT
    y = Signals.of(np.where(straight, h.values * slopes, values), np.where(straight, h.exponents, 0))
    return y, slopes


@functools.cache
def _through_zero(activation: str | ActivationFunction) -> bool:
    return float(activation_value(activation, 0.0)) == 0
