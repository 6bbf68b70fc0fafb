"""The singular values of layers' Jacobians, what there is to say of them, and how they compare with a reference."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.in_order import run_in_order
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import INPUTS, REFERENCE, generator
from sao_cli.base.threads import one_thread
from sao_cli.data.kernel import Kernel
from sao_cli.data.matrix import FINITE, Matrix
from sao_cli.measure.convolution.kernel_spectrum import Convolution
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.measure.layer.jacobian import check_input, dense_jacobian_values, gaussian_input, layer_jacobian
from sao_cli.measure.values.facts import Comparison as Comparison  # which callers find here, beside spectrum
from sao_cli.measure.values.facts import Measured, Reference, mean_degree
from sao_cli.measure.values.ks import holm
from sao_cli.measure.values.singular_values import SingularValues, measured_singular_values
from sao_cli.reports.frames import Reports
from sao_cli.reports.spectra import LayerSpectrum, Repeats

if TYPE_CHECKING:
    from concurrent.futures import Executor

Values = NDArray[np.float64]
Draw = Callable[[int], Sequence[Matrix | Convolution]]  # seed -> the layers of a stack
_Key = tuple[str, int, str | ActivationFunction]  # method, layer and activation: what a row is of

REPEAT_BYTES = 2000.0  # what is kept of each repeat: the facts of its test


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """One layer under one activation at one input: what a row of a report is about."""

    activation: str | ActivationFunction = "linear"
    input_std: float = 1.0
    x: Values | None = None
    seed: int = 0
    layer: int = 1


def spectrum(
    weight: Matrix,
    activation: str | ActivationFunction = "linear",
    *,
    input_std: float = 1.0,
    x: Values | None = None,
    comparison: Comparison | None = None,
    seed: int = 0,
    layer: int = 1,
    progress: Progress = silent,
) -> LayerSpectrum:
    """The singular values of the Jacobian J = D W of one layer, their facts, and a KS test against a reference.

    D = diag(phi'(W x)) (SAO, Eqs. 3 and 4, for one layer) with x ~ N(0, input_std^2 I), or the (n,) vector `x`; the
    reference layer gets an independent draw of it, or the same `x`. `weight` is a Matrix or anything that Matrix.of
    takes, (m, n). With s_1 >= ... >= s_k, k = min(m, n), the singular values of J:

    - `mean` and `std` of the s_i; `isometry_error` = max |s_i - 1|; `within`: the fraction of |s_i - 1| <= eps;
    - `rank`: how many are above max(m, n) eps s_1, eps of the weight's dtype (numpy.linalg.matrix_rank's default);
    - `condition` = s_1/s_k, None where the rank is less than k;
    - `frobenius_norm` = sqrt(sum s_i^2), from the numbers themselves; `stable_rank` = sum s_i^2 / s_1^2 (Rudelson and
      Vershynin 2007);
      `effective_rank` = exp(-sum p_i ln p_i), p_i = s_i/sum s (Roy and Vetterli 2007);
    - `ks`: the Kolmogorov-Smirnov test of measure.values.ks, with slack 10 sqrt(max(m, n)) eps s_1 unless
      `comparison.resolution` sets it, eps and s_1 the larger ones of both sides (design: ties differ in last bits).

    Where the values are quantiles of a density (`exact` False), `frobenius_norm` is as exact as ever, and `sigma_max`
    the largest Ritz value or norm of a row or column, which it is never below; `density_error` tells how far the
    quantiles' distribution function may be off, and is an estimate, as `error_kind` says.

    Raises SaoError for a pattern without values, for an unknown activation or reference, and for sizes out of reach.
    Cost: that of measure.values.singular_values, linear in the ones for SAO layers.

    >>> found = spectrum(Matrix.from_dense(np.diag([1.0, 1.0, 0.5])))
    >>> found.rank, found.condition, found.isometry_error
    (3, 2.0, 0.5)
    """
    setting = _Setting(activation=activation, input_std=input_std, x=x, seed=seed, layer=layer)
    return _measure(Matrix.of(weight), setting, comparison or Comparison(), progress)


def compare_spectra(
    draws: Mapping[str, Draw],
    activations: Sequence[str | ActivationFunction] = ("linear",),
    *,
    input_std: float = 1.0,
    inputs: Values | None = None,
    comparison: Comparison | None = None,
    repeats: int = 1,
    seed: int = 0,
    first: int = 1,
    layers: int | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Reports[LayerSpectrum]:
    """One row a method, layer and activation, in this order: `spectrum` of what each of `draws` gives.

    `draws` maps a method's name to a function of the seed that returns its layers, such as
    `lambda seed: [sao_weight(256, 256, 4, seed=seed)]`; under the name "" layers keep their own method's. Repeat r
    draws weights, inputs and reference anew from seed + r, or takes row r of `inputs` (B, n), cyclically, as the
    input; a row tells the facts of repeat 0, and with several repeats the spread of the p-values. With several rows
    every p-value is also given with Holm's correction (Holm 1979) over all rows.

    A Convolution among the layers is a linear map, whose one row, with no repeats, is kernel_spectrum's. Layers count
    from `first`, where they are some of a stack of `layers`.

    An `executor` of concurrent.futures, as sao_cli.executor opens, takes a repeat a job; `draws` must then be functions
    that pickle can name, or functools.partial of them. With several repeats the linear algebra of each has one thread,
    so that the rows are the same bits wherever it runs.

    Raises as `spectrum` does, SaoError for no repeats or no methods, MemoryLimitError for more than can be kept.
    """
    if repeats < 1 or not draws:
        raise SaoError(f"{len(draws)} methods and {repeats} repeats: a comparison needs one of each at least")
    _require_kept(repeats, len(draws) * len(activations))
    asked: dict[str, Any] = {"draws": draws, "activations": activations, "input_std": input_std, "repeats": repeats}
    asked |= {"comparison": comparison or Comparison(), "seed": seed, "first": first, "layers": layers}
    jobs = [
        {"repeat": repeat, "x": None if inputs is None else inputs[repeat % len(inputs)], **asked}
        for repeat in range(repeats)
    ]
    rows: dict[_Key, list[LayerSpectrum]] = {}
    for repeated in _repeated(jobs, executor, progress):
        for key, row in repeated:
            rows.setdefault(key, []).append(row)
    return Reports(with_holm([_with_repeats(found) for found in rows.values()]))


def _repeated(
    jobs: list[dict[str, Any]], executor: Executor | None, progress: Progress
) -> Iterator[list[tuple[_Key, LayerSpectrum]]]:
    """The rows of each repeat, in their order."""
    if executor is not None:
        yield from run_in_order(executor, f"{__name__}:one_repeat", jobs, progress, what="repeats")
        return
    for number, job in enumerate(jobs, 1):
        yield one_repeat(**job, progress=progress)
        progress("repeats", number, len(jobs))


def one_repeat(
    *,
    draws: Mapping[str, Draw],
    activations: Sequence[str | ActivationFunction],
    input_std: float,
    x: Values | None,
    comparison: Comparison,
    repeat: int,
    repeats: int,
    seed: int,
    first: int,
    layers: int | None,
    progress: Progress = silent,
) -> list[tuple[_Key, LayerSpectrum]]:
    """The rows of one repeat of compare_spectra, by method, layer and activation; without values from the second on."""
    rows: list[tuple[_Key, LayerSpectrum]] = []
    with one_thread() if repeats > 1 else contextlib.nullcontext():
        for method, draw in draws.items():
            stack = draw(seed + repeat)
            if not repeat:
                _require_kept(repeats, len(draws) * len(stack) * len(activations))
            for layer, weight in enumerate(stack, first):
                own = _for_layer(comparison, layer, layers or len(stack))
                if isinstance(weight, Convolution) and repeat:  # a map that no repeat changes
                    continue
                for activation in activations if isinstance(weight, Matrix) else ("linear",):
                    setting = _Setting(activation=activation, input_std=input_std, x=x, seed=seed + repeat, layer=layer)
                    found = _measure(weight, setting, own, progress)
                    if repeat:  # the test is all that is asked of repeats, and the values would fill the memory
                        found = replace(found, singular_values=np.empty(0), reference_values=None)
                    rows.append(((method, layer, activation), replace(found, method=method or found.method)))
    return rows


def _require_kept(repeats: int, rows: int) -> None:
    require_memory(REPEAT_BYTES * repeats * rows, f"the tests of {repeats} repeats", "choose fewer repeats")


def _for_layer(comparison: Comparison, layer: int, layers: int) -> Comparison:
    stack = comparison.reference
    if isinstance(stack, str) or len(stack) == 1:
        return comparison
    if len(stack) != layers:
        name = comparison.name or "the reference"
        raise SaoError(f"{name} has {len(stack)} layers, and the stack {layers}; it needs one, or as many")
    return replace(comparison, reference=[stack[layer - 1]])


def _measure(
    weight: Matrix | Convolution, setting: _Setting, comparison: Comparison, progress: Progress
) -> LayerSpectrum:
    if isinstance(weight, Convolution):
        return weight.spectrum(comparison=comparison, seed=setting.seed, layer=setting.layer, progress=progress)
    with one_thread(min(weight.shape)):
        return _measured(weight, setting, comparison, progress)


def _measured(weight: Matrix, setting: _Setting, comparison: Comparison, progress: Progress) -> LayerSpectrum:
    _require_weights(weight, "the weight")
    x = _input(weight, setting, generator(setting.seed, setting.layer, INPUTS))
    jacobian = layer_jacobian(weight, setting.activation, x)
    found = measured_singular_values(jacobian, seed=setting.seed, layer=setting.layer, progress=progress)
    measured = Measured(found=found, shape=weight.shape, sides=weight.shape, eps=weight.eps, what="the Jacobian")
    test, others = measured.compare(
        comparison, functools.partial(_reference, weight.shape, weight.eps, setting, comparison, progress)
    )
    mask = weight.mask
    return LayerSpectrum(
        layer=setting.layer,
        method=str(mask.provenance.get("method", "given")),
        activation=str(setting.activation),
        m=mask.m,
        n=mask.n,
        nnz=mask.nnz,
        sparsity=mask.sparsity,
        c=mean_degree(mask.nnz, mask.n),
        d=mean_degree(mask.nnz, mask.m),
        **measured.facts(comparison.within),
        exact=found.exact,
        ks=test,
        repeats=None,
        singular_values=found.values,
        reference_values=others,
    )


def _require_weights(weight: Matrix, what: str) -> None:
    if weight.values is None:
        raise FormatError(
            f"{what} is a mask, a pattern without numbers, and a spectrum is of weights; `sao weights` puts them on it"
        )
    if not np.isfinite(weight.values).all():
        wrong = int(np.flatnonzero(~np.isfinite(weight.values))[0])
        row, column = int(weight.mask.entry_rows[wrong]) + 1, int(weight.mask.indices[wrong]) + 1
        raise FormatError(f"{what} has {weight.values[wrong]} at row {row}, column {column}; {FINITE}")


def _input(weight: Matrix, setting: _Setting, rng: np.random.Generator) -> Values:
    if setting.x is None:
        return gaussian_input(weight.mask.n, setting.input_std, rng)
    x = np.asarray(setting.x, dtype=np.float64)
    check_input(x, weight.mask.n)
    return x


def _reference(
    shape: tuple[int, int], eps: float, setting: _Setting, comparison: Comparison, progress: Progress, name: str
) -> Reference:
    if isinstance(comparison.reference, str):
        values = dense_jacobian_values(
            *shape,
            setting.activation,
            gain=comparison.gain,
            input_std=setting.input_std,
            x=setting.x,
            seed=setting.seed,
            layer=setting.layer,
        )
        return Reference(SingularValues(values=values, exact=True), eps)
    weight = comparison.reference[0]
    if isinstance(weight, Kernel):
        raise FormatError(
            f"the reference {name} is a convolution kernel, and the layer a matrix; both must be of a kind"
        )
    _require_weights(weight, f"the reference {name}")
    x = _input(weight, setting, generator(setting.seed, setting.layer, REFERENCE, INPUTS))
    jacobian = layer_jacobian(weight, setting.activation, x)
    found = measured_singular_values(jacobian, seed=setting.seed, layer=setting.layer, progress=progress)
    return Reference(found, weight.eps)


def _with_repeats(found: list[LayerSpectrum]) -> LayerSpectrum:
    first = found[0]
    tests = [row.ks for row in found if row.ks is not None]
    if len(found) == 1 or len(tests) < len(found):
        return first
    pvalues = np.array([test.pvalue for test in tests])
    low, middle, high = np.quantile(pvalues, [0.05, 0.5, 0.95]).tolist()
    repeats = Repeats(
        count=len(found),
        pvalue_median=middle,
        pvalue_5=low,
        pvalue_95=high,
        fraction_below_005=float((pvalues < 0.05).mean()),
        statistic_median=float(np.median([test.statistic for test in tests])),
    )
    return replace(first, repeats=repeats)


def with_holm(rows: list[LayerSpectrum]) -> list[LayerSpectrum]:
    """The rows with Holm's correction over all of them, where there are several p-values."""
    tested = [row for row in rows if row.ks is not None]
    if len(tested) < 2:
        return rows
    corrected = iter(holm([row.ks.pvalue for row in tested if row.ks is not None]).tolist())
    rows = [row if row.ks is None else replace(row, ks=replace(row.ks, pvalue_holm=next(corrected))) for row in rows]
    if any(row.repeats is None for row in tested):
        return rows
    medians = iter(holm([row.repeats.pvalue_median for row in tested if row.repeats is not None]).tolist())
    return [
        row if row.repeats is None else replace(row, repeats=replace(row.repeats, pvalue_median_holm=next(medians)))
        for row in rows
    ]
