"""Checkpoints in several files, shards, which an index in JSON lists by tensor."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.io.formats.recognition import open_tensors
from sao_cli.io.formats.safetensors_header import PARSED
from sao_cli.io.formats.tensor_file import Path, Snapshot, Stored, TensorFile
from sao_cli.io.output import brief, file_error, shown
from sao_cli.io.proportions import require_count

MAX_INDEX = 1 << 26  # bytes; one of a hundred thousand tensors has a tenth


class ShardedFiles(TensorFile):
    """The shards that an index names, in the order of their numbers, which can be no index again.

    A shard that is missing or damaged leaves its tensors listed with that problem. A shard outside the index's folder
    is never opened. Raises FormatError for an index that can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.metadata = shown(path), {}
        shards: dict[str, list[str]] = {}
        for name, shard in _weight_map(path, self.name).items():
            shards.setdefault(shard, []).append(name)
        self._files: dict[str, TensorFile] = {}
        self._home: dict[str, str] = {}
        self.stored: dict[str, Stored] = {}
        for shard in sorted(shards, key=_by_number):
            self._add(shard, shards[shard], os.path.dirname(os.fspath(path)))

    def read(self, name: str) -> NDArray[Any]:
        """The named tensor from its shard."""
        if (problem := self.stored[name].problem) is not None:
            raise FormatError(f"{self.name}: tensor {shown(name)}: {problem}")
        return self._files[self._home[name]].read(name)

    def head(self, name: str) -> bytes:
        """The named tensor's first bytes, from its shard."""
        return self._files[self._home[name]].head(name)

    def close(self) -> None:
        """Close every shard."""
        for file in self._files.values():
            file.close()

    def _add(self, shard: str, names: list[str], folder: str) -> None:
        try:
            file = self._opened(shard, folder)
        except SaoError as error:
            missing = Stored((), "unknown", 0, brief(error, 200))
            self.stored.update((name, missing) for name in names if name not in self.stored)
            return
        wanted = set(names)
        self._files[shard] = file
        for name, stored in file.stored.items():
            if name not in wanted and name not in self.stored:
                stored = stored._replace(problem=stored.problem or f"in the shard {shown(shard)}, not in the index")
            elif name not in wanted:
                continue
            self.stored[name], self._home[name] = stored, shard
        absent = Stored((), "unknown", 0, f"not in its shard {shown(shard)}, where the index has it")
        self.stored.update((name, absent) for name in names if name not in file.stored)

    def _opened(self, shard: str, folder: str) -> TensorFile:
        if os.path.isabs(shard) or ".." in re.split(r"[/\\]", shard) or "\0" in shard:
            raise FormatError(f"its shard {shown(shard)} is outside the folder of the index")
        path = os.path.join(folder, shard)
        if not os.path.exists(path):
            raise FormatError(f"its shard {shown(shard)} is missing")
        return open_tensors(path, listed=True)


def shard_paths(path: Path) -> list[str]:
    """The files that an index names, in its own folder. Raises FormatError for an index that can't be read."""
    folder = os.path.dirname(os.fsdecode(path))
    return [os.path.join(folder, shard) for shard in dict.fromkeys(_weight_map(path, shown(path)).values())]


def _weight_map(path: Path, name: str) -> dict[str, str]:
    size = Snapshot(path).size or 0
    if size > MAX_INDEX:
        raise FormatError(f"{name}: an index of {size} bytes; one of a checkpoint's shards is smaller than {MAX_INDEX}")
    require_memory(PARSED * size, f"{name}: the index")
    try:
        with open(path, "rb") as file:
            found = json.load(file)["weight_map"]
        if not isinstance(found, dict) or not all(isinstance(shard, str) and shard for shard in found.values()):
            raise TypeError("its weight_map is no mapping of tensors to files")
    except OSError as error:
        raise file_error(error, name, "read") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        told = "it has no weight_map" if isinstance(error, KeyError) else brief(error, 100)
        raise FormatError(f"{name}: no index of a checkpoint's shards: {told}") from error
    require_count(len(found), name)
    return found


def _by_number(shard: str) -> list[tuple[int, str]]:
    """model-2 before model-10: digits compare as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,18})", shard)]
