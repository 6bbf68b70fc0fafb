"""Options of networks at the edge of chaos, one meaning in all commands."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from sao_cli.catalog import ACTIVATIONS, PLAIN_ACTIVATIONS
from sao_cli.cli.shared.activations import threshold_options
from sao_cli.cli.shared.inputs import options_given

if TYPE_CHECKING:
    from sao_cli.measure.criticality.variance_map import VarianceMap

# What each says of the network, by the names that the library has for them.
_HELP = {
    "activation_sparsity": "Share of hidden outputs that are 0, as in 0.85, which fixes --tau.",
    "slope": "V' at q*, between 0 and 1, which fixes --clip: how fast a change of q dies.",
    "q_star": "Variance of pre-activations that stays.  [default: 1]",
    "sigma_w": "Factor of the weights, whose variance is sigma_w^2/fan_in.  [default: at the edge of chaos]",
    "sigma_b": "Standard deviation of the biases.  [default: at the edge of chaos]",
}

CRITICAL_OPTIONS = tuple(_HELP)


def critical_options(command: Any) -> Any:
    """--activation-sparsity, --tau, --clip, --slope, --q-star, --sigma-w and --sigma-b, floats or None."""
    command = threshold_options(command)
    for name, line in reversed(_HELP.items()):
        command = click.option(f"--{name.replace('_', '-')}", type=float, help=line)(command)
    return command


def asked_starts(
    names: Iterable[str], tau: float | None, clip: float | None, numbers: dict[str, float | None], *, read: bool
) -> "list[VarianceMap]":
    """What networks of each activation begin with, by --tau, --clip and the `numbers` of CRITICAL_OPTIONS.

    Empty where none of these is given. Of layers that are `read`, whose weights are there, sigma_b may be told alone.
    Raises UsageError beside --gain, and what sparse_activation and starting_map raise.
    """
    if all(number is None for number in numbers.values()):
        return []
    if options_given(click.get_current_context(), "gain"):
        raise click.UsageError(
            "--gain is sigma_w, which these options tell; leave it out, or give --sigma-w, --sigma-b"
        )
    from sao_cli.measure.criticality.variance_map import VarianceMap, sparse_activation, starting_map

    chosen = dict.fromkeys(one for name in names for one in (PLAIN_ACTIVATIONS if name == "all" else (name,)))
    q_star = 1.0 if numbers["q_star"] is None else numbers["q_star"]
    pairs = {"tau": {"tau": tau, "activation_sparsity": numbers["activation_sparsity"]}}
    pairs["clip"] = {"clip": clip, "slope": numbers["slope"]}
    starts = []
    for name in chosen:
        several = len(chosen) > 1  # each number goes to those that take it; one activation says what it does not take
        told = [pair for taken, pair in pairs.items() if not several or taken in ACTIVATIONS[name].takes]
        function = sparse_activation(name, q_star=q_star, **{key: one for pair in told for key, one in pair.items()})
        if read and numbers["sigma_b"] is not None:
            starts.append(VarianceMap(function, 1.0, numbers["sigma_b"]))
        else:
            starts.append(starting_map(function, q_star, numbers["sigma_w"], numbers["sigma_b"]))
    return starts
