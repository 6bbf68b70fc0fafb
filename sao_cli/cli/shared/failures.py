"""--check: conditions on a report's rows, and which of them fail."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sao_cli.cli.shared.talk import Talk
from sao_cli.io.output import shown

if TYPE_CHECKING:
    from sao_cli.reports.audits import CheckFailure

F = TypeVar("F", bound=Callable[..., Any] | click.Command)
FAILS = 1  # the exit code
NAMED = 10  # failing rows that stderr names


def check_option(what: str) -> Callable[[F], F]:
    """--check, which may be repeated; `what` says what it is of."""
    return click.option(
        "--check",
        "checks",
        multiple=True,
        metavar='"FIELD OP VALUE"',
        help=f"{what}; OP: == != < <= > >=; may be repeated.",
    )


def name_failures(failures: "Sequence[CheckFailure]", talk: Talk) -> None:
    """Say which rows fail which check, the first ten."""
    for failure in failures[:NAMED]:
        reason = f" ({shown(failure.reason)})" if failure.reason else ""
        talk.say(f"{shown(failure.name)}: {failure.field} is {_told(failure.value)}, against {failure.check!r}{reason}")
    if (more := len(failures) - NAMED) > 0:
        talk.say(f"... and {more} more failures")


def _told(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
