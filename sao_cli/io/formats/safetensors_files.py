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

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.io.formats.safetensors_header import MAX_HEADER, Described, described, parsed_header
from sao_cli.io.formats.tensor_file import HEAD, Path, Snapshot, Stored, TensorFile
from sao_cli.io.output import brief, file_error, shown
from sao_cli.io.provenance import named_provenance, provenance_json, provenance_of
from sao_cli.io.source import Source
from sao_cli.io.tensors import choose_tensors, masked, masked_parts, merged_shapes, pruned, tensor_names, weight_of

if TYPE_CHECKING:
    from sao_cli.data.kernel import Weight

DTYPES = {  # the format's name: torch's, and the bytes of a number
    "BOOL": ("bool", 1), "U8": ("uint8", 1), "I8": ("int8", 1), "U16": ("uint16", 2), "I16": ("int16", 2),
    "U32": ("uint32", 4), "I32": ("int32", 4), "U64": ("uint64", 8), "I64": ("int64", 8), "F16": ("float16", 2),
    "BF16": ("bfloat16", 2), "F32": ("float32", 4), "F64": ("float64", 8), "C64": ("complex64", 8),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1), "F8_E8M0": ("float8_e8m0fnu", 1),
}  # fmt: skip
_WITHOUT_NUMPY = {"bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"}
_PIECE = 1 << 22  # bytes read at once where they must be widened
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


class SafetensorsFile(TensorFile):
    """A safetensors file. Raises FormatError where not even its header can be read. Opened anew for each tensor."""

    def __init__(self, path: Path) -> None:
        self._file = Snapshot(path)
        self.name = self._file.name
        self.metadata = {}
        self._starts: dict[str, int] = {}
        try:
            with open(path, "rb") as file:
                text, start = self._heading(file)
        except OSError as error:
            raise file_error(error, self.name, "read") from error
        entries, told = parsed_header(text, self.name)
        self.metadata = {key: value for key, value in told.items() if isinstance(value, str)}
        self.stored = {name: self._stored(name, entry, start) for name, entry in entries.items()}
        self._mark_overlaps()

    def read(self, name: str) -> NDArray[Any]:
        """The named tensor; bfloat16 as float32. FormatError for a tensor that is cut off or of an unknown dtype."""
        tensor = self.stored[name]
        where = f"{self.name}: tensor {shown(name)}"
        if tensor.problem is not None:
            raise FormatError(f"{where}: {tensor.problem}")
        if tensor.dtype in _WITHOUT_NUMPY - {"bfloat16"}:
            raise FormatError(f"{where} is of dtype {tensor.dtype}, which can't be read; convert it to float16")
        widened = tensor.dtype == "bfloat16"
        require_memory((2 if widened else 1) * tensor.bytes, where)
        self._file.require_same()
        try:
            with open(self._file.path, "rb", buffering=0) as file:
                file.seek(self._starts[name])
                return (_widened if widened else _plain)(file, tensor, where)
        except OSError as error:
            raise file_error(error, self.name, "read") from error
        except ValueError as error:  # numpy has no arrays of 0 x 2^62 x 2^62
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{where} can't be read: {brief(error)}") from error

    def head(self, name: str) -> bytes:
        """The first bytes as they stand in the file."""
        with open(self._file.path, "rb") as file:
            file.seek(self._starts[name])
            return file.read(min(HEAD, self.stored[name].bytes))

    def _heading(self, file: IO[bytes]) -> tuple[bytes, int]:
        length = int.from_bytes(file.read(8), "little")
        if self._file.size < 8 + length or length > MAX_HEADER:
            raise FormatError(
                f"{self.name}: the header takes {8 + length} bytes, and the file has {self._file.size}: it is cut off"
            )
        return file.read(length), 8 + length

    def _stored(self, name: str, entry: Any, start: int) -> Stored:
        try:
            told = described(entry)
        except ValueError as error:
            return Stored((), "unknown", 0, str(error))
        kind, shape, begin, end = told
        self._starts[name] = start + begin
        if kind not in DTYPES:
            return Stored(shape, brief(kind, 40), max(end - begin, 0), f"its dtype {brief(kind, 40)} is not known")
        dtype, width = DTYPES[kind]
        problem = None
        if not told.fills(width):
            problem = f"{dtype} of its shape can't take the bytes {begin} to {end}"
        elif start + end > self._file.size:
            problem = f"cut off: the file ends {start + end - self._file.size} bytes before the tensor does"
        return Stored(shape, dtype, max(end - begin, 0), problem)

    def _mark_overlaps(self) -> None:
        """Two tensors in the same bytes: the header is damaged, and which of them is right can't be known."""
        stored = dict(self.stored)
        previous, reach = "", 0
        for name in sorted(self._starts, key=lambda name: (self._starts[name], stored[name].bytes)):
            if stored[name].bytes and self._starts[name] < reach:
                for one in (previous, name):
                    problem = "its bytes are another tensor's too: the header is damaged"
                    stored[one] = stored[one]._replace(problem=stored[one].problem or problem)
            if self._starts[name] + stored[name].bytes > reach:
                previous, reach = name, self._starts[name] + stored[name].bytes
        self.stored = stored


def _plain(file: IO[bytes], tensor: Stored, where: str) -> NDArray[Any]:
    dtype = np.dtype("uint8" if tensor.dtype == "bool" else tensor.dtype)
    array: NDArray[Any] = np.empty(tensor.shape, dtype.newbyteorder("<"))
    _fill(file, array.reshape(-1).view(np.uint8), where)
    if tensor.dtype != "bool":
        return array if array.dtype.isnative else array.astype(dtype)
    truths: NDArray[np.bool_] = np.not_equal(array, 0, out=array.view(np.bool_))
    return truths


def _widened(file: IO[bytes], tensor: Stored, where: str) -> NDArray[np.float32]:
    """bfloat16 as float32, of which it is the upper half; a piece at a time, so that it takes no more than it gives."""
    wide = np.empty(tensor.shape, "<u4")
    flat, piece = wide.reshape(-1), np.empty(min(_PIECE // 2, wide.size), "<u2")
    for start in range(0, flat.size, max(piece.size, 1)):
        part = piece[: flat.size - start]
        _fill(file, part.view(np.uint8), where)
        np.left_shift(part, np.uint32(16), out=flat[start : start + part.size], dtype=np.uint32)
    return wide.view("<f4").astype(np.float32, copy=False)


def _fill(file: IO[bytes], array: NDArray[np.uint8], where: str) -> None:
    left = memoryview(array)  # type: ignore[arg-type]
    while len(left):
        taken: Any = file.readinto(left)  # type: ignore[attr-defined]
        if not taken:
            raise FormatError(f"{where}: the file ends inside it: it is cut off")
        left = left[taken:]
