"""`sao reach`: who reaches whom."""

from typing import TYPE_CHECKING, Any

import click

from sao_cli.catalog import PATH_MATRICES
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.inputs import build_masks, input_source, read_layers
from sao_cli.cli.shared.networks import asked_network, say_cut_off, unit_lists
from sao_cli.cli.shared.options import (
    DEFAULT_LAYER,
    DESCRIBING,
    PICKING,
    common_options,
    list_option,
    mask_options,
    module_options,
    stack_argument,
)
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.render import Row, emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named
from sao_cli.reports.report import origin

if TYPE_CHECKING:
    from sao_cli.measure.reach.reachability import Reachability
    from sao_cli.nets.tracing.network import Network

OF_STACKS = (*PICKING, "rank", "over", "output", "arrangement", *DESCRIBING)
HEADINGS = {"Weights that are read": "", "Layers that are built": "", "Paths": "rank over"}


@click.command(cls=SaoCommand, headings=HEADINGS)
@stack_argument
@mask_options
@click.option(
    "--rank",
    is_flag=True,
    help="Also compute the rank over F2 at every depth; it costs about n^3/1024 word operations each.",
)
@click.option(
    "--over",
    type=Named("matrix", PATH_MATRICES),
    default="boolean",
    show_default=True,
    help="The matrix that -o keeps and --plot draws.",
)
@module_options
@list_option
@plot_option
@common_options
@click.pass_obj
def reach(
    talk: Talk,
    /,
    file: str | None,
    picked: dict[str, Any],
    rank: bool,
    over: str,
    module: str | None,
    examples: tuple[str, ...],
    norms: str,
    listed: bool,
    plot: PictureFile | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **described: Any,
) -> None:
    """Compute which inputs reach which outputs, depth by depth through a stack.

    Reads a stack, or a checkpoint whose names number one, or builds what the options describe. `reachable` is the
    fraction of input-output pairs that a path joins; `odd_paths` the fraction that an odd number of paths joins (F2:
    even numbers cancel). The last line tells the first depth at which everything reaches everything, and the least that
    the degrees allow. With -o FILE the last depth's matrix, inputs as rows, is kept in the format of FILE's suffix; the
    report still goes to stdout, unless the matrix goes there (-o -).

    With --module the network is what ran on the --example, through shortcuts, attention and groups, with the weights of
    the checkpoint FILE: a row for each weight in the order run tells who of the network's inputs reaches the units that
    it writes, and then one the whole network.

    Example: sao mask --layers 4 --arrangement minimal | sao reach --plot reach.png
    """
    from sao_cli.reports.masks import Depth
    from sao_cli.reports.networks import NetworkDepth

    if module is not None:
        network = asked_network(file, module, examples, norms, seed, OF_STACKS)
        rows = _network_rows(network, listed)
        if plot is not None:
            _draw([depth.pairs for depth in network.reach()], network.reach(), "boolean", plot)
        emit("reach", seed, rows, as_json=as_json, output=None, source=file, report=NetworkDepth)
        say_cut_off(network.summary.lost_inputs, network.summary.unreached_outputs, talk, listed=listed)
        return
    source = input_source(file, builds=DEFAULT_LAYER)
    from sao_cli.io import suffix_for, write_masks
    from sao_cli.measure.reach.effective import OfMask, cut_off
    from sao_cli.measure.reach.reachability import reachability

    if output is not None:
        suffix_for(output, 1)
    if source is None:
        masks = build_masks(seed, talk, **described)
    else:
        masks = read_layers(source, picked, talk, ordered=True).chained_masks()
    keep = "all" if plot is not None or listed else "last" if output is not None else None
    found = reachability(masks, rank=rank, keep=keep, progress=talk)
    origins = [{} if source is None else origin(mask.provenance) for mask in masks]
    rows = _stack_rows(found, origins, listed)
    matrices = found.boolean if over == "boolean" else found.odd
    if plot is not None:
        _draw(matrices, found.depths, over, plot)
    if output is not None:
        from sao_cli.data.mask import Mask

        write_masks([Mask.from_scipy(matrices[-1].to_scipy())], output)
    if output != "-":
        emit("reach", seed, rows, as_json=as_json, output=None, source=source, report=Depth)
    say_cut_off(*cut_off([OfMask(mask) for mask in masks]), talk, listed=listed)


def _draw(matrices: Any, depths: Any, over: str, plot: PictureFile) -> None:
    from sao_cli.plots import reachability_figure

    plot.save(reachability_figure(matrices, depths, over))


def _stack_rows(found: "Reachability", origins: list[Row], listed: bool) -> list[Row]:
    rows: list[Row] = [depth.to_dict() | told for depth, told in zip(found.depths, origins, strict=True)]
    if listed:
        for row, paths in zip(rows, found.boolean, strict=True):
            row |= unit_lists(paths.lost_inputs, paths.unreached_outputs)
    return [*rows, found.summary.to_dict()]


def _network_rows(network: "Network", listed: bool) -> list[Row]:
    import numpy as np

    from sao_cli.reports.masks import ReachSummary

    depths, summary = network.reach(), network.summary
    rows: list[Row] = [depth.to_dict() for depth in depths]
    whole = summary.facts.to_dict()
    if listed:
        for row, depth in zip(rows, depths, strict=True):
            row |= unit_lists(np.flatnonzero(~depth.pairs.any(1)), np.flatnonzero(~depth.pairs.any(0)))
        whole |= unit_lists(summary.lost_inputs, summary.unreached_outputs)
    full_at = next((depth.layer for depth in depths if depth.full), None)
    return [*rows, whole, ReachSummary(layers=len(depths), full_at=full_at, minimum_possible=None).to_dict()]
