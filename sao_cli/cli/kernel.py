"""`sao kernel`: build a convolution kernel."""

from typing import Any

import click

from sao_cli.base.names import lines, one_of
from sao_cli.catalog import KERNEL_METHODS, SCHEMES
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.deliver import deliver
from sao_cli.cli.shared.options import arrangement_option, common_options, degree_options, value_options
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named, Sizes

HEADINGS = {
    "Kernel": "scheme c_out c_in size axes stride terms looks_linear gain dtype",
    "2-D kernels that are kept": "method d c sparsity arrangement",
}


@help_tells(schemes=lines(SCHEMES))
@click.command(cls=SaoCommand, headings=HEADINGS)
@click.option("--scheme", type=Named("scheme", SCHEMES), default="delta", show_default=True, help=f"{one_of(SCHEMES)}.")
@click.option("--c-out", type=int, default=64, show_default=True, help="Output channels.")
@click.option("--c-in", type=int, default=64, show_default=True, help="Input channels.")
@click.option("--size", type=Sizes(), default="3", show_default=True, help="Taps on each axis; 5x3 where they differ.")
@click.option("--axes", type=int, default=2, show_default=True, help="1 for signals, 2 for images, 3 for volumes.")
@degree_options("dense")
@click.option(
    "--method",
    type=Named("method", KERNEL_METHODS),
    help=f"{one_of(KERNEL_METHODS)}: which kernels are kept.  [default: dense; sao with --d]",
)
@arrangement_option
@click.option("--stride", type=int, default=1, show_default=True, help="eco: channels after space-to-depth by it.")
@click.option("--terms", type=int, help="soc: terms of the exponential series.  [default: 12]")
@click.option("--looks-linear", is_flag=True, help="Make it [[W, -W], [-W, W]], for ReLU.")
@value_options
@common_options
@click.pass_obj
def kernel(
    talk: Talk,
    /,
    c_out: int,
    c_in: int,
    size: "int | tuple[int, ...]",
    axes: int,
    terms: int | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **described: Any,
) -> None:
    """Build a convolution kernel (c_out, c_in, k, k), dense or with whole 2-D kernels removed.

    The result is safetensors bytes, or a file as of `sao mask`, but not Matrix Market text, which has no place for
    taps. --d, --c and --sparsity count kernels: those that an output channel keeps, those that an input channel feeds,
    and the fraction removed.

    \b
    Schemes:
      {schemes}

    Example: sao kernel --scheme eco --c-out 16 --c-in 16 --d 4 | sao spectrum --image 9 --dilation 3
    """
    from sao_cli.io import suffix_for
    from sao_cli.weights.kernels.build_kernels import build_kernel

    if output is not None:
        suffix_for(output, 1, kernels=True)
    if isinstance(size, tuple):
        axes = len(size)
    described |= {} if terms is None else {"terms": terms}
    made = build_kernel(c_out, c_in, size, axes=axes, seed=seed, **described)
    told = made.mask.provenance
    if described["sparsity"] is not None:
        kept = f"d = {made.mask.nnz / made.mask.m:.6g}, c = {made.mask.nnz / made.mask.n:.6g}"
        talk.say(f"sparsity {made.mask.sparsity:.6g}, {kept} (asked for sparsity {described['sparsity']:.6g})")
    if "error_bound" in told:
        talk.say(f"as a circular convolution its singular values are within {told['error_bound']:.2g} of 1, times gain")
    if told.get("looks_linear"):
        talk.say("a looks-linear kernel has the singular values of 2 W and zeros: 2 and 0 where W is orthogonal, not 1")
    deliver("kernel", [made], seed, as_json=as_json, output=output, talk=talk)
