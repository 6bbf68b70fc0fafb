"""What every checkpoint format has in common: names, shapes and dtypes first, then one tensor at a time."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from sao_cli.base.errors import FileError, FormatError
from sao_cli.io.output import file_error, shown

Path = str | os.PathLike[str]
HEAD = 4096


class Stored(NamedTuple):
    """A tensor as a file tells of it; `dtype` is torch's name. `problem` says why it can't be read, if so.

    `storage` is (what, strides): tensors of one "what" are the same numbers in the same memory, whatever the order of
    their axes, which the strides tell; None where the file's format does not tell.
    """

    shape: tuple[int, ...]
    dtype: str
    bytes: int
    problem: str | None = None
    storage: tuple[tuple[Any, ...], tuple[int, ...]] | None = None


class Beside(NamedTuple):
    """Tensors that a file holds beside its weights, such as an optimiser's state, counted together."""

    name: str
    tensors: int
    bytes: int
    reason: str


class TensorFile(ABC):
    """A file of named tensors: `stored` by name in the file's order, what is `beside` them, and text `metadata`.

    `name` opens every message.
    """

    name: str
    stored: Mapping[str, Stored]
    beside: tuple[Beside, ...] = ()
    metadata: Mapping[str, str]

    @abstractmethod
    def read(self, name: str) -> NDArray[Any]:
        """The named tensor; FormatError, of one line, where it can't be read."""

    def head(self, name: str) -> bytes:
        """The first bytes of the named tensor, HEAD of them or all: what differs in them need not be read."""
        return self.read(name).reshape(-1)[:HEAD].tobytes()[:HEAD]

    def close(self) -> None:  # noqa: B027 - most hold nothing open
        """Give back what is held open."""


class Snapshot:
    """Which file a path led to when it was listed, so that no tensor is read by the offsets of another."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, shown(path)
        status = self._status()
        if not stat.S_ISREG(status.st_mode):
            raise FileError(f"{self.name} is no regular file; a checkpoint is read in parts: save it to a file first")
        self.size = status.st_size
        self._identity = _identity(status)

    def require_same(self) -> None:
        """Raise FormatError where the path leads to another file by now, or the file was written to."""
        if _identity(self._status()) != self._identity:
            raise FormatError(f"{self.name} was changed while it was being read; read it again")

    def _status(self) -> os.stat_result:
        try:
            return os.stat(self.path)
        except OSError as error:
            raise file_error(error, self.name, "read") from error
        except ValueError as error:  # a null character inside the path
            raise FileError(f"{self.name} can't be a path: {error}") from error


def stem(path: Path) -> str:
    """The name of a file without its folder and suffix, for the one tensor of a format without names."""
    return os.path.splitext(os.path.basename(os.fsdecode(path)))[0]


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
