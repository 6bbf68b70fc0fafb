"""How the variance of pre-activations goes from layer to layer, q -> V(q), and where it is at the edge of chaos."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sao_cli.base.errors import SaoError
from sao_cli.catalog import ACTIVATIONS
from sao_cli.data.arrays import Values
from sao_cli.measure.criticality.moments import Moments, moments
from sao_cli.measure.criticality.normal_law import density, survival, tail_point
from sao_cli.measure.layer.activations import ActivationFunction

LEAST = 1e-300  # q*, of which parts are taken
NOTHING = 1e-12  # of q*: a sigma_b^2 so near to 0 is 0, and V(q) - q is
_CLIPS = np.geomspace(1e-4, 40.0, 200)  # M = clip/sqrt(q*) between which one with the slope asked for is looked for
_SCANNED = np.geomspace(1e-3, 1e3, 301)  # q* where an edge of chaos is looked for, to tell where there is one


@dataclass(frozen=True)
class VarianceMap:
    """V(q) = sigma_b^2 + sigma_w^2 E phi(sqrt(q) z)^2 of h^l = W^l phi(h^{l-1}) + b^l (Poole et al. 2016).

    W_ij ~ N(0, sigma_w^2/N_in), on a mask with d ones a row N(0, sigma_w^2/d), or sigma_w times an orthogonal matrix;
    b ~ N(0, sigma_b^2). sigma_w is `gain` elsewhere. Methods take any shape of q and give float64 of that shape.
    """

    activation: ActivationFunction
    sigma_w: float
    sigma_b: float

    def __post_init__(self) -> None:
        for name, number in (("sigma_w", self.sigma_w), ("sigma_b", self.sigma_b)):
            if not (math.isfinite(number) and number >= 0):
                raise SaoError(f"{name} {number}: a standard deviation is a finite number from 0")

    def moments(self, q: ArrayLike) -> Moments:
        """The Moments of its activation."""
        return moments(self.activation, q)

    def value(self, q: ArrayLike) -> Values:
        """V(q)."""
        return self.sigma_b**2 + self.sigma_w**2 * self.moments(q).square

    def slope(self, q: ArrayLike) -> Values:
        """V'(q) = chi_1(q) + sigma_w^2 E[phi phi'']."""
        return self.sigma_w**2 * self.moments(q).slope

    def chi_1(self, q: ArrayLike) -> Values:
        """sigma_w^2 E phi'^2: by what a small difference of two inputs grows in a layer, squared."""
        return self.sigma_w**2 * self.moments(q).slope_square


def edge_of_chaos(activation: str | ActivationFunction, q_star: float = 1.0) -> VarianceMap:
    """The map with V(q*) = q* and chi_1(q*) = 1: sigma_w^2 = 1/E phi'^2, sigma_b^2 = q* - E phi^2/E phi'^2 at q*.

    An odd phi has one at every q*, since Var phi <= q E phi'^2 (the normal law's Poincare inequality); E phi != 0 can
    leave less than 0 for sigma_b^2. Less than 1e-12 q* is 0, as of ReLU and linear ones, which have it at every q.

    Raises SaoError, which tells sigma_b^2, where there is none at q*, and for a q* that is no positive number.

    >>> edge = edge_of_chaos("relu")
    >>> round(edge.sigma_w**2, 12), edge.sigma_b
    (2.0, 0.0)
    """
    function = ActivationFunction.of(activation)
    check_q_star(q_star)
    found = moments(function, q_star)
    if not found.slope_square > np.finfo(np.float64).tiny:
        raise SaoError(
            f"no edge of chaos of {function} at q* = {q_star:g}: E phi'^2 is 0 there, and no sigma_w makes 1 of it"
        )
    sigma_b_square = float(q_star - found.square / found.slope_square)
    if abs(sigma_b_square) <= NOTHING * q_star:
        sigma_b_square = 0.0
    if sigma_b_square < 0:
        raise SaoError(
            f"no edge of chaos of {function} at q* = {q_star:g}: sigma_b^2 would be {sigma_b_square:.6f}, and a "
            f"variance is no less than 0; {_elsewhere(function, q_star)}"
        )
    return VarianceMap(function, float(found.slope_square**-0.5), math.sqrt(sigma_b_square))


def starting_map(
    activation: str | ActivationFunction,
    q_star: float = 1.0,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
) -> VarianceMap:
    """The map that a network begins with: the edge of chaos at q*, or that of `sigma_w` and `sigma_b`, told both.

    Raises what edge_of_chaos does, and SaoError for one of them alone, a sigma_w of 0, and sigma_b^2 >= q*, with which
    no input gives h^1 the variance q*.

    >>> starting_map("tanh", sigma_w=1.5, sigma_b=0.1).sigma_w
    1.5
    """
    if sigma_w is None and sigma_b is None:
        return edge_of_chaos(activation, q_star)
    if sigma_w is None or sigma_b is None:
        raise SaoError("sigma_w and sigma_b: give both, or none of them for the edge of chaos")
    check_q_star(q_star)
    started = VarianceMap(ActivationFunction.of(activation), float(sigma_w), float(sigma_b))
    if not sigma_w:
        raise SaoError("sigma_w 0: weights of 0 pass nothing on; it is a positive number")
    if sigma_b**2 >= q_star:
        raise SaoError(f"q_star {q_star:g}: biases alone give q = sigma_b^2 = {sigma_b**2:g}; choose a larger one")
    return started


def input_std(start: VarianceMap, q_star: float = 1.0) -> float:
    """The root mean square of inputs with which h^1 = W^1 x + b^1 has the variance q*: sqrt(q* - sigma_b^2)/sigma_w.

    >>> round(input_std(edge_of_chaos("relu"), 4.0) ** 2, 12)
    2.0
    """
    return math.sqrt(q_star - start.sigma_b**2) / start.sigma_w


def sparse_activation(
    name: str,
    *,
    activation_sparsity: float | None = None,
    tau: float | None = None,
    clip: float | None = None,
    slope: float | None = None,
    q_star: float = 1.0,
) -> ActivationFunction:
    """The function of that name by what it is to do at q*: the share of units at 0, and V'(q*) at the edge of chaos.

    One of `activation_sparsity` and `tau` and, where the function is clipped, one of `clip` and `slope`. With k = 1 for
    one-sided and 2 for two-sided functions, tau = sqrt(q*) Phi^-1(1 - (1 - s)/k), and the clip is M sqrt(q*) with
    1 - M p(b)/(Phi(b) - Phi(a)) = V'(q*), a = tau/sqrt(q*), b = a + M: V' rises from 0 at M = 0 to 1 without clip.

    Raises SaoError for both or none of two, shares and slopes out of (0, 1) (a two-sided one can have s = 0), and a
    slope that no or more than one clip has.

    >>> str(sparse_activation("relu-tau", activation_sparsity=0.5)), sparse_activation("tanh").name
    ('relu-tau(tau=0)', 'tanh')
    """
    check_q_star(q_star)
    function = ActivationFunction.of(name) if name not in ACTIVATIONS or not ACTIVATIONS[name].takes else None
    takes = () if function else ACTIVATIONS[name].takes
    pairs = (("activation_sparsity", activation_sparsity, "tau", tau), ("slope", slope, "clip", clip))
    for wanted, wish, taken, number in pairs:
        if taken not in takes and (wish, number) != (None, None):
            raise SaoError(f"{name} takes no {taken}, and {wanted} is had by one; leave both out")
        if taken in takes and (wish is None) == (number is None):
            raise SaoError(f"{name} needs one of {wanted} and {taken}; give one of them")
    if function:
        return function
    sides = 2 if ACTIVATIONS[name].odd else 1
    if activation_sparsity is not None:
        tau = math.sqrt(q_star) * _threshold_of(name, activation_sparsity, sides)
    if slope is not None and tau is not None:
        clip = math.sqrt(q_star) * _clip_of(tau / math.sqrt(q_star), slope, name)
    return ActivationFunction(name, tau, clip)


def check_q_star(q_star: float) -> None:
    """Raise SaoError unless q* is a positive finite number, with room below it for other fixed points."""
    if not (math.isfinite(q_star) and q_star >= LEAST):
        told = f"the variance of pre-activations at the fixed point is a finite number above 0, {LEAST:g} at least"
        raise SaoError(f"q_star {q_star}: {told}")


def _threshold_of(name: str, share: float, sides: int) -> float:
    if not (0 <= share < 1 and (share or sides == 2)):
        raise SaoError(
            f"activation_sparsity {share}: the share of units at 0 is a number from 0 and below 1, above 0 where the "
            f"function is one-sided; {name} is {'one' if sides == 1 else 'two'}-sided"
        )
    return tail_point((1 - share) / sides) if share or sides == 1 else 0.0


def _clip_of(a: float, slope: float, name: str) -> float:
    """The M with V'(q*) = `slope`, by bisection."""
    if not 0 < slope < 1:
        raise SaoError(f"slope {slope}: V'(q*) of a clipped function at the edge of chaos is between 0 and 1")
    below = _edge_slope(a, _CLIPS) < slope
    crossings = np.flatnonzero(below[:-1] & ~below[1:])
    if len(crossings) != 1 or (below[1:] & ~below[:-1]).any():
        raise SaoError(
            f"slope {slope}: of the clips of {name} from {_CLIPS[0]:g} to {_CLIPS[-1]:g} sqrt(q*) "
            f"{len(crossings) or 'none'} have it at this threshold; name the clip itself"
        )
    low, high = _CLIPS[crossings[0] : crossings[0] + 2]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _edge_slope(a, middle) < slope else (low, middle)
    return float((low + high) / 2)


def _edge_slope(a: float, M: ArrayLike) -> Values:
    M = np.asarray(M, dtype=np.float64)
    b = a + M
    found: Values = 1 - M * density(b) / (survival(a) - survival(b))
    return found


def _elsewhere(function: ActivationFunction, q_star: float) -> str:
    """Where else there is one."""
    found = moments(function, q_star * _SCANNED)
    with np.errstate(divide="ignore", invalid="ignore"):
        feasible = q_star * _SCANNED[q_star * _SCANNED * found.slope_square >= found.square * (1 - NOTHING)]
    if not feasible.size:
        return "odd functions, and one-sided ones of an activation sparsity from 0.5, have one at every q*"
    return f"there is one at q* from {feasible.min():.4g} to {feasible.max():.4g}, of those looked at"
