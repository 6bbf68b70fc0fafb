"""How long work tells how far it is: numerics call back, and whoever called them decides what to show."""

from typing import Protocol


class Progress(Protocol):
    """Called now and then with what is being done, how much of it is done, and of how much (None: not known)."""

    def __call__(self, what: str, done: int, total: int | None) -> None: ...


def silent(what: str, done: int, total: int | None) -> None:
    """A Progress that shows nothing."""
