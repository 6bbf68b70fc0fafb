"""`sao plan`: which degrees are feasible."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.names import one_of
from sao_cli.catalog import ARCHITECTURES, FORMS, METHODS
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.inputs import options_given, widths_of
from sao_cli.cli.shared.options import METHOD, common_options, degree_options, sizes_options
from sao_cli.cli.shared.render import emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named, Side

if TYPE_CHECKING:
    from sao_cli.masks.architectures import ConvShape
    from sao_cli.reports.masks import ConvPlan

CNN, LIPCONVNET = ARCHITECTURES["cnn"], ARCHITECTURES["lipconvnet"]
OF_NETWORKS = ("depth", "width", "form", "image")
OF_LAYERS = ("m", "n", "widths", "layers")
HEADINGS = {"Layers that are built": "", "Convolutional networks": "cnn lipconvnet depth width form image"}


@click.command(cls=SaoCommand, headings=HEADINGS)
@sizes_options
@click.option("--cnn", is_flag=True, help="Plan the paper's vanilla CNN; degrees count whole 2-D kernels.")
@click.option("--lipconvnet", is_flag=True, help="Plan LipConvNet-N, the paper's Table 4.")
@click.option(
    "--depth", type=int, help=f"N, convolutions.  [default: {CNN.depth}, or {LIPCONVNET.depth} of --lipconvnet]"
)
@click.option("--width", type=int, help=f"Channels of every layer of --cnn.  [default: {CNN.width}]")
@click.option(
    "--form",
    type=Named("form", FORMS),
    help="cinic10 and cifar100 have two more layers instead of pooling.  [default: cifar10]",
)
@click.option("--image", type=Side(), help="Sides of the square image.  [default: 32, or 24 of --lipconvnet]")
@click.option("--method", type=METHOD, default="sao", show_default=True, help=f"{one_of(METHODS)}.")
@degree_options("none: tell the feasible ones")
@common_options
@click.pass_obj
def plan(
    talk: Talk,
    /,
    m: int | None,
    n: int | None,
    widths: str | None,
    layers: int | None,
    cnn: bool,
    lipconvnet: bool,
    depth: int | None,
    width: int | None,
    form: str | None,
    image: int | None,
    method: str,
    d: int | None,
    c: int | None,
    sparsity: float | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
) -> None:
    """Tell which row degrees d each layer can have, and what `sao mask` builds for a target.

    One row a layer: the degrees for --sparsity, --d or --c, the sparsity that they achieve, the weights that they leave
    (biases not counted), and every feasible d; c is m*d/n, and c or d is null where columns or rows vary, as of xnet,
    lrp, lmp, gmp and eoi. What gmp and eoi keep depends on the weights of --seed, which are drawn for it.

    With --cnn or --lipconvnet the layers are convolutions between n and m channels, and stderr says how many weights
    they have in all. The first stays dense; all are where no target is given. LipConvNet's layers read n = c_in*s^2
    channels at stride s and keep a part of a square mask, so that rows (d) or columns (c) may not all have as many:
    the other is null then.

    Example: sao plan --widths 784,512,256x49,10 --sparsity 0.98 --json | jq .parameters
    """
    from sao_cli.reports.masks import ConvPlan, Plan

    _check_given(cnn, lipconvnet)
    rows: Iterable[Plan]
    report = ConvPlan if cnn or lipconvnet else Plan
    target: dict[str, Any] = {"method": method, "d": d, "c": c, "sparsity": sparsity}
    if cnn or lipconvnet:
        from sao_cli.masks.architectures import plan_convolutions

        rows = convolutions = plan_convolutions(_shapes(cnn, depth, width, form, image), **target)
        _say_total(convolutions, talk)
    else:
        from sao_cli.weights.plan import plan as plan_layers

        rows = plan_layers(widths_of(m, n, layers, widths), seed=seed, progress=talk, **target)
    emit("plan", seed, (row.to_dict() for row in rows), as_json=as_json, output=output, report=report)


def _check_given(cnn: bool, lipconvnet: bool) -> None:
    """Raise UsageError for options that describe another network, or none."""
    ctx = click.get_current_context()
    networks = options_given(ctx, "cnn", "lipconvnet")
    if cnn and lipconvnet:
        raise click.UsageError("--cnn and --lipconvnet exclude each other; give one of them")
    if networks and (given := options_given(ctx, *OF_LAYERS)):
        raise click.UsageError(f"{networks[0]} and {given[0]} exclude each other; {networks[0]} has sizes of its own")
    if not networks and (given := options_given(ctx, *OF_NETWORKS)):
        raise click.UsageError(f"{given[0]} describes a convolutional network; name it with --cnn or --lipconvnet")
    if lipconvnet and (given := options_given(ctx, "width", "form")):
        raise click.UsageError(f"{given[0]} is of --cnn alone; a LipConvNet is described by --depth and --image")


def _shapes(cnn: bool, depth: int | None, width: int | None, form: str | None, image: int | None) -> "list[ConvShape]":
    """The network's convolutions; what was not given has the library's defaults, or the paper's."""
    from sao_cli.masks.architectures import cnn_shapes, lipconvnet_shapes

    sizes = {} if image is None else {"image": image}
    if not cnn:
        return lipconvnet_shapes(LIPCONVNET.depth if depth is None else depth, **sizes)
    depth, width = CNN.depth if depth is None else depth, CNN.width if width is None else width
    asked: dict[str, Any] = sizes if form is None else {**sizes, "form": form}
    return cnn_shapes(depth, width, **asked)


def _say_total(rows: "list[ConvPlan]", talk: Talk) -> None:
    total = sum(row.parameters or 0 for row in rows)
    talk.say(
        f"{total} parameters in {len(rows)} convolutions, of which the first is dense; biases and the classifier are "
        "not counted"
    )
