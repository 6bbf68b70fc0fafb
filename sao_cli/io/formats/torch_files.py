"""torch's .pt files of plain tensors; torch.load(weights_only=True) only, so that nothing else is ever unpickled."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS
from sao_cli.data.sparse_layouts import dense_tensor, tensor_entries
from sao_cli.io.formats.tensor_file import Beside, Path, Snapshot, Stored, TensorFile
from sao_cli.io.formats.torch_records import require_sound
from sao_cli.io.output import brief, file_error, shown
from sao_cli.io.proportions import MOST_THINGS, require_proportion
from sao_cli.io.provenance import parsed_provenance, provenance_json, provenance_of
from sao_cli.io.source import Source, WholeCopy
from sao_cli.io.tensors import tensor_names, weights_in

if TYPE_CHECKING:
    from sao_cli.data.kernel import Weight

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params")
OPTIMISER = re.compile(r"optim(izer|iser)?s?(_states?|_state_dict)?|opt(_state)?|.*optimi[sz]er.*", re.IGNORECASE)
_RELEASED_AFTER = 1 << 25  # bytes read, after which the file is mapped anew: pages read would else stay in memory
NESTED = 8  # dicts and lists inside each other, at most
_PROVENANCE = "sao"


def read_torch(source: Source, tensor: str | None) -> list[Weight]:
    """The weights in a .pt file: a tensor, or tensors in dicts and lists, whose names are joined by dots.

    A pruned tensor, kept as NAME_orig and NAME_mask (torch.nn.utils.prune), or with a mask of zeros and ones beside it,
    is read as NAME, their product.

    Raises FormatError for a file that needs more than weights_only=True allows.
    """
    return weights_in(TorchFile(source, unwrapped=False), tensor)


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


def load_tensors(file: str | os.PathLike[str] | IO[bytes], name: str, *, mapped: bool = False) -> tuple[Any, bool]:
    """What torch.load(weights_only=True) reads from a path or a seekable file, and whether the file is mapped.

    It is where `mapped` asks for it, which needs a path, and its records are stored as they are. All storages are
    known to be there, tensors to lie within them, and the indices of sparse ones within their shapes. Raises
    FormatError, of one line, for a damaged file and for one that is more than plain tensors.
    """
    import torch

    mapped = _sound(file, name) and mapped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was made, and nothing that its reader could mend
            loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (SaoError, MemoryError):
        raise
    except Exception as error:
        raise FormatError(f"{name} {_reason(error)}") from error
    for key, tensor in {id(tensor): (key, tensor) for key, tensor in tensors_in(loaded, name)}.values():
        _require_sound_tensor(tensor, f"{name}: tensor {shown(key)}" if key else name)
    return loaded, mapped


def _sound(file: str | os.PathLike[str] | IO[bytes], name: str) -> bool:
    if isinstance(file, str | os.PathLike):
        try:
            with open(file, "rb") as raw:
                return require_sound(raw, name)
        except OSError as error:
            if isinstance(error, SaoError):
                raise
            raise file_error(error, name, "read") from error
    whole = require_sound(file, name)
    file.seek(0)
    return whole


def _reason(error: Exception) -> str:
    told = " ".join(str(error).split())
    if "weights_only" in told.lower() or "weights only" in told.lower():
        found = re.search(r"(?:GLOBAL|global:?|class) ([\w.]+\.[\w.]+)", told)
        what = f" ({shown(found[1][:80])})" if found else ""
        return (
            f"holds more than plain tensors{what}, and nothing of it was executed; save the model's state_dict alone, "
            "or safetensors"
        )
    return f"can't be read, it is damaged or cut off: {brief(told or type(error).__name__)}"


def _require_sound_tensor(tensor: Any, where: str) -> None:
    """Raise FormatError for a tensor that reaches out of its storage, or has indices outside its shape."""
    import torch

    if tensor.is_meta or tensor.is_nested:
        return
    try:
        if tensor.layout is torch.strided:
            held, width = tensor.untyped_storage().nbytes(), tensor.element_size()
            reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
            if tensor.numel() and (end := (tensor.storage_offset() + reach + 1) * width) > held:
                raise ValueError(f"it ends at byte {end} of a storage of {held}")
            require_proportion(held, tensor.numel() * width, where)  # one number may stand for a whole matrix
        else:
            tensor_entries(tensor)
    except NotImplementedError:
        return
    except SaoError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        raise FormatError(f"{where} is damaged: {brief(error)}") from error


def tensors_in(value: Any, where: str, name: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors in dicts and lists inside each other, by their keys and places joined with dots.

    Raises FormatError, naming `where`, for more than MOST_THINGS items, which a few lists inside each other many times
    over can pretend to be. Those more than NESTED deep are passed over.
    """
    import torch

    left = MOST_THINGS
    waiting = [iter([(name, value, NESTED)])]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        key, item, depth = found
        left -= 1
        if left < 0:
            raise FormatError(
                f"{where}: more than {MOST_THINGS} things inside each other; save the model's state_dict alone"
            )
        if isinstance(item, torch.Tensor):
            yield key, item
        elif isinstance(item, Mapping | list | tuple) and depth:
            waiting.append(_inside(key, item, depth - 1))


def _inside(name: str, value: Mapping[Any, Any] | Sequence[Any], depth: int) -> Iterator[tuple[str, Any, int]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    return ((f"{name}.{key}" if name else str(key), item, depth) for key, item in items)


def _sparse(tensor: Any, provenance: dict[str, Any], where: str) -> Matrix:
    import torch

    (rows, columns), values = tensor_entries(tensor)
    if values.dtype is torch.bool and values.all():
        return Matrix.from_entries(rows, columns, None, tuple(tensor.shape), provenance, where)
    shape, numbers = tuple(tensor.shape), values.to(torch.float64).numpy().astype(np.float64)
    told = str(tensor.dtype).removeprefix("torch.")
    dtype = told if told in PRECISIONS else "float64"
    found = Matrix.from_entries(rows, columns, numbers, shape, provenance, where, dtype)
    return Matrix(found.mask) if values.dtype is torch.bool else found


class TorchFile(TensorFile):
    """A file by torch.save. Raises FormatError for a damaged one, and for one that is more than plain tensors.

    Of a path, what is read stays mapped until _RELEASED_AFTER bytes were; the arrays are views of the map, not to be
    written to. Names are those inside the wrappers around the weights, unless `unwrapped` is false.
    """

    def __init__(self, place: Path | Source | WholeCopy, *, unwrapped: bool = True) -> None:
        self._file = Snapshot(place)
        self.name, self.metadata = self._file.name, {}
        self._lock = threading.Lock()
        self._read = 0
        self._is_unwrapped = unwrapped
        self._tensors: dict[str, Any] | None = self._load()
        self.stored = {name: _stored(tensor) for name, tensor in self._tensors.items()}

    def read(self, name: str) -> NDArray[Any]:
        """The named tensor, dense; what numpy lacks as float32. FormatError where numpy can't hold it."""
        with self._reading(name) as tensor:
            require_memory(self.stored[name].bytes, f"{self.name}: tensor {shown(name)}")
            return _array(tensor)

    def sparse(self, name: str, where: str) -> Weight | None:
        """The Matrix that a sparse tensor of two axes is."""
        import torch

        with self._reading(name) as tensor:
            if tensor.layout is torch.strided or tensor.dim() != 2:
                return None
            require_memory(8 * tensor._nnz(), where)
            return _sparse(tensor, self.origins().get(name, {}), where)

    def origins(self) -> dict[str, dict[str, Any]]:
        """The provenance where Module.state_dict() keeps its own, in `_metadata`, by tensor."""
        return self._origins

    def close(self) -> None:
        """Unmap the file; arrays that were read keep their part of it."""
        self._tensors = None

    @contextmanager
    def _reading(self, name: str) -> Iterator[Any]:
        """The named tensor; what torch raises over it is a FormatError here."""
        where = self.require(name)
        with self._lock:
            tensor = self._current()[name]
            self._read += self.stored[name].bytes
        try:
            yield tensor.detach()
        except SaoError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            raise FormatError(f"{where} can't be read: {brief(error)}") from error

    def _current(self) -> dict[str, Any]:
        if self._tensors is not None and self._mapped and self._read > _RELEASED_AFTER:
            self._tensors = None
        if self._tensors is None:
            self._tensors, self._read = self._load(), 0
        return self._tensors

    def _load(self) -> dict[str, Any]:
        is_path = not isinstance(self._file.place, Source | WholeCopy)
        if not is_path:
            require_memory(self._file.size or 0, f"{self.name}: its tensors, beside a copy of the input,")
        loaded, self._mapped = load_tensors(self._file.seekable(), self.name, mapped=is_path)
        self._origins = _origins(loaded)
        weights, beside = _unwrapped(loaded, self.name) if self._is_unwrapped else (loaded, [])
        self.beside = tuple(beside)
        return _named(weights, self.name, self._file.stem)


def _origins(loaded: Any) -> dict[str, dict[str, Any]]:
    metadata = getattr(loaded, "_metadata", None)
    if not isinstance(metadata, Mapping):
        return {}
    told = {key: own.get(_PROVENANCE, "") for key, own in metadata.items() if isinstance(own, Mapping)}
    return {key: own for key, text in told.items() if (own := parsed_provenance(text)) is not None}


def _unwrapped(loaded: Any, where: str) -> tuple[Any, list[Beside]]:
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
