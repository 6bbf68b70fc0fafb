"""What goes to stderr: errors, warnings, hints, progress. `-q` silences all but errors."""

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from sao_cli.base.errors import SaoWarning
from sao_cli.cli.shared.streams import silence
from sao_cli.io.output import visible

PATIENCE = 1.0  # seconds before progress shows
REFRESH = 0.2
LONGEST = 2000  # characters of a message; what is longer quotes something that is


class Talk:
    """One command's voice on stderr; itself a Progress, which shows on a terminal after a second of work.

    All text goes through one gate: what could do something to a terminal is escaped, and a message is one line.
    `parting` gives what to say where the work is ended before its time. `unheard`: something could not be written,
    since stderr is full or closed; that its reader has gone is no failure.
    """

    def __init__(self) -> None:
        self.name = "sao"
        self.quiet = False
        self.parting: Callable[[], str] = str
        self.unheard = False
        self._hints: list[str] = []
        self._started = time.monotonic()
        self._shown = 0.0
        self._line = ""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if self.quiet or now - self._started < PATIENCE or now - self._shown < REFRESH or not sys.stderr.isatty():
            return
        self._shown = now
        self.erase()
        self._line = visible(f"{what}: {done}" + (f" of {total}" if total else ""))
        self._write(self._line, line_end=False)

    def say(self, text: str) -> None:
        """A hint, or a word on what was chosen."""
        if not self.quiet:
            self.error(text)

    def say_at_the_end(self, text: str) -> None:
        """A hint that only a command which succeeds has to give, beside nothing else where it fails."""
        self._hints.append(text)

    def finish(self) -> None:
        """Say what was kept for the end."""
        while self._hints:
            self.say(self._hints.pop(0))

    def warn(self, text: str) -> None:
        """Something that the user should know before trusting the result."""
        if not self.quiet:
            self.error(text, click.style("warning", fg="yellow") + ": ")

    def error(self, text: str, kind: str = "") -> None:
        """The one line that an error leaves; `-q` does not silence it."""
        self.erase()
        self._write(f"{visible(self.name)}: {kind}{_brief(visible(text))}")

    def bug(self, error: BaseException) -> None:
        """A traceback, and what to do with it."""
        self.erase()
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            self._write(visible(line))
        self.error("this is a bug in sao: please report it with the traceback above")

    def last_words(self, how: str) -> str:
        """All that is to be written where a signal ends the work."""
        blank = "\r" + " " * len(self._line) + "\r" if self._line else ""
        parting = "" if self.quiet else self.parting()
        told = [parting, how] if parting else [how]
        return blank + "".join(f"{visible(self.name)}: {visible(one)}\n" for one in told)

    def show_warning(self, message: Any, category: type[Warning], *_: Any) -> None:
        """What warnings.showwarning calls: our own warnings are for the user, others for developers."""
        if issubclass(category, SaoWarning):
            self.warn(str(message))

    def erase(self) -> None:
        """Clear the progress line, before anything else is written and at the end."""
        if self._line:
            blank, self._line = "\r" + " " * len(self._line) + "\r", ""
            self._write(blank, line_end=False)

    def _write(self, text: str, line_end: bool = True) -> None:
        try:
            click.echo(text, err=True, nl=line_end)
        except BrokenPipeError:
            silence(sys.stderr)
        except OSError:
            self.unheard = True
            silence(sys.stderr)


def _brief(text: str) -> str:
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"
