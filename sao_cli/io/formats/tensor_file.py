"""What every checkpoint format has in common: names, shapes and dtypes first, then one tensor at a time."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from sao_cli.base.errors import FileError, FormatError
from sao_cli.io.output import file_error, shown
from sao_cli.io.source import Source, WholeCopy, open_source

if TYPE_CHECKING:
    from sao_cli.data.kernel import Weight

Path = str | os.PathLike[str]
HEAD = 4096


class Stored(NamedTuple):
    """A tensor as a file tells of it; `dtype` is torch's name. `problem` says why it can't be read, if so.

    `damaged` tells a problem of the file from one of the numbers, of a kind that can't be read. `storage` is (what,
    strides): tensors of one "what" are the same numbers in the same memory, whatever the order of their axes, which the
    strides tell; None where the file's format does not tell.
    """

    shape: tuple[int, ...]
    dtype: str
    bytes: int
    problem: str | None = None
    storage: tuple[tuple[Any, ...], tuple[int, ...]] | None = None
    damaged: bool = False


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

    def each(self, names: Collection[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """The named tensors as `read` has them, in the order in which they are read best, one at a time."""
        return ((name, self.read(name)) for name in names)

    def sparse(self, name: str, where: str) -> Weight | None:
        """The named tensor as a weight that never was dense; None where it is stored dense."""
        return None

    def origins(self) -> Mapping[str, dict[str, Any]]:
        """The provenance that a file of ours tells, by tensor."""
        return {}

    def require_whole(self) -> None:
        """Raise FormatError for a file that is damaged anywhere."""
        for name, stored in self.stored.items():
            if stored.damaged:
                self.require(name)

    def require(self, name: str) -> str:
        """The tensor as messages name it. Raises FormatError where it can't be read."""
        where = f"{self.name}: tensor {shown(name)}"
        if (problem := self.stored[name].problem) is not None:
            raise FormatError(f"{where}: {problem}")
        return where

    def head(self, name: str) -> bytes:
        """The first bytes of the named tensor, HEAD of them or all: what differs in them need not be read."""
        return self.read(name).reshape(-1)[:HEAD].tobytes()[:HEAD]

    def close(self) -> None:  # noqa: B027 - most hold nothing open
        """Give back what is held open."""


class Snapshot:
    """Where tensors are: in the file that a path led to when it was listed, and no other, in a copy, or an open Source.

    `stem` names the one tensor of a format without names.
    """

    def __init__(self, place: Path | Source | WholeCopy) -> None:
        self.place = place
        path = place.name if isinstance(place, Source | WholeCopy) else os.fsdecode(place)
        self.stem = os.path.splitext(os.path.basename(path))[0]
        self.size: int | None
        if isinstance(place, Source | WholeCopy):
            self.name, self.size = place.name, place.size
            return
        self.path, self.name = place, shown(place)
        status = self._status()
        if not stat.S_ISREG(status.st_mode):
            raise FileError(f"{self.name} is no regular file; a checkpoint is read in parts: save it, or pipe it to -")
        self.size = status.st_size
        self._identity = _identity(status)

    @contextmanager
    def opened(self) -> Iterator[Source]:
        """The bytes: of a path and a copy from their start, of a Source from where it is."""
        if isinstance(self.place, Source | WholeCopy):
            yield self.place.source() if isinstance(self.place, WholeCopy) else self.place
            return
        self.require_same()
        with open_source(self.place) as source:
            yield source

    def seekable(self) -> Path | IO[bytes]:
        """The path, or all that a copy or a Source has from its start."""
        if isinstance(self.place, Source | WholeCopy):
            return self.place.file() if isinstance(self.place, WholeCopy) else self.place.whole()
        self.require_same()
        return self.place

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


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
