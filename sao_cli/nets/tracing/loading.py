"""A user's own module, by name, with a checkpoint's weights in it, and an example for it to run on."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from sao_cli.base.errors import FileError, FormatError, SaoError, unknown_name
from sao_cli.base.memory import require_memory
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import shown
from sao_cli.models.opened import opened
from sao_cli.nets.tracing.network import Network
from sao_cli.nets.tracing.recording import unwrapped

_FORM = "FILE.py:NAME or PACKAGE.MODULE:NAME"
_PREFIXES = ("module.", "_orig_mod.", "model.")
_LISTED = 3
_SHAPE = re.compile(r"(?:(ids):)?(\d+(?:x\d+)*)")
_TOKEN = 2  # an id that is seldom the one of padding


def load_network(
    named: str, examples: Sequence[str], model: Path | Checkpoint | None = None, norms: str = "unit", seed: int = 0
) -> Network:
    """The Network of the module that `named` tells, with a checkpoint's weights, or its own without a `model`.

    `examples` are the shapes of its inputs, as example_input takes them. Raises what load_module, load_checkpoint_,
    example_input and Network.from_module raise. This runs the code that `named` tells.
    """
    module, inputs = load_run(named, examples, model, seed)
    return Network.from_module(module, *inputs, norms=norms)


def load_run(
    named: str, examples: Sequence[str], model: Path | Checkpoint | None = None, seed: int = 0
) -> tuple[nn.Module, list[Tensor]]:
    """The module that load_network records, and the inputs."""
    shapes = [examples] if isinstance(examples, str) else examples
    module = load_module(named)
    if model is not None:
        with opened(model) as checkpoint:
            load_checkpoint_(module, checkpoint)
    return module, [example_input(text, module, seed + place) for place, text in enumerate(shapes)]


def load_module(named: str) -> nn.Module:
    """The module that "FILE.py:NAME" or "PACKAGE.MODULE:NAME" names, or that a callable of that name makes.

    Of one that torch.compile or a parallel wrapper holds, that which it holds.
    This runs the code there. The folder of FILE.py, or the working folder, is where it finds what it imports.

    Raises SaoError, of one line, for what can't be found or run, and for what is no torch.nn.Module.
    """
    place, _, name = named.rpartition(":")
    if not place or not name:
        raise SaoError(f"module {named!r}: it is named as {_FORM}")
    source = _imported(place)
    if not hasattr(source, name):
        public = [key for key, one in vars(source).items() if not key.startswith("_") and callable(one)]
        raise SaoError(unknown_name(f"module {named!r}: {place} has no", name, public))
    made = getattr(source, name)
    if not isinstance(made, nn.Module) and callable(made):
        with _told(named, f"{name}() fails"):
            made = made()
    if not isinstance(made, nn.Module):
        raise SaoError(f"module {named!r} is a {type(made).__name__}; name a torch.nn.Module, or what makes one")
    return unwrapped(made)


def load_checkpoint_(module: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """Put a checkpoint's tensors into the module, by name, and return it.

    Names must be the module's, all of them: but for a prefix "module.", "_orig_mod." or "model." that all share, for
    masks, which are multiplied in, for tied weights, of which one name is enough, and for counters of batches.

    Raises FormatError, of one line, which tells some of the names or shapes that do not fit, and as Checkpoint.read
    does; the module is left as it was then.
    """
    wanted = module.state_dict(keep_vars=True)
    found, used = _by_name(wanted, checkpoint)
    extra = [name for name in checkpoint.file.stored if name not in used]
    tied = {tensor.data_ptr() for name, tensor in wanted.items() if name in found and tensor.numel()}
    missing = [
        name
        for name, tensor in wanted.items()
        if name not in found and tensor.data_ptr() not in tied and not name.endswith("num_batches_tracked")
    ]
    for what, names in (("has no", missing), ("has beside the module's names", extra)):
        if names:
            raise FormatError(f"{checkpoint.name} {what} {_some(names)}; the names must be those of the module")
    tensors = {name: _fitting(name, wanted[name], entry, checkpoint) for name, entry in found.items()}
    with torch.no_grad():
        for name, tensor in tensors.items():
            wanted[name].copy_(tensor)
    return module


def example_input(text: str, module: nn.Module, seed: int = 0) -> Tensor:
    """Standard normal numbers of a shape such as "1x3x32x32", or whole ones, of one word, for "ids:1x128".

    In the dtype of the module's first parameter. Raises SaoError for other texts, and MemoryLimitError.
    """
    found = _SHAPE.fullmatch(text)
    sizes = [int(size) for size in found[2].split("x")] if found else []
    if found is None or 0 in sizes:
        raise SaoError(f"example {text!r}: give the sizes of an input, 1 or more, as in 1x3x32x32, or ids:1x128")
    first = next(module.parameters(), torch.zeros(()))
    require_memory(math.prod(sizes) * 8, f"an example of {text}")
    if found[1]:
        words = [one.num_embeddings for one in module.modules() if isinstance(one, nn.Embedding)]
        return torch.full(sizes, min([_TOKEN, *(count - 1 for count in words)]), device=first.device)
    drawn = torch.randn(sizes, generator=torch.Generator().manual_seed(seed))
    return drawn.to(first.device, first.dtype if first.is_floating_point() else torch.float32)


def _imported(place: str) -> ModuleType:
    if place.endswith(".py"):
        if not os.path.isfile(place):
            raise FileError(f"module {shown(place)}: no such file; a module is named as {_FORM}")
        folder, name = os.path.dirname(os.path.abspath(place)), os.path.basename(place).removesuffix(".py")
        with _path(folder), _told(place, "fails"):
            made = importlib.util.spec_from_file_location(name, place)
            assert made is not None
            assert made.loader is not None
            source = importlib.util.module_from_spec(made)
            sys.modules.setdefault(name, source)  # dataclasses look their module up
            made.loader.exec_module(source)
        return source
    with _path(os.getcwd()), _told(place, "can't be imported"):
        return importlib.import_module(place)


@contextlib.contextmanager
def _path(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


@contextlib.contextmanager
def _told(named: str, what: str) -> Iterator[None]:
    """What the user's code raises, as one line."""
    try:
        yield
    except (SaoError, MemoryError):
        raise
    except Exception as error:
        cause = next(iter(str(error).splitlines()), "")
        kind = type(error).__name__
        raise SaoError(f"module {shown(named)} {what}: {kind}{f': {cause}' if cause else ''}") from error


def _by_name(wanted: Mapping[str, Tensor], checkpoint: Checkpoint) -> tuple[dict[str, Entry | str], set[str]]:
    """What fills each of the module's names, an entry or a stored tensor, and the stored tensors that are used up."""
    prefix = _prefix(wanted, checkpoint)
    entries = {part: entry for entry in checkpoint.entries if entry.form for part in entry.parts}
    found: dict[str, Entry | str] = {}
    used: set[str] = set()
    for name in checkpoint.file.stored:
        plain = name.removeprefix(prefix)
        entry = entries.get(name)
        if plain in wanted and (entry is None or entry.form in ("plain", "") or _all_wanted(entry, prefix, wanted)):
            found[plain] = name
            used.add(name)
        elif entry is not None and (own := _own_name(entry, prefix, wanted)) is not None:
            found[own] = entry
            used.update(entry.parts)
    return found, used


def _all_wanted(entry: Entry, prefix: str, wanted: Mapping[str, Tensor]) -> bool:
    """Whether the module keeps an entry in the same parts."""
    return all(part.removeprefix(prefix) in wanted for part in entry.parts)


def _own_name(entry: Entry, prefix: str, wanted: Mapping[str, Tensor]) -> str | None:
    """The module's name for a weight that the file keeps in parts."""
    return next((name for name in (entry.name, entry.name.removeprefix(prefix)) if name in wanted), None)


def shared_prefix(module: nn.Module, checkpoint: Checkpoint) -> str:
    """What all names of the checkpoint begin with, and the module's do not."""
    return _prefix(module.state_dict(keep_vars=True), checkpoint)


def _prefix(wanted: Mapping[str, Tensor], checkpoint: Checkpoint) -> str:
    """What all names of the file begin with, where without it some of them are the module's."""
    names, prefix = list(checkpoint.file.stored), ""
    while not any(name.removeprefix(prefix) in wanted for name in names):
        rest = [name.removeprefix(prefix) for name in names]
        longer = next((one for one in _PREFIXES if all(name.startswith(one) for name in rest)), "")
        if not longer:
            return ""
        prefix += longer
    return prefix


def _fitting(name: str, tensor: Tensor, source: Entry | str, checkpoint: Checkpoint) -> Tensor:
    array: Any = checkpoint.read(source) if isinstance(source, Entry) else checkpoint.file.read(source)
    if tuple(array.shape) != tuple(tensor.shape):
        raise FormatError(
            f"{checkpoint.name}: {shown(name)} is {_sides(array.shape)} there and {_sides(tensor.shape)} in the module"
        )
    return torch.from_numpy(array.copy())


def _sides(shape: Any) -> str:
    return "x".join(map(str, shape)) or "a number"


def _some(names: list[str]) -> str:
    listed = ", ".join(map(shown, names[:_LISTED]))
    return listed if len(names) <= _LISTED else f"{listed} and {len(names) - _LISTED} more"
