"""`sao jacobian`: singular values of a deep network's Jacobian."""

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.errors import SaoError
from sao_cli.catalog import (
    ARCHITECTURES,
    COMPUTED,
    DEPTH_PICTURES,
    DTYPES,
    SIZED_ARCHITECTURES,
    SIZED_SCHEMES,
)
from sao_cli.cli.shared.activations import asked_activations
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.critical import CRITICAL_OPTIONS, asked_starts, critical_options
from sao_cli.cli.shared.forms import ascii_only
from sao_cli.cli.shared.inputs import input_source, options_given, read_layers
from sao_cli.cli.shared.networks import asked_run
from sao_cli.cli.shared.options import (
    DEFAULT_WIDTH,
    DESCRIBING,
    PICKING,
    activations_option,
    arrangement_option,
    common_options,
    data_source_options,
    degree_options,
    device_option,
    methods_option,
    module_options,
    pattern_option,
    stack_argument,
)
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.render import Row, emit
from sao_cli.cli.shared.tables import Drawing
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named, Side
from sao_cli.reports.report import origin

if TYPE_CHECKING:
    from sao_cli.data.matrix import Matrix
    from sao_cli.measure.criticality.variance_map import VarianceMap
    from sao_cli.measure.layer.activations import ActivationFunction
    from sao_cli.nets.jacobians.trained import TrainedRun
    from sao_cli.reports.networks import DepthJacobian, ModuleJacobian

DEFAULT_DEPTH = ARCHITECTURES["fnn"].depth  # the shallowest network of the paper's Table 7
ACTIVATED = ("activations", "tau", "clip")
# what says nothing of a module's Jacobian
OF_CHAINS = (*PICKING, *ACTIVATED, *CRITICAL_OPTIONS, "gain", "image", "by_layer", "norms", "picture", *DESCRIBING)
DEFAULT_NETWORK = f"a network of {DEFAULT_DEPTH} layers of {DEFAULT_WIDTH} x {DEFAULT_WIDTH}"
HEADINGS = {
    "Layers that are built": "arch depths width image scheme gain",
    "Weights that are read": "",
    "Activation": "activations tau clip",
    "Edge of chaos": "",
    "Inputs": "inputs input_std data data_folder",
    "Result": "by_layer",
    "Running": "dtype",
}


@click.command(cls=SaoCommand, headings=HEADINGS)
@stack_argument
@click.option(
    "--arch", type=Named("architecture", SIZED_ARCHITECTURES), default="fnn", show_default=True, help="What is built."
)
@click.option("--depth", "depths", type=int, multiple=True, help="Layers; may be repeated.  [default: 50, or all read]")
@click.option(
    "--width",
    type=int,
    help=f"Inputs and outputs of every layer, or channels.  [default: {DEFAULT_WIDTH}; channels: 32]",
)
@click.option(
    "--image", type=Side(), help="Sides of the square images that a cnn or lipconvnet reads.  [default: 32, 24]"
)
@click.option("--scheme", type=Named("scheme of a CNN", SIZED_SCHEMES), help="Kernels of a cnn.  [default: delta]")
@methods_option
@degree_options()
@arrangement_option
@pattern_option
@click.option("--gain", type=float, default=1.0, show_default=True, help="Factor on every weight that is built.")
@activations_option(default="tanh")
@critical_options
@click.option("--inputs", type=int, default=1, show_default=True, help="Inputs x at which Jacobians are taken.")
@click.option(
    "--input-std",
    type=float,
    default=1.0,
    show_default=True,
    help="s of the inputs x ~ N(0, s^2 I); at the edge of chaos it is what makes q_1 = q*, unless given.",
)
@data_source_options
@click.option("--by-layer", is_flag=True, help="The singular values of each layer's D W alone, a row a layer.")
@device_option
@click.option(
    "--dtype",
    type=Named("dtype", DTYPES),
    metavar=f"[{'|'.join(COMPUTED)}]",
    default="float64",
    show_default=True,
    help="What is computed in.",
)
@module_options
@plot_option
@click.option(
    "--picture",
    type=Named("picture", DEPTH_PICTURES),
    default="depth",
    show_default=True,
    help="What --plot draws of a chain: mean and variance against depth, or histograms of log10 sigma.",
)
@common_options
@click.pass_obj
def jacobian(
    talk: Talk,
    /,
    file: str | None,
    picked: dict[str, Any],
    depths: tuple[int, ...],
    activations: tuple[str, ...],
    tau: float | None,
    clip: float | None,
    device: str,
    dtype: str,
    plot: PictureFile | None,
    picture: str,
    seed: int,
    as_json: bool | None,
    output: str | None,
    inputs: int,
    input_std: float,
    data: str | None,
    data_folder: str | None,
    module: str | None,
    examples: tuple[str, ...],
    norms: str,
    arch: str,
    **described: Any,
) -> None:
    """Compute the singular values of a deep network's Jacobian J = D_L W_L ... D_1 W_1.

    Builds a network of square layers, reads a stack of weights or a checkpoint's, without biases, or, by the folder of
    its run, a network that `sao train` made, with its activation and biases; every depth asked for, of every method and
    activation, is a row. The product is kept as graded factors, so that 1000 layers neither overflow nor lose their
    small singular values, which are told as logarithms; `resolved` is the fraction that can be told from zero. Beside
    them stands what mean-field theory predicts of the squared values. --arch cnn and lipconvnet build the paper's
    convolutional networks, and J leads from an image to the features before the classifier; of a trained one, from an
    image to its outputs.

    With --activation-sparsity, --q-star, --sigma-b or another of these layers have normal biases, and layers that are
    built begin at the edge of chaos of each activation, sigma_w in the place of --gain.

    With --module J is of a network of your own, from inputs of the shape of --example to its outputs, in eval mode and
    with the weights of the checkpoint FILE. Inputs are normal, or the first --inputs test images of --data.

    Example: sao jacobian --depth 50 --depth 200 --width 256 --method sao --method rg-n --gain 1.1 --plot fig11.pdf
    """
    _refuse_beside_data(data, data_folder)
    if module is None:
        source = input_source(file, of_built=("gain", "sigma_w"), builds=DEFAULT_NETWORK)
    from sao_cli.nets.devices import device_name
    from sao_cli.reports.networks import DepthJacobian, ModuleJacobian

    where = device_name(device, dtype)
    if device == "auto" and where != "cpu":
        talk.say(f"computing on {where}")
    numbers = {name: described.pop(name) for name in CRITICAL_OPTIONS}
    starts = asked_starts(activations, tau, clip, numbers, read=module is None and source is not None)
    functions = [start.activation for start in starts] or asked_activations(activations, tau, clip)
    asked: dict[str, Any] = {
        "inputs": inputs,
        "input_std": input_std,
        "device": where,
        "dtype": dtype,
        "seed": seed,
        "progress": talk,
    }
    if module is not None:
        found = _of_module(file, module, examples, data, data_folder, asked)
        if plot is not None:
            _draw_module(found, plot)
        emit("jacobian", seed, [_shown(found)], as_json=as_json, output=output, source=file, report=ModuleJacobian)
        return
    read: list[Matrix] | None = None
    run = _trained(source, functions) if source is not None and os.path.isdir(source) else None
    if run is not None:
        if data is not None:
            asked["x"] = run.samples(data, data_folder, inputs, progress=talk)
        rows = list(run.jacobian(depths, by_layer=described["by_layer"], **asked))
        if run.reads_images:
            talk.say(f"J leads from an image to the {rows[0].m} outputs of the trained network")
    elif not ARCHITECTURES[arch].image:
        if given := options_given(click.get_current_context(), "image", "scheme"):
            raise SaoError(f"{' '.join(given)} is for --arch cnn and lipconvnet; leave it out")
        read = None if source is None else read_layers(source, picked, talk, ordered=True).matrices()
        of = (data, data_folder)
        if starts:
            rows = [row for start in starts for row in _begun(start, read, depths, described, asked, of, talk)]
        else:
            rows = list(_of_layers(read, depths, functions, described, asked, of, talk))
    elif data is not None:
        raise SaoError(f"--data {data}: the features of an untrained {arch} are taken at normal inputs; leave it out")
    else:
        rows = list(_of_images(arch, depths, functions, described, asked))
    if plot is not None:
        from sao_cli.plots import depth_figure, depth_histogram_figure

        drawn = depth_figure if picture == "depth" else depth_histogram_figure
        by_layer = bool(click.get_current_context().params["by_layer"])
        plot.save(drawn(_told_by_scheme(rows, arch), by_layer=by_layer))
    shown = (
        _shown(row) | origin(run.provenance if run else read[row.depth - 1].mask.provenance if read else None)
        for row in rows
    )
    emit("jacobian", seed, shown, as_json=as_json, output=output, source=source, report=DepthJacobian)


def _told_by_scheme(rows: "list[DepthJacobian]", arch: str) -> "list[DepthJacobian]":
    """The rows as a picture names them: the method makes masks alone, and what is on them are the scheme's kernels."""
    if not ARCHITECTURES[arch].image or ARCHITECTURES[arch].fixed:
        return rows
    scheme = click.get_current_context().params["scheme"] or "delta"
    return [replace(row, method=f"{row.method}, {scheme} kernels") for row in rows]


def _refuse_beside_data(data: str | None, data_folder: str | None) -> None:
    if data is None and data_folder is not None:
        raise click.UsageError("--data-folder is of --data NAME, and none is named")
    if data is not None and options_given(click.get_current_context(), "input_std"):
        raise click.UsageError("--input-std is of normal inputs, and --data gives others; give one of them")


def _of_module(
    file: str | None,
    module: str,
    examples: Sequence[str],
    data: str | None,
    data_folder: str | None,
    asked: dict[str, Any],
) -> "ModuleJacobian":
    """The Jacobian of the user's module at inputs of the example's shape."""
    if len(examples) > 1 or examples[0].startswith("ids:"):
        what = "whole numbers" if len(examples) == 1 else "several inputs"
        raise click.UsageError(f"--example {' '.join(examples)}: J is by one input of real numbers, not {what}")
    run, (example,) = asked_run(file, module, examples, asked["seed"], OF_CHAINS)
    import torch

    from sao_cli.nets.jacobians.module import spectrum_at
    from sao_cli.nets.jacobians.points import drawn_inputs, sample_inputs

    shape, count, seed = tuple(example.shape), asked["inputs"], asked["seed"]
    if data is None:
        x = drawn_inputs(count, shape, asked["input_std"], seed)
    else:
        x = sample_inputs(data, data_folder, count, shape, seed=seed, progress=asked["progress"])
    told = {name: asked[name] for name in ("device", "dtype", "seed", "progress")}
    with contextlib.redirect_stdout(sys.stderr):
        return spectrum_at(run.eval(), [torch.from_numpy(one) for one in x], **told)


def _draw_module(found: "ModuleJacobian", plot: PictureFile) -> None:
    from sao_cli.plots import Curve, spectrum_figure

    label = f"Jacobian {found.m} x {found.n} at {found.inputs} input{'s' * (found.inputs > 1)}"
    plot.save(spectrum_figure([Curve(label, found.module, found.singular_values, found.exact)], []))


def _trained(folder: str, activations: "Sequence[ActivationFunction]") -> "TrainedRun | None":
    """The run in the folder, which tells all that options could; None where it holds no run, but a checkpoint."""
    from sao_cli.nets.jacobians.trained import TrainedRun
    from sao_cli.nets.training.folder import SETTINGS

    if not os.path.exists(os.path.join(folder, SETTINGS)):
        return None
    context = click.get_current_context()
    if given := options_given(context, *PICKING, *CRITICAL_OPTIONS, "image"):
        raise SaoError(f"{' '.join(given)}: the run in {folder!r} tells the network; leave it out")
    run = TrainedRun.of(folder)
    if options_given(context, *ACTIVATED):
        for function in activations:
            run.require_activation(str(function))
    return run


def _of_layers(
    read: "list[Matrix] | None",
    depths: tuple[int, ...],
    activations: "Sequence[ActivationFunction]",
    described: dict[str, Any],
    asked: dict[str, Any],
    data: tuple[str | None, str | None],
    talk: Talk,
) -> "Iterator[DepthJacobian]":
    from sao_cli.nets.jacobians.chain import network_jacobian
    from sao_cli.nets.jacobians.points import sample_inputs

    asked["by_layer"] = described.pop("by_layer")
    described = {name: value for name, value in described.items() if name not in ("image", "scheme")}
    name, folder = data
    for stack in _stacks(read, depths, asked["seed"], described, talk):
        if name is not None:
            told = {"seed": asked["seed"], "progress": talk}
            asked["x"] = sample_inputs(name, folder, asked["inputs"], [stack[0].mask.n], **told)
        every = asked["by_layer"] and (read is None or not depths)
        for activation in activations:
            yield from network_jacobian(stack, activation, depths=None if every else depths or [len(stack)], **asked)


def _begun(
    start: "VarianceMap",
    read: "list[Matrix] | None",
    depths: tuple[int, ...],
    described: dict[str, Any],
    asked: dict[str, Any],
    data: tuple[str | None, str | None],
    talk: Talk,
) -> "Iterator[DepthJacobian]":
    """The rows of layers that begin with sigma_w, unless they are read, and biases of sigma_b."""
    from sao_cli.measure.criticality.variance_map import input_std

    context = click.get_current_context()
    asked = asked | {"sigma_b": start.sigma_b}
    if read is None:
        described = described | {"gain": start.sigma_w}
        if not options_given(context, "input_std"):
            q_star = context.params["q_star"]
            asked["input_std"] = input_std(start, 1.0 if q_star is None else q_star)
    yield from _of_layers(read, depths, [start.activation], dict(described), asked, data, talk)


def _of_images(
    arch: str,
    depths: tuple[int, ...],
    activations: "Sequence[ActivationFunction]",
    described: dict[str, Any],
    asked: dict[str, Any],
) -> "Iterator[DepthJacobian]":
    """A row for each depth, method and activation of a convolutional network; LipConvNet has neither of the latter."""
    from sao_cli.nets.jacobians.images import architecture_jacobian

    context = click.get_current_context()
    row = ARCHITECTURES[arch]
    fixed = ("method", "scheme", *ACTIVATED, "gain") if row.fixed else ()
    of_chains = ("file", *PICKING, *CRITICAL_OPTIONS, "c", "arrangement", "pattern", "by_layer")
    if given := options_given(context, *of_chains, *fixed):
        raise SaoError(f"{' '.join(given)} is not for --arch {arch}; leave it out")
    options = {"degree": described["d"], "sparsity": described["sparsity"], "image": described["image"]}
    options = {name: value for name, value in options.items() if value is not None}
    options |= {} if described["width"] is None else {row.sized_by: described["width"]}
    depths = depths or (row.depth,)
    if row.fixed:
        yield from architecture_jacobian(arch, depths, **options, **asked)
        return
    options |= {"gain": described["gain"], "scheme": described["scheme"] or "delta"}
    for method in described["method"] or ("sao",):
        for function in activations:
            yield from architecture_jacobian(arch, depths, method=method, activation=function, **options, **asked)


def _stacks(
    read: "list[Matrix] | None", depths: tuple[int, ...], seed: int, described: dict[str, Any], talk: Talk
) -> "Iterator[list[Matrix]]":
    """The stack that was read, or one for each method."""
    if read is not None:
        yield read
        return
    from sao_cli.base.memory import require_layers
    from sao_cli.weights.build_weights import weight_stack

    if min(depths, default=1) < 1:
        raise SaoError(f"--depth {min(depths)}: a network has at least one layer")
    width, methods = described.pop("width"), described.pop("method") or ("sao",)
    require_layers(max(depths, default=DEFAULT_DEPTH), "a stack")
    widths = [DEFAULT_WIDTH if width is None else width] * (max(depths, default=DEFAULT_DEPTH) + 1)
    for method in methods:
        yield weight_stack(widths, method=method, seed=seed, progress=talk, **described)


def _shown(one: "DepthJacobian | ModuleJacobian") -> Row:
    import numpy as np

    from sao_cli.cli.shared.histogram import sparkline
    from sao_cli.reports.networks import DepthJacobian

    row = one.to_dict()
    with np.errstate(divide="ignore"):
        values = one.log10_values if isinstance(one, DepthJacobian) else np.log10(one.singular_values)
    values = values[values > -math.inf]
    if values.size:
        low, high = math.floor(float(values.min()) - 0.5), math.ceil(float(values.max()) + 0.5)
        drawn = f"{low} {sparkline(values, low=low, high=high, ascii=ascii_only())} {high}"
        row["log10 of singular values"] = Drawing(drawn, drawn)
    return row
