"""`sao mask`: build a mask, or a stack of them."""

from typing import Any

import click

from sao_cli.base.names import lines
from sao_cli.catalog import METHODS
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.deliver import deliver
from sao_cli.cli.shared.inputs import build_masks, options_given, say_default
from sao_cli.cli.shared.options import DEFAULT_LAYER, DESCRIBING, common_options, mask_options
from sao_cli.cli.shared.talk import Talk
from sao_cli.io.formats.registry import either, suffixes_for


@help_tells(methods=lines(METHODS), suffixes=either(suffixes_for()))
@click.command(cls=SaoCommand)
@mask_options
@common_options
@click.pass_obj
def mask(talk: Talk, /, seed: int, as_json: bool | None, output: str | None, **described: Any) -> None:
    """Build the mask of a sparse layer, or the masks of a stack of layers.

    The result is a Matrix Market stream, or, with -o, a file whose suffix says its format: {suffixes}.
    On a terminal, and with --json or --table, a summary is printed instead.

    \b
    Methods:
      {methods}

    Example: sao mask --m 512 --n 256 --c 8 --method ramanujan | sao verify --criterion standard
    """
    from sao_cli.data.matrix import Matrix

    if not options_given(context := click.get_current_context(), *DESCRIBING):
        say_default(context, DEFAULT_LAYER)
    masks = build_masks(seed, talk, output, **described)
    deliver("mask", [Matrix(one) for one in masks], seed, as_json=as_json, output=output, talk=talk)
