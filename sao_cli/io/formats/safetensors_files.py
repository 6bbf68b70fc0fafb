"""safetensors files (https://huggingface.co/docs/safetensors): a JSON header, then the bytes of each tensor.

Read and written here, not by the safetensors package: it reads no pipes, knows no bfloat16 without torch, and sorts
layer.10 before layer.2; this way one tensor at a time is in memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.io.formats.safetensors_header import Described, described, parsed_header
from sao_cli.io.output import brief, shown
from sao_cli.io.provenance import named_provenance, provenance_json, provenance_of
from sao_cli.io.source import Source
from sao_cli.io.tensors import choose_tensors, masked, masked_parts, merged_shapes, pruned, tensor_names, weight_of

if TYPE_CHECKING:
    from sao_cli.data.kernel import Weight

_DTYPES = {
    "BOOL": "u1", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_WRITTEN = {"float64": ("F64", 8), "float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2)}
_PROVENANCE = "sao"


def read_safetensors(source: Source, tensor: str | None) -> list[Weight]:
    """The weights in a safetensors stream: `tensor`, the only one with 2 to 5 axes, or the stack that we wrote.

    Reads no more than the chosen tensors from a file. Raises FormatError for a header whose offsets do not fit
    the shapes or the file, and for dtypes without a numpy counterpart.
    """
    length = int.from_bytes(source.read_exactly(8, "the length of the header"), "little")
    tensors, metadata = _header(bytes(source.read_exactly(length, "the header")), source)
    total = max((tensor.end for tensor in tensors.values()), default=0)
    if source.size is not None and source.size != 8 + length + total:
        raise source.fail(f"its header tells of {8 + length + total} bytes, and the file has {source.size}")
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    chosen = choose_tensors(merged_shapes(shapes, tensor), tensor, source.name)
    provenance = named_provenance(metadata.get(_PROVENANCE, ""))
    pairs = {name: parts for name in chosen if (parts := masked_parts(name, shapes))}
    whole = {part: name for name in chosen for part in pairs.get(name, (name,))}
    waiting: dict[str, NDArray[Any]] = {}
    found: dict[str, Weight] = {}
    place = 0
    for part in sorted(whole, key=lambda part: tensors[part].start):
        source.skip(tensors[part].start - place, "the tensors")
        place = tensors[part].end
        name, dense = whole[part], _array(tensors[part], source, part)
        if name in pairs:
            waiting[part] = dense
            if not all(other in waiting for other in pairs[name]):
                continue
            dense, mask = (waiting.pop(other) for other in pairs[name])
            part = pairs[name][0]
            is_binary = bool(((mask == 0) | (mask == 1)).all())
            dense = pruned(dense, mask) if masked(name, pairs[name], is_binary, source.name) else dense
        where = source.name if len(chosen) == 1 else f"{source.name}: {name}"
        dtype = "bfloat16" if tensors[part].dtype == "BF16" else None
        found[name] = weight_of(dense, provenance.get(name), where, dtype)
    source.skip(total - place, "the tensors")
    if source.peek(1):
        raise source.fail("there is more after the last tensor than its header tells of")
    return [found[name] for name in chosen]


def write_safetensors(weights: Sequence[Weight], file: IO[bytes]) -> None:
    """Write dense tensors "layer.1", "layer.2" ..., or "weight" for a single kernel.

    They are BOOL for masks, and else in their own dtype. Provenance goes as JSON, by tensor name, into the metadata
    under "sao". O(m n) a layer (and taps), one in memory at a time.
    """
    header: dict[str, Any] = {}
    provenance = {}
    end = 0
    for name, weight in zip(tensor_names(weights), weights, strict=True):
        dtype, width = ("BOOL", 1) if weight.values is None else _WRITTEN[weight.dtype]
        start, end = end, end + math.prod(weight.shape) * width
        header[name] = {"dtype": dtype, "shape": list(weight.shape), "data_offsets": [start, end]}
        if told := provenance_of(weight):
            provenance[name] = told
    if provenance:
        header = {"__metadata__": {_PROVENANCE: provenance_json(provenance)}, **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned, as the format asks
    file.write(len(text).to_bytes(8, "little") + text)
    for weight in weights:
        dense = weight.to_dense()
        if weight.values is not None and weight.dtype == "bfloat16":  # the upper half of a float32
            dense = (dense.view("<u4") >> 16).astype("<u2")
        file.write(dense.data)


def _header(text: bytes, source: Source) -> tuple[dict[str, Described], dict[str, Any]]:
    entries, metadata = parsed_header(text, source.name)
    try:
        tensors = {name: _described(entry) for name, entry in entries.items()}
    except ValueError as error:
        raise source.fail(f"the safetensors header can't be read: {brief(error, 100)}") from error
    ends = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != ends:
            raise source.fail("the safetensors header has tensors that overlap or leave gaps")
        ends = tensor.end
    return tensors, metadata


def _described(entry: Any) -> Described:
    tensor = described(entry)
    width = np.dtype(_DTYPES[tensor.dtype]).itemsize if tensor.dtype in _DTYPES else None
    if tensor.end < tensor.start or (width is not None and not tensor.fills(width)):
        raise ValueError(f"a tensor of {tensor.dtype} and its shape can't take bytes {tensor.start} to {tensor.end}")
    return tensor


def _array(tensor: Described, source: Source, name: str) -> NDArray[Any]:
    if tensor.dtype not in _DTYPES:
        told = f"tensor {shown(name)} is of type {shown(tensor.dtype):.40}"
        raise source.fail(f"{told}; expected one of {', '.join(_DTYPES)}")
    data = source.read_exactly(tensor.end - tensor.start, f"tensor {shown(name)}")
    try:
        array: NDArray[Any] = np.frombuffer(data, _DTYPES[tensor.dtype]).reshape(tensor.shape)
    except ValueError as error:  # numpy has no arrays of 0 x 2^62 x 2^62
        raise source.fail(f"tensor {shown(name)} can't be read: {error}") from error
    if tensor.dtype == "BOOL":
        array = array != 0
    if tensor.dtype == "BF16":  # the upper half of a float32
        require_memory(8 * array.size, f"{source.name}: tensor {shown(name)}")
        array = (array.astype("<u4") << 16).view("<f4")
    return array
