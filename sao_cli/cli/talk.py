"""What goes to stderr: errors, warnings, hints, progress. `-q` silences all but errors."""

import sys
import time
from typing import Any

import click

from sao_cli.errors import SaoWarning

PATIENCE = 1.0  # seconds before progress shows
REFRESH = 0.2


class Talk:
    """One command's voice on stderr; itself a Progress, which shows on a terminal after a second of work."""

    def __init__(self) -> None:
        self.name = "sao"
        self.quiet = False
        self._started = time.monotonic()
        self._shown = 0.0
        self._line = ""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if self.quiet or now - self._started < PATIENCE or now - self._shown < REFRESH or not sys.stderr.isatty():
            return
        self._shown = now
        self.erase()
        self._line = f"{what}: {done}" + (f" of {total}" if total else "")
        click.echo(self._line, err=True, nl=False)

    def say(self, text: str) -> None:
        """A hint, or a word on what was chosen."""
        if not self.quiet:
            self.erase()
            click.echo(f"{self.name}: {text}", err=True)

    def warn(self, text: str) -> None:
        """Something that the user should know before trusting the result."""
        self.say(f"{click.style('warning', fg='yellow')}: {text}")

    def error(self, text: str) -> None:
        """The one line that an error leaves; `-q` does not silence it."""
        self.erase()
        click.echo(f"{self.name}: {text}", err=True)

    def show_warning(self, message: Any, category: type[Warning], *_: Any) -> None:
        """What warnings.showwarning calls: our own warnings are for the user, others for developers."""
        if issubclass(category, SaoWarning):
            self.warn(str(message))

    def erase(self) -> None:
        """Clear the progress line, before anything else is written and at the end."""
        if self._line:
            click.echo("\r" + " " * len(self._line) + "\r", err=True, nl=False)
            self._line = ""
