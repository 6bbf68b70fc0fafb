"""Which of several named tensors make up the weights that were asked for, and what each of them is."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoWarning
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS
from sao_cli.io.output import shown

if TYPE_CHECKING:
    from sao_cli.data.kernel import Weight
    from sao_cli.io.formats.tensor_file import TensorFile

AXES = range(2, 6)  # two for a matrix, three to five for a convolution kernel
_LAYER = r"layer\.[1-9]\d{0,8}"
NO_BFLOAT16 = "a .npy file can't say that numbers are bfloat16, and a test of them as float32 would mislead; use .npz"
_NOT_REAL = ("complex", "float8")  # in torch's names
_LISTED = 8


class ChoiceError(FormatError):
    """Names of which none was chosen, or one that is not there."""


def weights_in(file: TensorFile, tensor: str | None) -> list[Weight]:
    """The weights that choose_tensors finds in a file, each pair of masked_parts as one, first layer first.

    Raises FormatError for a file that is damaged anywhere, and for numbers that are not real.
    """
    file.require_whole()
    shapes = {name: stored.shape for name, stored in file.stored.items()}
    chosen = choose_tensors(merged_shapes(shapes, tensor), tensor, file.name)
    parts = {name: masked_parts(name, shapes) or (name,) for name in chosen}
    wheres = {name: f"{file.name}: {shown(name)}" for name in chosen}
    found: dict[str, Weight] = {}
    for name in chosen:
        _require_real(file, parts[name])
        if len(parts[name]) == 1 and (weight := file.sparse(name, wheres[name])) is not None:
            found[name] = weight
    origins, waiting = file.origins(), dict[str, NDArray[Any]]()
    wholes = {part: name for name in chosen if name not in found for part in parts[name]}
    for part, array in file.each(wholes):
        name, waiting[part] = wholes[part], array
        if all(one in waiting for one in parts[name]):
            dense = _product(name, parts[name], [waiting.pop(one) for one in parts[name]], file.name)
            dtype = file.stored[parts[name][0]].dtype
            found[name] = weight_of(dense, origins.get(name), wheres[name], dtype if dtype in PRECISIONS else None)
    return [found[name] for name in chosen]


def _require_real(file: TensorFile, parts: Sequence[str]) -> None:
    for part in parts:
        where = file.require(part)
        dtype = file.stored[part].dtype
        if dtype.startswith("q"):
            raise FormatError(f"{where}: it is quantised ({dtype}): dequantise it, then save")
        if dtype.startswith(_NOT_REAL):
            named = ", ".join(PRECISIONS)
            raise FormatError(f"{where}: its type is {dtype}; convert it to one of {named}, or to whole numbers")


def _product(name: str, parts: Sequence[str], arrays: Sequence[NDArray[Any]], where: str) -> NDArray[Any]:
    """What the parts of a tensor are together: one as it is, two as masked_parts."""
    if len(parts) == 1:
        return arrays[0]
    dense, mask = arrays
    is_binary = bool(((mask == 0) | (mask == 1)).all())
    return pruned(dense, mask) if masked(name, (parts[0], parts[1]), is_binary, where) else dense


def choose_tensors(shapes: Mapping[str, tuple[int, ...]], tensor: str | None, where: str) -> list[str]:
    """The names of the tensors to read, in the order of the stack.

    `tensor` where it is given; else the only one with 2 to 5 axes, or all of "layer.1", "layer.2" ... by number.
    Raises FormatError for a name that is not there, with the nearest ones, and where a choice must be made.
    """
    if tensor is not None:
        return [named_tensor(shapes, tensor, where)]
    weights = {name: shape for name, shape in shapes.items() if len(shape) in AXES}
    if weights and all(re.fullmatch(_LAYER, name) for name in weights):
        return sorted(weights, key=lambda name: int(name.partition(".")[2]))
    if not weights:
        raise FormatError(f"{where} holds no tensor with 2 to 5 axes; it holds {listed(shapes)}")
    if len(weights) > 1:
        kinds = sorted({"matrices" if len(shape) == 2 else "kernels" for shape in weights.values()}, reverse=True)
        offered = f"{len(weights)} {' and '.join(kinds)}: {listed(weights)}"
        raise ChoiceError(f"{where} holds {offered}; choose one with --tensor NAME")
    return list(weights)


def merged_shapes(shapes: Mapping[str, tuple[int, ...]], tensor: str | None) -> dict[str, tuple[int, ...]]:
    """The shapes with each masked tensor once: NAME for its two masked_parts.

    Where `tensor` asks for one of such a pair by its own name, they stay apart.
    """
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        whole = name.removesuffix("_orig") if tensor != name else name
        if masked_parts(whole, shapes):
            found[whole] = shape
        elif name == tensor or not any(masked_parts(other, shapes) for other in masked_names(name)):
            found[name] = shape
    return found


def masked_parts(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, str] | None:
    """The two tensors whose product `name` is: itself and a mask beside it, of one shape; or, where `name` is not
    there, torch.nn.utils.prune's NAME_orig and NAME_mask.
    """
    original = name if name in shapes else f"{name}_orig"
    masks = [f"{name}_mask", f"{name.removesuffix('weight')}mask" if name.endswith("weight") else f"{name}_mask"]
    mask = next((mask for mask in masks if original in shapes and shapes.get(mask) == shapes[original]), None)
    known = mask is not None and shapes[original] and name in masked_names(mask)
    return (original, mask) if known and mask else None


def masked(name: str, parts: tuple[str, str], is_binary: bool, where: str) -> bool:
    """Whether the second of masked_parts is multiplied into the first, said by a SaoWarning unless torch does so.

    A mask beside its weight is one where all its numbers are 0 or 1.
    """
    original, mask = parts
    if original != name:
        return True
    told = "is multiplied into it" if is_binary else "holds other numbers than 0 and 1 and is not multiplied in"
    warnings.warn(f"{where}: {shown(mask)}, which stands beside {shown(name)}, {told}", SaoWarning, stacklevel=2)
    return is_binary


def masked_names(mask: str) -> tuple[str, ...]:
    """The names of the weight beside which a `mask` of zeros and ones stands, if it is one: X of X_mask.

    >>> masked_names("fc.weight_mask"), masked_names("fc.mask")
    (('fc.weight',), ('fc.weight',))
    """
    if mask.endswith("_mask"):
        return (mask.removesuffix("_mask"),)
    return (f"{mask.removesuffix('mask')}weight",) if mask == "mask" or mask.endswith(".mask") else ()


def pruned(original: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    """What torch.nn.utils.prune computes with: the original where its mask is not 0, whatever stands elsewhere."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(mask != 0, original * mask, 0).astype(original.dtype)


def weight_of(
    dense: NDArray[Any], provenance: Mapping[str, Any] | None, where: str, dtype: str | None = None
) -> Weight:
    """The Matrix that an array with two axes is, or the Kernel that one with three to five is.

    Booleans are a mask, and with more than two axes a kernel of ones. A kernel's mask keeps what is not zero as a
    whole, and the zeros that `provenance` tells of. Raises FormatError for other arrays.
    """
    if dense.ndim == 2:
        return Matrix.from_dense(dense, provenance, where, dtype)
    if dense.ndim not in AXES:
        raise FormatError(f"{where}: its shape is {dense.shape}; a weight has 2 to 5 axes: 2 a matrix, 3 to 5 a kernel")
    from sao_cli.data.kernel import Kernel
    from sao_cli.io.provenance import with_zero_kernels

    if dense.dtype.kind == "b":
        dense = np.where(dense, np.uint8(1), np.uint8(0))
    return with_zero_kernels(Kernel.from_dense(dense, provenance, where, dtype))


def listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The first few names with their shapes, for a message."""
    if not shapes:
        return "no tensor at all"
    names = [f"{shown(name)} {_sizes(shape)}" for name, shape in list(shapes.items())[:_LISTED]]
    rest = len(shapes) - _LISTED
    return ", ".join(names) + (f" and {rest} more" if rest > 0 else "")


def tensor_names(weights: Sequence[Weight]) -> list[str]:
    """The names under which weights are written: "weight" for a single kernel, else "layer.1", "layer.2" ...."""
    if len(weights) == 1 and len(weights[0].shape) > 2:
        return ["weight"]
    return [f"layer.{number}" for number in range(1, len(weights) + 1)]


def no_names(tensor: str | None, where: str) -> None:
    """Raise FormatError where a tensor is asked for by name and the format has no names."""
    if tensor is not None:
        raise FormatError(f"{where} is of a format without named tensors; leave out --tensor {shown(tensor)}")


def named_tensor(shapes: Mapping[str, tuple[int, ...]], tensor: str, where: str) -> str:
    """The name `tensor`. Raises ChoiceError where it is not there, with the nearest, FormatError where no weight is."""
    if tensor not in shapes:
        import difflib

        near = difflib.get_close_matches(tensor, shapes, n=3)
        hint = f"did you mean {' or '.join(map(shown, near))}?" if near else f"it holds {listed(shapes)}"
        raise ChoiceError(f"{where} holds no tensor {shown(tensor)}; {hint}")
    if len(shapes[tensor]) not in AXES:
        shape = f"{shapes[tensor]!s:.80}"  # in a damaged header it may be of any length
        raise FormatError(f"{where}: tensor {shown(tensor)} has shape {shape}; a weight has 2 to 5 axes")
    return tensor


def _sizes(shape: tuple[int, ...]) -> str:
    return f"{'x'.join(map(str, shape)) or 'scalar':.80}"
