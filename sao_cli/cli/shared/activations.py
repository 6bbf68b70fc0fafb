"""The activation functions that --activation names, with the numbers that some of them take."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sao_cli.base.errors import SaoError
from sao_cli.base.names import one_of
from sao_cli.catalog import ACTIVATIONS, PLAIN_ACTIVATIONS

if TYPE_CHECKING:
    from sao_cli.measure.layer.activations import ActivationFunction

F = TypeVar("F", bound=Callable[..., Any] | click.Command)
THRESHOLDS = {name: row for name, row in ACTIVATIONS.items() if row.takes}
CLIPPED = {name: row for name, row in ACTIVATIONS.items() if "clip" in row.takes}


def threshold_options(command: F) -> F:
    """--tau and --clip, which activations with a threshold take."""
    clip = click.option("--clip", type=float, help=f"How far they rise from there, of {one_of(CLIPPED)}.")
    tau = click.option("--tau", type=float, help=f"The threshold of {one_of(THRESHOLDS)}, which are 0 up to it.")
    return tau(clip(command))


def asked_activations(names: Iterable[str], tau: float | None, clip: float | None) -> "list[ActivationFunction]":
    """Each function once, in their order; `all` is those that take no numbers, which go to the others.

    Raises SaoError for a number that none of them takes, and what ActivationFunction raises.
    """
    from sao_cli.measure.layer.activations import ActivationFunction

    chosen = dict.fromkeys(one for name in names for one in (PLAIN_ACTIVATIONS if name == "all" else (name,)))
    given = {"tau": tau, "clip": clip}
    for number, takers in (("tau", THRESHOLDS), ("clip", CLIPPED)):
        if given[number] is not None and not chosen.keys() & takers.keys():
            raise SaoError(f"--{number} {given[number]:g} is for --activation {one_of(takers)}; leave it out")
    return [ActivationFunction(name, **{one: given[one] for one in ACTIVATIONS[name].takes}) for name in chosen]


def asked_activation(name: str | None, tau: float | None, clip: float | None) -> "ActivationFunction | None":
    """The one function, or None where none is named; raises what asked_activations raises."""
    return next(iter(asked_activations([] if name is None else [name], tau, clip)), None)
