"""How the correlation of two inputs goes from layer to layer, and how long it takes to where it tends."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Values
from sao_cli.measure.criticality.fixed_points import MARGINAL
from sao_cli.measure.criticality.normal_law import density, survival
from sao_cli.measure.criticality.panels import bends, panel_rule
from sao_cli.measure.criticality.variance_map import VarianceMap
from sao_cli.measure.layer.activations import ThresholdShape, activation_derivative, activation_value

EXPONENTIAL, ALGEBRAIC, CONSTANT = "exponential", "algebraic", "constant"
_AROUND = (0.0, 1.0, 3.0, 8.0)  # of the second input's standard deviations about a kink: where panels end
_NODES = 16
_STEP = 1e-5  # of central differences of phi', by which E phi''^2 is right to some 1e-10
_STEPS, _DONE = 100, 1e-13  # of Newton's method


class DecayLaw(NamedTuple):
    """How 1 - c_l falls: as exp(-l/xi_c), as kappa/l^power where chi_1 = 1, or not at all (of a linear phi)."""

    name: str
    xi: float | None  # None where it is infinite, or there is nothing that is tended to
    power: int | None
    kappa: float | None


def gap_after(variance_map: VarianceMap, q: float, gap: float) -> float:
    """1 - C(c) of the next layer for the `gap` 1 - c of this, at the fixed point q of both inputs.

    C(c) = (sigma_b^2 + sigma_w^2 E phi(u_1) phi(u_2))/q with u_i ~ N(0, q) of correlation c (Poole et al. 2016), as
    1 - C = sigma_w^2/q E[phi(u_1) (phi(u_1) - E[phi(u_2) | u_1])], so that a small gap keeps its digits. The inner mean
    has a closed form for functions with a ThresholdShape and is another quadrature for others; the outer panels end
    about the kinks, where the integrand bends over a width of sqrt(1 - c^2).

    Raises SaoError for a gap out of [0, 2]. 500 nodes, each of 500 more without a closed form.

    >>> from sao_cli.measure.criticality.variance_map import edge_of_chaos
    >>> c = 1 - gap_after(edge_of_chaos("relu"), 1.0, 1.0)  # of orthogonal inputs: 1/pi
    >>> round(c * math.pi, 9)
    1.0
    """
    if not gap:
        return 0.0
    u, w, means = _pairs(variance_map, q, gap)
    phi = activation_value(variance_map.activation, u)
    return variance_map.sigma_w**2 / q * float((w * phi * (phi - means(False))).sum())


def correlation_gaps(variance_map: VarianceMap, q: float, gap: float, layers: int) -> Values:
    """(layers + 1,) the gaps 1 - c_l for l = 0 .. `layers`, from `gap` on. `layers` times gap_after."""
    found = [gap]
    for _ in range(layers):
        found.append(min(gap_after(variance_map, q, found[-1]), 2.0))
    return np.array(found)


def correlation_slope(variance_map: VarianceMap, q: float, gap: float) -> float:
    """C'(c) = sigma_w^2 E phi'(u_1) phi'(u_2) at c = 1 - `gap`; chi_1 at 0. Costs what gap_after does."""
    if not gap:
        return float(variance_map.chi_1(q))
    u, w, means = _pairs(variance_map, q, gap)
    return variance_map.sigma_w**2 * float((w * activation_derivative(variance_map.activation, u) * means(True)).sum())


@functools.lru_cache(maxsize=256)  # a row asks for it, and for the length that it takes to get there
def fixed_correlation(variance_map: VarianceMap, q: float) -> float:
    """The c* that C(c) tends to: 1 where chi_1 <= 1, else the root of C(c) = c below 1.

    C is a power series in c without negative terms, so convex from 0 on, where C(0) >= 0: Newton's method from there
    comes to the root from below.
    """
    if float(variance_map.chi_1(q)) <= 1 + MARGINAL:
        return 1.0
    c = 0.0
    for _ in range(_STEPS):
        rest = 1 - gap_after(variance_map, q, 1 - c) - c
        slope = correlation_slope(variance_map, q, 1 - c) - 1
        if slope >= 0 or abs(rest) <= _DONE:
            break
        c = min(c - rest / slope, 1.0)  # from below, but for rounding
    return c


def decay_law(variance_map: VarianceMap, q: float) -> DecayLaw:
    """How 1 - c_l, or where chi_1 > 1 c_l - c*, falls at the fixed point q.

    xi_c = -1/ln C'(c*) (Schoenholz et al. 2017), the slope taken at c*: chi_1 where c* = 1. Where chi_1 = 1, it is
    infinite: with slopes that jump by Delta_i at kinks theta_i, 1 - C = 1 - c - B (1 - c)^{3/2} + ..., and
    1 - c_l ~ kappa/l^2 with kappa = 9 pi/(sigma_w^2 sum_i Delta_i^2 p(theta_i/sqrt q))^2 (9 pi^2/2 of ReLU, Hayou et
    al. 2019); without kinks 1 - c_l ~ kappa/l with kappa = 2/(sigma_w^2 q E phi''^2). A linear phi keeps every c.
    """
    chi_1 = float(variance_map.chi_1(q))
    if abs(chi_1 - 1) > MARGINAL:
        slope = chi_1
        if chi_1 > 1 and q > 0:
            slope = correlation_slope(variance_map, q, 1 - fixed_correlation(variance_map, q))
        return DecayLaw(EXPONENTIAL, relaxation(slope), None, None)
    weight, scale = variance_map.sigma_w**2, math.sqrt(q)
    if kinks := variance_map.activation.kinks:
        bend = sum(jump**2 * float(density(kink / scale)) for kink, jump in kinks) if q else 0.0
        return DecayLaw(ALGEBRAIC, None, 2, 9 * math.pi / (weight * bend) ** 2 if bend else None)
    bend = weight * q * _curvature_square(variance_map, q)
    if bend <= MARGINAL:
        return DecayLaw(CONSTANT, None, None, None)
    return DecayLaw(ALGEBRAIC, None, 1, 2 / bend)


def relaxation(slope: float) -> float | None:
    """-1/ln|slope|: the layers in which a deviation falls to 1/e of itself; None where it does not fall.

    >>> relaxation(math.exp(-0.5)), relaxation(0.0), relaxation(1.0)
    (2.0, 0.0, None)
    """
    if abs(slope) >= 1:
        return None
    return -1 / math.log(abs(slope)) if slope else 0.0


def _pairs(variance_map: VarianceMap, q: float, gap: float) -> tuple[Values, Values, Callable[[bool], Values]]:
    """u_1, its weights, and a function that gives E[phi(u_2) | u_1], or of phi' where it is told True."""
    if not 0 <= gap <= 2:
        raise SaoError(f"gap {gap}: 1 - c of a correlation is a number from 0 to 2")
    function, scale, width = variance_map.activation, math.sqrt(q), math.sqrt(q * gap * (2 - gap))
    kinks = [kink for kink, _ in function.kinks]
    about = [kink + sign * much * width for kink in kinks for much in _AROUND for sign in (-1, 1)]
    shape = function.threshold
    z, w = panel_rule(0.0, scale, about if shape else bends(about), _NODES)
    u, centres = scale * z[0], (1 - gap) * scale * z[0]

    def means(of_slope: bool) -> Values:
        if not width:  # of the opposite input
            return (activation_derivative if of_slope else activation_value)(function, centres)
        if shape:
            return (_slope_mean if of_slope else _mean)(shape, centres, width)
        v, weights = panel_rule(centres, width, bends(kinks), _NODES)
        h = centres[:, None] + width * v
        found: Values = (weights * (activation_derivative if of_slope else activation_value)(function, h)).sum(axis=1)
        return found

    return u, w[0], means


def _mean(shape: ThresholdShape, centres: Values, width: float) -> Values:
    """E phi(x), x ~ N(centre, width^2)."""

    def rectified(y: Values) -> Values:
        return y * survival(-y / width) + width * density(y / width)

    def right(y: Values) -> Values:
        above = rectified(y - shape.tau)
        return above - rectified(y - shape.tau - shape.clip) if math.isfinite(shape.clip) else above

    return right(centres) - shape.left * right(-centres) if shape.left else right(centres)


def _slope_mean(shape: ThresholdShape, centres: Values, width: float) -> Values:
    def right(y: Values) -> Values:
        return survival((shape.tau - y) / width) - survival((shape.tau + shape.clip - y) / width)

    return right(centres) + shape.left * right(-centres) if shape.left else right(centres)


def _curvature_square(variance_map: VarianceMap, q: float) -> float:
    """E phi''^2 of a phi without kinks."""
    z, w = panel_rule(0.0, math.sqrt(q) or 1e-9, bends([]))
    h = math.sqrt(q) * z
    after, before = (activation_derivative(variance_map.activation, h + step) for step in (_STEP, -_STEP))
    return float((w * np.square((after - before) / (2 * _STEP))).sum())
