"""One command line run in this process, as a job of a sweep: its exit code, what it printed and what it said."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence

from sao_cli.base.errors import FileError
from sao_cli.cli.shared.talk import Talk


def run_command(arguments: Sequence[str], files: Sequence[str] = ()) -> tuple[int, bytes, str]:
    """The exit code, stdout and stderr of `sao` with these arguments; its stdin is closed.

    Raises FileError where one of `files` is not here: on a worker that does not see what the client sees.
    """
    from sao_cli.cli import main

    for path in files:
        if not os.path.exists(path):
            raise FileError(f"there is no {path!r} here")
    code = 0
    with _own_streams() as (out, said):
        try:
            main.main(list(arguments), prog_name="sao", obj=Talk(), default_map={})  # the settings are in the words
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return code, _bytes(out), _bytes(said).decode("utf-8", "replace")


@contextlib.contextmanager
def _own_streams() -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Inside it stdout and stderr are buffers, and stdin is closed."""
    before = sys.stdin, sys.stdout, sys.stderr
    out, said = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", newline="\n") for _ in range(2))
    sys.stdin, sys.stdout, sys.stderr = None, out, said
    try:
        yield out, said
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        out.flush()
        said.flush()


def _bytes(stream: io.TextIOWrapper) -> bytes:
    return stream.buffer.getvalue()  # type: ignore[attr-defined,no-any-return]
