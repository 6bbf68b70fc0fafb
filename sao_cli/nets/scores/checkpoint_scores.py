"""Scores of a checkpoint's weights by a loss of samples: of a chain of matrices, or of a module that it fits."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli import catalog
from sao_cli.base.errors import FormatError, SaoError, SaoWarning
from sao_cli.base.names import check, load
from sao_cli.base.progress import Progress, silent
from sao_cli.io.checkpoints import Checkpoint
from sao_cli.io.checkpoints.checkpoint import RUN_FILES
from sao_cli.io.datasets.samples import Samples, load_samples, of_class
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import shown
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.models.opened import opened
from sao_cli.models.select import Selection
from sao_cli.models.stored_scores import NO_SAMPLES, StoredScores, bias_name, chain_of, score_stored
from sao_cli.pruning.scores.score_record import ScoreFacts

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sao_cli.nets.scores.score_tensors import Scores
    from sao_cli.reports.sensitivities import PooledJacobian

PIECE = 2**20  # numbers of a batch of inputs, our choice: the answer is the same for any


class Runnable(NamedTuple):
    """A module with the checkpoint's weights, the shape of an input, and the checkpoint's names by its own.

    `turned` are those of the checkpoint's names whose weights it stores with their inputs first, and the module not.
    """

    module: nn.Module
    shape: tuple[int, ...]
    names: Mapping[str, str]
    turned: Collection[str] = ()

    def stored(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Arrays of the module's weights by the checkpoint's names, and as those are stored."""
        named = {self.names.get(name, name): one for name, one in arrays.items()}
        return {name: one.T if name in self.turned else one for name, one in named.items()}


def score_checkpoint(
    model: Path | Checkpoint,
    method: str,
    *,
    data: str | None = None,
    data_folder: str | None = None,
    samples: int | None = None,
    label: int | None = None,
    activation: str | ActivationFunction | None = None,
    module: nn.Module | None = None,
    example: Tensor | None = None,
    labels: str = "true",
    temperature: float | None = None,
    rounds: int | None = None,
    unit: str = "weight",
    biases: bool = False,
    train_mode: bool = False,
    fresh_batches: bool = False,
    sparsity: float | None = None,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    groups: Sequence[tuple[str, int]] = (),
    transpose: str | Sequence[str] = (),
    jacobian: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> StoredScores:
    """Scores of a checkpoint's weights by a method of catalog.SCORES, by its names; the checkpoint stays as it is.

    A `module` takes the checkpoint's weights and runs inputs like the `example`, (1, ...). Without one the checkpoint
    is a chain of matrices with their biases, by names that number a plain stack, which `activation` follows after each
    but the last; numbers are then float64. Methods without samples need neither: score_stored does it without torch,
    as long as no module is given. The others read the first `samples` (all) of `data`, as load_samples has them to
    train on: named data standardised, FILE.npz as it is; all of them count alike. With a `label` those of them that are
    of that class are the samples.
    With `fresh_batches` each round of a method in rounds reads `samples` others of them, as iter_snip has it.
    Other options are those of the method's function in sao_cli.nets.scores, and those that it has not are not read.
    With `jacobian` that of the samples is measured too: a backward pass an output.
    A method in rounds needs a `sparsity`; synflow without one scores the weights as they are.

    Raises SaoError and FormatError, of one line, for what can't be scored: no chain, classes that are not the outputs,
    samples that are not the inputs, labels out of range, and numbers that are quantised, booleans or not finite.
    """
    check("method", method, catalog.SCORES)
    row = catalog.SCORES[method]
    selection: dict[str, Any] = {"include": include, "exclude": exclude, "groups": groups, "transpose": transpose}
    if row.chain and module is None:
        told: dict[str, Any] = {"sparsity": sparsity, "rounds": rounds, "unit": unit, "seed": seed}
        return score_stored(model, method, **told, **selection, progress=progress)
    if row.data and data is None:
        raise SaoError(f"{method} is of labelled samples; name them by --data, as in --data digits")
    with opened(model) as checkpoint:
        if module is None:
            run = _chain_module(checkpoint, Selection.of((), (), groups, transpose), activation)
        else:
            run = _loaded(module, checkpoint, example)
    options: dict[str, Any] = {"rounds": rounds, "sparsity": sparsity, "progress": progress} if row.rounds else {}
    options |= {} if row.rounds else {"unit": unit, "biases": biases}
    options |= {"labels": labels, "temperature": temperature, "train_mode": train_mode} if row.data else {}
    options |= {"biases": biases} if row.data else {}
    options |= {"fresh_batches": fresh_batches} if row.data and row.rounds else {}
    options |= {"seed": seed} if row.data or row.drawn else {}
    options |= {"example": (1, *run.shape)} if row.rounds and not row.data else {}
    _require_unit(run, method, unit)
    batches = None
    if row.data and data is not None:
        size = _size_of_rounds(samples) if fresh_batches and row.rounds else None
        told = {"inputs": math.prod(run.shape), "seed": seed, "progress": progress}
        read = load_samples(data, data_folder, samples if size is None else None, **told)
        batches = _batches(run, read if label is None else of_class(read, label), labels, size, seed)
    found = load(row.home)(run.module, batches, **{name: one for name, one in options.items() if one is not None})
    if batches is None:
        return _stored(found, run, None, NO_SAMPLES)
    if not jacobian:
        return _stored(found, run, None, None)
    from sao_cli.nets.scores.sample_jacobian import sample_jacobian

    return _stored(found, run, *sample_jacobian(run.module, batches))


def _chain_module(
    checkpoint: Checkpoint, selection: Selection, activation: str | ActivationFunction | None
) -> Runnable:
    """The checkpoint's chain of matrices as a torch module in float64."""
    if activation is None:
        raise SaoError(
            "the activation between the matrices is not known: --activation NAME tells it, or --module how it runs"
        )
    import torch
    from torch import nn

    from sao_cli.nets.layers.activation import activation_module

    chain = chain_of(checkpoint, selection.structure(checkpoint))
    layers: list[nn.Module] = []
    names: dict[str, str] = {}
    for entry, weight, bias in zip(chain.entries, chain.weights, chain.biases, strict=True):
        names |= {f"{len(layers)}.weight": entry.name, f"{len(layers)}.bias": bias_name(entry.name)}
        m, n = weight.shape
        linear = nn.Linear(n, m, bias=bias is not None, dtype=torch.float64, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.array(weight, dtype=np.float64)))
            if bias is not None:
                linear.bias.copy_(torch.from_numpy(np.array(bias, dtype=np.float64)))
        layers += [linear, activation_module(activation)]
    turned = [entry.name for entry in chain.entries if chain.structure.layout(entry).transposed]
    return Runnable(nn.Sequential(*layers[:-1]), (chain.weights[0].shape[1],), names, turned)


def _loaded(module: nn.Module, checkpoint: Checkpoint, example: Tensor | None) -> Runnable:
    from sao_cli.nets.tracing.loading import load_checkpoint_, shared_prefix

    if example is None:
        raise SaoError("a module needs the shape of its input: --example 1x3x32x32")
    load_checkpoint_(module, checkpoint)
    prefix = shared_prefix(module, checkpoint)
    names = {entry.name.removeprefix(prefix): entry.name for entry in checkpoint.entries}
    return Runnable(module, tuple(example.shape[1:]), names)


def _require_unit(run: Runnable, method: str, unit: str) -> None:
    if unit == "kernel" and not catalog.SCORES[method].kernels and any(one.ndim > 2 for one in run.module.parameters()):
        able = ", ".join(name for name, row in catalog.SCORES.items() if row.kernels)
        raise SaoError(f"--unit kernel: {method} has no score of whole kernels; {able} have")


def _size_of_rounds(samples: int | None) -> int:
    """How many samples a round reads. Raises SaoError where that is not told."""
    if samples is None:
        raise SaoError("--fresh-batches: --samples N tells how many samples each round reads, as 100")
    return samples


def _batches(
    run: Runnable, samples: Samples, labels: str, size: int | None = None, seed: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """The samples as the network reads them, checked against its inputs and outputs; in pieces, or `size` a round."""
    import torch

    from sao_cli.nets.jacobians.points import fitted_inputs

    x = torch.from_numpy(fitted_inputs(_enlarged(samples, run.shape), len(samples.x), run.shape, samples.name))
    y = torch.from_numpy(samples.y)
    if labels == "true":
        _require_classes(run, x[:2], samples)
    if size is not None:
        from sao_cli.nets.scores.foresight import shuffled_batches

        return shuffled_batches(x, y, size, seed)
    piece = max(PIECE // max(math.prod(run.shape), 1), 1)
    return list(zip(x.split(piece), y.split(piece), strict=True))


def _enlarged(samples: Samples, shape: tuple[int, ...]) -> NDArray[np.floating]:
    """The samples, named images with each pixel 3 x 3 where the network reads such, as training has them."""
    x = samples.x
    if samples.name in catalog.DATA and shape == (x.shape[1], 3 * x.shape[2], 3 * x.shape[3]):
        return x.repeat(3, axis=2).repeat(3, axis=3)
    return x


def _require_classes(run: Runnable, x: Tensor, samples: Samples) -> None:
    """Raise FormatError where the data have other classes than the network has outputs.

    A file tells its classes by its labels alone, which may leave some out.
    """
    from sao_cli.nets.scores.scored_module import ScoredModule

    scored = ScoredModule(run.module)
    with scored.opened():
        outputs = scored.run(scored.weights, scored.inputs(x)).shape[-1]
    named = samples.name in catalog.DATA
    if samples.classes > outputs and not named:
        raise FormatError(
            f"{shown(samples.name)}: label {samples.classes - 1}, and the network has {outputs} outputs: labels are 0 "
            f"to {outputs - 1}"
        )
    classes = f"{shown(samples.name)} has {samples.classes} classes, and the network {outputs} outputs"
    if samples.classes != outputs and named:
        raise FormatError(f"{classes}; choose data of as many, or --labels uniform, prediction, argmax or random")
    if samples.classes < outputs:
        warnings.warn(f"{classes}: no sample is of the others", SaoWarning, stacklevel=4)


def _stored(found: Scores, run: Runnable, jacobian: PooledJacobian | None, reason: str | None) -> StoredScores:
    """The scores by the checkpoint's names, with the Jacobian at the samples, or why there is none."""
    facts: ScoreFacts[Any] = found.facts  # of tensors, and of arrays then

    def arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
        return run.stored({name: one.detach().cpu().numpy() for name, one in tensors.items()})

    def named(facts: Mapping[str, Any]) -> dict[str, Any]:
        return {run.names.get(name, name): one for name, one in facts.items()}

    shapes = named(facts.shapes)
    shapes = {name: shape[::-1] if name in run.turned else shape for name, shape in shapes.items()}
    masks = None if facts.masks is None else arrays(facts.masks)
    told = replace(facts, shapes=shapes, signed=named(facts.signed), masks=masks)
    return StoredScores(arrays(found), told, jacobian, reason)


def of_run(folder: Path) -> dict[str, Any]:
    """What score_checkpoint is to be told of the run of `sao train` in a folder: its activation, or its module.

    Empty where there is no run.
    """
    if folder == "-" or not os.path.exists(os.path.join(os.fsdecode(folder), RUN_FILES[0])):
        return {}
    import torch

    from sao_cli.nets.jacobians.trained import TrainedRun

    run = TrainedRun.of(folder)
    if not run.reads_images:
        return {"activation": run.settings.function}
    module, shape = run.network()
    return {"module": module, "example": torch.zeros(1, *shape)}
