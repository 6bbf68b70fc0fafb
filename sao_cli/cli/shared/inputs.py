"""What a command measures: layers that its options describe, a file, or a stream."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.errors import SaoError
from sao_cli.catalog import METHODS
from sao_cli.cli.shared.options import DEFAULT_WIDTH, DEPTH, DESCRIBING, PICKING
from sao_cli.cli.shared.streams import given_source
from sao_cli.cli.shared.talk import Talk

if TYPE_CHECKING:
    from sao_cli.data.mask import Mask
    from sao_cli.data.matrix import Matrix
    from sao_cli.models.stack import WeightStack


def widths_of(m: int | None, n: int | None, layers: int | None, widths: str | None) -> list[int]:
    """Layer widths, inputs first, from --widths or from --m, --n and --layers."""
    if widths is not None:
        return _parse_widths(widths)
    m, n, layers = (
        default if size is None else size for size, default in ((m, DEFAULT_WIDTH), (n, DEFAULT_WIDTH), (layers, 1))
    )
    if layers < 1:
        raise SaoError(f"--layers {layers}: a stack has at least one layer")
    if layers > 1 and m != n:
        raise SaoError(
            f"--layers {layers} of {m} x {n} do not chain: layer 2 would read {n} inputs from {m} outputs; "
            f"make m and n equal, or name every width, as in --widths {n},{m},{m}"
        )
    _require_layers_memory(layers)
    return [n] + [m] * layers


def build_masks(seed: int, talk: Talk, output: str | None = None, **described: Any) -> list[Mask]:
    """The masks that the options describe; what was achieved is said where a target was given.

    Where they are meant for the file `output`, its format is checked before any is built.
    """
    from sao_cli.masks.build_masks import METHODS as OF_MASKS
    from sao_cli.masks.build_masks import mask_stack

    widths = take_widths(described, output)
    if described["method"] in OF_MASKS:
        masks = mask_stack(widths, seed=seed, progress=talk, **described)
    else:
        from sao_cli.weights.build_weights import weight_stack

        masks = [_pattern(weight.mask) for weight in weight_stack(widths, seed=seed, progress=talk, **described)]
    say_achieved(masks, described, talk)
    return masks


def build_weights(seed: int, talk: Talk, output: str | None = None, **described: Any) -> list[Matrix]:
    """The weights that the options describe, as build_masks does it."""
    from sao_cli.weights.build_weights import weight_stack

    weights = weight_stack(take_widths(described, output), seed=seed, progress=talk, **described)
    say_achieved([weight.mask for weight in weights], described, talk)
    return weights


def take_widths(described: dict[str, Any], output: str | None = None) -> list[int]:
    """Layer widths, inputs first, from the options among `described` that give them, which are taken out of it."""
    widths = widths_of(*(described.pop(name) for name in ("m", "n", "layers", "widths")))
    if output is not None:
        from sao_cli.io import suffix_for

        suffix_for(output, len(widths) - 1)
    return widths


def say_achieved(masks: list[Mask], described: dict[str, Any], talk: Talk) -> None:
    """Say which density came of the target that was asked for, or of none, where it is not d = 4."""
    from sao_cli.masks.degrees import DEFAULT_DEGREE

    row = METHODS[described["method"]]
    target = [described[name] for name in ("d", "c", "sparsity")]
    if row.full or ("pattern" in row.takes and target == [None] * 3):
        return
    exact = described["d"] is not None or described["c"] is not None
    if described["sparsity"] is not None:
        _say_densities(masks, f"asked for sparsity {described['sparsity']:.6g}", talk)
    elif not exact and any(mask.nnz != DEFAULT_DEGREE * mask.m for mask in masks):
        _say_densities(masks, f"no degree was given, and these are nearest to d = {DEFAULT_DEGREE}", talk)


def options_given(ctx: click.Context, *names: str) -> list[str]:
    """Those of the options that the command line names, as --name."""
    given = click.core.ParameterSource.COMMANDLINE
    written = {option.name: option.opts[0] for option in ctx.command.params}
    return [written[name] for name in names if ctx.get_parameter_source(name) == given]


def _parse_widths(text: str) -> list[int]:
    widths: list[int] = []
    for item in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:x([1-9]\d*))?\s*", item, re.ASCII)
        if found is None:
            raise SaoError(f"--widths {text!r}: {item!r} is no width; write whole numbers, as in 784,512,256x49,10")
        times = int(found[2] or 1)
        _require_layers_memory(len(widths) + times)
        widths += [int(found[1])] * times
    return widths


def _require_layers_memory(layers: int) -> None:
    from sao_cli.base.memory import require_layers

    require_layers(layers, "a stack")


def _pattern(mask: Mask) -> Mask:
    """A weight's mask, whose provenance no longer speaks of values."""
    return replace(mask, provenance={key: told for key, told in mask.provenance.items() if key != "values"})


def _say_densities(masks: list[Mask], why: str, talk: Talk) -> None:
    for layer, mask in enumerate(masks, 1):
        d, c = mask.nnz / mask.m, mask.nnz / mask.n
        talk.say(f"layer {layer}: sparsity {mask.sparsity:.6g}, d = {d:.6g}, c = {c:.6g} ({why})")
        if layer == 5 and len(masks) > 6:
            talk.say(f"... and {len(masks) - 5} more layers")
            return


def input_source(file: str | None, *, builds: str, of_built: Sequence[str] = ()) -> str | None:
    """Where layers are read from: FILE, "-" for standard input, or None where they are built.

    One rule for all commands, to be asked before anything heavy is imported: a FILE is read, and "-" is one. Otherwise
    options of DESCRIBING describe the layers, and stdin is left alone. Otherwise a pipe or a file on stdin is read;
    a terminal, /dev/null and a closed stdin are no input, and then `builds` is built, which is said. UsageError
    for options that describe the layers (DEPTH apart) beside a FILE, and for those of `of_built`, which only layers
    that are built can have, beside an input.
    """
    ctx = click.get_current_context()
    given = options_given(ctx, *DESCRIBING)
    source = file if given else given_source(file)
    if source is None:
        if picking := options_given(ctx, *PICKING):
            raise click.UsageError(f"{picking[0]} chooses from a file that holds several, and none is read; name one")
        if not given:
            say_default(ctx, builds)
    elif both := options_given(ctx, *(name for name in DESCRIBING if name not in DEPTH), *of_built):
        what = "standard input" if source == "-" else repr(source)
        raise click.UsageError(f"{what} and {' '.join(both)} both describe the layers; give one of them")
    return source


def read_layers(source: str, picked: dict[str, Any], talk: Talk, *, ordered: bool) -> WeightStack:
    """The stack in `source`, of which `picked` says what is meant; what is assumed of it, and left out, is said.

    Raises FormatError where it is to be `ordered`, and the names do not tell in which order its weights run.
    """
    from sao_cli.models.stack import read_stack

    stack = read_stack(source, **picked)
    if ordered:
        named = "--tensor NAME, repeated, gives their order, --include PATTERN a part that numbers a stack"
        params = {option.name for option in click.get_current_context().command.params}
        stack.require_order(f"{named}; --module FILE.py:NAME tells" if "module" in params else named)
        if stack.assumed is not None:
            told = f"the numbers in the names of {len(stack)} weights are taken for their order"
            talk.say_at_the_end(f"{told}: {stack.assumed} is assumed")
    if stack.left_out:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in stack.left_out.items())
        talk.say_at_the_end(f"left out of {stack.source}, as no weights: {kinds}")
    return stack


def required_source(file: str | None, piped: str = "sao mask --d 4") -> str:
    """Where layers are read from, by the same rule, of a command that builds none; SaoError where there is no input.

    `piped` is what may stand before the pipe, for the message.
    """
    if (source := given_source(file)) is None:
        command = click.get_current_context().command_path
        raise SaoError(f"no input: name a file, or pipe one in, as in `{piped} | {command}`; see {command} --help")
    return source


def required_model(model: str | None) -> str:
    """required_source of a checkpoint."""
    return required_source(model, "cat model.safetensors")


def say_default(ctx: click.Context, built: str) -> None:
    """Say, once it is there, what is built where nothing describes it; the user's settings may."""
    if any(ctx.get_parameter_source(name) is click.core.ParameterSource.DEFAULT_MAP for name in DESCRIBING):
        return
    ctx.ensure_object(Talk).say_at_the_end(
        f"no option describes layers, and this is {built}; see {ctx.command_path} --help"
    )
