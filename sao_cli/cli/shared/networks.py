"""The network that --module and --example name."""

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from sao_cli.cli.shared.inputs import options_given
from sao_cli.cli.shared.talk import Talk

if TYPE_CHECKING:
    from sao_cli.nets.tracing.network import Network


def asked_network(
    model: str | None, module: str, examples: Sequence[str], norms: str, seed: int, refused: Sequence[str] = ()
) -> "Network":
    """The network, with the weights of `model`; what the user's code prints goes to stderr, for stdout is data.

    Raises UsageError for those of the options `refused` that are given beside it, which only stacks have.
    """
    ctx = click.get_current_context()
    if given := options_given(ctx, *refused):
        raise click.UsageError(f"--module names the network, and {' '.join(given)} is of stacks; give one of them")
    if model is None:
        ctx.ensure_object(Talk).say_at_the_end("no checkpoint is named, and the module's own weights count")
    from sao_cli.nets.tracing.loading import load_network

    with contextlib.redirect_stdout(sys.stderr):
        return load_network(module, examples, model, norms, seed)
