"""Weights by the name of their method: one layer, or all layers of a network; and values on given masks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from sao_cli import catalog
from sao_cli.base.errors import SaoError
from sao_cli.base.names import check, load
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import one_thread
from sao_cli.data.arrays import Values
from sao_cli.data.coercion import stack_of
from sao_cli.data.mask import Mask, MaskLike
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS
from sao_cli.masks.build_masks import mask_stack
from sao_cli.masks.degrees import check_target, check_widths, kept_entries, kept_of_stack, layer_counts
from sao_cli.masks.two_stage import find_stages

VALUES = tuple(catalog.VALUES)
METHODS = tuple(catalog.METHODS)
CHOOSE_VALUES = tuple(row.name for row in catalog.METHODS.values() if row.any_values)


def weight_stack(
    widths: Sequence[int],
    *,
    method: str = "sao",
    values: str | None = None,
    d: int | None = None,
    c: int | None = None,
    sparsity: float | None = None,
    arrangement: str = "random",
    pattern: str | None = None,
    gain: float = 1.0,
    looks_linear: bool = False,
    dtype: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Matrix]:
    """The weights of a network whose layer widths, inputs first, are `widths`, by the name of their method.

    `method` is one of METHODS (design: section 7):

    - `sao`: Haar blocks on an SAO mask, exactly orthogonal; `rg-n`, `rg-u`: normal or uniform values of variance 1/d on
      it; `rg-s`: a dense orthogonal matrix times it;
    - `dense`: all ones, Haar orthogonal; it has no degree, and `d`, `c` and `sparsity` do not concern it;
    - `lmp`, `gmp`, `lrp`: what is left of dense orthogonal layers after keeping the largest magnitudes a layer, the
      largest of the whole stack, or random positions: exactly masks.degrees.kappa of them;
    - `ramanujan`, `biregular`, `xnet`, `radix`, `nm` with its `pattern`: those masks, `values` normal unless told;
    - `eoi`: a product of random Givens rotations; `two-stage`: a product of two SAO layers; both exactly orthogonal.

    One of `d`, `c` and `sparsity` fixes the density, d = 4 or the nearest by none of them. `values` is one of VALUES,
    for the methods CHOOSE_VALUES. `gain` > 0 multiplies every weight. `looks_linear` makes each
    layer [[H, -H], [-H, H]] of an (m/2, n/2) layer H with half the degree (Balduzzi et al. 2017): singular values 2
    and 0 where H is orthogonal. Values are drawn in float64, and rounded to `dtype`: float64, float32, float16 or
    bfloat16. Layers have random streams of their own, and each layer's provenance tells all this.

    Raises SaoError for unknown names and for options that do not go together, InfeasibleError for sizes and degrees
    that the method can't have. Cost: see each method; O(nnz) for `sao`.

    >>> [layer] = weight_stack([256, 256], method="sao", d=4)
    >>> layer
    Matrix(256 x 256, nnz=1024, float64)
    """
    check("method", method, METHODS)
    row = catalog.METHODS[method]
    _check_options(method, values, gain, dtype)
    check_widths(widths)
    if looks_linear:
        if pattern is None and "pattern" in row.takes and d is None and c is None and sparsity is None:
            pattern = catalog.PATTERN
        widths, d, c = _halves(widths, d, c, sparsity if pattern is None else 0.0)
    target: dict[str, Any] = {"d": d, "c": c, "sparsity": sparsity}
    with one_thread(max(map(min, itertools.pairwise(widths)))):
        if row.on:
            options: dict[str, Any] = {"arrangement": arrangement, "pattern": pattern, "progress": progress, **target}
            masks = mask_stack(widths, method=row.on, seed=seed, **options)
            stack = [
                _valued(_told(mask, {"method": method}), values or row.values, seed, layer, progress)
                for layer, mask in enumerate(masks, 1)
            ]
        elif arrangement != "random":
            raise SaoError(f"arrangement {arrangement!r} is of SAO masks; method {method!r} has none")
        elif pattern is not None:
            raise SaoError(f"pattern {pattern} is of method 'nm', and method {method!r} has none")
        else:
            stack = _unmasked_stack(widths, row, values or "orthogonal", target, seed, progress)
    told = {"requested_sparsity": sparsity} if sparsity is not None and (row.on or row.keeps) else {}
    return [_finished(layer, gain, looks_linear, dtype, told) for layer in stack]


def put_values(
    masks: Sequence[MaskLike] | MaskLike,
    *,
    values: str = "orthogonal",
    gain: float = 1.0,
    looks_linear: bool = False,
    dtype: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Matrix]:
    """Weights on the masks of a stack, first layer first; `values` is one of VALUES, and the rest as in weight_stack.

    The masks are Mask objects, or what Mask.of takes; or `masks` is the path of a file with the stack.
    `orthogonal` needs masks whose components are complete bipartite graphs, as SAO masks are; `isometry` fits any
    mask, approximately. With `looks_linear` each mask is H's, and the layer has twice its rows and columns.

    >>> from sao_cli.masks.sao import sao_mask
    >>> put_values([sao_mask(8, 8, 2)], gain=1.1)
    [Matrix(8 x 8, nnz=16, float64)]
    """
    _check_options("sao", values, gain, dtype)
    patterns = [Mask.of(mask, f"layer {layer}") for layer, mask in enumerate(stack_of(masks), 1)]
    with one_thread(max((min(mask.shape) for mask in patterns), default=0)):
        stack = [_valued(mask, values, seed, layer, progress) for layer, mask in enumerate(patterns, 1)]
    return [_finished(layer, gain, looks_linear, dtype, {}) for layer in stack]


def _check_options(method: str, values: str | None, gain: float, dtype: str | None) -> None:
    if values is not None:
        check("values", values, VALUES)
    if values is not None and method not in CHOOSE_VALUES:
        raise SaoError(f"method {method!r} has values of its own, not {values!r}; {', '.join(CHOOSE_VALUES)} take any")
    if not (math.isfinite(gain) and gain > 0):
        raise SaoError(f"gain {gain} is no positive finite number; 1 leaves the weights as they are")
    if dtype is not None:
        check("dtype", dtype, PRECISIONS)


def _halves(
    widths: Sequence[int], d: int | None, c: int | None, sparsity: float | None
) -> tuple[list[int], int | None, int | None]:
    """Widths and degrees of H in a looks-linear block; without any target d = 4, so 2 in H."""
    if d is None and c is None and sparsity is None:
        d = 4
    for name, size in (*(("width", width) for width in widths), ("d", d), ("c", c)):
        if size is not None and size % 2:
            raise SaoError(
                f"{name} {size} is odd; a looks-linear layer [[H, -H], [-H, H]] needs even sizes and degrees"
            )
    return [width // 2 for width in widths], None if d is None else d // 2, None if c is None else c // 2


def _valued(mask: Mask, values: str, seed: int, layer: int, progress: Progress) -> Matrix:
    """`mask` with values of the law `values`, of which its provenance tells."""
    told: dict[str, Any] = {"values": values}
    if mask.provenance.get("seed", seed) != seed:
        told["values_seed"] = seed
    if values == "orthogonal":
        numbers = _orthogonal(mask, seed, layer)
    elif values == "isometry":
        from sao_cli.weights.isometry import isometry

        fit = isometry(mask, seed=seed, layer=layer, progress=progress)
        numbers = fit.values
        told |= fit.to_dict()
    elif values == "masked orthogonal":
        from sao_cli.weights.orthogonal import rg_s_values

        numbers = rg_s_values(mask, seed=seed, layer=layer)
    else:
        from sao_cli.weights.random import random_values

        numbers = random_values(mask, values, seed=seed, layer=layer)
    return Matrix(_told(mask, told), numbers)


def _orthogonal(mask: Mask, seed: int, layer: int) -> Values:
    """Exactly orthogonal values, on the masks that can have them by structure."""
    if mask.groups is None and find_stages(mask) is not None:
        from sao_cli.weights.two_stage_weight import two_stage_values

        return two_stage_values(mask, seed=seed, layer=layer)
    from sao_cli.weights.orthogonal import orthogonal_values

    return orthogonal_values(mask, seed=seed, layer=layer)


def _unmasked_stack(
    widths: Sequence[int], row: catalog.Method, values: str, target: dict[str, Any], seed: int, progress: Progress
) -> list[Matrix]:
    """The layers of the methods whose masks come of their values."""
    shapes = [(m, n) for n, m in itertools.pairwise(widths)]
    if row.whole_stack:
        stack: list[Matrix] = load(row.weight)(shapes, kept_of_stack(shapes, **target), seed=seed)
        return stack
    return [_unmasked(row, *shape, values, target, seed, layer, progress) for layer, shape in enumerate(shapes, 1)]


def _unmasked(
    row: catalog.Method, m: int, n: int, values: str, target: dict[str, Any], seed: int, layer: int, progress: Progress
) -> Matrix:
    build = load(row.weight)
    weight: Matrix
    if "sparsity" in row.takes:
        weight = build(m, n, _sparsity(m, n, **target), seed=seed, layer=layer, progress=progress)
    elif "values" not in row.takes:
        weight = build(m, n, layer_counts(m, n, row.name, **target).nnz, seed=seed, layer=layer)
    else:
        check_target(m, n, **target)  # it has no degree, but what nothing can have is refused
        if values != "isometry":
            return cast(Matrix, build(m, n, values=values, seed=seed, layer=layer))
        mask = build(m, n, values="normal", seed=seed, layer=layer).mask
        weight = _valued(mask, values, seed, layer, progress)
    return weight


def _sparsity(m: int, n: int, d: int | None, c: int | None, sparsity: float | None) -> float:
    return sparsity if sparsity is not None else 1 - kept_entries(m, n, d=d, c=c) / (m * n)


def _told(mask: Mask, told: dict[str, Any]) -> Mask:
    """The mask, its provenance telling this too."""
    return replace(mask, provenance=dict(mask.provenance) | told)


def _finished(layer: Matrix, gain: float, looks_linear: bool, dtype: str | None, told: dict[str, Any]) -> Matrix:
    """The layer as it is wanted: as a looks-linear block, with its gain, in its precision."""
    if looks_linear:
        layer = _looks_linear(layer)
        told = told | {"looks_linear": True}
    if gain != 1:
        told = told | {"gain": gain}
    mask = layer.mask
    assert layer.values is not None
    mask = _told(mask, told) if told else mask
    with np.errstate(over="ignore", under="ignore"):
        values = layer.values * gain
    if not np.isfinite(values).all() or not values.all():
        raise SaoError(f"gain {gain} makes weights that overflow, or vanish; choose one nearer to 1")
    return Matrix(mask, values).as_dtype(dtype)


def _looks_linear(half: Matrix) -> Matrix:
    """[[H, -H], [-H, H]] of H = `half`, row by row."""
    mask, values = half.mask, half.values
    assert values is not None
    m, n = mask.shape
    rows, columns = mask.entry_rows.astype(np.int64), mask.indices.astype(np.int64)
    signs = ((0, 0, 1.0), (0, n, -1.0), (m, 0, -1.0), (m, n, 1.0))
    blocks = [(rows + down, columns + right, sign * values) for down, right, sign in signs]
    told = dict(mask.provenance)
    told |= {key: 2 * told[key] for key in ("m", "n", "c", "d", "nnz") if isinstance(told.get(key), int)}
    if "nnz" in told:
        told["nnz"] *= 2
    all_rows, all_columns, all_values = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return Matrix.from_entries(all_rows, all_columns, all_values, (2 * m, 2 * n), told)
