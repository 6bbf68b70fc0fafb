"""The header of a safetensors file: JSON of bounded length, in which every description of a tensor is bounded too."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.io.output import brief
from sao_cli.io.proportions import require_count

DTYPES = {  # the format's name: torch's, and the bytes of a number
    "BOOL": ("bool", 1), "U8": ("uint8", 1), "I8": ("int8", 1), "U16": ("uint16", 2), "I16": ("int16", 2),
    "U32": ("uint32", 4), "I32": ("int32", 4), "U64": ("uint64", 8), "I64": ("int64", 8), "F16": ("float16", 2),
    "BF16": ("bfloat16", 2), "F32": ("float32", 4), "F64": ("float64", 8), "C64": ("complex64", 8),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1), "F8_E8M0": ("float8_e8m0fnu", 1),
}  # fmt: skip
WRITTEN = {name: (code, width) for code, (name, width) in DTYPES.items() if not name.startswith("float8")}
_MOST_AXES = 1000  # the product of a hundred thousand would take minutes
_LARGEST = 1 << 127  # no size of an axis and no place in a file is near it
PARSED = 24  # bytes of Python objects that a byte of JSON may become


class Described(NamedTuple):
    """A tensor as a header describes it, its bytes from `start` to `end` behind the header; dtype in capitals."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    def fills(self, width: int) -> bool:
        """Whether numbers of `width` bytes, as many as the shape has, take just the bytes from `start` to `end`."""
        return self.end - self.start == math.prod(self.shape) * width


def parsed_header(text: bytes, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors' descriptions by name, in the header's order, and the metadata. FormatError for what is no header."""
    require_memory(PARSED * len(text), f"{name}: the header")
    try:
        entries = json.loads(text)
        if not isinstance(entries, dict):
            raise TypeError("it is no mapping")
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError(f"{name}: the safetensors header can't be read: {brief(error, 100)}") from error
    metadata = entries.pop("__metadata__", None)
    require_count(len(entries), name)
    return entries, metadata if isinstance(metadata, dict) else {}


def described(entry: Any) -> Described:
    """The tensor that an entry of a header describes. Raises ValueError for what makes no sense. O(axes).

    >>> described({"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}).fills(4)
    True
    """
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if len(shape) > _MOST_AXES:
            raise ValueError(f"its shape has {len(shape)} axes; a tensor has {_MOST_AXES} at most")
        numbers = (*shape, start, end)
    except (TypeError, KeyError) as error:
        raise ValueError("its description in the header makes no sense") from error
    if type(dtype) is not str or {*map(type, numbers)} != {int} or not 0 <= min(numbers) <= max(numbers) < _LARGEST:
        raise ValueError("its description in the header makes no sense")
    return Described(dtype, tuple(shape), start, end)


def header_bytes(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], order: Iterable[str], metadata: Mapping[str, str]
) -> bytes:
    """The header, behind its length, of tensors by name, (dtype in torch's words, shape); their bytes come in `order`.

    It ends in blanks, so that the first tensor is aligned, as the format asks.
    """
    offsets, end = {}, 0
    for name in order:
        dtype, shape = tensors[name]
        start, end = end, end + math.prod(shape) * WRITTEN[dtype][1]
        offsets[name] = [start, end]
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    for name, (dtype, shape) in tensors.items():
        sizes = list(map(int, shape))
        header[name] = {"dtype": WRITTEN[dtype][0], "shape": sizes, "data_offsets": offsets[name]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
