"""Moments of phi(h) and phi'(h) at h ~ N(0, q), and the first two derivatives of E phi^2 by q, of many q at once."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Values
from sao_cli.measure.criticality.normal_law import density, survival
from sao_cli.measure.criticality.panels import bends, panel_rule
from sao_cli.measure.layer.activations import (
    ActivationFunction,
    ThresholdShape,
    activation_derivative,
    activation_value,
)

_NEAR, _LEAST = 1e-12, 1e-60  # the least q of a quadrature and of a closed form; below, phi is straight
_AT_ONCE = 1000  # values of q whose nodes are held together: 14 MB an array


class Moments(NamedTuple):
    """At h ~ N(0, q), z = h/sqrt q; each of the shape of q."""

    square: Values  # E phi^2
    slope: Values  # d/dq E phi^2 = E[phi^2 (z^2 - 1)]/(2 q)
    curvature: Values  # d2/dq2 E phi^2 = E[phi^2 (z^4 - 6 z^2 + 3)]/(4 q^2)
    fourth: Values  # E phi^4
    slope_square: Values  # E phi'^2
    slope_fourth: Values  # E phi'^4


def moments(activation: str | ActivationFunction, q: ArrayLike) -> Moments:
    """The Moments at every q >= 0, closed forms where there are some, else by quadrature.

    The derivatives need no phi'': by Stein's lemma d/dq E f(sqrt(q) z) = E[f (z^2 - 1)]/(2 q), and once more so, where
    f = phi^2 is no smoother than it is. Closed forms are those of functions with a ThresholdShape (the definitions of
    `sao criticality` in theory.md); others are integrated with panels that end at kinks, to some 1e-14, the curvature
    to 1e-14/q. At q = 0 they are the limits from above, and the curvature of functions that are quadratures is nearly.

    Raises SaoError for a q that is negative or not finite, and what ActivationFunction does. O(size) closed, 1600 nodes
    for each q else.

    >>> [round(float(one), 12) for one in moments("relu", 4.0)]
    [2.0, 0.5, 0.0, 24.0, 0.5, 0.5]
    """
    function, q = ActivationFunction.of(activation), np.asarray(q, dtype=np.float64)
    if not (np.isfinite(q).all() and (q >= 0).all()):
        raise SaoError(f"q {q[~(np.isfinite(q) & (q >= 0))].flat[0]}: a variance is a finite number from 0")
    least = _NEAR if function.threshold is None else _LEAST
    with np.errstate(over="ignore"):
        found = _found(function, np.maximum(q.reshape(-1), least))
    here, below = float(activation_value(function, 0.0)) ** 2, np.minimum(q.reshape(-1), least) / least
    square, fourth = here + (found.square - here) * below, here**2 + (found.fourth - here**2) * below**2
    found = found._replace(
        square=np.where(below < 1, square, found.square), fourth=np.where(below < 1, fourth, found.fourth)
    )
    return Moments(*(one.reshape(q.shape) for one in found))


def inactive_share(activation: str | ActivationFunction, q: ArrayLike) -> Values:
    """P(phi(h) = 0), h ~ N(0, q): the activation sparsity, float64 of the shape of `q`. O(size).

    >>> float(inactive_share("relu", 1.0)), float(inactive_share("tanh", 1.0))
    (0.5, 0.0)
    """
    q = np.asarray(q, dtype=np.float64)
    if (shape := ActivationFunction.of(activation).threshold) is None:
        return np.zeros(q.shape)
    a = _scaled(shape.tau, np.sqrt(np.maximum(q, _LEAST)))
    return 1 - (2 if shape.left else 1) * survival(a)


def _found(function: ActivationFunction, q: Values) -> Moments:
    if (shape := function.threshold) is not None:
        return _closed(shape, q)
    parts = [q[start : start + _AT_ONCE] for start in range(0, q.size, _AT_ONCE)]
    return Moments(*map(np.concatenate, zip(*(_integrated(function, part) for part in parts), strict=True)))


def _closed(shape: ThresholdShape, q: Values) -> Moments:
    """Of phi(h) = r(h) - left r(-h), r(h) = min(max(h - tau, 0), clip), whose parts are never both other than 0."""
    scale, sides, fourths = np.sqrt(q), 1 + shape.left**2, 1 + shape.left**4
    clipped = math.isfinite(shape.clip)
    a = _scaled(shape.tau, scale)
    b = _scaled(shape.tau + shape.clip, scale) if clipped else np.full(q.shape, np.inf)
    M = shape.clip / scale if clipped else np.zeros(q.shape)  # what it multiplies is 0 without a clip
    b = np.where(np.isfinite(b), b, _FAR_TAIL)
    at_a, at_b, above = density(a), density(b), survival(b)
    inside = survival(a) - above
    straight = (1 + a**2) * inside - a * at_a + (2 * a - b) * at_b
    return Moments(
        square=sides * q * (straight + M**2 * above),
        slope=sides * (inside - M * at_b),
        curvature=sides / (2 * q) * (a * at_a - b * at_b - M * (b**2 - 1) * at_b),
        fourth=fourths * q**2 * (_fourth(a, b, at_a, at_b, inside) + M**4 * above),
        slope_square=sides * inside,
        slope_fourth=fourths * inside,
    )


_FAR_TAIL = 1e3  # where density and tail are 0 in float64, and powers of it are finite


def _scaled(place: float, scale: Values) -> Values:
    return np.minimum(place / scale, _FAR_TAIL)


def _fourth(a: Values, b: Values, at_a: Values, at_b: Values, inside: Values) -> Values:
    """The integral of (z - a)^4 p(z) from a to b, by those of z^n p(z)."""
    powers = [inside, at_a - at_b]
    for n in (2, 3, 4):
        powers.append((n - 1) * powers[n - 2] + a ** (n - 1) * at_a - b ** (n - 1) * at_b)
    return powers[4] - 4 * a * powers[3] + 6 * a**2 * powers[2] - 4 * a**3 * powers[1] + a**4 * powers[0]


def _integrated(function: ActivationFunction, q: Values) -> Moments:
    scale = np.sqrt(q)
    z, w = panel_rule(0.0, scale, bends(kink for kink, _ in function.kinks))
    h = scale[:, None] * z
    value, slope = activation_value(function, h), activation_derivative(function, h)
    # as E(z^2 - 1) = 0, what phi^2 has at 0 already is left out, and with it most of what would cancel
    rise = np.square(value) - float(activation_value(function, 0.0)) ** 2
    return Moments(
        square=(w * np.square(value)).sum(axis=1),
        slope=(w * rise * (z**2 - 1)).sum(axis=1) / (2 * q),
        curvature=(w * rise * (z**4 - 6 * z**2 + 3)).sum(axis=1) / (4 * q**2),
        fourth=(w * value**4).sum(axis=1),
        slope_square=(w * np.square(slope)).sum(axis=1),
        slope_fourth=(w * slope**4).sum(axis=1),
    )
