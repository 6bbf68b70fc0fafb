"""torch's .pt files of plain tensors; torch.load(weights_only=True) only, so that nothing else is ever unpickled."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from sao_cli.errors import FormatError, SaoError
from sao_cli.io.files import shown
from sao_cli.io.provenance import parsed_provenance, provenance_json, provenance_of
from sao_cli.io.tensors import choose_tensors, merged_shapes, pruned_parts, tensor_names, weight_of
from sao_cli.matrix import PRECISIONS, Matrix
from sao_cli.memory import require_memory

if TYPE_CHECKING:
    from sao_cli.kernel import Weight

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began a file before version 1.6
NESTED = 8  # dicts and lists inside each other, at most
_PROVENANCE = "sao"


def read_torch(file: IO[bytes], name: str, tensor: str | None) -> list[Weight]:
    """The weights in a .pt file: a tensor, or tensors in dicts and lists, whose names are joined by dots.

    A pruned tensor, kept as NAME_orig and NAME_mask (torch.nn.utils.prune), is read as NAME, their product.

    Raises FormatError for a file that needs more than weights_only=True allows.
    """
    loaded = _loaded(file, name)
    tensors = dict(tensors_in(loaded))
    shapes = {key: tuple(found.shape) for key, found in tensors.items()}
    chosen = choose_tensors(merged_shapes(shapes, tensor), tensor, name)
    metadata = getattr(loaded, "_metadata", None)
    return [
        _weight(
            [tensors[part] for part in pruned_parts(key, shapes) or (key,)],
            _provenance(metadata, key),
            f"{name}: {shown(key)}" if key else name,
        )
        for key in chosen
    ]


def write_torch(weights: Sequence[Weight], file: IO[bytes]) -> None:
    """Write a dict of dense tensors "layer.1", "layer.2" ..., or "weight" for a single kernel.

    They are bool for masks, and else in their own dtype. Provenance goes where Module.state_dict() keeps its own: into
    the dict's attribute `_metadata`.
    """
    import torch

    tensors: OrderedDict[str, Any] = OrderedDict()
    metadata = {}
    for name, weight in zip(tensor_names(weights), weights, strict=True):
        tensors[name] = weight.to_torch()
        if told := provenance_of(weight):
            metadata[name] = {_PROVENANCE: provenance_json(told)}
    if metadata:
        tensors._metadata = metadata  # type: ignore[attr-defined]
    torch.save(tensors, file)


def _loaded(file: IO[bytes], name: str) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was made, and nothing that its reader could mend
            return torch.load(file, map_location="cpu", weights_only=True)
    except (SaoError, MemoryError):
        raise
    except Exception as error:
        detail = " ".join(str(error).split())[:160] or type(error).__name__
        raise FormatError(
            f"{name} is no file of plain tensors ({detail}); save its state_dict, or safetensors"
        ) from error


def tensors_in(value: Any, name: str = "", depth: int = NESTED) -> Iterator[tuple[str, Any]]:
    """The tensors in dicts and lists inside each other, by their keys and places joined with dots."""
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping | list | tuple) and depth:
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from tensors_in(item, f"{name}.{key}" if name else str(key), depth - 1)


def _provenance(metadata: Any, key: str) -> dict[str, Any]:
    own = metadata.get(key) if isinstance(metadata, Mapping) else None
    return parsed_provenance(own.get(_PROVENANCE, "")) or {} if isinstance(own, Mapping) else {}


def _weight(parts: Sequence[Any], provenance: dict[str, Any], where: str) -> Weight:
    """The weight that a tensor is, or a pair of NAME_orig and NAME_mask; the file is known to hold tensors only."""
    import torch

    try:
        tensor, *mask = (part.detach() for part in parts)
        if tensor.is_complex() or tensor.is_quantized or tensor.is_meta:
            raise TypeError(f"its type is {tensor.dtype}; a mask or weight needs real numbers")
        require_memory(8 * tensor.numel(), f"{where}: a tensor of {' x '.join(map(str, tensor.shape))}")
        if mask:
            tensor = _pruned(tensor, *mask)
        if tensor.layout is not torch.strided and tensor.dim() == 2:
            return _sparse(tensor, provenance, where)
        dense = tensor.to_dense() if tensor.layout is not torch.strided else tensor
        dense = dense if tensor.dtype is torch.bool else dense.to(torch.float64)
        return weight_of(dense.numpy(), provenance, where, _precision(tensor))
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, SaoError):
            raise
        raise FormatError(f"{where} can't be read: {' '.join(str(error).split())[:160]}") from error


def _pruned(original: Any, mask: Any) -> Any:
    """What torch.nn.utils.prune computes with: the original where its mask is not 0."""
    import torch

    return torch.where(mask != 0, original * mask, torch.zeros_like(original))


def _sparse(tensor: Any, provenance: dict[str, Any], where: str) -> Matrix:
    import torch

    entries = tensor if tensor.layout is torch.sparse_coo else tensor.to_sparse_coo()
    rows, columns = entries._indices().numpy()
    values = entries._values()
    if values.dtype is torch.bool and values.all():
        return Matrix.from_entries(rows, columns, None, tuple(tensor.shape), provenance, where)
    shape, numbers = tuple(tensor.shape), values.to(torch.float64).numpy().astype(np.float64)
    found = Matrix.from_entries(rows, columns, numbers, shape, provenance, where, _precision(tensor) or "float64")
    return Matrix(found.mask) if values.dtype is torch.bool else found


def _precision(tensor: Any) -> str | None:
    name = str(tensor.dtype).removeprefix("torch.")
    return name if name in PRECISIONS else None
