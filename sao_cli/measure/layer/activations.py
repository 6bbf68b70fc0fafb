"""Activation functions and their derivatives: x = phi(h), and D = diag(phi'(h)) of a layer's Jacobian."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.names import check
from sao_cli.catalog import ACTIVATIONS

Array = NDArray[np.float64]

LEAK = 0.01  # torch.nn.LeakyReLU's default slope
SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al. 2017, as torch.nn.SELU
SELU_SCALE = 1.0507009873554804934193349852946


class ThresholdShape(NamedTuple):
    """phi(h) = right(h) - left right(-h) for two-sided ones, right(h) where `left` is 0: `kinks` and closed forms.

    right(h) is h - tau, from 0 to `clip` (math.inf where nothing is clipped).
    """

    tau: float = 0.0
    clip: float = math.inf
    left: float = 0.0  # the slope below -tau


@dataclass(frozen=True)
class ActivationFunction:
    """An elementwise function: a name of catalog.ACTIVATIONS, and the numbers that it takes.

    Those with a threshold are 0 up to `tau`, and constant once they have risen by `clip` (arXiv 2402.16184):

    - relu-tau: max(h - tau, 0); soft-threshold: sign(h) max(|h| - tau, 0);
    - crelu: h - tau, but no less than 0 and no more than clip. It is not torch's CReLU, which concatenates two ReLUs;
    - cst: sign(h) times |h| - tau, but no less than 0 and no more than clip.

    `tau` and `clip` are floats in the unit of h. A two-sided function needs tau >= 0: with less it would jump at 0.
    Frozen and hashable; str() is what reports tell, and tells every digit.

    Raises SaoError for an unknown name, a number that is missing or not taken, infinite or out of its range.

    >>> str(ActivationFunction("cst", tau=1.5, clip=1)), str(ActivationFunction("tanh"))
    ('cst(tau=1.5,clip=1)', 'tanh')
    """

    name: str
    tau: float | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        check("activation", self.name, ACTIVATIONS)
        row = ACTIVATIONS[self.name]
        given = {name: number for name in ("tau", "clip") if (number := getattr(self, name)) is not None}
        if given.keys() != set(row.takes):
            raise SaoError(_mistaken(self.name, row.takes))
        for name, number in given.items():
            object.__setattr__(self, name, _checked(name, number))
        if row.odd and self.tau is not None and self.tau < 0:
            raise SaoError(
                f"tau {self.tau:g}: {self.name} would jump at 0; its tau is a number from 0, and one-sided functions "
                f"({', '.join(one.name for one in ACTIVATIONS.values() if one.takes and not one.odd)}) take less"
            )

    def __str__(self) -> str:
        told = [f"{name}={getattr(self, name)!r}".removesuffix(".0") for name in ACTIVATIONS[self.name].takes]
        return f"{self.name}({','.join(told)})" if told else self.name

    @classmethod
    def of(cls, activation: str | ActivationFunction) -> ActivationFunction:
        """The function itself, or the one that a name alone tells; SaoError for a name that needs numbers too."""
        return activation if isinstance(activation, cls) else _named(activation)

    @property
    def threshold(self) -> ThresholdShape | None:
        """What it is, where it is 0, straight and constant in turn or a ReLU with a slope on its left; None elsewhere.

        >>> ActivationFunction("hard-tanh").threshold
        ThresholdShape(tau=0.0, clip=1.0, left=1.0)
        """
        row = ACTIVATIONS[self.name]
        if not row.takes:
            return _THRESHOLDS.get(self.name)
        clip = math.inf if self.clip is None else self.clip
        return ThresholdShape(self.tau or 0.0, clip, float(row.odd))

    def passes(self, factor: float) -> bool:
        """Whether phi(factor h) = factor phi(h) for every h, of a `factor` that is not 0.

        All of linear; those above 0 of relu, leaky-relu and what else is straight on both sides of 0; -1 of odd ones.

        >>> [factor for factor in (1, -1, 2, -2) if ActivationFunction("tanh").passes(factor)]
        [1, -1]
        """
        if factor < 0 and not ACTIVATIONS[self.name].odd:
            return False
        threshold = self.threshold
        straight = threshold is not None and threshold.tau == 0 and threshold.clip == math.inf
        return straight or abs(factor) == 1

    @property
    def kinks(self) -> tuple[tuple[float, float], ...]:
        """((where, jump of phi' there), ...), ascending: all places where phi' is not continuous.

        >>> ActivationFunction("cst", tau=1.0, clip=0.5).kinks
        ((-1.5, 1.0), (-1.0, -1.0), (1.0, 1.0), (1.5, -1.0))
        """
        if (threshold := self.threshold) is None:
            return ((0.0, SELU_SCALE * (1 - SELU_ALPHA)),) if self.name == "selu" else ()
        tau, clip, left = threshold
        jumps: dict[float, float] = {}
        for where, jump in ((tau, 1.0), (tau + clip, -1.0), (-tau, -left), (-tau - clip, left)):
            if math.isfinite(where):
                jumps[where + 0.0] = jumps.get(where + 0.0, 0.0) + jump
        return tuple(sorted((where, jump) for where, jump in jumps.items() if jump))


def activation_value(activation: str | ActivationFunction, h: ArrayLike) -> Array:
    """phi(h), float64, of the shape of the pre-activations `h`; the functions are those of activation_derivative.

    Raises what ActivationFunction does for a name that is no function. O(size).

    >>> activation_value("relu", [-1.0, 0.0, 2.0]).tolist()
    [0.0, 0.0, 2.0]
    """
    function = ActivationFunction.of(activation)
    h = np.asarray(h, dtype=np.float64)
    with np.errstate(under="ignore", over="ignore"):
        return _functions(function)[0](h)


def activation_derivative(activation: str | ActivationFunction, h: ArrayLike) -> Array:
    """phi'(h), float64, of the shape of the pre-activations `h`.

    The functions are those of torch.nn with its default constants: `gelu` is x Phi(x) by the error function (not the
    tanh fit), `softplus` has beta = 1, `leaky-relu` slope 0.01 below 0, and `erf` is the error function. At a kink
    the value is torch's: 0 at 0 for `relu` and at -1 and 1 for `hard-tanh`, the left one at 0 for `leaky-relu` and
    `selu`. It is 0 at every kink of the functions that take numbers (ActivationFunction). Right to a few units in the
    last place also where phi' is tiny. O(size).

    Raises what ActivationFunction does for a name that is no function.

    >>> activation_derivative("relu", [-1.0, 0.0, 2.0]).tolist()
    [0.0, 0.0, 1.0]
    >>> activation_derivative(ActivationFunction("crelu", tau=1.0, clip=1.0), [1.0, 1.5, 2.0]).tolist()
    [0.0, 1.0, 0.0]
    """
    function = ActivationFunction.of(activation)
    h = np.asarray(h, dtype=np.float64)
    with np.errstate(under="ignore", over="ignore"):
        return _functions(function)[1](h)


@functools.cache
def _named(name: str) -> ActivationFunction:
    return ActivationFunction(name)


def _mistaken(name: str, takes: tuple[str, ...]) -> str:
    """What is said of an activation that is given other numbers than it takes."""
    if not takes:
        return f"activation {name!r} takes neither tau nor clip; leave them out"
    told, options = ", ".join(f"{one}=..." for one in takes), " and ".join(f"--{one}" for one in takes)
    only = "" if "clip" in takes else " and no clip"
    return (
        f"activation {name!r} needs {' and '.join(takes)}{only}: ActivationFunction({name!r}, {told}) in Python, "
        f"{options} where a command has them"
    )


def _checked(name: str, number: float) -> float:
    if not math.isfinite(number):
        raise SaoError(f"{name} {number}: it is a finite number")
    if name == "clip" and number <= 0:
        raise SaoError(f"clip {number:g}: it is a number above 0, by which the function rises from its threshold")
    return float(number) + 0.0  # of -0 too


def _functions(function: ActivationFunction) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """phi and phi'."""
    if not ACTIVATIONS[function.name].takes:
        return _FUNCTIONS[function.name]
    threshold = function.threshold or ThresholdShape()
    return functools.partial(_threshold, threshold), functools.partial(_threshold_slope, threshold)


def _threshold(threshold: ThresholdShape, h: Array) -> Array:
    """Of left 0 or 1."""
    past = np.clip((np.abs(h) if threshold.left else h) - threshold.tau, 0.0, threshold.clip)
    return np.copysign(past, h) if threshold.left else past


def _threshold_slope(threshold: ThresholdShape, h: Array) -> Array:
    """0 at every kink; and at 0 an odd function without threshold, which is straight there, has none."""
    past = (np.abs(h) if threshold.left else h) - threshold.tau
    inside = ((past > 0) | (threshold.left > 0 and threshold.tau == 0)) & (past < threshold.clip)
    return inside.astype(np.float64)


def _sigmoid(h: Array) -> Array:
    decay = np.exp(-np.abs(h))
    rising: Array = np.where(h >= 0, 1.0, decay) / (1 + decay)
    return rising


def _sigmoid_slope(h: Array) -> Array:
    """sigma (1 - sigma), without the difference that cancels."""
    decay = np.exp(-np.abs(h))
    slope: Array = decay / np.square(1 + decay)
    return slope


def _gelu_slope(h: Array) -> Array:
    from scipy.special import ndtr

    slope: Array = ndtr(h) + h * np.exp(-h * h / 2) / np.sqrt(2 * np.pi)
    return slope


def _gelu(h: Array) -> Array:
    from scipy.special import ndtr

    value: Array = h * ndtr(h)
    return value


def _erf(h: Array) -> Array:
    from scipy.special import erf

    value: Array = erf(h)
    return value


# phi and phi' of those that a name alone tells.
_FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "linear": (np.copy, np.ones_like),
    "tanh": (np.tanh, lambda h: 4 * _sigmoid_slope(2 * h)),
    "relu": (lambda h: np.maximum(h, 0.0), lambda h: (h > 0).astype(np.float64)),
    "leaky-relu": (lambda h: np.where(h > 0, h, LEAK * h), lambda h: np.where(h > 0, 1.0, LEAK)),
    "silu": (lambda h: h * _sigmoid(h), lambda h: _sigmoid(h) + h * _sigmoid_slope(h)),
    "gelu": (_gelu, _gelu_slope),
    "selu": (
        lambda h: SELU_SCALE * np.where(h > 0, h, SELU_ALPHA * np.expm1(np.minimum(h, 0))),
        lambda h: SELU_SCALE * np.where(h > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(h, 0))),
    ),
    "softplus": (lambda h: np.maximum(h, 0) + np.log1p(np.exp(-np.abs(h))), _sigmoid),
    "erf": (_erf, lambda h: 2 / np.sqrt(np.pi) * np.exp(-h * h)),
    "hard-tanh": (lambda h: np.clip(h, -1.0, 1.0), lambda h: (np.abs(h) < 1).astype(np.float64)),
    "sigmoid": (_sigmoid, _sigmoid_slope),
}
_THRESHOLDS = {
    "linear": ThresholdShape(left=1.0),
    "relu": ThresholdShape(),
    "leaky-relu": ThresholdShape(left=LEAK),
    "hard-tanh": ThresholdShape(clip=1.0, left=1.0),
}
