"""`sao weights`: put values on a mask."""

from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.errors import FormatError
from sao_cli.base.names import lines, one_of
from sao_cli.catalog import METHODS, VALUES
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.deliver import deliver
from sao_cli.cli.shared.inputs import build_weights, input_source, read_layers
from sao_cli.cli.shared.options import DEFAULT_LAYER, common_options, mask_options, stack_argument, value_options
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named

if TYPE_CHECKING:
    from sao_cli.data.mask import Mask
    from sao_cli.data.matrix import Matrix
HEADINGS = {"Layers that are built": "", "Values": "values looks_linear gain dtype"}


@help_tells(methods=lines(METHODS), values=lines(VALUES, default=False))
@click.command(cls=SaoCommand, headings=HEADINGS)
@stack_argument
@mask_options
@click.option(
    "--values",
    type=Named("values", VALUES),
    help=f"{one_of(VALUES)}.  [default: the method's; on a mask that is read orthogonal]",
)
@click.option("--looks-linear", is_flag=True, help="Make each layer [[H, -H], [-H, H]], for ReLU.")
@value_options
@common_options
@click.pass_obj
def weights(
    talk: Talk,
    /,
    file: str | None,
    picked: dict[str, Any],
    values: str | None,
    gain: float,
    looks_linear: bool,
    dtype: str | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **described: Any,
) -> None:
    """Put values on a mask, or build the weights that the options describe.

    Reads masks from FILE or stdin, a stack or a checkpoint, and puts values on them (orthogonal unless --values says
    otherwise, which weights that are read need: they become where they are not 0), or builds a layer or a stack by
    --method. The result is a stream or file as of `sao mask`, with real numbers.

    \b
    Methods:
      {methods}

    \b
    Values, where the method leaves them open (orthogonal where its layers can be, else normal):
      {values}

    Example: sao mask --method ramanujan | sao weights --values isometry | sao spectrum
    """
    made: dict[str, Any] = {"gain": gain, "looks_linear": looks_linear, "dtype": dtype}
    source = input_source(file, builds=DEFAULT_LAYER)
    if source is None:
        found = build_weights(seed, talk, output, values=values, **made, **described)
    else:
        from sao_cli.weights.build_weights import put_values

        stack = read_layers(source, picked, talk, ordered=True)
        masks = _patterns(stack.matrices(), values, talk)
        found = put_values(masks, values=values or "orthogonal", seed=seed, progress=talk, **made)
    _explain(found, talk)
    deliver("weights", found, seed, source=source, as_json=as_json, output=output, talk=talk)


def _patterns(matrices: "list[Matrix]", values: str | None, talk: Talk) -> "list[Mask]":
    """The masks that matrices are; of weights only where `values` are asked for, since their own are lost."""
    weighted = [layer for layer, one in enumerate(matrices, 1) if one.values is not None and (one.values != 1).any()]
    if weighted and values is None:
        raise FormatError(
            f"layer {weighted[0]} of the input holds weights already, and `sao weights` takes masks; "
            "to measure it, use `sao spectrum`; to give its pattern new values, name them: --values isometry"
        )
    if weighted:
        talk.say(f"the input's own values are left out, of {len(weighted)} layers: only where they are not 0 counts")
    return [matrix.mask for matrix in matrices]


def _explain(found: "list[Matrix]", talk: Talk) -> None:
    """Say what an approximation achieved, and what looks-linear layers are not."""
    for layer, matrix in enumerate(found, 1):
        told = matrix.mask.provenance
        if "residual" in told:
            talk.say(
                f"layer {layer}: ||W^T W - I|| = {told['residual']:.4g} (at least {told['residual_floor']:.4g}), sigma "
                f"from {told['sigma_min']:.4g} to {told['sigma_max']:.4g}, {told['effective_ones']:.3g} effective ones "
                f"a row, {told['steps']} steps"
            )
    if found and found[0].mask.provenance.get("looks_linear"):
        talk.say("a looks-linear layer has the singular values of 2 H and zeros: 2 and 0 where H is orthogonal, not 1")
