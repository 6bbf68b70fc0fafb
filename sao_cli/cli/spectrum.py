"""`sao spectrum`: singular values of a layer, and the KS test."""

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.errors import SaoError
from sao_cli.catalog import PADDINGS, REFERENCES, VALUE_PICTURES
from sao_cli.cli.shared.activations import asked_activations, threshold_options
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.inputs import input_source, options_given, read_layers, take_widths
from sao_cli.cli.shared.networks import asked_weights
from sao_cli.cli.shared.options import (
    DEFAULT_LAYER,
    DESCRIBING,
    PICKING,
    activations_option,
    common_options,
    executor_options,
    layer_options,
    methods_option,
    module_options,
    stack_argument,
    value_options,
)
from sao_cli.cli.shared.paths import InputFile
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.render import Row, emit
from sao_cli.cli.shared.tables import drawing
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named, Padding, Sizes
from sao_cli.cli.shared.workers import asked_executor, refuse_module, refuse_pipes
from sao_cli.reports.report import origin

if TYPE_CHECKING:
    from sao_cli.data.matrix import Matrix
    from sao_cli.measure.convolution.kernel_spectrum import Convolution
    from sao_cli.measure.layer.spectrum import Comparison, Draw
    from sao_cli.models.stack import WeightStack
    from sao_cli.reports.spectra import LayerSpectrum

GEOMETRY = ("image", "padding", "stride", "dilation", "groups")
NOT_OF_KERNELS = ("activations", "tau", "clip", "input_std", "inputs", "repeats")
OF_STACKS = (*PICKING, "inputs", *GEOMETRY, *DESCRIBING)
HEADINGS = {
    "Layers that are built": "gain dtype",
    "Activation": "activations tau clip input_std inputs",
    "Convolutions": "image padding stride dilation groups",
    "Facts and test": "reference resolution repeats within values",
}


@click.command(cls=SaoCommand, headings=HEADINGS)
@stack_argument
@methods_option
@layer_options
@value_options
@activations_option(default="linear")
@threshold_options
@click.option(
    "--input-std", type=float, default=1.0, show_default=True, help="s of the inputs x ~ N(0, s^2 I) behind h = W x."
)
@click.option(
    "--input-file",
    "inputs",
    metavar="FILE.npy",
    type=InputFile(),
    help="Inputs x, one a row, instead; each row is one repeat.",
)
@click.option(
    "--reference",
    type=InputFile(*REFERENCES),
    default="dense",
    show_default=True,
    help="What the KS test compares with: dense (Haar orthogonal, times --gain), marchenko-pastur, none, or a FILE of "
    "weights.",
)
@click.option("--resolution", type=float, help="Singular values so near count as equal.  [default: rounding's]")
@click.option(
    "--image", type=Sizes(), help="Sides of the image that a convolution kernel is applied to, as in 32 or 32x24."
)
@click.option(
    "--padding",
    type=Padding(),
    default="circular",
    show_default=True,
    help=f"{', '.join(PADDINGS)}, or a number of zeros on each side; circular is where SAO's kernels are orthogonal.",
)
@click.option("--stride", type=Sizes(), default="1", show_default=True, help="Stride of the convolution.")
@click.option("--dilation", type=Sizes(), default="1", show_default=True, help="Dilation of the kernel.")
@click.option("--groups", type=int, default=1, show_default=True, help="Groups of channels.")
@click.option("--repeats", type=int, help="Repeat with the seeds that follow, and tell the spread of p.  [default: 1]")
@click.option("--within", type=float, default=0.05, show_default=True, help="Count singular values so near to 1.")
@click.option("--singular-values", "values", is_flag=True, help="Add singular_values, descending, to each row.")
@executor_options
@module_options
@plot_option
@click.option(
    "--picture",
    type=Named("picture", VALUE_PICTURES),
    default="density",
    show_default=True,
    help="What --plot draws: the distributions, or their CDFs with the KS distance.",
)
@common_options
@click.pass_obj
def spectrum(
    talk: Talk,
    /,
    file: str | None,
    picked: dict[str, Any],
    method: tuple[str, ...],
    activations: tuple[str, ...],
    tau: float | None,
    clip: float | None,
    input_std: float,
    inputs: str | None,
    repeats: int | None,
    values: bool,
    jobs: int,
    cluster: str | None,
    module: str | None,
    examples: tuple[str, ...],
    norms: str,
    plot: PictureFile | None,
    picture: str,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **options: Any,
) -> None:
    """Compute the singular values of a layer's Jacobian, and test them against a dense orthogonal layer's.

    Reads weights from FILE or stdin, or builds them by --method; every layer of a stack, under every activation, is a
    row. J = D W with D = diag(phi'(W x)). A convolution kernel is measured as the linear map of images of some size
    that it is (--image, --padding, --stride, --dilation, --groups), and not as a reshaped matrix. The
    Kolmogorov-Smirnov test takes values that differ by no more than rounding as equal; with several rows p is also
    given with Holm's correction, and with --repeats its median and spread.

    With --module a row is of each weight that ran on the --example, in the order run: matrices as they were used, and
    convolutions with the image, stride, padding, dilation and groups that the run had.

    --jobs and --cluster take one of the --repeats a job, and change nothing in what is printed: with several repeats
    the linear algebra of each has one thread everywhere.

    Example: sao spectrum --method sao --method lmp --sparsity 0.992 --activation all --repeats 20 --plot fig9.pdf
    """
    refuse_module(jobs, cluster, module)
    source = input_source(file, builds=DEFAULT_LAYER) if module is None else file
    refuse_pipes(cluster, source)
    from sao_cli.data.kernel import Kernel
    from sao_cli.io import read_inputs
    from sao_cli.measure.layer.spectrum import compare_spectra
    from sao_cli.reports.spectra import LayerSpectrum

    if plot is not None and picture == "cdf" and options["reference"] in list(REFERENCES)[1:]:
        raise SaoError("--picture cdf draws the distance to a reference layer; --reference dense or a FILE gives one")
    comparison = _comparison(options)
    geometry = {name: options.pop(name) for name in GEOMETRY}
    chosen_activations = asked_activations(activations, tau, clip)
    read = None if source is None or module is not None else read_layers(source, picked, talk, ordered=False)
    sampled: dict[str, Any] = {"input_std": input_std, "seed": seed, "progress": talk}
    if module is not None:
        asked = {"activations": chosen_activations, "input_std": input_std, "seed": seed}
        asked |= {"repeats": 1 if repeats is None else repeats, "comparison": comparison, "dtype": options["dtype"]}
        found: Sequence[LayerSpectrum] = _of_module(file, module, examples, talk, asked)
    elif read is not None and any(isinstance(weight, Kernel) for weight in read):
        layers = _maps(read, geometry, options["dtype"], talk)
        sampled |= {"repeats": 1 if repeats is None else repeats, "comparison": comparison}
        found = compare_spectra({"": lambda _: layers}, chosen_activations, **sampled)
    else:
        place = None if cluster is None or source is None else (source, picked)
        heard = {"progress": talk} if jobs == 1 and cluster is None else {}  # which does not travel
        draws, n = _draws(None if read is None else read.matrices(), place, method, options | heard)
        _refuse_kernel_options()
        chosen = None if inputs is None else read_inputs(inputs, n)
        times = repeats if repeats is not None else 1 if chosen is None else len(chosen)
        sampled |= {"inputs": chosen, "comparison": comparison, "repeats": times}
        with asked_executor(jobs, cluster) if times > 1 else contextlib.nullcontext() as executor:
            found = compare_spectra(draws, chosen_activations, executor=executor, **sampled)
    if read is not None and read.names:
        found = [replace(row, name=read.names[row.layer - 1]) for row in found]
    if plot is not None:
        _draw(found, plot, picture)
    columns = [key for key in LayerSpectrum.table if key != "layer" or any(row.layer > 1 for row in found)]
    told: dict[str, Any] = {"source": source, "report": LayerSpectrum, "columns": columns}
    emit("spectrum", seed, _rows(found, read, values, talk), as_json=as_json, output=output, **told)


def _comparison(options: dict[str, Any]) -> "Comparison":
    """What is compared with what, of the options that say it, which are taken out."""
    from sao_cli.measure.layer.spectrum import Comparison

    reference, resolution, within = (options.pop(name) for name in ("reference", "resolution", "within"))
    given = {"gain": options["gain"], "resolution": resolution, "within": within}
    if reference in REFERENCES:
        return Comparison(reference=reference, **given)
    from sao_cli.io import read_weights

    return Comparison(reference=read_weights(reference), name=reference, **given)


def _maps(read: "WeightStack", geometry: dict[str, Any], dtype: str | None, talk: Talk) -> "list[Matrix | Convolution]":
    """The weights that were read, the kernels among them as maps of images, of the groups that the file tells."""
    from sao_cli.data.kernel import Kernel
    from sao_cli.measure.convolution.kernel_spectrum import Convolution

    kernels = [weight for weight in read if isinstance(weight, Kernel)]
    context = click.get_current_context()
    if given := options_given(context, *NOT_OF_KERNELS):
        told = f"{' '.join(given)} is for matrices; a convolution is measured as the linear map that it is"
        if len(kernels) == len(read) or "--input-file" in given:
            raise SaoError(told)
        talk.say(told)
    if geometry["image"] is None:
        shape = "x".join(map(str, kernels[0].shape))
        raise SaoError(f"a kernel of {shape} is a map only of images of some size; --image 32 gives their sides")
    foreign = any("scheme" not in kernel.mask.provenance for kernel in kernels)
    if foreign and not options_given(context, "padding"):
        talk.say_at_the_end("the image is taken as circular, which few networks have; --padding zeros is what most do")
    made: list[Matrix | Convolution] = []
    for place, weight in enumerate(read):
        if isinstance(weight, Kernel):
            own = {} if options_given(context, "groups") else {"groups": read.channel_groups(place)}
            made.append(Convolution(weight.as_dtype(dtype), **{**geometry, **own}))
        else:
            made.append(weight.as_dtype(dtype))
    return made


def _of_module(
    file: str | None, module: str, examples: tuple[str, ...], talk: Talk, asked: dict[str, Any]
) -> "Sequence[LayerSpectrum]":
    """A row for each weight that ran, and what the options leave as it is said."""
    from sao_cli.nets.tracing.measured_weights import module_spectra
    from sao_cli.reports.spectra import KernelSpectrum

    found = asked_weights(module_spectra, file, module, examples, OF_STACKS, progress=talk, **asked).rows
    kernels = sum(isinstance(row, KernelSpectrum) for row in found)
    if kernels and (given := options_given(click.get_current_context(), *NOT_OF_KERNELS)):
        told = "the convolution is" if kernels == 1 else f"the {kernels} convolutions are"
        talk.say(f"{' '.join(given)} is for matrices; {told} measured as a linear map")
    return found


def _refuse_kernel_options() -> None:
    if given := options_given(click.get_current_context(), *GEOMETRY):
        raise SaoError(f"{' '.join(given)} is for convolution kernels, and these layers are matrices; leave it out")


def _draws(
    read: "list[Matrix] | None",
    place: tuple[str, dict[str, Any]] | None,
    methods: Sequence[str],
    options: dict[str, Any],
) -> "tuple[dict[str, Draw], int]":
    """What gives the layers by seed, by method (or by "" for those that are read), and the inputs that they have.

    Workers read those at a `place` themselves: a path, and what is picked there.
    """
    from sao_cli.models.draws import built_layers, given_layers, placed_layers

    if read is not None and place is not None:
        from sao_cli.models.places import StackPlace

        there = functools.partial(placed_layers, place=StackPlace.of(*place), dtype=options["dtype"])
        return {"": there}, read[0].mask.n
    if read is not None:
        stack = [matrix.as_dtype(options["dtype"]) for matrix in read]
        return {"": functools.partial(given_layers, weights=stack)}, stack[0].mask.n
    widths = take_widths(options)
    each = {method: functools.partial(built_layers, widths=widths, method=method) for method in methods or ("sao",)}
    return {method: functools.partial(one, **options) for method, one in each.items()}, widths[0]


def _rows(found: "Sequence[LayerSpectrum]", read: "WeightStack | None", values: bool, talk: Talk) -> list[Row]:
    high = max(2.0, *(row.sigma_max for row in found))
    rows: list[Row] = []
    for one in found:
        row = one.to_dict() | origin(read[one.layer - 1].mask.provenance if read else None)
        if values:
            row["singular_values"] = one.singular_values.tolist()
        row["singular values"] = drawing(one.singular_values, high)
        rows.append(row)
    estimated = [one for one in found if not one.exact]
    if estimated:
        talk.warn(f"{estimated[0].method}: {estimated[0].reason}")
    return rows


def _draw(found: "Sequence[LayerSpectrum]", plot: PictureFile, picture: str) -> None:
    from sao_cli.plots import Curve, ecdf_figure, spectrum_figure

    curves = [Curve(_label(one, found), one.activation, one.singular_values, one.exact) for one in found]
    references = [
        Curve(f"{one.ks.reference} (reference)", one.activation, one.reference_values)
        for one in found
        if one.ks is not None and one.reference_values is not None
    ]
    if len(references) < len(found):  # a law has no values to draw
        references = []
    repeats = max(one.repeats.count if one.repeats else 1 for one in found)
    note = f"the first of {repeats} repeats" if repeats > 1 else ""
    if picture == "density":
        plot.save(spectrum_figure(curves, references, note))
        return
    plot.save(ecdf_figure(curves, references, [one.ks for one in found if one.ks is not None], note))


def _label(one: "LayerSpectrum", found: "Sequence[LayerSpectrum]") -> str:
    if one.name is not None:
        return one.name
    scheme = getattr(one, "scheme", None)
    of_kernels = f"{scheme} kernels" if scheme else ""  # the method makes their mask alone
    number = "" if all(other.layer == 1 for other in found) else f"layer {one.layer}"
    return ", ".join(filter(None, [one.method, of_kernels, number]))
