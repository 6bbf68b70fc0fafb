"""What mean-field theory predicts of a deep network's Jacobian: the moments of its squared singular values."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.measure.criticality.moments import moments
from sao_cli.measure.layer.activations import ActivationFunction, activation_derivative, activation_value

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LayerMoments:
    """One layer's weights, as mean-field theory sees them.

    `mean_square` is ||W||_F^2/m, the variance that unit inputs give to each output; `mean` the mean of the squared
    singular values of W, and `spread` their variance over the square of that mean: 0 for orthogonal weights and 1 for
    a square Gaussian (-s_1 in Pennington, Schoenholz and Ganguli 2017). `bias_square` is the mean square of the biases,
    sigma_b^2 of normal ones.
    """

    mean_square: float
    mean: float
    spread: float
    bias_square: float = 0.0


@dataclass(frozen=True, kw_only=True)
class JacobianMoments:
    """Predicted for the first l layers, l = 1 .. L: ln of the mean squared singular value, and its relative variance.

    `relative_variance` is Var(sigma^2)/E(sigma^2)^2, and `preactivation_variance` that of h_l. Each (L,).
    """

    log_mean: Values
    relative_variance: Values
    preactivation_variance: Values


def jacobian_moments(
    layers: Sequence[LayerMoments],
    activation: str | ActivationFunction | Sequence[str | ActivationFunction],
    *,
    input_std: float = 1.0,
) -> JacobianMoments:
    """The mean and the relative variance of the squared singular values of J = D_l W_l ... D_1 W_1, for every l.

    With h_l ~ N(0, q_l), q_l = mean_square E[phi(h_{l-1})^2] + bias_square, where E is input_std^2 for q_1, all free of
    each other, S-transforms multiply: the mean is prod mu_1(q_l) mean_l, and relative variances add up to
    sum mu_2(q_l)/mu_1(q_l)^2 - 1 + spread_l, mu_k = E[phi'(sqrt(q) z)^{2k}] (Pennington, Schoenholz and Ganguli,
    NIPS 2017; there at the fixed point q*, with mean 1: L (mu_2/mu_1^2 - 1 - s_1)). Square layers;
    widths that differ change the mean by their ratio, which `mean` carries. NaN from where q_l leaves float64.
    `activation` is one for all layers, or one a layer.

    Raises SaoError for an unknown activation and a negative or infinite `input_std`. O(L), one quadrature a layer.

    >>> orthogonal = LayerMoments(mean_square=1.21, mean=1.21, spread=0.0)
    >>> found = jacobian_moments([orthogonal] * 50, "linear")
    >>> round(float(np.exp(found.log_mean[-1] / 100)), 9), round(float(found.relative_variance[-1]), 9)
    (1.1, 0.0)
    """
    each = [activation] * len(layers) if isinstance(activation, str | ActivationFunction) else activation
    functions = [ActivationFunction.of(one) for one in each]
    if not (math.isfinite(input_std) and input_std >= 0):
        raise SaoError(f"input_std {input_std}: a standard deviation is a finite number from 0; the default is 1")
    square = input_std**2
    logs, variances, preactivations = [], [], []
    for layer, function in zip(layers, functions, strict=True):
        variance = layer.mean_square * square + layer.bias_square
        if not math.isfinite(variance):
            logs.append(math.nan)
            variances.append(math.nan)
            preactivations.append(math.inf)
            continue
        first, second, square = gaussian_moments(function, variance)
        with np.errstate(divide="ignore"):
            logs.append(float(np.log(first * layer.mean)))
        # no less than 0 by Jensen, but for rounding
        variances.append(max(second / first**2 - 1, 0.0) + layer.spread if first else math.inf)
        preactivations.append(variance)
    return JacobianMoments(
        log_mean=np.cumsum(logs),
        relative_variance=np.cumsum(variances),
        preactivation_variance=np.array(preactivations),
    )


@functools.lru_cache(maxsize=4096)
def gaussian_moments(activation: str | ActivationFunction, variance: float) -> tuple[float, float, float]:
    """(E[phi'^2], E[phi'^4], E[phi^2]) at h ~ N(0, variance): those of measure.criticality.moments.

    At a variance of 0, where they are limits, these are the values at 0 themselves.

    >>> [round(moment, 12) for moment in gaussian_moments("relu", 4.0)]
    [0.5, 0.5, 2.0]
    """
    if not variance:
        slope, value = float(activation_derivative(activation, 0.0)), float(activation_value(activation, 0.0))
        return slope**2, slope**4, value**2
    found = moments(activation, variance)
    return float(found.slope_square), float(found.slope_fourth), float(found.square)
