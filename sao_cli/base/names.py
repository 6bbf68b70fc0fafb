"""What a table of names is made of: its rows, how a name is looked up, refused with the nearest, loaded and listed."""

from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import import_module
from typing import Any, ClassVar, TypeVar, dataclass_transform

from sao_cli.base.errors import SaoError, unknown_name


@dataclass_transform(frozen_default=True)
class _Frozen:
    """What its class annotates, with defaults; a dataclass takes ten times as long to make when a command starts."""

    _traits: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._traits = (*cls._traits, *cls.__annotations__)

    def __init__(self, *given: Any, **named: Any) -> None:
        told = dict(zip(self._traits, given, strict=False)) | named
        if len(given) > len(self._traits) or not told.keys() <= set(self._traits):
            raise TypeError(f"{type(self).__name__} takes {', '.join(self._traits)}")
        vars(self).update(told)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a row of the catalog stays as it is: {name}")


class Row(_Frozen):
    """A name, and a line that says what it is; other kinds of rows add their traits."""

    name: str
    line: str


R = TypeVar("R", bound=Row)


def table(*rows: R) -> dict[str, R]:
    """The rows by their names, each of which stands once."""
    found = {row.name: row for row in rows}
    assert len(found) == len(rows), "a name stands twice in its table"
    return found


def check(kind: str, name: str, known: Collection[str], more: str = "") -> None:
    """Raise SaoError with what `refusal` says."""
    if (said := refusal(kind, name, known, more)) is not None:
        raise SaoError(said)


def refusal(kind: str, name: str, known: Collection[str], more: str = "") -> str | None:
    """What is said of a `name` that is none of `known`, with the nearest that is; None where it is one.

    `kind` says what it should be, and `more` what else would do.
    """
    if isinstance(name, str) and name in known:  # of a file it may be anything
        return None
    return unknown_name(f"unknown {kind}", name, known) + more


def load(home: str) -> Callable[..., Any]:
    """What a home names, imported now."""
    module, _, name = home.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"sao_cli.{module}"), name)
    return found


def one_of(names: Iterable[str]) -> str:
    """The names in a sentence.

    >>> one_of(("a", "b", "c"))
    'a, b or c'
    """
    return " or ".join(", ".join(names).rsplit(", ", 1))


def lines(rows: Mapping[str, Row], default: bool = True) -> str:
    """The names, each with its line of help: a paragraph for --help, indented by 2 but for its first line.

    The first of a table is the `default`, where there is one.
    """
    width = max(map(len, rows))
    first, *rest = (f"{name:<{width}}  {row.line}" for name, row in rows.items())
    return "\n  ".join([first + " (the default)" * default, *rest])
