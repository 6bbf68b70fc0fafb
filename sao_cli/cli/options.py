"""Options that several commands share, and the masks that they describe."""

import functools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sao_cli.base.errors import SaoError
from sao_cli.cli.shared.paths import InputFile, OutputFile, OutputFolder, Picture
from sao_cli.cli.shared.streams import has_input
from sao_cli.cli.shared.talk import Talk
from sao_cli.data.mask import Mask

if TYPE_CHECKING:
    from sao_cli.data.matrix import Matrix

F = TypeVar("F", bound=Callable[..., Any] | click.Command)
DEFAULT_WIDTH = 256  # the paper's fully-connected layers
MAX_THREADS = 4096  # no machine that this runs on has more cores
METHODS = "sao, ramanujan, biregular, xnet, radix, two-stage, eoi, lrp, lmp, gmp, dense, rg-n, rg-u or rg-s"
DEPTH = ("depths",)  # describes layers, or chooses among those that are read
DESCRIBING = (
    *("m", "n", "widths", "width", "layers", *DEPTH),
    *("method", "arrangement", "d", "c", "sparsity", "arch", "scheme"),
)
DEFAULT_LAYER = f"one layer of {DEFAULT_WIDTH} x {DEFAULT_WIDTH}"


class Sizes(click.ParamType):  # type: ignore[type-arg]  # which only newer versions of click let one name
    """A whole number for all axes of an image, or one for each of them, as in 32x24."""

    name = "n[xn...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        if not re.fullmatch(r"0*[1-9]\d{0,8}(x0*[1-9]\d{0,8})*", value, re.ASCII):
            self.fail(f"{value!r} is no size; write a number from 1, or one for each axis, as in 32x24", param, ctx)
        sizes = tuple(map(int, value.split("x")))
        return sizes if len(sizes) > 1 else sizes[0]


def common_options(command: F) -> F:
    """--seed, --json/--table, -o/--output, --threads and -q/--quiet."""
    output = click.option(
        "-o",
        "--output",
        metavar="FILE",
        type=OutputFile(stream=True),
        help="Write the result to FILE instead of stdout.",
    )
    return _common(command, output)


def folder_options(command: F) -> F:
    """common_options of a command whose -o names a folder, which may be there."""
    output = click.option("-o", "--output", metavar="FOLDER", type=OutputFolder(), help="Keep the run in this folder.")
    return _common(command, output)


def _common(command: F, output: Any) -> F:
    options = [
        click.option(
            "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random number."
        ),
        click.option(
            "--json/--table",
            "as_json",
            default=None,
            help="Force JSON lines, or a table. [default: a table on a terminal]",
        ),
        output,
        click.option(
            "--threads",
            type=click.IntRange(1, MAX_THREADS),
            expose_value=False,
            callback=_limit_threads,
            help="Threads of the linear algebra (BLAS), as many as there are cores at most.  [default: all cores]",
        ),
        click.option(
            "-q", "--quiet", is_flag=True, expose_value=False, callback=_hush, help="Say nothing on stderr but errors."
        ),
    ]
    return _apply(command, options)


def plot_option(command: F) -> F:
    """--plot FILE."""
    option = click.option(
        "--plot", metavar="FILE", type=Picture(), help="Draw the picture to FILE (.png, .svg or .pdf)."
    )
    return option(command)


def degree_options(command: Any) -> Any:
    """--d, --c and --sparsity, of which one may be given."""
    options = [
        click.option("--d", type=int, help="Ones in each row: inputs read by one output."),
        click.option("--c", type=int, help="Ones in each column: outputs fed by one input."),
        click.option("--sparsity", type=float, help="Target sparsity; the nearest feasible degree is taken."),
    ]
    return _exclusive(_apply(command, options), ["d", "c"], ["d", "sparsity"], ["c", "sparsity"])


def sizes_options(command: Any) -> Any:
    """--m, --n and --layers, or --widths."""
    options = [
        click.option("--m", type=int, help=f"Outputs of the layer.  [default: {DEFAULT_WIDTH}]"),
        click.option("--n", type=int, help=f"Inputs of the layer.  [default: {DEFAULT_WIDTH}]"),
        click.option("--layers", type=int, help="Layers in the stack.  [default: 1]"),
        click.option("--widths", metavar="W0,W1,...", help="Layer widths, inputs first; 256x49 repeats a width."),
    ]
    return _exclusive(_apply(command, options), ["widths", "m"], ["widths", "n"], ["widths", "layers"])


def mask_options(command: Any) -> Any:
    """All that describes a mask or a stack: sizes, degree, method and arrangement."""
    method = click.option("--method", default="sao", show_default=True, help=f"{METHODS}.")
    return layer_options(method(command))


def layer_options(command: Any) -> Any:
    """Sizes, degree and arrangement: what describes layers besides their method."""
    arrangement = click.option(
        "--arrangement", default="random", show_default=True, help="Groups of SAO layers: random or minimal."
    )
    return sizes_options(degree_options(arrangement(command)))


def value_options(command: Any) -> Any:
    """--gain and --dtype: what is done to every weight."""
    options = [
        click.option(
            "--gain", type=float, default=1.0, show_default=True, help="Factor on every weight that is built."
        ),
        click.option(
            "--dtype",
            metavar="NAME",
            help="Round weights to float64, float32, float16 or bfloat16.  [default: float64, or the input's]",
        ),
    ]
    return _apply(command, options)


def input_argument(command: F) -> F:
    """FILE and --tensor: where the masks are read from."""
    options = [
        click.argument("file", metavar="[FILE]", type=InputFile(), required=False),
        click.option("--tensor", metavar="NAME", help="The tensor to read from a file that holds several."),
    ]
    return _apply(command, options)


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


def build_weights(seed: int, talk: Talk, output: str | None = None, **described: Any) -> "list[Matrix]":
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

    if described["method"] == "dense":
        return
    exact = described["d"] is not None or described["c"] is not None
    if described["sparsity"] is not None:
        _say_densities(masks, f"asked for sparsity {described['sparsity']:.6g}", talk)
    elif not exact and any(mask.nnz != DEFAULT_DEGREE * mask.m for mask in masks):
        _say_densities(masks, f"no degree was given, and these are nearest to d = {DEFAULT_DEGREE}", talk)


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
    source = "-" if file is None and not given and has_input() else file
    if source is None:
        if options_given(ctx, "tensor"):
            raise click.UsageError("--tensor chooses from a file that holds several, and none is read; name one")
        if not given:
            say_default(ctx, builds)
    elif both := options_given(ctx, *(name for name in DESCRIBING if name not in DEPTH), *of_built):
        what = "standard input" if source == "-" else repr(source)
        raise click.UsageError(f"{what} and {' '.join(both)} both describe the layers; give one of them")
    return source


def required_source(file: str | None) -> str:
    """Where layers are read from, by the same rule, of a command that builds none; SaoError where there is no input."""
    if file is None and not has_input():
        command = click.get_current_context().command_path
        raise SaoError(
            f"no input: name a file, or pipe one in, as in `sao mask --d 4 | {command}`; see {command} --help"
        )
    return "-" if file is None else file


def say_default(ctx: click.Context, built: str) -> None:
    """Say, once it is there, what is built where nothing describes it."""
    ctx.ensure_object(Talk).say_at_the_end(
        f"no option describes layers, and this is {built}; see {ctx.command_path} --help"
    )


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


def _apply(command: F, options: Sequence[Callable[[F], F]]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def _exclusive(command: Any, *pairs: Sequence[str]) -> Any:
    @functools.wraps(command)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for pair in pairs:
            if all(kwargs.get(name) is not None for name in pair):
                raise click.UsageError(f"--{pair[0]} and --{pair[1]} exclude each other; give one of them")
        return command(*args, **kwargs)

    return checked


def _hush(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    talk = ctx.ensure_object(Talk)
    talk.name, talk.quiet = ctx.command_path, value


def _limit_threads(_: click.Context, __: click.Parameter, value: int | None) -> None:
    """Limit the BLAS libraries that are loaded, and by their variables those that are not yet, such as scipy's own.

    More than there are cores would only wait for each other; very many, none of these libraries survives.
    """
    if value is None:
        return
    value = min(value, os.cpu_count() or value)
    from threadpoolctl import threadpool_limits

    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(value)
    threadpool_limits(value)
