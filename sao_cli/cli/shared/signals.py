"""What Ctrl-C, SIGTERM and SIGHUP do: end the program at once, with nothing half-written left behind."""

import contextlib
import os
import signal
from typing import Any

from sao_cli.cli.shared.talk import Talk
from sao_cli.io.output import discard_asides

ENDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}  # what is said; Windows has no SIGHUP
CAUGHT = 128  # and the signal's number: the exit code


def end_on_signals(talk: Talk) -> None:
    """Let each signal of ENDS end this process, unless it is ignored, as SIGHUP is under nohup.

    An exception would not do: the imports of numpy and torch turn it into others, and a destructor swallows it.
    """

    def end(number: int, _: Any) -> None:
        discard_asides()
        with contextlib.suppress(OSError):  # past Python's own buffer, which may be half way through a write
            os.write(2, talk.last_words(ENDS[signal.Signals(number).name]).encode(errors="backslashreplace"))
        os._exit(CAUGHT + number)

    for name in ENDS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)
