"""Weights that a checkpoint keeps in several tensors: which tensors belong together, and the one that they make.

Known are torch.nn.utils.prune's NAME_orig and NAME_mask, NAME with NAME_mask beside it, weight_norm's length and
direction, the layers of sao_cli.nets that hold blocks, SAOLinear, SAOConv2d and TwoStageLinear, and what fusing leaves
of a matrix, which `sao reduce` and RareLinear keep as W = P W' Q. Of ECOConv2d, SOCConv2d and SparseConv2d the state
does not tell the weight.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.io.formats.tensor_file import Stored
from sao_cli.io.tensors import masked_names, pruned

Dense = NDArray[Any]
_PARAMETRIZED = re.compile(r"(.*\.|)parametrizations\.([^.]+)\.(.+)", re.DOTALL)


class Assembly(NamedTuple):
    """The tensors `parts` as one weight, `name` (m, n, ...): `form` says how they make it, or `problem` why not."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    form: str
    parts: tuple[str, ...]
    problem: str | None = None


def layers_of(stored: Mapping[str, Stored]) -> list[Assembly]:
    """The weights that several tensors of `stored` make, each tensor in one of them at most. O(tensors)."""
    found: dict[str, Assembly] = {}
    for name in sorted(stored, key=lambda name: not name.endswith("series")):  # which tells SOC's groups from others
        for layer in map(partial(_of_blocks, stored), _candidates(name, stored)):
            if not any(part in found for part in layer.parts):
                found.update(dict.fromkeys(layer.parts, layer))
    _join_stages(found, stored)
    return list({id(layer): layer for layer in found.values()}.values())


def parametrized(name: str) -> tuple[str, str] | None:
    """The parameter that torch.nn.utils.parametrize computes from a tensor of this name, and the tensor's name in it.

    >>> parametrized("net.0.parametrizations.weight.0.base"), parametrized("net.0.weight")
    (('net.0.weight', '0.base'), None)
    """
    found = _PARAMETRIZED.fullmatch(name)
    return (f"{found[1]}{found[2]}", found[3]) if found else None


def blocks_shape(name: str, shape: tuple[int, ...], stored: Mapping[str, Stored]) -> tuple[int, ...] | None:
    """The dense shape of the blocks `name` (K, c, d, ...) of an SAOLinear or SAOConv2d, which its buffers tell."""
    stem = name.removesuffix("weight")
    inputs, places = (stored.get(f"{stem}{buffer}") for buffer in ("inputs", "places"))
    if inputs is None or places is None or not _is_own(stem) or len(shape) not in (3, 5):
        return None
    if inputs.shape != (shape[0], shape[2]) or len(places.shape) != 1 or places.shape[0] > shape[0] * shape[1]:
        return None
    return (places.shape[0], shape[0] * shape[2], *shape[3:])


def assembled(form: str, parts: Sequence[Dense]) -> Dense:
    """The dense weight that `parts` make. Raises FormatError for buffers that no such layer has.

    >>> assembled("pruned", [np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]])])
    array([[3., 0.]])
    """
    return _FORMS[form](*parts)


def _candidates(name: str, stored: Mapping[str, Stored]) -> Iterator[Assembly]:
    if name.endswith("_orig"):
        yield from _pruned(name, stored)
    elif name.endswith("mask"):
        yield from _masked(name, stored)
    elif name.endswith((".original1", "_v")):
        yield from _normed(name, stored)
    elif name.endswith("inputs"):
        yield from _grouped(name, stored)
    elif name.endswith("row_index"):
        yield from _factored(name, stored)
    elif name.endswith("base"):
        yield from _slices(name, stored)
    elif name.endswith("kernels"):
        yield from _kept_kernels(name, stored)
    elif name.endswith("series"):
        yield from _skew(name, stored)


def _of_blocks(stored: Mapping[str, Stored], layer: Assembly) -> Assembly:
    """The layer; where a weight that prune or weight_norm computes is blocks or slices, it can't be read."""
    if layer.form not in ("pruned", "masked", "weight_norm"):
        return layer
    stem = layer.name.removesuffix("weight")
    parts = (*layer.parts, *(part for part in (f"{stem}base", f"{stem}inputs", f"{stem}places") if part in stored))
    if (dense := blocks_shape(layer.name, layer.shape, stored)) is not None:
        return layer._replace(shape=dense, parts=parts, problem=_COMPUTED_BLOCKS)
    base = stored.get(f"{stem}base")
    is_eco = base is not None and len(base.shape) == 4 and base.shape == layer.shape
    return layer._replace(parts=parts, problem=_SLICES) if is_eco else layer


def _pruned(name: str, stored: Mapping[str, Stored]) -> list[Assembly]:
    whole = name.removesuffix("_orig")
    mask = f"{whole}_mask"
    if whole in stored or mask not in stored or stored[mask].shape != stored[name].shape:
        return []
    return [Assembly(whole, stored[name].shape, stored[name].dtype, "pruned", (name, mask))]


def _masked(name: str, stored: Mapping[str, Stored]) -> list[Assembly]:
    """A weight with the mask beside it that its module multiplies it by, X_mask or, of a "weight", "mask"."""
    whole = next((one for one in masked_names(name) if one in stored), None)
    if whole is None or not stored[name].shape or stored[whole].shape != stored[name].shape:
        return []
    return [Assembly(whole, stored[whole].shape, stored[whole].dtype, "masked", (whole, name))]


def _normed(name: str, stored: Mapping[str, Stored]) -> list[Assembly]:
    """torch.nn.utils.parametrizations.weight_norm's original0 and original1, and weight_norm's _g and _v before."""
    if name.endswith("_v"):
        whole, length = name.removesuffix("_v"), f"{name.removesuffix('_v')}_g"
    else:
        if (told := parametrized(name)) is None:
            return []
        whole, length = told[0], f"{name.removesuffix('1')}0"
    if whole in stored or length not in stored:
        return []
    lengths, directions = stored[length].shape, stored[name].shape
    fits = len(lengths) == len(directions) and all(a in (1, b) for a, b in zip(lengths, directions, strict=True))
    if lengths and (not fits or sum(one != 1 for one in lengths) > 1):
        return []
    return [Assembly(whole, directions, stored[name].dtype, "weight_norm", (length, name))]


def _grouped(name: str, stored: Mapping[str, Stored]) -> list[Assembly]:
    """SAOLinear's or SAOConv2d's weight (K, c, d, ...), inputs (K, d) and places (m,)."""
    stem = name.removesuffix("inputs")
    weight, places = f"{stem}weight", f"{stem}places"
    if weight not in stored or places not in stored or not _is_own(stem):
        return []
    shape, reached = stored[weight].shape, stored[places].shape
    dense = blocks_shape(weight, shape, stored)
    if dense is None or (len(shape) == 5 and reached[0] < shape[0] * shape[1]):
        return _slices(f"{stem}base", stored)
    return [Assembly(weight, dense, stored[weight].dtype, "blocks", (weight, name, places))]


def _factored(name: str, stored: Mapping[str, Stored]) -> list[Assembly]:
    """W' (m', n'), and an index into its rows and a scale for each of the m rows of W = P W' Q, and so for columns.

    A RareLinear with a Frobenius normalisation has `norm` and `g` beside them.
    """
    stem = name.removesuffix("row_index")
    parts = [f"{stem}{one}" for one in ("weight", "row_index", "row_scale", "col_index", "col_scale")]
    parts += [one for one in (f"{stem}norm", f"{stem}g") if one in stored]
    if not _is_own(stem) or any(part not in stored for part in parts):
        return []
    weight, rows, row_scale, columns, col_scale, *factors = (stored[part].shape for part in parts)
    fits = len(weight) == 2 and len(rows) == len(columns) == 1 and (rows, columns) == (row_scale, col_scale)
    if not fits or factors not in ([], [(), ()]):
        return []
    return [Assembly(parts[0], (*rows, *columns), stored[parts[0]].dtype, "factored", tuple(parts))]


_COMPUTED_BLOCKS = (
    "the blocks of an SAO layer, which prune or a parametrization computes; make them permanent (prune.remove, "
    "remove_parametrizations), then save"
)
_SKEW = "the skew kernels of an SOCConv2d, which convolves with their exponential"
_SLICES = "the slices of an ECOConv2d, whose kernel is computed from them; save layer.kernel()"
_KERNELS = "the kernels of a SparseConv2d, whose state does not tell its input channels; save layer.to_conv2d()"


def _slices(name: str, stored: Mapping[str, Stored]) -> list[Assembly]:
    """ECOConv2d's weight and base (L, K, r, q), and its inputs and places where there are groups."""
    stem = name.removesuffix("base")
    weight = f"{stem}weight"
    if name not in stored or weight not in stored or not _is_own(stem):
        return []
    if len(stored[name].shape) != 4 or stored[name].shape != stored[weight].shape:
        return []
    parts = [part for part in (f"{stem}inputs", f"{stem}places") if part in stored]
    return [Assembly(weight, stored[weight].shape, stored[weight].dtype, "", (weight, name, *parts), _SLICES)]


def _kept_kernels(name: str, stored: Mapping[str, Stored]) -> list[Assembly]:
    """SparseConv2d's weight (nnz, k, k) and kernels (nnz,)."""
    stem = name.removesuffix("kernels")
    weight = f"{stem}weight"
    if weight not in stored or not _is_own(stem) or len(stored[weight].shape) != 3:
        return []
    if stored[name].shape != stored[weight].shape[:1] or not stored[name].dtype.startswith("int"):
        return []
    return [Assembly(weight, stored[weight].shape, stored[weight].dtype, "", (weight, name), _KERNELS)]


def _skew(name: str, stored: Mapping[str, Stored]) -> list[Assembly]:
    """SOCConv2d's weight (K, d, d, k, k) and series (2,), and its inputs and places where there are groups."""
    stem = name.removesuffix("series")
    weight = f"{stem}weight"
    if weight not in stored or not _is_own(stem) or len(stored[weight].shape) != 5 or stored[name].shape != (2,):
        return []
    parts = [part for part in (f"{stem}inputs", f"{stem}places") if part in stored]
    return [Assembly(weight, stored[weight].shape, stored[weight].dtype, "", (weight, name, *parts), _SKEW)]


def _is_own(stem: str) -> bool:
    return not stem or stem.endswith(".")


def _join_stages(found: dict[str, Assembly], stored: Mapping[str, Stored]) -> None:
    """Make the `first` and `second` blocks of each TwoStageLinear one layer, their product."""
    for name in [name for name in found if name.endswith("first.weight")]:
        stem = name.removesuffix("first.weight")
        first, second = found[name], found.get(f"{stem}second.weight")
        if second is None or not _is_own(stem) or first.form != "blocks" or second.form != "blocks":
            continue
        if len(first.shape) != 2 or len(second.shape) != 2 or second.shape[1] != first.shape[0]:
            continue
        if f"{stem}first.bias" in stored:
            continue
        shape = (second.shape[0], first.shape[1])
        joined = Assembly(f"{stem}weight", shape, first.dtype, "two_stage", (*first.parts, *second.parts))
        found.update(dict.fromkeys(joined.parts, joined))


def _weight_norm(lengths: Dense, directions: Dense) -> Dense:
    """g v/||v||, with the norm over the axes that g lacks (Salimans and Kingma, NeurIPS 2016)."""
    axes = tuple(axis for axis, size in enumerate(lengths.shape) if size == 1) if lengths.ndim else None
    norms = np.sqrt(np.sum(np.square(directions, dtype=np.float64), axis=axes, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled: Dense = (directions * (lengths / norms)).astype(directions.dtype)
    return scaled


def _blocks(weight: Dense, inputs: Dense, places: Dense) -> Dense:
    """(m, K d, ...): entry (k, i, j) of the blocks leads from input inputs[k, j] to the output whose place is k c + i.

    Whether the layer was padded to K d inputs, its state does not tell; those that it adds are columns here too.
    """
    groups, outputs, degree, *taps = weight.shape
    _require_places(inputs, groups * degree, "inputs")
    _require_places(places, groups * outputs, "places")
    dense = np.zeros((len(places), groups * degree, *taps), weight.dtype)
    values = weight.reshape(groups * outputs, degree, *taps)[places]
    dense[np.arange(len(places))[:, None], inputs[places // outputs]] = values
    return dense


def _two_stage(*parts: Dense) -> Dense:
    """The product of two layers of blocks, path by path: O(m d) besides the zeros."""
    weight, inputs, places, *second = parts
    inner = _blocks_entries(weight, inputs, places)
    hidden, outer = _blocks_entries(*second)
    columns = inner[0][hidden]  # (m, b, a)
    values = outer[:, :, None] * inner[1][hidden]
    dense = np.zeros((len(hidden), math.prod(inputs.shape)), weight.dtype)
    np.add.at(dense, (np.arange(len(hidden))[:, None, None], columns), values)
    return dense


def _blocks_entries(weight: Dense, inputs: Dense, places: Dense) -> tuple[Dense, Dense]:
    """(m, d) inputs that each output reads, and the weights with which it does."""
    groups, outputs, degree = weight.shape
    _require_places(inputs, groups * degree, "inputs")
    _require_places(places, groups * outputs, "places")
    return inputs[places // outputs], weight.reshape(groups * outputs, degree)[places]


def _factored_weight(
    weight: Dense, row_index: Dense, row_scale: Dense, col_index: Dense, col_scale: Dense, *factors: Dense
) -> Dense:
    """W[a, b] = row_scale[a] W'[row_index[a], col_index[b]] col_scale[b], W' times norm g/||W'||_F where these are."""
    _require_whole(row_index, len(weight), "row_index")
    _require_whole(col_index, weight.shape[1], "col_index")
    if factors:
        norm, g = factors
        weight = (weight * (norm * g / np.linalg.norm(weight))).astype(weight.dtype)
    rows = weight[row_index] * row_scale[:, None]
    return (rows[:, col_index] * col_scale).astype(weight.dtype, copy=False)


def _require_whole(places: Dense, size: int, name: str) -> None:
    if places.dtype.kind not in "iu" or (places.size and (places.min() < 0 or places.max() >= size)):
        raise FormatError(f"its buffer {name!r} holds other than whole numbers from 0 to {size - 1}")


def _require_places(places: Dense, size: int, name: str) -> None:
    flat = places.reshape(-1)
    _require_whole(flat, size, name)
    if np.bincount(flat, minlength=1).max() > 1:
        raise FormatError(f"its buffer {name!r} names a place twice")


def _product(left: Dense, right: Dense) -> Dense:
    """left @ right, of half precision in float32, which BLAS has and whose sums are finer."""
    single = (one.astype(np.float32) if one.dtype == np.float16 else one for one in (left, right))
    whole: Dense = np.matmul(*single)
    return whole


_FORMS: dict[str, Callable[..., Dense]] = {
    "pruned": pruned,
    "masked": pruned,
    "weight_norm": _weight_norm,
    "blocks": _blocks,
    "two_stage": _two_stage,
    "factored": _factored_weight,
    "lora": _product,
}
