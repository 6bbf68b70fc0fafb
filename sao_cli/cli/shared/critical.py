"""Options of networks at the edge of chaos, one meaning in all commands."""

from typing import Any

import click

from sao_cli.cli.shared.activations import threshold_options

# What each says of the network, by the names that the library has for them.
_HELP = {
    "activation_sparsity": "Share of hidden outputs that are 0, as in 0.85, which fixes --tau.",
    "slope": "V' at q*, between 0 and 1, which fixes --clip: how fast a change of q dies.",
    "q_star": "Variance of pre-activations that stays.  [default: 1]",
    "sigma_w": "Factor of the weights, whose variance is sigma_w^2/fan_in.  [default: at the edge of chaos]",
    "sigma_b": "Standard deviation of the biases.  [default: at the edge of chaos]",
}


def critical_options(command: Any) -> Any:
    """--activation-sparsity, --tau, --clip, --slope, --q-star, --sigma-w and --sigma-b, floats or None."""
    command = threshold_options(command)
    for name, line in reversed(_HELP.items()):
        command = click.option(f"--{name.replace('_', '-')}", type=float, help=line)(command)
    return command
