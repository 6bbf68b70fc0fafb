"""Write aside, then rename: never a half file; and operating-system errors in words for a person."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from sao_cli.base.errors import FileError, SaoError

_WAYS_OUT = {
    errno.ENOSPC: "the disk is full; free some space, or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some space, or write elsewhere",
    errno.EFBIG: "it grew past the file-size limit; raise it (ulimit -f), or write elsewhere",
    errno.EACCES: "permission denied; change its permissions, or choose another place",
    errno.EPERM: "that is not permitted; change its permissions, or choose another place",
    errno.EROFS: "it is on a read-only file system; choose another place",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOENT: "no such file; check the name",
    errno.ENOTDIR: "a part of its path is a file, not a folder; check the name",
    errno.ELOOP: "its symbolic links go round in a circle; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EBADF: "it is closed; send it to a file, a pipe or /dev/null",
}
_DESCRIPTOR = r"/dev/(stdout|stderr)|(?:/dev|/proc/self)/fd/(\d+)"
_asides: set[str] = set()  # what this process is writing aside


@contextmanager
def atomic_output(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file whose content appears at `path` when the block ends well, and never otherwise.

    It is written aside in the same folder, flushed to the disk and renamed. After any failure, Ctrl-C included, an
    old file at `path` is as it was and nothing is left aside. The new file has the mode (and, where permitted, the
    owner) of the old one, or what open() would give it; a symbolic link keeps pointing at its target, which is
    replaced. What is no regular file (/dev/null, /dev/stdout, a named pipe) is written straight through; "-" is
    standard output. Raises FileError where the folder is missing, the file can't be written or the disk is full;
    BrokenPipeError passes, so that the reader of a pipe may stop early.

    >>> with atomic_output("mask.bin") as file:
    ...     size = file.write(b"content")
    """
    if path == "-":
        with standard_output() as file:
            yield file
        return
    name = shown(path)
    if "\0" in os.fsdecode(path):
        raise FileError(f"can't write {name}: a path holds no null character")
    with naming_output(name):
        target = os.path.realpath(path)
        old = _status(target)
        if (number := descriptor(path)) is not None:
            opened = _straight(os.dup(number))
        elif old is not None and not stat.S_ISREG(old.st_mode):
            opened = _straight(target)
        else:
            opened = _aside(target, old, name)
        with opened as file:
            yield file


@contextmanager
def standard_output() -> Iterator[IO[bytes]]:
    """Standard output as a binary file whose writes are whole, flushed at the end; failures as in atomic_output."""
    with naming_output("standard output"):
        sys.stdout.flush()
        if isinstance(sys.stdout.buffer, io.RawIOBase):  # PYTHONUNBUFFERED: on a full disk, raw writes stop half way
            with _straight(os.dup(sys.stdout.fileno())) as file:
                yield file
        else:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()


def refuse_terminal(what: str) -> None:
    """Raise FileError where standard output is a terminal, which is no place for bytes that are no text."""
    if sys.stdout.isatty():
        raise FileError(f"{what} is no text for a terminal; name a file, or pipe it on")


@contextmanager
def naming_output(name: str) -> Iterator[None]:
    """Turn an OSError of the block into a FileError that names the output; BrokenPipeError and SaoError pass."""
    try:
        yield
    except (SaoError, BrokenPipeError):
        raise
    except OSError as error:
        raise file_error(error, name, "write") from error


def file_error(error: OSError, name: str, verb: str) -> FileError:
    """The FileError that says in one line what could not be read or written, why, and what to do."""
    reason = _WAYS_OUT.get(error.errno or 0) or (error.strerror or str(error) or type(error).__name__)
    return FileError(f"can't {verb} {name}: {reason}")


def shown(path: str | os.PathLike[str]) -> str:
    """`path` as it goes into a message of one line."""
    text = os.fsdecode(path)
    return text if text.isprintable() and text else repr(text)


def brief(text: object, length: int = 160) -> str:
    """Any text as a part of a message of one line: blanks joined, cut to `length`, escapes made visible.

    >>> brief("no\\n  \\x1b[31mred")
    "'no \\\\x1b[31mred'"
    """
    return shown(" ".join(str(text).split())[:length])


def visible(text: str) -> str:
    """`text` as it may reach a terminal, a log or a picture: what can't be printed is escaped, line ends too.

    Control characters of both sets (ESC, CSI), marks that turn the direction of writing, and halves of pairs.

    >>> visible("plain, α"), visible("\\x1b[31mred\\n")
    ('plain, α', '\\\\x1b[31mred\\\\n')
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def discard_asides() -> None:
    """Remove what is being written aside, by a process that ends at once and runs no `finally` any more."""
    for aside in list(_asides):
        with suppress(OSError):
            os.unlink(aside)


def _status(target: str) -> os.stat_result | None:
    try:
        return os.stat(target)
    except FileNotFoundError:
        return None


def descriptor(path: str | os.PathLike[str]) -> int | None:
    """The number of the open file that `path` stands for, as /dev/stdout and /dev/fd/3 do.

    Opening /dev/stdout anew would cut off what a redirected file already holds; the descriptor itself appends.
    """
    found = re.fullmatch(_DESCRIPTOR, os.fsdecode(path))
    if found is None:
        return None
    return int(found[2]) if found[2] else {"stdout": 1, "stderr": 2}[found[1]]


@contextmanager
def _straight(target: str | int) -> Iterator[IO[bytes]]:
    file = open(target, "wb")  # noqa: SIM115 - closed below, where a failing flush must not hide the first error
    try:
        yield file
        file.flush()
    finally:
        _close_quietly(file)


@contextmanager
def _aside(target: str, old: os.stat_result | None, name: str) -> Iterator[IO[bytes]]:
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileError(f"can't write {name}: the folder {shown(folder)} does not exist; create it, or choose another")
    if old is not None and not os.access(target, os.W_OK):  # rename would replace it all the same; open() would not
        raise PermissionError(errno.EACCES, "read-only file")
    aside = os.path.join(folder, f".sao-{os.urandom(6).hex()}.part")
    _asides.add(aside)  # before it is there, and until it is gone, since a signal may come between any two steps
    try:
        file = os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "wb")
        try:
            yield file
            file.flush()
            _keep_identity(file.fileno(), old)
            os.fsync(file.fileno())  # a full disk may show only here
        finally:
            _close_quietly(file)
        os.replace(aside, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise
    finally:
        _asides.discard(aside)


def _keep_identity(descriptor: int, old: os.stat_result | None) -> None:
    if old is None:
        return
    if hasattr(os, "fchown"):
        with suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _close_quietly(file: IO[bytes]) -> None:
    # Everything that matters is flushed by now, or has failed already: closing retries the flush and fails again.
    with suppress(OSError):
        file.close()
