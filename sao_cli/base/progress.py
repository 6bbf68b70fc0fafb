"""How long work tells how far it is: numerics call back, and whoever called them decides what to show."""

import time
from typing import Protocol

BAR = 20  # characters


class Progress(Protocol):
    """Called now and then with what is being done, how much of it is done, and of how much (None: not known)."""

    def __call__(self, what: str, done: int, total: int | None) -> None: ...


def silent(what: str, done: int, total: int | None) -> None:
    """A Progress that shows nothing."""


class TimeLeft:
    """A Progress that puts a bar and the time left before what it passes on, as its pace so far has it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._started = time.monotonic()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if total and done:
            filled = BAR * done // total
            left = (time.monotonic() - self._started) * (total - done) / done
            what = f"[{'#' * filled}{'.' * (BAR - filled)}] {format_seconds(left)} left, {what}"
        self._progress(what, done, total)


def format_seconds(seconds: float) -> str:
    """`seconds` for a person who waits.

    >>> [format_seconds(one) for one in (4.2, 100, 9000, 200000)]
    ['4 s', '2 min', '2.5 h', '2.3 days']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 129_600 else f"{seconds / 86_400:.1f} days"
