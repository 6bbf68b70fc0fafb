"""Masks of a network before training, by scores of samples or by densities of layers, and their controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sao_cli.base.names import load
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import CONTROL, FRESH_WEIGHTS, generator
from sao_cli.catalog import SCORES
from sao_cli.data.arrays import Booleans, Values
from sao_cli.masks.degrees import DEFAULT_DEGREE
from sao_cli.nets.scores.score_tensors import Scores
from sao_cli.nets.training.methods import prunable, prune_layers_
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.pruning.network_pruner import NetworkPruner

Samples = Sequence[tuple[Tensor, Tensor]]
Build = Callable[[int], nn.Module]  # the dense network from a seed


def prune_by_scores_(
    model: nn.Module, settings: TrainingSettings, samples: Samples, build: Build, progress: Progress = silent
) -> NetworkPruner:
    """Prune `model`, any but a LipConvNet, in place by the score or the density that `settings` name as the method.

    All layers are scored as they are, and exactly kappa of all weights together stay: nets.scores, or
    pruning.densities. Masks are torch.nn.utils.prune's, and what is pruned becomes exactly 0. Of the controls "invert"
    keeps the lowest scores, "shuffle" puts each layer's ones at random places, and "fresh" draws the network's weights
    anew, as `build` makes it from another seed, under the mask of those that were scored; so do `fresh_weights`, from a
    seed of their own. Without a sparsity as many stay as `as_of_degree` tells.

    Gives what chose. Warns of layers of which nothing is left, and of kept weights that score 0. Raises what scores and
    densities raise.
    """
    names = {id(module): name for name, module in model.named_modules()}
    layers = {f"{names[id(layer)]}.weight": layer for layer in prunable(model, all_layers=True)}
    sparsity = as_of_degree(list(layers.values())) if settings.sparsity is None else settings.sparsity
    settings = replace(settings, sparsity=sparsity)
    asked: dict[str, Any] = {"within": settings.within or "random", "control": settings.control}
    pruner = NetworkPruner(settings.method, sparsity=sparsity, seed=settings.seed, **asked)
    if settings.method in SCORES:
        pruner.take(*_scored(model, settings, samples, progress))
    sizes = [layer.weight[0, 0].numel() for layer in layers.values()]

    def before() -> None:
        if settings.control == "fresh" or settings.fresh_weights:
            _redraw_(model, settings.seed, CONTROL if settings.control == "fresh" else FRESH_WEIGHTS, build)

    prune_layers_(layers, pruner, sizes, before)
    return pruner


def as_of_degree(layers: Sequence[nn.Module], d: int = DEFAULT_DEGREE) -> float:
    """The sparsity at which as many weights stay as of masks of row degree `d` between two dense layers.

    So that methods which compare all layers have as many parameters as the others have by default; a row of fewer than
    `d` inputs keeps all.
    """
    between = layers[1:-1] if len(layers) > 2 else layers
    dropped = sum(layer.weight.numel() * (1 - min(1, d / layer.weight.shape[1])) for layer in between)
    return float(dropped / sum(layer.weight.numel() for layer in layers))


def _scored(
    model: nn.Module, settings: TrainingSettings, samples: Samples, progress: Progress
) -> tuple[dict[str, Values], dict[str, Booleans] | None]:
    """The scores of the network's weights by name, and what a method in rounds keeps of them."""
    score = load(SCORES[settings.method].home)
    given = {name: value for name, value in _options(settings, progress).items() if value is not None}
    scores: Scores = score(model, samples, **given)
    masks = scores.facts.masks
    arrays = {name: one.cpu().numpy() for name, one in scores.items()}
    return arrays, None if masks is None else {name: one.cpu().numpy() for name, one in masks.items()}


def _options(settings: TrainingSettings, progress: Progress) -> dict[str, Any]:
    """What the score of the settings takes, by the traits of its row."""
    row, asked = SCORES[settings.method], dict[str, Any]()
    if row.data:
        asked |= {"labels": settings.prune_labels, "temperature": settings.temperature}
    if row.data or row.drawn:
        asked |= {"seed": settings.seed}
    if row.rounds:
        asked |= {"fresh_batches": settings.fresh_batches} if row.data else {}
        return asked | {"rounds": settings.rounds, "sparsity": settings.sparsity, "progress": progress}
    return asked | {"unit": settings.unit}


def _redraw_(model: nn.Module, seed: int, stream: int, build: Build) -> None:
    """Give `model` the weights of the network that is built from another seed, which follows from this one."""
    other = build(int(generator(seed, 0, stream).integers(2**31)))
    with torch.no_grad():
        for parameter, drawn in zip(model.parameters(), other.parameters(), strict=True):
            parameter.copy_(drawn)
