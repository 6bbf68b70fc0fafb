"""The input-output Jacobian of a deep network, J = D_L W_L ... D_1 W_1, and its singular values at any depth."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.errors import FormatError, SaoError, SaoWarning
from sao_cli.base.memory import format_bytes, require_memory, telling_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import one_thread
from sao_cli.data.coercion import stack_of
from sao_cli.data.matrix import FINITE, Matrix
from sao_cli.measure.criticality.few_ones import FEW, warn_of_few_ones
from sao_cli.measure.criticality.moments import inactive_share
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.measure.layer.mean_field import JacobianMoments, LayerMoments, jacobian_moments
from sao_cli.nets.devices import check_dtype, computed_dtype, device_name, find_device, full_precision
from sao_cli.nets.jacobians.long_products.arithmetic import array_of
from sao_cli.nets.jacobians.long_products.graded import GradedProduct, LogSingularValues
from sao_cli.nets.jacobians.operators import SPARSE, BlockValues, LayerOperator, Places, layer_blocks, layer_operator
from sao_cli.nets.jacobians.points import drawn_inputs
from sao_cli.nets.jacobians.signals import Signals, activated, preactivations
from sao_cli.reports.networks import DepthJacobian
from sao_cli.weights.biases import check_sigma_b, normal_biases

Values = NDArray[np.float64]

LARGEST = 300.0  # log10 of what is held as a number; its inverse is, too


def network_jacobian(
    stack: Sequence[Matrix],
    activation: str | ActivationFunction = "linear",
    *,
    biases: Sequence[ArrayLike | None] | None = None,
    sigma_b: float = 0.0,
    linear_output: bool = False,
    depths: Sequence[int] | None = None,
    inputs: int = 1,
    input_std: float = 1.0,
    x: NDArray[np.float64] | None = None,
    device: str = "auto",
    dtype: str = "float64",
    by_layer: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Iterator[DepthJacobian]:
    """One row a depth: the singular values of J = D_l W_l ... D_1 W_1 (SAO, Eq. 3), for each l of `depths` in one pass.

    D_l = diag(phi'(h_l)), h_l = W_l x_{l-1} + b_l, x_l = phi(h_l), exactly and not by finite differences; `biases` are
    the b_l, (m_l,) or None, one a layer, or with `sigma_b` they are normal_biases of the seed. With `linear_output` the
    stack's last layer has no activation, as an FNN's. x_0 ~ N(0, input_std^2 I), `inputs` draws of it, or the rows of
    `x` (B, n). The product is a GradedProduct, whose small singular values are right to an estimated relative error,
    past 1e-6 told in `reason`; what can't be told from zero is no part of the rank. Any gain that a float holds will
    do: the number of each unit has its own power of two. `depths` is all of them where it is None, in ascending order.
    `by_layer` gives the singular values of each D_l W_l alone instead (layerwise dynamical isometry).

    `stack` holds Matrix objects, or what Matrix.of takes, first layer first, or is a file's path; gains are in the
    weights. `device` is "auto" (CUDA where there is one), or torch's name of one; on "cpu" numpy computes, and torch is
    not loaded. `dtype` is float64, or float32 with its own resolution.
    Where all layers are square, mean-field predictions stand beside the measured ones, which know of weights and biases
    their mean squares and the spread of singular values (measure.layer.mean_field).

    Raises SaoError for unknown names, depths that the stack has not and devices that are not there, FormatError for
    layers that do not chain, are masks, or hold numbers that are not finite, and for biases of other sizes,
    MemoryLimitError where a device's memory runs out. O(B nnz n) a layer for sparse ones, O(B n^3) for dense ones and
    at each orthogonalisation.

    >>> from sao_cli.weights.build_weights import weight_stack
    >>> [last] = network_jacobian(weight_stack([64] * 101, gain=1.1), depths=[100])
    >>> round(last.log10_sigma_max / math.log10(1.1), 9), last.rank
    (100.0, 64)
    """
    layers = [_checked(Matrix.of(weight), number) for number, weight in enumerate(stack_of(stack), 1)]
    wanted = _depths(depths, len(layers))
    shifts = _drawn_biases(sigma_b, layers, seed) if sigma_b else _checked_biases(biases, layers)
    if sigma_b and biases is not None:
        raise SaoError(f"sigma_b {sigma_b:g} draws biases, and others are given; leave one out")
    function, linear = ActivationFunction.of(activation), ActivationFunction("linear")
    functions = [function] * (len(layers) - linear_output) + [linear] * linear_output
    layers = layers[: wanted[-1]]
    _check_chain(layers)
    check_dtype(dtype)
    where, computed = device_name(device, dtype), np.dtype(dtype)
    if x is None and where == "cpu":  # asked before they are drawn; the product itself asks layer by layer
        n = layers[0].mask.n
        what = f"{inputs} Jacobians of {n} columns"
        require_memory(3.0 * inputs * n * n * computed.itemsize, what, "choose fewer inputs or a smaller width")
    start = _inputs(layers[0].mask.n, inputs, input_std, x, seed)
    each = zip(layers, functions, shifts, strict=False)
    parts = [_Layer(layer, layer_blocks(layer), phi, bias) for layer, phi, bias in each]
    predicted = (lambda _: _Predicted()) if by_layer else _predictions(parts, start)
    chain = _Chain(parts, start, where, dtype, by_layer)
    told = {
        "method": str(layers[0].mask.provenance.get("method", "given")),
        "activation": str(function),
        "gain": float(layers[0].mask.provenance.get("gain", 1.0)),
        "sigma_b": float(sigma_b),
        "inputs": len(start),
        "device": where,
        "dtype": dtype,
    }
    return _rows(chain, wanted, told, predicted, progress)


class _Layer(NamedTuple):
    weight: Matrix
    blocks: BlockValues | None
    activation: ActivationFunction
    bias: Values | None = None  # None where all are 0


class _Predicted(NamedTuple):
    """Of the mean squared singular value, its log10, and the relative variance; or None of both."""

    log10_mean: float | None = None
    relative_variance: float | None = None


def _rows(
    chain: _Chain, wanted: list[int], told: dict[str, Any], predicted: Callable[[int], _Predicted], progress: Progress
) -> Iterator[DepthJacobian]:
    with telling_memory(lambda: _no_room(chain.product.shape, told)):
        for start, depth in itertools.pairwise([0, *wanted]):
            with chain.threads(), warnings.catch_warnings():
                warnings.simplefilter("ignore", SaoWarning)  # of lost digits, which each row's `error` counts
                for done in range(start + 1, depth + 1):
                    chain.step()
                    progress("jacobian", done, wanted[-1])
                found = chain.product.log_singular_values(base=10)
            yield _row(depth, chain.product.shape, found, told, predicted(depth))


def _no_room(shape: tuple[int, int], told: dict[str, Any]) -> str:
    (m, n), itemsize = shape, np.dtype(told["dtype"]).itemsize
    needed = format_bytes(3 * told["inputs"] * m * n * itemsize)
    return (
        f"{told['device']} has no room for {told['inputs']} Jacobians of {m} x {n}, which need {needed}; "
        "choose fewer inputs or a smaller width"
    )


class _Chain:
    """The forward pass and the product, layer by layer; `product` is J of the layers so far."""

    def __init__(self, layers: Sequence[_Layer], start: Values, device: str, dtype: str, by_layer: bool) -> None:
        self._layers = iter(layers)
        self._side = max(min(layer.weight.shape) for layer in layers)
        self._signals, self._inputs = Signals.of(start), len(start)
        self._in_numpy, self._by_layer = device == "cpu", by_layer
        self._device = device if self._in_numpy else find_device(device)
        self._dtype = np.dtype(dtype) if self._in_numpy else computed_dtype(dtype)
        self._places: Places | None = None  # of the product's rows
        self.product = self._fresh(start.shape[1])

    def threads(self) -> contextlib.AbstractContextManager[None]:
        """Inside it as many threads as pay, and full precision."""
        return (one_thread if self._in_numpy else full_precision)(self._side)

    def step(self) -> None:
        """Go through one more layer."""
        layer = next(self._layers)
        operator = layer_operator(layer.weight, layer.blocks, self._device, self._dtype)
        if self._by_layer:
            self.product = self._fresh(layer.weight.mask.n)
        slopes = None if layer.activation.name == "linear" else self._forward(layer, operator)
        rows, before, columns, diagonal = operator.row_peaks, self._places, operator.columns, None
        if slopes is not None:
            rows = rows * np.abs(slopes)
            diagonal = array_of(slopes[:, :, None], self._dtype, self._device)
        if columns is not None and before is not None:
            columns = columns[np.argsort(before)]  # the product's rows stand elsewhere
        self._places = operator.places
        placed = operator.overwritten(before, self._inputs * layer.weight.mask.m * self.product.shape[1])
        if placed is not None:
            rows = rows[..., np.argsort(placed)]
            self._places = placed if operator.places is None else placed[operator.places]
        factor = functools.partial(operator.apply, places=before, slopes=diagonal, overwrite=placed is not None)
        self.product.multiply(factor, rows, columns)

    def _fresh(self, columns: int) -> GradedProduct:
        self._places = None
        return GradedProduct(columns, batch=self._inputs, dtype=self._dtype, device=self._device)

    def _forward(self, layer: _Layer, operator: LayerOperator) -> Values:
        """phi'(h) (B, m) in the operator's order, after which x is phi(h); on the CPU, where formulas have all digits.

        A linear layer, of slope 1, needs none: it is the last, or all are.
        """
        h = preactivations(operator, self._signals, self._device, self._dtype)
        places = operator.places
        if layer.bias is not None:
            bias = Signals.of(layer.bias[None])
            h = h.plus(bias.in_order(None if places is None else np.argsort(places)))
        y, slopes = activated(layer.activation, h)
        self._signals = y.in_order(places)
        return slopes


def _row(
    depth: int,
    shape: tuple[int, int],
    found: LogSingularValues,
    told: dict[str, Any],
    predicted: _Predicted,
) -> DepthJacobian:
    values, told_from_zero = found.values, int(found.rank.sum())
    resolved = values[np.isfinite(values)]
    mean, variance, reasons = _moments(values, bool(told_from_zero))
    if found.error > 1e-6 and resolved.size:
        reasons.append(f"singular values are right to {found.error:.1g} only, relatively")
    reasons += _unresolved(values, told_from_zero)
    return DepthJacobian(
        depth=depth,
        m=shape[0],
        n=shape[1],
        mean=mean,
        variance=variance,
        log10_sigma_max=float(resolved.max()) if resolved.size else None,
        log10_sigma_min=float(resolved.min()) if resolved.size == values.size else None,
        log10_mean=float(resolved.mean()) if resolved.size else None,
        log10_std=float(resolved.std()) if resolved.size else None,
        rank=int(np.min(found.rank)),
        resolved=resolved.size / values.size,
        participation=float(((values >= math.log10(0.5)) & (values <= math.log10(2))).mean()),
        predicted_log10_mean_square=predicted.log10_mean,
        predicted_relative_variance=predicted.relative_variance,
        reason="; ".join(reasons) or None,
        log10_values=values,
        **told,
    )


def _moments(values: Values, alive: bool) -> tuple[float | None, float | None, list[str]]:
    """Mean and variance of the singular values themselves, and why they are None; what is not resolved counts as 0."""
    top = float(values.max())
    if not math.isfinite(top):
        return (None, None, []) if alive else (0.0, 0.0, [])
    shares = 10.0 ** (values - top)  # so that no square leaves the range
    mean, variance = _lifted(float(shares.mean()), top), _lifted(float(shares.var()), 2 * top)
    if mean is None:
        return None, None, ["mean and variance leave the range of float64; the logarithms are right"]
    return mean, variance, ["the variance leaves the range of float64"] if variance is None else []


def _lifted(number: float, exponent: float) -> float | None:
    """number 10^exponent, None where it is no normal number of float64."""
    if not number:
        return 0.0
    return 10.0 ** (math.log10(number) + exponent) if abs(math.log10(number) + exponent) < LARGEST else None


def _unresolved(values: Values, told_from_zero: int) -> list[str]:
    """Why some logarithms are None, how many of which kind."""
    zero, unknown = values.size - told_from_zero, told_from_zero - int(np.isfinite(values).sum())
    if zero == values.size:
        return ["the Jacobian is zero, as far as the arithmetic can tell, and zero has no logarithm"]
    reasons = []
    if zero:
        reasons.append(f"{zero} of {values.size} singular values can't be told from zero")
    if unknown:
        reasons.append(f"{unknown} of {values.size} are not zero, and nothing more than rounding is known of them")
    return [*reasons, "log10_sigma_min is not known"] if reasons else []


def _predictions(layers: Sequence[_Layer], start: Values) -> Callable[[int], _Predicted]:
    """depth -> what mean-field theory predicts up to there: nothing where widths differ."""
    moments: JacobianMoments | None = None
    if all(layer.weight.mask.m == layer.weight.mask.n for layer in layers):
        input_std, functions = math.sqrt(float(np.square(start).mean())), [layer.activation for layer in layers]
        found = [_layer_moments(layer.weight, layer.blocks, layer.bias) for layer in layers]
        moments = jacobian_moments(found, functions, input_std=input_std)
        _warn_of_few_ones(layers, moments.preactivation_variance)

    def at(depth: int) -> _Predicted:
        if moments is None or not math.isfinite(mean := float(moments.log_mean[depth - 1])):
            return _Predicted()
        return _Predicted(mean / math.log(10), float(moments.relative_variance[depth - 1]))

    return at


def _warn_of_few_ones(layers: Sequence[_Layer], variances: Values) -> None:
    """Warn once where rows under a threshold, on average, read too few for what the predictions are of."""
    for layer, variance in zip(layers, variances.tolist(), strict=True):
        d = layer.weight.mask.nnz // layer.weight.mask.m
        if layer.activation.tau is not None and math.isfinite(variance):
            inactive = float(inactive_share(layer.activation, variance))
            if d * (1 - inactive) < FEW:
                return warn_of_few_ones(d, inactive, n=layer.weight.mask.n, stacklevel=5)
    return None


def _layer_moments(layer: Matrix, blocks: BlockValues | None, bias: Values | None) -> LayerMoments:
    """||W||_F^2/m, the mean of the squared singular values, and their relative variance by ||W W^T||_F^2."""
    assert layer.values is not None
    peak = float(np.abs(layer.values).max(initial=0.0)) or 1.0
    scaled = layer.values / peak  # squares and fourth powers of small or large ones leave the range of float64
    square = float(scaled @ scaled)
    if blocks is not None:
        values = blocks.values / peak
        fourth = float(np.square(values @ values.transpose(0, 2, 1)).sum())
    elif layer.mask.density > SPARSE:
        dense = layer.to_dense().astype(np.float64, copy=False) / peak
        fourth = float(np.square(dense @ dense.T).sum())
    else:
        sparse = layer.to_scipy().astype(np.float64) / peak
        fourth = float(np.square((sparse @ sparse.T).data).sum())
    size = min(layer.shape)
    spread = fourth * size / square**2 - 1 if square else 0.0
    mean_square, mean = square / layer.mask.m * peak * peak, square / size * peak * peak
    with np.errstate(over="ignore"):
        bias_square = 0.0 if bias is None else float(np.square(bias).mean())
    return LayerMoments(mean_square=mean_square, mean=mean, spread=max(spread, 0.0), bias_square=bias_square)


def _checked(layer: Matrix, number: int) -> Matrix:
    if layer.values is None:
        raise FormatError(f"layer {number} is a mask, a pattern without numbers; `sao weights` puts them on it")
    if not np.isfinite(layer.values).all():
        wrong = int(np.flatnonzero(~np.isfinite(layer.values))[0])
        row, column = int(layer.mask.entry_rows[wrong]) + 1, int(layer.mask.indices[wrong]) + 1
        raise FormatError(f"layer {number} has {layer.values[wrong]} at row {row}, column {column}; {FINITE}")
    return layer


def _drawn_biases(sigma_b: float, layers: Sequence[Matrix], seed: int) -> list[Values | None]:
    check_sigma_b(sigma_b)
    return [normal_biases(layer.mask.m, sigma_b, seed=seed, layer=number) for number, layer in enumerate(layers, 1)]


def _checked_biases(biases: Sequence[ArrayLike | None] | None, layers: Sequence[Matrix]) -> list[Values | None]:
    """The biases as arrays, None where all are 0."""
    if biases is None:
        return [None] * len(layers)
    if len(biases) != len(layers):
        raise FormatError(f"{len(biases)} biases for {len(layers)} layers; give one a layer, or None for it")
    return [_checked_bias(*one) for one in zip(biases, layers, range(1, len(layers) + 1), strict=True)]


def _checked_bias(bias: ArrayLike | None, layer: Matrix, number: int) -> Values | None:
    if bias is None:
        return None
    given = np.asarray(bias, dtype=np.float64)
    if given.shape != (layer.mask.m,):
        raise FormatError(f"layer {number} has {layer.mask.m} outputs and a bias of shape {given.shape}")
    if not np.isfinite(given).all():
        wrong = int(np.flatnonzero(~np.isfinite(given))[0])
        raise FormatError(f"the bias of layer {number} has {given[wrong]} as number {wrong + 1}; {FINITE}")
    return given if given.any() else None


def _check_chain(layers: Sequence[Matrix]) -> None:
    for number, (below, above) in enumerate(itertools.pairwise(layers), 1):
        if below.mask.m != above.mask.n:
            raise FormatError(
                f"layer {number + 1} reads {above.mask.n} numbers, and layer {number} gives {below.mask.m}; "
                "a stack's widths must chain"
            )


def _depths(depths: Sequence[int] | None, layers: int) -> list[int]:
    if not layers:
        raise SaoError("a network without layers has no Jacobian; give at least one")
    wanted = sorted(set(range(1, layers + 1) if depths is None else depths))
    if not wanted or wanted[0] < 1 or wanted[-1] > layers:
        wrong = wanted[0] if wanted and wanted[0] < 1 else wanted[-1] if wanted else "none"
        raise SaoError(f"depth {wrong}: the network has {layers} layers, so depths are from 1 to {layers}")
    return wanted


def _inputs(n: int, inputs: int, input_std: float, x: NDArray[np.float64] | None, seed: int) -> NDArray[np.float64]:
    if x is not None:
        given = np.atleast_2d(np.asarray(x, dtype=np.float64))
        if given.ndim != 2 or given.shape[1] != n or not len(given):
            raise FormatError(f"inputs of shape {np.shape(x)}; they are ({n},) or (B, {n}), one a row")
        if not np.isfinite(given).all():
            row, column = np.argwhere(~np.isfinite(given))[0].tolist()
            raise FormatError(f"input {row + 1} has {given[row, column]} as number {column + 1}; {FINITE}")
        return given
    return drawn_inputs(inputs, [n], input_std, seed)
