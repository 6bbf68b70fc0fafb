"""Options that several commands share, one meaning in all of them."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from sao_cli import catalog
from sao_cli.base.names import one_of
from sao_cli.cli.shared.forms import form_options
from sao_cli.cli.shared.paths import Data, Folder, Model, ModuleName, OutputFile, OutputFolder
from sao_cli.cli.shared.streams import given_source
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Device, Named, Pattern, Scheduler
from sao_cli.masks.degrees import DEFAULT_DEGREE

F = TypeVar("F", bound=Callable[..., Any] | click.Command)
DEFAULT_WIDTH = 256  # the paper's fully-connected layers
DEFAULT_LAYER = f"one layer of {DEFAULT_WIDTH} x {DEFAULT_WIDTH}"
MAX_THREADS = 4096  # no machine that this runs on has more cores
DEPTH = ("depths",)  # describes layers, or chooses among those that are read
NAMES: dict[str, dict[str, Any]] = {  # patterns of the names of weights
    "include": {"metavar": "PATTERN", "help": "Only names such as 'encoder.*', and embeddings that it names;"},
    "exclude": {"metavar": "PATTERN", "help": "No names such as '*.lm_head.*';"},
}
TENSORS = {"tensor": {"metavar": "NAME", "help": "The tensor to read of several, or all of a stack, in their order;"}}
PICKING = (*TENSORS, *NAMES)
METHODS = one_of(catalog.METHODS)
METHOD = Named("method", catalog.METHODS, same={long: short for short, long in catalog.BEFORE_TRAINING.items()})
DESCRIBING = (
    *("m", "n", "widths", "width", "layers", *DEPTH),
    *("method", "arrangement", "pattern", "d", "c", "sparsity", "arch", "scheme"),
)


def common_options(command: F) -> F:
    """--seed, --json/--table, --csv, --markdown, --columns, -o/--output, --threads and -q/--quiet."""
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


def sweep_folder_options(command: F) -> F:
    """folder_options without --threads, of a command whose jobs have one thread each."""
    output = click.option(
        "-o",
        "--output",
        metavar="FOLDER",
        type=OutputFolder(),
        help="Keep each run in this folder; a second call does what is missing.",
    )
    return _common(command, output, threads=False)


def executor_options(command: F) -> F:
    """--jobs and --cluster, for `sao_cli.study.executors.executor`."""
    options = [
        click.option(
            "--jobs",
            "-j",
            type=click.IntRange(1, MAX_THREADS),
            default=1,
            show_default=True,
            help="Processes of this machine that work at once, each with one thread.",
        ),
        click.option(
            "--cluster",
            metavar="ADDRESS",
            type=Scheduler(),
            help="Of a Dask scheduler whose workers do the work, as tcp://192.168.0.2:8786.",
        ),
    ]
    return _apply(command, options)


def _common(command: F, output: Any, threads: bool = True) -> F:
    options = [
        click.option(
            "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random number."
        ),
        form_options,
        output,
        click.option(
            "--threads",
            type=click.IntRange(1, MAX_THREADS),
            expose_value=False,
            callback=_limit_threads,
            help="Threads of the linear algebra (BLAS), as many as there are cores at most.  [default: all cores]",
        )
        if threads
        else _unchanged,
        click.option(
            "-q", "--quiet", is_flag=True, expose_value=False, callback=_hush, help="Say nothing on stderr but errors."
        ),
    ]
    return _apply(command, options)


def degree_options(default: str = f"nearest feasible to {DEFAULT_DEGREE}") -> Callable[[Any], Any]:
    """--d, --c and --sparsity, of which one may be given; `default` says what there is where none is."""

    def add(command: Any) -> Any:
        told = f"Ones in each row: inputs read by one output.  [default: {default}]"
        options = [
            click.option("--d", "-d", type=int, help=told),
            click.option("--c", "-c", type=int, help="Ones in each column: outputs fed by one input."),
            click.option("--sparsity", "-s", type=float, help="Target sparsity; the nearest feasible degree is taken."),
        ]
        return _exclusive(_apply(command, options), ["d", "c"], ["d", "sparsity"], ["c", "sparsity"])

    return add


def sizes_options(command: Any) -> Any:
    """--m, --n and --layers, or --widths."""
    options = [
        click.option("--m", "-m", type=int, help=f"Outputs of the layer.  [default: {DEFAULT_WIDTH}]"),
        click.option("--n", "-n", type=int, help=f"Inputs of the layer.  [default: {DEFAULT_WIDTH}]"),
        click.option("--layers", type=int, help="Layers in the stack.  [default: 1]"),
        click.option("--widths", metavar="W0,W1,...", help="Layer widths, inputs first; 256x49 repeats a width."),
    ]
    return _exclusive(_apply(command, options), ["widths", "m"], ["widths", "n"], ["widths", "layers"])


def mask_options(command: Any) -> Any:
    """All that describes a mask or a stack: sizes, degree, method and arrangement."""
    method = click.option("--method", type=METHOD, default="sao", show_default=True, help=f"{METHODS}.")
    return layer_options(method(command))


def layer_options(command: Any) -> Any:
    """Sizes, degree and arrangement: what describes layers besides their method."""
    return sizes_options(degree_options()(arrangement_option(pattern_option(command))))


def pattern_option(command: F) -> F:
    """--pattern, of method nm."""
    told = f"Of --method nm: N of each M inputs are read, instead of a degree.  [default: {catalog.PATTERN}]"
    return click.option("--pattern", type=Pattern(), metavar="N:M", help=told)(command)


def arrangement_option(command: F) -> F:
    """--arrangement."""
    option = click.option(
        "--arrangement",
        type=Named("arrangement", catalog.ARRANGEMENTS),
        default="random",
        show_default=True,
        help="Groups of SAO layers.",
    )
    return option(command)


def device_option(command: F) -> F:
    """--device."""
    option = click.option(
        "--device", type=Device(), default="auto", show_default=True, help=f"{', '.join(catalog.DEVICES)}, or cuda:N."
    )
    return option(command)


def methods_option(command: F) -> F:
    """--method, which may be repeated."""
    option = click.option(
        "--method",
        type=METHOD,
        multiple=True,
        help=f"{METHODS}; may be repeated.  [default: sao]",
    )
    return option(command)


def activations_option(default: str) -> Callable[[F], F]:
    """--activation, which may be repeated."""
    return click.option(
        "--activation",
        "activations",
        type=Named("activation", catalog.ACTIVATIONS, "all"),
        multiple=True,
        default=[default],
        help=f"{', '.join(catalog.ACTIVATIONS)}, or all that take no number; may be repeated.  [default: {default}]",
    )


def value_options(command: Any) -> Any:
    """--gain and --round-to: what is done to every weight."""
    options = [
        click.option(
            "--gain", type=float, default=1.0, show_default=True, help="Factor on every weight that is built."
        ),
        click.option(
            "--round-to",
            "dtype",
            type=Named("dtype", catalog.DTYPES),
            help="Round weights to this type of numbers.  [default: float64, or the input's]",
        ),
    ]
    return _apply(command, options)


def data_options(command: F) -> F:
    """--data, --data-folder and --samples: labelled samples that a network reads."""
    samples = click.option("--samples", type=click.IntRange(1), help="The first so many samples.  [default: all]")
    return data_source_options(samples(command))


def data_source_options(command: F) -> F:
    """--data and --data-folder."""
    options = [
        click.option(
            "--data",
            metavar="NAME|FILE.npz",
            type=Data(),
            help=f"{one_of(catalog.DATA)}, standardised; or FILE.npz with arrays x (N, ...), used as they are, "
            "and whole numbers y (N,).",
        ),
        click.option("--data-folder", metavar="FOLDER", type=Folder(), help="Where the data lie, of all but digits."),
    ]
    return _apply(command, options)


def stack_argument(command: Any) -> Any:
    """FILE, and what picks weights of it: --tensor, --include and --exclude, which the command gets as `picked`."""

    @functools.wraps(command)
    def bundled(*args: Any, **kwargs: Any) -> Any:
        tensors, include, exclude = (kwargs.pop(name) for name in PICKING)
        if tensors and (include or exclude):
            raise click.UsageError("--tensor names the weights that --include and --exclude choose; give one of them")
        picked = {"tensors": tensors, "include": include, "exclude": exclude}
        return command(*args, picked=picked, **kwargs)

    file = click.argument("file", metavar="[FILE]", type=Model(), required=False)
    return file(repeated_options({**TENSORS, **NAMES})(bundled))


def repeated_options(told: Mapping[str, dict[str, Any]]) -> Callable[[F], F]:
    """Options by their names, which may be repeated, as their help says at its end."""

    def add(command: F) -> F:
        options = [
            click.option(f"--{name}", multiple=True, **one | {"help": f"{one['help']} may be repeated."})
            for name, one in told.items()
        ]
        return _apply(command, options)

    return add


def list_option(command: F) -> F:
    """--list."""
    option = click.option("--list", "listed", is_flag=True, help="Add the numbers of units that are lost or unreached.")
    return option(command)


def run_options(command: Any) -> Any:
    """--module and --example: a network of the user's own that runs."""
    options = [
        click.option(
            "--module",
            metavar="FILE.py:NAME",
            type=ModuleName(),
            help="A torch module, or what makes one, by FILE.py:NAME or PACKAGE.MODULE:NAME, which FILE's weights are "
            "loaded into, or those on stdin; without them its own count. This runs the code that it names.",
        ),
        click.option(
            "--example",
            "examples",
            metavar="SHAPE",
            multiple=True,
            help="The shape of the module's input, as in 1x3x32x32, or ids:1x128 for whole numbers; repeated for more.",
        ),
    ]
    return _together(_apply(command, options))


def module_options(command: Any) -> Any:
    """--module, --example and --norms: a network of the user's own, as it runs."""
    option = click.option(
        "--norms",
        type=Named("norms", catalog.NORMS),
        default="unit",
        show_default=True,
        help="What the module's norms pass: each unit to itself, or to its whole group.",
    )
    return run_options(option(command))


def _together(command: Any) -> Any:
    @functools.wraps(command)
    def checked(*args: Any, **kwargs: Any) -> Any:
        module, examples = kwargs["module"], kwargs["examples"]
        if module is not None and not examples:
            raise click.UsageError("--module needs the shape of its input: --example 1x3x32x32")
        source = _source("norms")
        if module is not None:
            name = "model" if "model" in kwargs else "file"
            kwargs[name] = given_source(kwargs[name])
        if module is None and (examples or source is click.core.ParameterSource.COMMANDLINE):
            raise click.UsageError("--example and --norms are of a --module FILE.py:NAME, and none is named")
        return command(*args, **kwargs)

    return checked


def _unchanged(command: F) -> F:
    return command


def _apply(command: F, options: Sequence[Callable[[F], F]]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def _exclusive(command: Any, *pairs: Sequence[str]) -> Any:
    @functools.wraps(command)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for pair in pairs:
            if all(kwargs.get(name) is not None for name in pair):
                settings = [name for name in pair if _source(name) is click.core.ParameterSource.DEFAULT_MAP]
                if len(settings) == 1:  # what is given comes before what is set
                    kwargs[settings[0]] = None
                    continue
                raise click.UsageError(f"--{pair[0]} and --{pair[1]} exclude each other; give one of them")
        return command(*args, **kwargs)

    return checked


def _source(name: str) -> click.core.ParameterSource | None:
    return click.get_current_context().get_parameter_source(name)


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
