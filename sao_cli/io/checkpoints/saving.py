"""Write checkpoints as safetensors: whole or not at all, with one tensor in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FileError, FormatError, SaoError, unknown_name
from sao_cli.data.precision import converted
from sao_cli.io.formats.safetensors_header import WRITTEN, header_bytes
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import atomic_output, refuse_terminal, shown

_PIECE = 1 << 20  # numbers converted at once


@dataclass(frozen=True)
class Lazy:
    """A tensor to be written: its shape, torch's name of its dtype, and `make`, called once, when it is written.

    It is also how an array is written in another dtype than its own: bfloat16, which numpy lacks.

    >>> Lazy((2, 2), "bfloat16", lambda: np.eye(2, dtype=np.float32)).dtype
    'bfloat16'
    """

    shape: tuple[int, ...]
    dtype: str
    make: Callable[[], Any]


def write_checkpoint(tensors: Mapping[str, Any], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write numpy arrays, torch tensors and Lazy ones as a safetensors file, which appears whole or not at all.

    Each has its own dtype, or the one that Lazy names, to which it is rounded (nearest, ties to even). The header lists
    them in the order given; the bytes come by width, widest first, so that every tensor is aligned. Equal tensors and
    metadata give equal bytes. `metadata` is text by text.

    `path` "-" is standard output. Raises FileError for a name that does not end in .safetensors and for what can't be
    written, and FormatError for a dtype that the format lacks, for a Lazy that makes another shape than it told, and
    for values that overflow.
    Memory: one tensor.

    >>> write_checkpoint({"a": np.eye(2), "b": Lazy((3,), "float16", lambda: np.ones(3))}, "two.safetensors")
    """
    require_suffix(path)
    if path == "-":
        refuse_terminal("a checkpoint")
    lazy = {key: _lazy(key, tensor) for key, tensor in tensors.items()}
    order = sorted(lazy, key=lambda key: -WRITTEN[lazy[key].dtype][1])
    _require_text(metadata or {})
    header = header_bytes({key: (one.dtype, tuple(one.shape)) for key, one in lazy.items()}, order, metadata or {})
    with atomic_output(path) as file:
        file.write(header)
        for key in order:
            _write(lazy[key], file, f"tensor {shown(key)}")


def require_suffix(path: Path) -> None:
    """Raise FileError for a name that no checkpoint is written to; to be asked before long work."""
    name = os.fsdecode(path)
    if name != "-" and not name.startswith("/dev/") and os.path.splitext(name)[1] != ".safetensors":
        raise FileError(f"{shown(path)}: a checkpoint is written as safetensors; end the name in .safetensors")


def _lazy(key: str, tensor: Any) -> Lazy:
    if not isinstance(key, str) or key == "__metadata__":
        raise SaoError(f"a tensor can't be named {key!r}; its name is text, and not '__metadata__'")
    lazy = tensor if isinstance(tensor, Lazy) else _held(tensor)
    if lazy.dtype not in WRITTEN:
        raise FormatError(f"tensor {shown(key)}: {unknown_name('unknown dtype', lazy.dtype, WRITTEN)}")
    return lazy


def _held(tensor: Any) -> Lazy:
    return Lazy(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), lambda: tensor)


def _require_text(metadata: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise SaoError(f"metadata {key!r}: {value!r}; both are text in a safetensors file")


def _write(lazy: Lazy, file: IO[bytes], where: str) -> None:
    array = _array(lazy.make())
    if array.shape != tuple(lazy.shape):
        raise FormatError(f"{where}: made of shape {array.shape}, and told to be {tuple(lazy.shape)}")
    if array.dtype.kind not in "biufc":
        raise FormatError(f"{where}: made of dtype {array.dtype}, and told to be {lazy.dtype}")
    flat = np.ascontiguousarray(array).reshape(-1)
    for start in range(0, flat.size, _PIECE):
        file.write(converted(flat[start : start + _PIECE], lazy.dtype, where).data)


def _array(made: Any) -> NDArray[Any]:
    if not hasattr(made, "detach"):
        return np.asarray(made)
    tensor = made.detach().cpu()
    return np.asarray((tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy())
