"""safetensors files (https://huggingface.co/docs/safetensors): a JSON header, then the bytes of each tensor.

Read and written here, not by the safetensors package: it reads no pipes, knows no bfloat16 without torch, and sorts
layer.10 before layer.2; this way one tensor at a time is in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.io.formats.registry import MAX_HEADER
from sao_cli.io.formats.safetensors_header import DTYPES, described, header_bytes, parsed_header
from sao_cli.io.formats.tensor_file import HEAD, Path, Snapshot, Stored, TensorFile
from sao_cli.io.output import brief, shown
from sao_cli.io.provenance import named_provenance, provenance_json, provenance_of
from sao_cli.io.source import Source, WholeCopy
from sao_cli.io.tensors import tensor_names, weights_in

if TYPE_CHECKING:
    from sao_cli.data.kernel import Weight

_PROVENANCE = "sao"
_LENGTH = 8  # bytes, of the header's length
_PIECE = 1 << 21  # bytes read at once where they must be widened


class SafetensorsFile(TensorFile):
    """A safetensors file or a copy of one, opened anew for each tensor, or what a Source has, read forwards.

    What is whole of it is read: a tensor that is cut off, or described wrongly, is listed with its problem. Raises
    FormatError where not even its header can be read.
    """

    def __init__(self, place: Path | Source | WholeCopy) -> None:
        self._file = Snapshot(place)
        self.name = self._file.name
        with self._file.opened() as source:
            length = int.from_bytes(source.read_exactly(_LENGTH, "the length of the header"), "little")
            if length > MAX_HEADER:
                raise source.fail(f"a header of {length} bytes; a safetensors file has {MAX_HEADER} at most")
            entries, told = parsed_header(bytes(source.read_exactly(length, "the header")), self.name)
        self.metadata = {key: value for key, value in told.items() if isinstance(value, str)}
        self._data = _LENGTH + length
        self._starts: dict[str, int] = {}
        self.stored = {name: self._listed(name, entry) for name, entry in entries.items()}
        self._mark_overlaps()

    @property
    def end(self) -> int:
        """Where the last tensor ends, as the header has it, in bytes from the start."""
        return max((start + self.stored[name].bytes for name, start in self._starts.items()), default=self._data)

    def require_whole(self) -> None:
        """Raise FormatError for damage, for gaps between the tensors, and for a file of another length than is told."""
        super().require_whole()
        if self._data + sum(stored.bytes for stored in self.stored.values()) != self.end:
            raise FormatError(f"{self.name}: the safetensors header has tensors that overlap or leave gaps")
        if self._file.size is not None and self._file.size != self.end:
            raise FormatError(f"{self.name}: its header tells of {self.end} bytes, and the file has {self._file.size}")

    def read(self, name: str) -> NDArray[Any]:
        """The named tensor; bfloat16 as float32. FormatError for a tensor that is cut off or of an unknown dtype."""
        [(_, array)] = self.each([name])
        return array

    def each(self, names: Collection[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """The named tensors as `read` has them, as they come in the file."""
        for name in names:
            where = self.require(name)
            if (dtype := self.stored[name].dtype).startswith("float8"):
                raise FormatError(f"{where} is of dtype {dtype}, which can't be read; convert it to float16")
        with self._file.opened() as source:
            for name in sorted(names, key=lambda name: self._starts[name]):
                source.skip_to(self._starts[name], "the tensors")
                yield name, _array(source, self.stored[name], f"tensor {shown(name)}")

    def head(self, name: str) -> bytes:
        """The first bytes as they stand in the file."""
        with self._file.opened() as source:
            source.skip_to(self._starts[name], "the tensors")
            return bytes(source.read_exactly(min(HEAD, self.stored[name].bytes), f"tensor {shown(name)}"))

    def origins(self) -> dict[str, dict[str, Any]]:
        """The provenance in the metadata, by tensor."""
        return named_provenance(self.metadata.get(_PROVENANCE, ""))

    def _listed(self, name: str, entry: Any) -> Stored:
        try:
            told = described(entry)
        except ValueError as error:
            return Stored((), "unknown", 0, str(error), damaged=True)
        kind, shape, begin, end = told
        self._starts[name] = self._data + begin
        dtype, width = DTYPES.get(kind, (brief(kind, 40), None))
        problem = None if width else f"its dtype {dtype} is not known"
        size = self._file.size
        if end < begin or (width and not told.fills(width)):
            damage = f"{dtype} of its shape can't take the bytes {begin} to {end}"
        elif size is not None and self._data + end > size:
            missing = self._data + end - size
            damage = f"cut off: the file ends {missing} byte{'s' * (missing != 1)} before the tensor does"
        else:
            return Stored(shape, dtype, end - begin, problem)
        return Stored(shape, dtype, max(end - begin, 0), problem or damage, damaged=True)

    def _mark_overlaps(self) -> None:
        """Two tensors in the same bytes: the header is damaged, and which of them is right can't be known."""
        stored = dict(self.stored)
        previous, reach = "", 0
        for name in sorted(self._starts, key=lambda name: (self._starts[name], stored[name].bytes)):
            if stored[name].bytes and self._starts[name] < reach:
                for one in (previous, name):
                    problem = "its bytes are another tensor's too: the header is damaged"
                    stored[one] = stored[one]._replace(problem=stored[one].problem or problem, damaged=True)
            if self._starts[name] + stored[name].bytes > reach:
                previous, reach = name, self._starts[name] + stored[name].bytes
        self.stored = stored


def read_safetensors(source: Source, tensor: str | None) -> list[Weight]:
    """The weights in a safetensors stream: `tensor`, the only one with 2 to 5 axes, or the stack that we wrote.

    Reads no more than the chosen tensors from a file. Raises FormatError for a header whose offsets do not fit
    the shapes or the file, and for dtypes without a numpy counterpart.
    """
    file = SafetensorsFile(source)
    weights = weights_in(file, tensor)
    source.skip_to(file.end, "the tensors")
    if source.peek(1):
        raise source.fail("there is more after the last tensor than its header tells of")
    return weights


def write_safetensors(weights: Sequence[Weight], file: IO[bytes]) -> None:
    """Write dense tensors "layer.1", "layer.2" ..., or "weight" for a single kernel.

    They are BOOL for masks, and else in their own dtype. Provenance goes as JSON, by tensor name, into the metadata
    under "sao". O(m n) a layer (and taps), one in memory at a time.
    """
    named = dict(zip(tensor_names(weights), weights, strict=True))
    tensors = {name: ("bool" if one.values is None else one.dtype, one.shape) for name, one in named.items()}
    provenance = {name: told for name, one in named.items() if (told := provenance_of(one))}
    metadata = {_PROVENANCE: provenance_json(provenance)} if provenance else {}
    file.write(header_bytes(tensors, tensors, metadata))
    for weight in weights:
        dense = weight.to_dense()
        if weight.values is not None and weight.dtype == "bfloat16":  # the upper half of a float32
            dense = (dense.view("<u4") >> 16).astype("<u2")
        file.write(dense.data)


def _array(source: Source, stored: Stored, what: str) -> NDArray[Any]:
    """The tensor that comes next."""
    if stored.dtype == "bfloat16":
        return _widened(source, stored, what)
    dtype = np.dtype(stored.dtype if stored.dtype != "bool" else "uint8")
    data = source.read_exactly(stored.bytes, what)
    try:
        array: NDArray[Any] = np.frombuffer(data, dtype.newbyteorder("<")).reshape(stored.shape)
    except ValueError as error:  # numpy has no arrays of 0 x 2^62 x 2^62
        raise source.fail(f"{what} can't be read: {brief(error)}") from error
    if stored.dtype == "bool":
        np.not_equal(array, 0, out=array.view(np.bool_))
        return array.view(np.bool_)
    return array.astype(dtype, copy=False)


def _widened(source: Source, stored: Stored, what: str) -> NDArray[np.float32]:
    """bfloat16 as float32, of which it is the upper half; a piece at a time, so that it takes no more than it gives."""
    require_memory(2 * stored.bytes, f"{source.name}: {what}")
    wide = np.empty(stored.shape, "<u4")
    flat = wide.reshape(-1)
    for start in range(0, flat.size, _PIECE // 2):
        part = flat[start : start + _PIECE // 2]
        np.left_shift(np.frombuffer(source.read_exactly(2 * part.size, what), "<u2"), 16, out=part, dtype=np.uint32)
    return wide.view("<f4").astype(np.float32, copy=False)
