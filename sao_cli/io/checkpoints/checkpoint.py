"""Checkpoints of networks: every tensor listed with what it is, read one at a time; and written as safetensors."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FileError, FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.data.product import Product
from sao_cli.io.checkpoints.assembly import assembled
from sao_cli.io.checkpoints.entries import Entry, entries_of
from sao_cli.io.checkpoints.order import natural
from sao_cli.io.checkpoints.ties import Tie, ties_of
from sao_cli.io.formats.foreign_formats import SAVED_MODEL, foreign_format
from sao_cli.io.formats.recognition import open_tensors
from sao_cli.io.formats.registry import FORMATS
from sao_cli.io.formats.tensor_file import Path, TensorFile
from sao_cli.io.output import brief, file_error, shown
from sao_cli.io.source import WholeCopy

_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_WHOLE = ("model.safetensors", "pytorch_model.bin")
RUN_FILES = ("settings.json", "metrics.jsonl", "last.safetensors", "final.safetensors")  # of `sao train`
_SAVED_MODEL = "saved_model.pb"  # beside which the variables lie in a folder
_LISTED = 4
_PIECE = 1 << 20  # numbers looked at once


def open_checkpoint(path: Path | WholeCopy) -> Checkpoint:
    """The Checkpoint in a file, or in a folder that holds one; to be closed, so best in a `with`.

    The first bytes of the file tell its format: safetensors, torch's (also nested and wrapped dicts), .npz, .npy,
    Matrix Market text, whose matrices are layer.1, layer.2 ..., or an index of shards (model.safetensors.index.json,
    pytorch_model.bin.index.json). What gzip packed is unpacked into memory. In a folder that is such an index,
    model.safetensors or pytorch_model.bin, the final.safetensors of a run of `sao train`, its only .safetensors, or
    else its only torch file. Nothing is executed: torch files are read by torch.load(weights_only=True), memory-mapped
    where their format allows it.

    "-" is standard input: one file, up to 4 GiB, of which a copy is held in memory, and which has to be whole; a
    WholeCopy is such a copy of any stream.

    Raises FileError for what can't be opened, and FormatError, of one line, where nothing can be read. Of a file that
    is damaged in parts, those are listed with their reason. O(tensors), and no tensor is read.

    >>> from sao_cli.io.checkpoints import write_checkpoint
    >>> write_checkpoint({"fc.weight": np.eye(3), "fc.bias": np.zeros(3)}, "model.safetensors")
    >>> with open_checkpoint("model.safetensors") as checkpoint:
    ...     for entry in checkpoint.entries:
    ...         print(entry.name, entry.shape, entry.dtype, entry.kind, entry.reason)
    ...     print(checkpoint.read(checkpoint.entries[0]).sum())
    fc.weight (3, 3) float64 matrix None
    fc.bias (3,) float64 skipped bias
    3.0
    """
    if isinstance(path, WholeCopy) or path == "-":
        return Checkpoint(open_tensors(path))
    return Checkpoint(open_tensors(_in_folder(path) if os.path.isdir(path) else path), path)


def checkpoint_files(path: Path) -> list[str]:
    """The files that open_checkpoint(path) reads: the one that is named or in a folder, and the shards of an index.

    Of what can't be read, those that can be told; of standard input none.
    """
    found: list[str] = []
    if path == "-":
        return found
    with suppress(SaoError, OSError, ValueError):
        found.append(_in_folder(path) if os.path.isdir(path) else os.fsdecode(path))
        start = b""
        if os.path.isfile(found[0]):  # and no pipe, which has what it has once
            with open(found[0], "rb") as raw:
                start = raw.read(16)
        if start.lstrip().startswith(b"{"):
            from sao_cli.io.formats.shards import shard_paths

            found += shard_paths(found[0])
    return found


class Checkpoint:
    """The tensors of a checkpoint: `entries`, list[Entry] in the file's order, and `read` for one of them.

    Shards come by their numbers. `name` is the file, as messages show it, `metadata` the text that a safetensors file
    carries, and `path` where it can be opened again, None of a stream. Reading is safe from several threads.
    """

    def __init__(self, file: TensorFile, path: Path | None = None) -> None:
        self.file, self.path = file, path
        self.name, self.metadata = file.name, dict(file.metadata)
        self.entries = entries_of(file)
        if not self.entries:
            raise FormatError(f"{self.name} holds no tensor at all; save a model's state_dict")

    def read(self, entry: Entry) -> NDArray[Any]:
        """The tensor, dense, in its own dtype; bfloat16 as float32, which holds it exactly. Not to be written to.

        Of pruned tensors, and of one with a mask beside it, it is the product with the mask, of an SAOLinear's blocks
        the whole (m, n) matrix, where the inputs that padding added are columns too. Raises FormatError, of one line,
        for what can't be read and for values that are not finite, and MemoryLimitError for what would not fit.
        Memory: the tensor, where it is made of several, all of them.
        """
        where = f"{self.name}: tensor {shown(entry.name)}"
        if not entry.parts or entry.form == "" or 0 in entry.shape:
            raise FormatError(f"{where}: {entry.reason}")
        parts = [self.file.read(part) for part in entry.parts]
        array = parts[0] if entry.form == "plain" else _combined(entry, parts, where)
        _require_finite(array, where)
        return array

    def read_product(self, entry: Entry) -> Product:
        """The two factors that a pair is the product of (entries.LORA), as they are stored. Raises as `read` does."""
        left, right = (self.file.read(part) for part in entry.parts)
        for part, array in zip(entry.parts, (left, right), strict=True):
            _require_finite(array, f"{self.name}: tensor {shown(part)}")
        return Product(left, right)

    @cached_property
    def ties(self) -> list[Tie]:
        """The weights with several names; see ties.ties_of for what that takes."""
        return ties_of(self.file, sorted(self.entries, key=lambda entry: natural(entry.name)))

    def close(self) -> None:
        """Close the file; what was read stays."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _combined(entry: Entry, parts: list[NDArray[Any]], where: str) -> NDArray[Any]:
    require_memory(3 * math.prod(entry.shape) * parts[0].itemsize, where)
    try:
        return assembled(entry.form, parts)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    except (ValueError, TypeError, IndexError) as error:
        raise FormatError(f"{where} can't be put together from its parts: {brief(error)}") from error


def _require_finite(array: NDArray[Any], where: str) -> None:
    if array.dtype.kind not in "fc":
        return
    flat = array.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        finite = np.isfinite(flat[start : start + _PIECE])
        if not finite.all():
            place = start + int(np.argmin(finite))
            index = tuple(int(one) + 1 for one in np.unravel_index(place, array.shape))
            raise FormatError(f"{where}: {flat[place]} at place {index}; every value must be a finite number")


def _is_run(names: list[str]) -> bool:
    """Whether a folder is one that `sao train` keeps a run in."""
    settings, *others = RUN_FILES
    return settings in names and any(name in names for name in others)


def _in_folder(folder: Path) -> str:
    """The checkpoint in a folder; FileError where there is none, or more than one."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise file_error(error, shown(folder), "read") from error
    texts = [os.fsdecode(name) for name in names]
    if _SAVED_MODEL in texts:
        raise FormatError(f"{shown(folder)}: {foreign_format(SAVED_MODEL)}")
    for choice in (*_INDEXES, *_WHOLE):
        if choice in texts:
            return os.path.join(os.fsdecode(folder), choice)
    if _is_run(texts):
        if (final := RUN_FILES[-1]) in texts:
            return os.path.join(os.fsdecode(folder), final)
        way_out = f"`sao train --resume -o {shown(folder)}` goes on with it"
        raise FileError(f"{shown(folder)} is a run that is not finished, without {final}; {way_out}")
    kinds = [row.in_folders for row in FORMATS]
    groups = [[name for name in texts if name.endswith(".index.json")]]
    groups += [[name for name in texts if name.endswith(suffixes)] for suffixes in kinds if suffixes]
    for found in groups:
        if len(found) == 1:
            return os.path.join(os.fsdecode(folder), found[0])
        if found:
            listed = ", ".join(map(shown, found[:_LISTED])) + (", ..." if len(found) > _LISTED else "")
            raise FileError(f"{shown(folder)} holds {len(found)} checkpoints: {listed}; name one of them")
    named = ", ".join(suffix for suffixes in kinds for suffix in suffixes)
    raise FileError(f"{shown(folder)} is a folder without a checkpoint ({named}); name a file")
