"""`sao reduce`: make the weights of a checkpoint smaller."""

from typing import Any

import click

from sao_cli.base.names import lines
from sao_cli.catalog import ACTIVATIONS, FUSE_RULES
from sao_cli.cli.shared.activations import asked_activation, threshold_options
from sao_cli.cli.shared.changes import emit_changes, pattern_options, require_output, say_tied
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.inputs import options_given, required_model
from sao_cli.cli.shared.networks import asked_module_to_reduce
from sao_cli.cli.shared.options import common_options, data_source_options, run_options
from sao_cli.cli.shared.paths import Model
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named

HEADINGS = {
    "What is fused": "rule tau_cos tau_euc floor lossless dense",
    "Units that merge": "features activation tau clip chain",
    "Outputs that are compared": "inputs data data_folder",
}


@help_tells(rules=lines(FUSE_RULES))
@click.command(cls=SaoCommand, headings=HEADINGS)
@click.argument("model", metavar="[MODEL]", type=Model(), required=False)
@click.option(
    "--rule", type=Named("rule", FUSE_RULES), default="svd", show_default=True, help="What two vectors become."
)
@click.option("--tau-cos", type=float, help="Fuse vectors up to this 1 - |cos| apart ...  [default: 1e-4]")
@click.option("--tau-euc", type=float, help="... and no farther apart than this.  [default: 0.1]")
@click.option("--floor", type=float, help="Remove vectors up to this share of the longest.  [default: 1e-3]")
@click.option("--features", is_flag=True, help="Leave out units that the next layer does without; fuse by --tau-cos.")
@click.option("--lossless", is_flag=True, help="Admit exact merges only: multiples, and zeros.")
@click.option("--dense", is_flag=True, help="Write the product P W' Q in place of its factors.")
@click.option(
    "--activation",
    type=Named("activation", ACTIVATIONS),
    help="What follows each layer of the chain but the last.",
)
@threshold_options
@click.option(
    "--chain",
    metavar="NAME,NAME,...",
    help="Layers in the order in which they run.  [default: as the names number them]",
)
@click.option("--inputs", type=click.IntRange(1), help="Inputs that outputs are compared at.  [default: 64; data: all]")
@data_source_options
@run_options
@pattern_options
@common_options
@click.pass_obj
def reduce(
    talk: Talk,
    /,
    model: str | None,
    activation: str | None,
    tau: float | None,
    clip: float | None,
    chain: str | None,
    module: str | None,
    examples: tuple[str, ...],
    seed: int,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> None:
    """Make the weights of a checkpoint smaller, and write it to -o OUT.safetensors.

    MODEL is what `sao audit` reads, from stdin too, or the folder of a run of `sao train`. Rows and columns of each
    matrix that are nearly parallel are fused, and W becomes P W' Q: NAME.weight is W', and NAME.row_index, .row_scale,
    .col_index and .col_scale tell which vector of it, times what, stands for each of W. sao_cli.nets.RareLinear loads
    them, `sao audit` reads them as W, and --dense writes their product, for any loader, which saves nothing.

    \b
    Rules, of two vectors that are fused:
      {rules}

    With --features layers become smaller as they are, without P and Q: of a chain, units go that are multiples of
    others by a factor that the --activation passes on (relu: any above 0; odd ones: -1 too), whose row is zero, so that
    the next bias can hold them, or that the next layer has only zeros for. That changes no output, and it is what makes
    a pruned network faster. Nothing is fused then unless --tau-cos is given too.

    With a --module, which runs on the --example, units go as its layers are joined, of kernels too, and what forbids it
    (shortcuts, norms, shared tensors) is told by name.

    The report, a row for each weight, goes to stdout: shapes before and after, how many vectors and units went, and
    what fusing changed of W. With an --activation or a --module the summary has the change of the outputs, at normal
    inputs or --data.

    Example: sao reduce model.safetensors -o smaller.safetensors --tau-cos 1e-3 | jq '[.name, .new_shape]'
    """
    model, output = required_model(model), require_output(output)
    from sao_cli.models.reduce import reduce_checkpoint
    from sao_cli.reports.reductions import ReducedWeight

    names = [] if chain is None else [name.strip() for name in chain.split(",")]
    if module is not None:
        if given := options_given(click.get_current_context(), "activation", "tau", "clip", "chain"):
            raise click.UsageError(f"--module tells the network; leave out {' '.join(given)}")
        asked["network"] = asked_module_to_reduce(module, examples, seed)
    function = asked_activation(activation, tau, clip)
    changes = reduce_checkpoint(model, output, activation=function, chain=names, seed=seed, progress=talk, **asked)
    say_tied(changes, talk)
    emit_changes("reduce", seed, model, changes, ReducedWeight, as_json, output)
