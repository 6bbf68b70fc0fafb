"""`sao train`: train a sparse network on real data."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.names import lines, one_of
from sao_cli.catalog import (
    ACTIVATIONS,
    ARCHITECTURES,
    BEFORE_TRAINING,
    COMPUTED,
    CONTROLS,
    DATA,
    INITS,
    LABELS,
    LAYERS,
    OPTIMIZERS,
    SCHEDULES,
    SIZED_ARCHITECTURES,
    TRAIN_METHODS,
    TRAINING_PICTURES,
    UNITS,
    WITHIN,
)
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.critical import critical_options
from sao_cli.cli.shared.failures import FAILS, check_option, name_failures
from sao_cli.cli.shared.inputs import widths_of
from sao_cli.cli.shared.options import device_option, folder_options
from sao_cli.cli.shared.paths import Folder
from sao_cli.cli.shared.picture_options import PictureFile, plot_option
from sao_cli.cli.shared.rank_reduction import rare_options
from sao_cli.cli.shared.render import emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named

if TYPE_CHECKING:
    from sao_cli.io.datasets.dataset import Dataset
    from sao_cli.nets.training.folder import RunFolder
    from sao_cli.nets.training.settings import TrainingSettings
    from sao_cli.reports.audits import CheckFailure
    from sao_cli.reports.networks import EpochRow

_DEPTHS = ", ".join(f"{row.name} {row.depth}" for row in SIZED_ARCHITECTURES.values())


def _epochs(text: str | None) -> tuple[int, ...] | None:
    """ "50,150" as numbers; "none" is no epoch."""
    return None if text is None else tuple(map(_number, _items(text)))


def _epochs_or_last(text: str) -> tuple[int | str, ...]:
    return tuple(item if item == "last" else _number(item) for item in _items(text))


def _items(text: str) -> list[str]:
    return [] if text.strip() in ("", "none") else [item.strip() for item in text.split(",")]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise click.BadParameter(f"{text!r} is no epoch; write whole numbers, as in 50,150, or none")
    return int(text)


def _read_by(parse: Callable[[Any], Any]) -> Any:
    return lambda _ctx, _param, value: parse(value)


HEADINGS = {
    "Data": "download random_labels",
    "Network": "arch method depth width widths d sparsity activation tau clip gain init init_gamma layers",
    "Edge of chaos": "",
    "Training": "epochs batch_size learning_rate optimizer momentum weight_decay schedule milestones "
    "decay warmup augment",
    "Pruning": "prune_samples prune_labels prune_data fresh_batches fresh_weights rounds temperature "
    "unit within control all_layers isometry isometry_steps",
    "Rank reduction": "rare l2 tau_cos tau_euc check_every frobenius dropout",
    "Jacobian": "jacobian_at jacobian_inputs",
    "Result": "",
    "Running": "dtype deterministic resume",
}


@help_tells(
    methods=lines(TRAIN_METHODS, default=False), inits=lines(INITS, default=False), networks=lines(ARCHITECTURES)
)
@click.command(cls=SaoCommand, headings=HEADINGS)
@click.option(
    "--data",
    type=Named("data", DATA),
    default="digits",
    show_default=True,
    help=f"{one_of(DATA)}; all but digits from --data-folder.",
)
@click.option(
    "--data-folder",
    metavar="FOLDER",
    type=Folder(),
    help="Where the data lie (MNIST's idx files, CIFAR's binary batches) or will.",
)
@click.option("--download", is_flag=True, help="Fetch the data into --data-folder where they are not there.")
@click.option(
    "--arch",
    type=Named("arch", ARCHITECTURES),
    default="fnn",
    show_default=True,
    help=f"{one_of(ARCHITECTURES)}.",
)
@click.option(
    "--method",
    type=Named("method", TRAIN_METHODS, same=BEFORE_TRAINING),
    help=f"{one_of(TRAIN_METHODS)}.  [default: sao; at the edge of chaos, and with --rare, dense]",
)
@click.option("--depth", type=int, help=f"N of the paper's networks.  [default: {_DEPTHS}]")
@click.option("--width", type=int, help="Neurons, or channels, of a layer.  [default: fnn 256, else 32]")
@click.option(
    "--widths",
    metavar="W1,W2,...",
    help="Of the hidden layers of an fnn, as in 300,100 or 100x6, instead of depth and width.",
)
@click.option("--d", "-d", type=int, help="Inputs read by one output, or kernels.  [default: nearest feasible to 4]")
@click.option("--sparsity", "-s", type=float, help="Target sparsity; the nearest feasible degree is taken.")
@click.option(
    "--activation",
    type=Named("activation", ACTIVATIONS),
    help=f"{one_of(ACTIVATIONS)}.  [default: tanh; lenet5, and cnn on cifar100, cinic10: relu]",
)
@critical_options
@click.option(
    "--gain",
    type=float,
    help="Factor on every initial weight; 1000 layers learn sooner at 1.03.  [default: fnn without --init 1.1, else 1]",
)
@click.option(
    "--init",
    type=Named("init", INITS),
    help=f"Law of a dense network's weights: {one_of(INITS)}.  [default: the method's]",
)
@click.option("--init-gamma", metavar="VARIANCE", type=float, help="Of --init normal: the variance of every weight.")
@click.option(
    "--storage",
    "layers",
    type=Named("storage", LAYERS),
    help="How layers hold their weights: blocks is faster, for sao alone.  [default: blocks for sao]",
)
@click.option("--epochs", type=int, help="Of each phase.  [default: digits 20, fnn and lenets 100, else 200]")
@click.option("--batch-size", type=int, help="Images a step.  [default: digits 64, else 128]")
@click.option(
    "--learning-rate",
    type=float,
    help="At the start.  [default: by depth, as in the paper's Tables 2 and 3; adam 1e-3]",
)
@click.option(
    "--optimizer", type=Named("optimizer", OPTIMIZERS), help=f"{one_of(OPTIMIZERS)}.  [default: sgd; adam with --rare]"
)
@click.option("--momentum", type=float, default=0.9, show_default=True, help="Of SGD.")
@click.option("--weight-decay", type=float, help="Of the optimizer.  [default: sgd 1e-4; lipconvnet 5e-4]")
@click.option("--schedule", type=Named("schedule", SCHEDULES), help="Of the rate.  [default: as the paper; steps]")
@click.option(
    "--milestones",
    callback=_read_by(_epochs),
    help="Epochs after which the rate falls, or none.  [default: fnn and lenets none, else 50,150]",
)
@click.option("--decay", type=float, default=0.1, show_default=True, help="Factor of the rate at a milestone.")
@click.option("--warmup", type=int, help="Epochs in which the rate rises from 0.  [default: as the paper; 0]")
@click.option("--augment/--no-augment", default=None, help="Crop, flip, AutoAugment.  [default: as the paper]")
@click.option("--prune-samples", type=int, help="Training images that scores are of.  [default: all]")
@click.option("--prune-labels", type=Named("labels", LABELS), help=f"Of these: {one_of(LABELS)}.  [default: true]")
@click.option("--prune-data", type=Named("data", DATA), help="Other data, of the same shapes, that scores are of.")
@click.option("--fresh-batches", is_flag=True, help="Each round of itersnip and force reads --prune-samples N others.")
@click.option("--fresh-weights", is_flag=True, help="Score one draw of the weights, and train another under its masks.")
@click.option("--rounds", type=int, help="In which synflow, itersnip and force prune.  [default: 100, 60, 60]")
@click.option("--temperature", type=float, help="That logits are divided by.  [default: grasp 200, else 1]")
@click.option("--unit", type=Named("unit", UNITS), help="What scores compare: weight or kernel.  [default: weight]")
@click.option("--within", type=Named("within", WITHIN), help="Densities: which weights of a layer.  [default: random]")
@click.option("--control", type=Named("control", CONTROLS), help=f"What a mask is compared with: {one_of(CONTROLS)}.")
@click.option("--all-layers", is_flag=True, help="Prune the first and the last layer too, where a method prunes.")
@click.option(
    "--isometry", is_flag=True, help="Repair what is pruned before training: --gain times an isometry, nearly."
)
@click.option("--isometry-steps", type=int, help="By so many steps of the paper's gradient descent, as 10000.")
@rare_options
@click.option("--random-labels", is_flag=True, help="Train on labels drawn at random, to see what is memorised.")
@click.option(
    "--jacobian-at",
    default="0,last",
    show_default=True,
    callback=_read_by(_epochs_or_last),
    help="Epochs at which the network's Jacobian is measured; 0 is before training; none.",
)
@click.option("--jacobian-inputs", type=int, default=8, show_default=True, help="Test images at which it is.")
@click.option(
    "--dtype", type=Named("dtype", COMPUTED), default="float32", show_default=True, help="What is computed in."
)
@device_option
@click.option("--deterministic", is_flag=True, help="On a GPU too, the same numbers every time; slower there.")
@check_option("Each epoch's row must satisfy, as in 'reachable>0'; those of a Jacobian where it is measured")
@click.option("--resume", is_flag=True, help="Go on with the run in -o, with its settings.")
@plot_option
@click.option(
    "--picture",
    type=Named("picture", TRAINING_PICTURES),
    help=f"What --plot draws: {one_of(TRAINING_PICTURES)}; the last two of --rare.  [default: learning; with --rare "
    "sizes]",
)
@folder_options
@click.pass_context
def train(
    ctx: click.Context,
    /,
    data_folder: str | None,
    download: bool,
    device: str,
    deterministic: bool,
    widths: str | None,
    checks: tuple[str, ...],
    resume: bool,
    plot: PictureFile | None,
    picture: str | None,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> int | None:
    """Train a sparse network on real data, and tell of every epoch.

    An epoch is a row; epoch 0 is the network before training. Rows with a Jacobian tell the singular values of d
    outputs / d inputs at test images. Masks stay exactly zero. All random numbers come of --seed, those of
    --random-labels too, which leaves the labels of the test images as they are. Of pruned networks, and of all that are
    fully connected, rows tell what the masks keep and how much of it lies on a path from an input to an output. A
    --check that a row fails makes the exit code 1, and training goes on.

    \b
    Methods:
      {methods}

    \b
    Initial weights of networks that begin dense, by --init:
      {inits}

    \b
    Networks:
      {networks}

    With --activation-sparsity, --tau, --q-star or another of these a network of matrices begins at the edge of chaos:
    Gaussian weights, whose sigma_w takes the place of --gain, and biases. Rows tell how many of its hidden outputs are
    0, and q by depth. --depth N of the digits is N + 1 weight matrices: the first, N - 1 square ones, and the last.

    With --rare the dense matrices of a network of matrices are trained as W = P W' Q: a loss turns the two rows or
    columns of W' nearest to parallel to one line, and what is parallel is fused, which makes W' smaller (Lee et al.
    2021). Rows tell shapes, fusions, what each changed, and zero rows and columns, which are never fused; --rare 0 is
    the control without the loss. Weights before relu begin as --init vs-h.

    -o names a folder: settings.json, metrics.jsonl (the rows), last.safetensors (replaced after each epoch; --resume
    goes on from it, to the result of an uninterrupted run) and final.safetensors, the trained weights, dense with exact
    zeros, or W' with the indices and scales of P and Q, for torch and `sao audit`. Needs scikit-learn for the digits:
    pip install 'sao-cli[train]'.

    Example: sao train --data digits --depth 50 --method sao --d 4 --activation tanh --epochs 20 -o run/

    Example: sao train --depth 30 --width 300 --activation cst --activation-sparsity 0.85 --slope 0.7

    Example: sao train --depth 3 --width 128 --activation relu --rare 20 --epochs 260 -o run/ --plot sizes.png
    """
    from sao_cli.models.prune_checks import epoch_checks, epoch_failures
    from sao_cli.nets.training.data import load_data
    from sao_cli.nets.training.folder import RunFolder
    from sao_cli.nets.training.loop import Training
    from sao_cli.nets.training.settings import TrainingSettings
    from sao_cli.reports.networks import EpochRow

    conditions = epoch_checks(checks)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for; read when it is loaded
    asked["method"] = asked["method"] or ""
    asked["widths"] = None if widths is None else tuple(widths_of(None, None, None, widths))
    talk: Talk = ctx.ensure_object(Talk)
    folder = RunFolder(output) if output is not None else None
    if resume:
        settings, of_run = _settings_of_run(ctx, folder, asked)
        data_folder = of_run if data_folder is None else data_folder
    else:
        settings = TrainingSettings(**asked).resolved()
        if folder is not None:
            folder.require_free()
    if plot is not None:
        picture = _drawable(picture, settings)
    data = load_data(settings, data_folder, download, talk)
    pruned_by = _prune_data(settings, data_folder, download, talk)
    training = Training(settings, data, prune_data=pruned_by, device=device, deterministic=deterministic, progress=talk)
    if device == "auto" and training.device.type != "cpu":
        talk.say(f"training on {training.device}")
    failures: list[CheckFailure] = []

    def judged(rows: "Iterator[EpochRow]") -> "Iterator[dict[str, Any]]":
        for row in rows:
            failures.extend(epoch_failures(row, conditions))
            yield row.to_dict()

    told: dict[str, Any] = {"as_json": as_json, "output": None, "report": EpochRow}
    if folder is None:
        talk.say("nothing but the rows is kept; -o FOLDER keeps the network, and what --resume goes on from")
        emit("train", settings.seed, judged(training.epochs()), **told)
    else:
        if resume:
            folder.restore(training)
        else:
            training.prepare()  # what can't be pruned leaves no folder
            folder.begin(settings, data_folder)
        talk.parting = lambda: folder.to_go_on(settings.total_epochs)
        emit("train", settings.seed, judged(folder.epochs(training)), **told)
        talk.say(f"the trained network is in {folder.path}/final.safetensors")
    if plot is not None and picture is not None:
        _draw(training.rows, picture, plot)
    name_failures(failures, talk)
    return FAILS if failures else None


def _drawable(picture: str | None, settings: "TrainingSettings") -> str:
    """The picture to draw; UsageError where the run gives nothing to draw."""
    if picture in ("sizes", "accuracy") and settings.rare is None:
        raise click.UsageError(f"--picture {picture} is of what --rare fuses; train with --rare 20, say")
    if picture == "jacobian" and not settings.jacobian_at:
        raise click.UsageError("--picture jacobian is of the epochs of --jacobian-at, and there are none; name some")
    return picture or ("learning" if settings.rare is None else "sizes")


def _draw(rows: list[dict[str, Any]], picture: str, plot: PictureFile) -> None:
    from sao_cli.plots import compression_figure, dimension_figure, epoch_jacobian_figure, learning_figure

    drawn = {"learning": learning_figure, "jacobian": epoch_jacobian_figure, "sizes": dimension_figure}
    plot.save(compression_figure({"": rows}) if picture == "accuracy" else drawn[picture](rows))


def _prune_data(settings: "TrainingSettings", folder: str | None, download: bool, talk: Talk) -> "Dataset | None":
    """The other data that the network is pruned by, where there are any."""
    from sao_cli.nets.training.data import load_data

    if settings.prune_data is None:
        return None
    bundled = DATA[settings.prune_data].bundled
    return load_data(
        replace(settings, data=settings.prune_data), None if bundled else folder, download and not bundled, talk
    )


def _settings_of_run(
    ctx: click.Context, folder: "RunFolder | None", asked: dict[str, Any]
) -> "tuple[TrainingSettings, str | None]":
    """The settings, and the folder of the data, of the run to resume; what the command line names must be the same."""
    from sao_cli.nets.training.folder import require_same

    if folder is None:
        raise click.UsageError("--resume goes on with the run in a folder; name it by -o")
    settings, data_folder = folder.settings()
    given = click.core.ParameterSource.COMMANDLINE
    require_same({name: asked[name] for name in asked if ctx.get_parameter_source(name) == given}, settings)
    return settings, data_folder
