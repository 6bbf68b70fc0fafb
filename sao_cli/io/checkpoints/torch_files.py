"""Checkpoints in torch's files: torch.load(weights_only=True) only, memory-mapped where the format allows it."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.data.sparse_layouts import dense_tensor
from sao_cli.io.checkpoints.numpy_files import stem
from sao_cli.io.formats.tensor_file import Beside, Path, Snapshot, Stored, TensorFile
from sao_cli.io.formats.torch_files import NESTED, load_tensors, tensors_in
from sao_cli.io.output import brief, shown

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params")
OPTIMISER = re.compile(r"optim(izer|iser)?s?(_states?|_state_dict)?|opt(_state)?|.*optimi[sz]er.*", re.IGNORECASE)
_RELEASED_AFTER = 1 << 25  # bytes read, after which the file is mapped anew: pages read would else stay in memory


class TorchFile(TensorFile):
    """A file by torch.save. Raises FormatError for a damaged one, and for one that is more than plain tensors.

    What is read stays mapped until _RELEASED_AFTER bytes were; the arrays are views of the map, not to be written to.
    """

    def __init__(self, path: Path) -> None:
        self._file = Snapshot(path)
        self.name, self.metadata = self._file.name, {}
        self._lock = threading.Lock()
        self._read = 0
        loaded, self._mapped = load_tensors(path, self.name, mapped=True)
        weights, beside = _parts(loaded, self.name)
        self._tensors: dict[str, Any] | None = _named(weights, self.name, stem(path))
        self.stored = {name: _stored(tensor) for name, tensor in self._tensors.items()}
        self.beside = tuple(beside)

    def read(self, name: str) -> NDArray[Any]:
        """The named tensor, dense; what numpy lacks as float32. FormatError where numpy can't hold it."""
        tensor = self.stored[name]
        where = f"{self.name}: tensor {shown(name)}"
        if tensor.problem is not None:
            raise FormatError(f"{where}: {tensor.problem}")
        with self._lock:
            found = self._current()[name]
            self._read += tensor.bytes
        require_memory(tensor.bytes, where)
        try:
            return _array(found)
        except (RuntimeError, TypeError, ValueError) as error:
            raise FormatError(f"{where} can't be read: {brief(error)}") from error

    def close(self) -> None:
        """Unmap the file; arrays that were read keep their part of it."""
        self._tensors = None

    def _current(self) -> dict[str, Any]:
        if self._tensors is not None and self._mapped and self._read > _RELEASED_AFTER:
            self._tensors = None
        if self._tensors is None:
            self._file.require_same()
            loaded, _ = load_tensors(self._file.path, self.name, mapped=True)
            self._tensors, self._read = _named(_parts(loaded, self.name)[0], self.name, stem(self._file.path)), 0
        return self._tensors


def _parts(loaded: Any, where: str) -> tuple[Any, list[Beside]]:
    """The weights in what was loaded, their wrappers taken off, and what lies beside them."""
    beside: list[Beside] = []
    for _ in range(NESTED):
        if not isinstance(loaded, Mapping):
            break
        if _is_optimiser("", loaded):
            beside.append(_beside("optimizer", loaded, "optimizer state", where))
            return {}, beside
        wrapper = next((key for key in WRAPPERS if _holds_tensors(loaded.get(key), where)), None)
        if wrapper is None:
            kept = {key: value for key, value in loaded.items() if not _is_optimiser(key, value)}
            rest = [key for key in loaded if key not in kept]
        else:
            kept, rest = loaded[wrapper], [key for key in loaded if key != wrapper]
        for key in rest:
            optimiser = _is_optimiser(key, loaded[key])
            reason = "optimizer state" if optimiser else "beside the model"
            beside.append(_beside(str(key), loaded[key], reason, where))
        loaded = kept
        if wrapper is None:
            break
    return loaded, [part for part in beside if part.tensors]


def _is_optimiser(key: Any, value: Any) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return False
    if isinstance(value, Mapping) and {"state", "param_groups"} <= value.keys():
        return True
    return isinstance(key, str) and OPTIMISER.fullmatch(key) is not None


def _beside(name: str, value: Any, reason: str, where: str) -> Beside:
    tensors = [tensor for _, tensor in tensors_in(value, where)]
    plural = "tensor" if len(tensors) == 1 else "tensors"
    return Beside(name, len(tensors), sum(map(_bytes, tensors)), f"{reason} ({len(tensors)} {plural})")


def _holds_tensors(value: Any, where: str) -> bool:
    return isinstance(value, Mapping) and next(tensors_in(value, where), None) is not None


def _named(weights: Any, where: str, alone: str) -> dict[str, Any]:
    """The tensors by name, those of nested dicts joined by dots; a tensor without a name gets the file's."""
    named: dict[str, Any] = {}
    for name, tensor in tensors_in(weights, where):
        name, count = name or alone, 1
        while (unique := name if count == 1 else f"{name} ({count})") in named:  # "a.b" beside "b" inside "a"
            count += 1
        named[unique] = tensor
    return named


def _stored(tensor: Any) -> Stored:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_nested:
        return Stored((), dtype, 0, "a nested tensor, which has no one shape")
    shape = tuple(tensor.shape)
    if tensor.is_meta:
        return Stored(shape, dtype, 0, "on the meta device: its values were not saved")
    return Stored(shape, dtype, _bytes(tensor), storage=_storage(tensor))


def _storage(tensor: Any) -> tuple[tuple[Any, ...], tuple[int, ...]] | None:
    """Stored's `storage`; None for tensors without one of their own, as sparse ones."""
    import torch

    if tensor.layout is not torch.strided or not tensor.numel():
        return None
    strides = tuple(tensor.stride())
    axes = sorted(zip(strides, tensor.shape, strict=True))
    return (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), str(tensor.dtype), *axes), strides


def _bytes(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def _array(tensor: Any) -> NDArray[Any]:
    import torch

    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = dense_tensor(tensor)
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.dtype is torch.bfloat16 or (tensor.is_floating_point() and tensor.element_size() == 1):
        tensor = tensor.float()
    array: NDArray[Any] = tensor.contiguous().resolve_conj().resolve_neg().numpy().view()
    array.flags.writeable = False
    return array
