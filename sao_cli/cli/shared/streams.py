"""The three standard streams: closed ones, full ones, and whether there is an input on the first."""

import contextlib
import os
import stat
import sys
from typing import Any


def hold_places() -> None:
    """Put something that can't be used in the place of standard streams that are closed.

    Python has None for them, which every use would have to look for; and the next file that is opened would be given
    their number. Writing now fails as on a full disk. stdin stays None: there is no input.
    """
    for number, name, flags in ((0, "stdin", os.O_WRONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_RDONLY)):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            if number:
                setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False))


def silence(stream: Any) -> None:
    """Send what the stream still holds, and all that comes, nowhere, or its flush at the end would exit with 120."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def flush_stdout() -> None:
    """Flush stdout. That its reader has gone is no error, and changes no exit code. Raises OSError for a full disk."""
    try:
        sys.stdout.flush()
    except OSError as error:
        silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise


def given_source(file: str | None) -> str | None:
    """The file that is named; else "-", where there is an input on stdin; else None."""
    return "-" if file is None and has_input() else file


def has_input() -> bool:
    """Whether stdin is a pipe or a file: not closed, and neither a terminal nor /dev/null, as of a job in a shell."""
    if sys.stdin is None or sys.stdin.isatty():
        return False
    with contextlib.suppress(OSError, ValueError):
        status, null = os.fstat(sys.stdin.fileno()), os.stat(os.devnull)
        return not (stat.S_ISCHR(status.st_mode) and status.st_rdev == null.st_rdev)
    return True
