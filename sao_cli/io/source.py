"""`Source`: bytes from a path, a pipe or a file object, read once and forwards, with errors that name their origin."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from sao_cli.base.errors import FileError, FormatError
from sao_cli.base.memory import require_memory
from sao_cli.io.output import brief, file_error, shown
from sao_cli.io.proportions import require_proportion

CHUNK = 1 << 21  # few enough reads that Python's share is nothing, small enough for the cache's next level
PIPED_LIMIT = 1 << 32  # the most that is held in memory of a format which can't be read forwards

PathOrFile = str | os.PathLike[str] | IO[bytes]
STDIN = "standard input"


class Source:
    """A forward reader over `raw`. `name` opens every error; `size` is the file's length where it is known.

    `failures` are what `raw` raises for damaged content (a gzip or zip member), and become FormatError; `packed` is
    the source that `raw` unpacks, where no more than require_proportion allows may come out of it. `passed` counts
    the bytes that came.
    """

    def __init__(
        self,
        raw: IO[bytes],
        name: str,
        size: int | None = None,
        failures: tuple[type[Exception], ...] = (),
        packed: Source | None = None,
    ) -> None:
        self.raw, self.name, self.size, self._failures, self._packed = raw, name, size, failures, packed
        self.passed = 0
        self._peeked = b""
        self._copy: io.BytesIO | None = None

    def read(self, count: int = CHUNK, /) -> bytes:
        """At most `count` bytes, and b"" only at the end."""
        taken, self._peeked = self._peeked[:count], self._peeked[count:]
        return taken or self._read(count)

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or all that are left, without taking them."""
        while len(self._peeked) < count and (more := self._read(count - len(self._peeked))):
            self._peeked += more
        return self._peeked[:count]

    def read_exactly(self, count: int, what: str) -> memoryview:
        """The next `count` bytes. Raises FormatError where fewer are left, having taken memory for those only."""
        self._require_left(count, what)
        require_memory(count, f"{self.name}: {what}")
        return self._filled(count, what) if self.size is not None else memoryview(self._gathered(count, what))

    def _filled(self, count: int, what: str) -> memoryview:
        """From a file that is known to have them: straight into their place."""
        taken = memoryview(np.empty(count, np.uint8))  # type: ignore[arg-type]  # which is not zeroed first
        first = min(len(self._peeked), count)
        taken[:first], self._peeked = self._peeked[:first], self._peeked[first:]
        while first < count:
            more = self._into(taken[first:])
            if not more:
                raise self._truncated(what, count, first)
            first += more
        return taken

    def _gathered(self, count: int, what: str) -> bytearray:
        taken = bytearray()
        while len(taken) < count:
            more = self.read(min(CHUNK, count - len(taken)))
            if not more:
                raise self._truncated(what, count, len(taken))
            taken += more
        return taken

    def skip(self, count: int, what: str) -> None:
        """Pass over the next `count` bytes: at once in a file, by reading them in a pipe."""
        self._require_left(count, what)
        if self.size is not None:
            self.raw.seek(count - len(self._peeked), os.SEEK_CUR)
            self._peeked = b""
            return
        passed = 0
        while passed < count:
            more = self.read(min(CHUNK, count - passed))
            if not more:
                raise self._truncated(what, count, passed)
            passed += len(more)

    def skip_to(self, place: int, what: str) -> None:
        """Pass over what comes before the byte `place`, counted from where this source began."""
        behind = self.raw.tell() if self.size is not None else self.passed
        self.skip(place - behind + len(self._peeked), what)

    def whole(self) -> IO[bytes]:
        """Everything from the start as a seekable file: the file itself, or a copy in memory of what a pipe gives."""
        if self.size is not None:
            self.raw.seek(0)
            return self.raw
        if self._copy is not None:
            self._copy.seek(0)
            return self._copy
        self._copy = copy = io.BytesIO()
        while more := self.read(CHUNK):
            copy.write(more)
            if copy.tell() > PIPED_LIMIT:
                raise FormatError(f"{self.name}: more than 4 GiB of what is held as a whole; save it to a file")
            if copy.tell() % (64 * CHUNK) < len(more):
                require_memory(copy.tell(), f"{self.name}: a copy of the input", "save it to a file and name that")
        copy.seek(0)
        return copy

    def fail(self, problem: str) -> FormatError:
        """A FormatError that names this source."""
        return FormatError(f"{self.name}: {problem}")

    def _read(self, count: int) -> bytes:
        try:
            taken: Any = self.raw.read(count)
        except self._failures as error:
            told = brief(error) if str(error) else type(error).__name__
            raise self.fail(f"the compressed data is damaged or cut off ({told})") from error
        except OSError as error:
            raise file_error(error, self.name, "read") from error
        if isinstance(taken, str):
            raise FileError(f"{self.name} is open as text; open it in binary mode ('rb')")
        self.passed += len(taken or b"")
        if self._packed is not None:
            require_proportion(self._packed.passed, self.passed, self.name)
        return taken or b""

    def _into(self, left: memoryview) -> int:
        try:
            return self.raw.readinto(left)  # type: ignore[attr-defined, no-any-return]  # which a file has
        except OSError as error:
            raise file_error(error, self.name, "read") from error

    def left(self) -> int | None:
        """How many bytes are left, where the length of the file is known."""
        return None if self.size is None else self.size - self.raw.tell() + len(self._peeked)

    def _require_left(self, count: int, what: str) -> None:
        if (left := self.left()) is not None and count > left:
            raise self._truncated(what, count, left)

    def _truncated(self, what: str, needed: int, found: int) -> FormatError:
        return self.fail(f"{what} takes {needed} bytes, and the input ends after {found} of them: it is cut off")


class WholeCopy:
    """All that a Source has, in memory, to be read again from its start: by several threads, each by its own Source."""

    def __init__(self, source: Source) -> None:
        copy = source.whole()
        copy.seek(0)
        self.name, self._bytes = source.name, copy.getvalue() if isinstance(copy, io.BytesIO) else copy.read()
        self.size = len(self._bytes)

    def file(self) -> IO[bytes]:
        """A seekable file of its own, which shares the bytes."""
        return io.BytesIO(self._bytes)

    def source(self) -> Source:
        """A Source from the start."""
        return Source(self.file(), self.name, self.size)


def source_name(source: str | os.PathLike[str]) -> str:
    """A path as messages show it; "-" is standard input."""
    return STDIN if source == "-" else shown(source)


@contextmanager
def open_source(source: PathOrFile) -> Iterator[Source]:
    """The Source for a path, for "-" (standard input) or for a binary file object, which stays open.

    Raises FileError for what can't be opened: a missing file, a folder, no permission.
    """
    if source == "-":
        if sys.stdin is None:
            raise FileError("standard input is closed; name a file, or pipe a matrix in")
        yield Source(sys.stdin.buffer, STDIN)
    elif isinstance(source, str | os.PathLike):
        name = shown(source)
        with _opened(source, name) as raw:
            status = os.fstat(raw.fileno())
            yield Source(raw, name, status.st_size if stat.S_ISREG(status.st_mode) else None)
    else:
        yield Source(source, _object_name(source))


def _opened(path: str | os.PathLike[str], name: str) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise file_error(error, name, "read") from error
    except ValueError as error:  # a null character inside the path
        raise FileError(f"{name} can't be a path: {error}") from error


def _object_name(raw: IO[bytes]) -> str:
    name = getattr(raw, "name", None)
    return shown(name) if isinstance(name, str) else "the input"
