"""Checkpoints in safetensors files: a header by our own parser, then each tensor from its place, one at a time.

Unlike read_safetensors, which reads what is all in order and can be piped, this keeps what is whole of a file that is
not: a tensor that is cut off or described wrongly is listed with its problem.
"""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.io.formats.safetensors_header import MAX_HEADER, described, parsed_header
from sao_cli.io.formats.tensor_file import HEAD, Path, Snapshot, Stored, TensorFile
from sao_cli.io.output import brief, file_error, shown

DTYPES = {  # the format's name: torch's, and the bytes of a number
    "BOOL": ("bool", 1), "U8": ("uint8", 1), "I8": ("int8", 1), "U16": ("uint16", 2), "I16": ("int16", 2),
    "U32": ("uint32", 4), "I32": ("int32", 4), "U64": ("uint64", 8), "I64": ("int64", 8), "F16": ("float16", 2),
    "BF16": ("bfloat16", 2), "F32": ("float32", 4), "F64": ("float64", 8), "C64": ("complex64", 8),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1), "F8_E8M0": ("float8_e8m0fnu", 1),
}  # fmt: skip
_WITHOUT_NUMPY = {"bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"}
_PIECE = 1 << 22  # bytes read at once where they must be widened


class SafetensorsFile(TensorFile):
    """A safetensors file. Raises FormatError where not even its header can be read. Opened anew for each tensor."""

    def __init__(self, path: Path) -> None:
        self._file = Snapshot(path)
        self.name = self._file.name
        self.metadata = {}
        self._starts: dict[str, int] = {}
        try:
            with open(path, "rb") as file:
                text, start = self._header(file)
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

    def _header(self, file: IO[bytes]) -> tuple[bytes, int]:
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
