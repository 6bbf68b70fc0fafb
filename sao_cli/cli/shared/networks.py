"""The network that --module and --example name."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from sao_cli.cli.shared.inputs import options_given
from sao_cli.cli.shared.render import Row
from sao_cli.cli.shared.talk import Talk

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sao_cli.nets.reduction.running_network import ModuleToReduce
    from sao_cli.nets.tracing.measured_weights import MeasuredWeights
    from sao_cli.nets.tracing.network import Network
    from sao_cli.nets.tracing.pruned_network import PrunedNetwork
    from sao_cli.reports.audits import AuditChain

NAMED = 10  # weights that could not be measured, and units that are cut off, that stderr names


def asked_network(
    model: str | None, module: str, examples: Sequence[str], norms: str, seed: int, refused: Sequence[str]
) -> "Network":
    """The network of asked_run; its recording too may print."""
    run, inputs = asked_run(model, module, examples, seed, refused)
    from sao_cli.nets.tracing.network import Network

    with contextlib.redirect_stdout(sys.stderr):
        return Network.from_module(run, *inputs, norms=norms)


def asked_run(
    model: str | None, module: str, examples: Sequence[str], seed: int, refused: Sequence[str]
) -> "tuple[nn.Module, list[Tensor]]":
    """The module with the weights of `model`, and its inputs; what the user's code prints goes to stderr.

    Raises UsageError for those of the options `refused` that are given beside it: what they say the run tells.
    """
    ctx = click.get_current_context()
    if given := options_given(ctx, *refused):
        raise click.UsageError(f"--module tells the network, and leaves no room for {' '.join(given)}")
    if model is None:
        ctx.ensure_object(Talk).say_at_the_end("no checkpoint is named, and the module's own weights count")
    from sao_cli.nets.tracing.loading import load_run

    with contextlib.redirect_stdout(sys.stderr):
        return load_run(module, examples, model, seed)


def asked_tracer(module: str, examples: Sequence[str], norms: str, seed: int) -> "PrunedNetwork":
    """The module, which a checkpoint's weights are still to be put into."""
    from sao_cli.nets.tracing.loading import load_run
    from sao_cli.nets.tracing.pruned_network import PrunedNetwork

    with contextlib.redirect_stdout(sys.stderr):
        run, inputs = load_run(module, examples, None, seed)
    return PrunedNetwork(run, tuple(inputs), norms)


def asked_module_to_reduce(module: str, examples: Sequence[str], seed: int) -> "ModuleToReduce":
    """The same, whose needless units may be left out."""
    from sao_cli.nets.reduction.running_network import ModuleToReduce
    from sao_cli.nets.tracing.loading import load_run

    with contextlib.redirect_stdout(sys.stderr):
        run, inputs = load_run(module, examples, None, seed)
    return ModuleToReduce(run, tuple(inputs))


def asked_weights(
    measure: "Callable[..., MeasuredWeights[Any]]",
    model: str | None,
    module: str,
    examples: Sequence[str],
    refused: Sequence[str],
    *,
    seed: int,
    **asked: Any,
) -> "MeasuredWeights[Any]":
    """What `measure` tells of the weights of asked_run; those that could not be measured are said, by name."""
    run, inputs = asked_run(model, module, examples, seed, refused)
    with contextlib.redirect_stdout(sys.stderr):
        found = measure(run, *inputs, seed=seed, **asked)
    _say_skipped(found.skipped, click.get_current_context().ensure_object(Talk))
    return found


def _say_skipped(skipped: Mapping[str, str], talk: Talk) -> None:
    from sao_cli.io.output import shown

    for name, reason in list(skipped.items())[:NAMED]:
        talk.warn(f"{shown(name)} was not measured: {reason}")
    if (more := len(skipped) - NAMED) > 0:
        talk.warn(f"and {more} more weights were not measured")


def say_cut_off(
    lost: Sequence[int], unreached: Sequence[int], talk: Talk, *, where: str = "", listed: bool = False
) -> None:
    """Name the first few inputs that reach no output, and outputs that no input reaches; their numbers are from 0."""
    for units, what in ((lost, "inputs that reach no output"), (unreached, "outputs that no input reaches")):
        if len(units):
            first = ", ".join(str(unit) for unit in units[:NAMED]) + (", ..." if len(units) > NAMED else "")
            more = "" if listed or len(units) <= NAMED else "; --list adds all numbers"
            talk.say(f"{where}{what} ({len(units)}, counted from 0): {first}{more}")


def chain_units(chain: "AuditChain") -> Row:
    """What --list adds to a chain; nothing where it is not known what is cut off."""
    return {} if chain.lost_inputs is None else unit_lists(chain.lost_input_units, chain.unreached_output_units)


def unit_lists(lost: Iterable[int], unreached: Iterable[int]) -> Row:
    """What --list adds to a line."""
    from sao_cli.reports.masks import ListedUnits

    lost, unreached = (tuple(map(int, numbers)) for numbers in (lost, unreached))
    return ListedUnits(lost_input_units=lost, unreached_output_units=unreached).to_dict()
