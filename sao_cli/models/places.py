"""Where workers read what they measure: a path, and its files as they were where the command runs."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sao_cli.base.errors import FileError, FormatError
from sao_cli.io.checkpoints import Checkpoint, checkpoint_files, open_checkpoint
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import file_error, shown

if TYPE_CHECKING:
    from sao_cli.models.stack import WeightStack

Stamp = tuple[int, int]  # bytes, and nanoseconds of the last change


@dataclass(frozen=True)
class CheckpointPlace:
    """Where a checkpoint is read: its path, and its files as they were on `machine`, which tells another file apart."""

    path: str
    machine: str
    stamps: tuple[tuple[str, Stamp], ...]

    @classmethod
    def of(cls, path: Path) -> CheckpointPlace:
        """The place of the checkpoint at `path`, as this process sees it."""
        files = [one for one in checkpoint_files(path) if os.path.exists(one)]
        return cls(os.fsdecode(path), platform.node(), tuple((one, _stamp(one)) for one in files))

    def require_same(self) -> None:
        """Raise FileError for a file that can't be seen here or is another one, FormatError for one that changed."""
        for path, (size, changed) in self.stamps:
            here = _stamp(path)
            if self.machine == platform.node() and here != (size, changed):
                raise FormatError(f"{shown(path)} was changed while it was being read; read it again")
            if here[0] != size:
                raise FileError(f"{shown(path)} has {here[0]} bytes here and {size} where it was named: another file")

    def opened(self) -> Checkpoint:
        """The checkpoint, which stays open for the next job. Raises as `require_same` does."""
        self.require_same()
        return _opened_here(self)


@dataclass(frozen=True)
class StackPlace:
    """Where a stack is read, and what of it is meant, as read_stack has it."""

    file: CheckpointPlace
    picked: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, path: Path, picked: Mapping[str, Any]) -> StackPlace:
        """The place of the stack at `path`, as this process sees it."""
        return cls(CheckpointPlace.of(path), tuple((name, tuple(given)) for name, given in picked.items()))

    def stack(self) -> WeightStack:
        """The stack, which is kept for the next job. Raises as CheckpointPlace.require_same does."""
        self.file.require_same()
        return _read_here(self)


@functools.lru_cache(maxsize=2)  # one that is changed, and what it is changed to
def _opened_here(place: CheckpointPlace) -> Checkpoint:
    return open_checkpoint(place.path)


@functools.lru_cache(maxsize=1)
def _read_here(place: StackPlace) -> WeightStack:
    from sao_cli.models.stack import read_stack

    return read_stack(place.file.path, **dict(place.picked))


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError as error:
        raise file_error(error, shown(path), "read") from error
    return status.st_size, status.st_mtime_ns
