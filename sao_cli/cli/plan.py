"""`sao plan`: which degrees are feasible."""

import click

from sao_cli.cli.options import common_options, degree_options, sizes_options, widths_of
from sao_cli.cli.render import emit


@click.command()
@sizes_options
@click.option("--method", default="sao", show_default=True, help="The construction that the degrees are for.")
@degree_options
@common_options
def plan(
    m: int | None,
    n: int | None,
    widths: str | None,
    layers: int | None,
    method: str,
    d: int | None,
    c: int | None,
    sparsity: float | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
) -> None:
    """Tell which row degrees d each layer can have, and those nearest to a target.

    One row a layer: the degrees chosen for --sparsity, --d or --c, the sparsity that they achieve, the weights that
    they leave (biases not counted), and every feasible d; c is m*d/n.

    Example: sao plan --widths 784,512,256x49,10 --sparsity 0.98 --json | jq .parameters
    """
    from sao_cli.masks.degrees import plan as plan_layers
    from sao_cli.masks.stack import check_method

    check_method(method)
    planned = plan_layers(widths_of(m, n, layers, widths), method=method, d=d, c=c, sparsity=sparsity)
    emit("plan", seed, (row.to_dict() for row in planned), as_json=as_json, output=output)
