"""The singular values of one tensor of a checkpoint, what they say, and what SAO would have given in its place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sao_cli.base.progress import Progress
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS
from sao_cli.measure.convolution.kernel_spectrum import EPSILON, kernel_spectrum
from sao_cli.measure.graph.edge import EXACT_SIDE
from sao_cli.measure.values.by_array import Solver, dense_singular_values
from sao_cli.measure.values.by_component import EXACT_ENTRIES
from sao_cli.measure.values.by_factors import product_singular_values
from sao_cli.measure.values.density import FEWEST_PRODUCTS
from sao_cli.measure.values.facts import NONE, Comparison, Measured, Reference
from sao_cli.measure.values.norms import frobenius_norm
from sao_cli.measure.values.singular_values import SingularValues, measured_singular_values
from sao_cli.models.audit.connections import sao_degree
from sao_cli.models.audit.heavy_tail import heavy_tail_facts, random_distance
from sao_cli.models.audit.reasons import (
    NO_IMAGE,
    NO_SHUFFLE,
    UNMEASURED,
    said,
)
from sao_cli.models.audit.tensor import Layer
from sao_cli.reports.report import ESTIMATE, facts_of
from sao_cli.reports.spectra import KSTest, OperatorFacts, SpectrumFacts

Facts = dict[str, Any]

SPARSE = 0.125  # density below which a sparse product is sooner done than a dense one; our choice
FAST_SIDE = 1024  # up to which exact values take no longer than estimates do
FAST_PRODUCTS = 64  # of a dense matrix: two probes; four would halve the variance and take twice as long
EXACT_COST = 2.0**34  # of a kernel's map, in convolution_values' measure: seconds, as a network has many; our choice


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a tensor is looked at."""

    image: int | Sequence[int] | None
    padding: str | int
    stride: int | Sequence[int]
    dilation: int | Sequence[int]
    heavy_tail: bool
    fast: bool
    seed: int
    progress: Progress
    solver: Solver | None = None

    @property
    def of_values(self) -> Facts:
        """What the singular values of a matrix are found with."""
        limits: Facts = {"exact_side": FAST_SIDE, "products": FEWEST_PRODUCTS} if self.fast else {}
        return limits | {"seed": self.seed, "progress": self.progress}

    @property
    def of_arrays(self) -> Facts:
        """What those of a dense array are found with."""
        fewer: Facts = {"products": FAST_PRODUCTS} if self.fast else {}
        return self.of_values | fewer | {"single": self.fast, "solver": self.solver}


def matrix_facts(layer: Layer, setting: Setting, graph: Facts, reasons: list[str]) -> Facts:
    alive = graph["components"] - graph["dead_inputs"] - graph["dead_outputs"] if "components" in graph else None
    found = _singular_values(layer, setting, alive == 1)
    eps = min(PRECISIONS.get(layer.dtype, EPSILON), PRECISIONS["float32"])
    measured = Measured(found=found, shape=layer.sides, sides=layer.sides, eps=eps, what="the matrix")
    facts = measured.facts(0.0)
    if facts["reason"]:
        reasons.append(facts["reason"])
    noise = _noise(layer, measured.norm)
    spectrum = {key: facts[key] for key in facts_of(SpectrumFacts)}
    scale = measured.norm / math.sqrt(len(found.values))
    return spectrum | _shape_facts(layer, setting, measured, scale, noise, reasons)


def kernel_facts(layer: Layer, setting: Setting, reasons: list[str], is_grouped: bool = True) -> Facts:
    stored = layer.stored()
    reshaped = dense_singular_values(stored.reshape(len(stored), -1), **setting.of_arrays)
    facts: Facts = {"reshaped_sigma_max": float(reshaped.values[0])}
    if not is_grouped:
        return facts
    if setting.image is None and math.prod(layer.shape[2:]) == 1:
        setting = replace(setting, image=1, stride=1)  # one tap: a matrix a pixel, the same on images of any size
    if setting.image is None:
        reasons.append(NO_IMAGE)
        return facts
    try:
        return facts | _operator(layer, setting, reasons)
    except UNMEASURED as error:
        reasons.append(said(error))
        return facts


def _operator(layer: Layer, setting: Setting, reasons: list[str]) -> Facts:
    assert setting.image is not None
    kernel = layer.kernel()
    row = kernel_spectrum(
        kernel,
        setting.image,
        padding=setting.padding,
        stride=setting.stride,
        dilation=setting.dilation,
        groups=layer.groups,
        transposed=layer.transposed,
        comparison=Comparison(reference=NONE),
        exact_cost=EXACT_COST / 16 if setting.fast else EXACT_COST,
        seed=setting.seed,
        progress=setting.progress,
    )
    if row.reason:
        reasons.append(row.reason)
    found = SingularValues(
        values=row.singular_values, exact=row.exact, error=row.density_error, norm=row.frobenius_norm
    )
    flat = layer.flat.shape
    coarse = max(flat) * kernel.eps > max(row.m, row.n) * EPSILON  # as in kernel_spectrum: the larger rounding counts
    sides, eps = (flat, kernel.eps) if coarse else ((row.m, row.n), EPSILON)
    measured = Measured(found=found, shape=(row.m, row.n), sides=sides, eps=eps, what="the operator")
    taps = math.prod(layer.shape[2:])
    noise = math.sqrt(taps) * _noise(layer, layer.norm())  # a map's norm is at most that of the reshaped kernel's
    scale = row.frobenius_norm / math.sqrt(len(found.values))
    facts = {key: getattr(row, key) for key in (*facts_of(SpectrumFacts), *facts_of(OperatorFacts))}
    return facts | _shape_facts(layer, setting, measured, scale, noise, reasons)


def _singular_values(layer: Layer, setting: Setting, one_block: bool) -> SingularValues:
    """Of the array itself where its live part is `one_block`, else component by component of its non-zeros."""
    if layer.product is not None:
        return product_singular_values(layer.product)
    matrix = layer.matrix
    if matrix is None:
        large = min(layer.sides) > EXACT_SIDE or math.prod(layer.sides) > EXACT_ENTRIES
        if one_block and not (large and layer.pattern.nnz < SPARSE * math.prod(layer.sides)):
            return _of_live_part(layer, setting)
        matrix = Matrix(layer.pattern.to_mask(), layer.flat[layer.flat != 0].astype(np.float64), layer.dtype)
    return measured_singular_values(matrix, **setting.of_values)


def _of_live_part(layer: Layer, setting: Setting) -> SingularValues:
    dense = layer.flat
    rows, columns = layer.pattern.row_degrees > 0, layer.pattern.column_degrees > 0
    if not (rows.all() and columns.all()):
        dense = dense[np.ix_(rows, columns)]
    found = dense_singular_values(dense, **setting.of_arrays)
    zeros = min(layer.sides) - len(found.values)
    return replace(found, values=np.pad(found.values, (0, zeros))) if zeros else found


def _shape_facts(
    layer: Layer, setting: Setting, measured: Measured, scale: float, noise: float, reasons: list[str]
) -> Facts:
    """How the values compare with equal ones of their root mean square, how exact they are, and their tail."""
    found = measured.found
    rounding = math.sqrt(max(measured.sides)) * measured.eps * float(found.values[0])
    test = _test(measured, scale, 3 * noise)
    degree = sao_degree(layer.pattern)
    tail: Facts = {}
    if setting.heavy_tail:
        tail = heavy_tail_facts(found.values, measured.shape, exact=found.exact, norm=measured.norm)
        if reason := tail.pop("reason"):
            reasons.append(reason)
        tail["random_distance"] = _random_distance(layer, setting, measured, 3 * noise, reasons)
    return {
        "scale": scale,
        "ks": test,
        "ks_sao": None if test is None or degree is None else replace(test, reference="sao"),
        "sao_degree": degree,
        **tail,
        "exact": found.exact,
        "error": rounding + noise if found.exact else None,
        "density_error": found.error,
        "error_kind": ESTIMATE,
        "singular_values": found.values,
    }


def _random_distance(
    layer: Layer, setting: Setting, measured: Measured, slack: float, reasons: list[str]
) -> float | None:
    """Of a matrix: how far its values are from those of its numbers in random places."""
    largest = float(measured.found.values[0])
    if layer.kind != "matrix" or not largest:
        return None
    if layer.product is not None:
        reasons.append(NO_SHUFFLE)
        return None
    resolution = measured.resolution(Comparison(), measured.eps, largest) + slack
    try:
        dense = layer.flat if layer.matrix is None else layer.matrix.to_dense().astype(np.float64)
        return random_distance(measured.found.values, dense, resolution=resolution, **setting.of_arrays)
    except UNMEASURED as error:
        reasons.append(said(error))
        return None


def _test(measured: Measured, scale: float, slack: float) -> KSTest | None:
    if not scale:
        return None
    largest = max(float(measured.found.values[0]), scale)
    resolution = measured.resolution(Comparison(), measured.eps, largest) + slack
    equal = SingularValues(values=np.full(len(measured.found.values), scale), exact=True)
    comparison = Comparison(gain=scale, resolution=resolution)
    return measured.compare(comparison, lambda _: Reference(equal, measured.eps))[0]


def _noise(layer: Layer, norm: float) -> float:
    """About the norm of the matrix of roundings that a weight in half precision has been through, else 0.

    Independent ones, uniform within half a unit in the last place, have a standard deviation of eps |w| / sqrt(12) at
    most, and a matrix of independent numbers of standard deviation s has the norm s (sqrt(m) + sqrt(n)), nearly.
    """
    if layer.dtype not in ("float16", "bfloat16"):
        return 0.0
    if layer.product is not None:  # of d(B A) = dB A + B dA
        left, right = layer.product.left, layer.product.right
        norms = frobenius_norm(left) * frobenius_norm(right)
        return _rounded_norm(layer.dtype, norms, left.shape) + _rounded_norm(layer.dtype, norms, right.shape)
    return _rounded_norm(layer.dtype, norm, layer.flat.shape if layer.dense is not None else layer.sides)


def _rounded_norm(dtype: str, norm: float, shape: Sequence[int]) -> float:
    m, n = shape
    return PRECISIONS[dtype] * norm * (1 / math.sqrt(m) + 1 / math.sqrt(n)) / math.sqrt(12)
