"""Masks of a network before training, by scores of samples or by densities of layers, and their controls."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sao_cli.base.errors import SaoWarning
from sao_cli.base.names import load
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import CONTROL, generator
from sao_cli.catalog import SCORES
from sao_cli.nets.scores.prune_module import keep
from sao_cli.nets.scores.score_tensors import Scores
from sao_cli.nets.training.methods import mask_, prunable
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.pruning.controls import inverted, shuffled
from sao_cli.pruning.densities import density_masks
from sao_cli.pruning.keep import warn_of_collapse

Samples = Sequence[tuple[Tensor, Tensor]]
Masks = dict[str, NDArray[np.bool_]]
Build = Callable[[int], nn.Module]  # the dense network from a seed


def prune_by_scores_(
    model: nn.Module, settings: TrainingSettings, samples: Samples, build: Build, progress: Progress = silent
) -> None:
    """Prune `model`, any but a LipConvNet, in place by the score or the density that `settings` name as the method.

    All layers are scored as they are, and exactly kappa of all weights together stay: nets.scores, or
    pruning.densities. Masks are torch.nn.utils.prune's, and what is pruned becomes exactly 0. Of the controls "invert"
    keeps the lowest scores, "shuffle" puts each layer's ones at random places, and "fresh" draws the network's weights
    anew, as `build` makes it from another seed, under the mask of those that were scored.

    Warns of layers of which nothing is left, and of kept weights that score 0. Raises what scores and densities raise.
    """
    names = {id(module): name for name, module in model.named_modules()}
    layers = {f"{names[id(layer)]}.weight": layer for layer in prunable(model, all_layers=True)}
    if settings.method in SCORES:
        masks = _by_score(model, settings, samples, progress)
    else:
        masks = _by_density(layers, settings)
    if settings.control == "shuffle":
        masks = shuffled(masks, settings.seed)
    elif settings.control == "fresh":
        _redraw_(model, settings.seed, build)
    for name, mask in masks.items():
        mask_(layers[name], torch.from_numpy(mask))
    warn_of_collapse([name for name, mask in masks.items() if not mask.any()])


def _by_score(model: nn.Module, settings: TrainingSettings, samples: Samples, progress: Progress) -> Masks:
    assert settings.sparsity is not None
    score = load(SCORES[settings.method].home)
    given = {name: value for name, value in _options(settings, progress).items() if value is not None}
    scores: Scores = score(model, samples, **given)
    masks = scores.facts.masks
    if settings.control == "invert":
        arrays = inverted({name: one.cpu().numpy() for name, one in scores.items()})
        negated = {name: torch.from_numpy(one) for name, one in arrays.items()}
        scores, masks = Scores(negated, replace(scores.facts, masks=None)), None
    masks = keep(scores, settings.sparsity) if masks is None else masks
    _warn_of_zeros(scores, masks)
    return {name: mask.cpu().numpy() for name, mask in masks.items()}


def _options(settings: TrainingSettings, progress: Progress) -> dict[str, Any]:
    """What the score of the settings takes, by the traits of its row."""
    row, asked = SCORES[settings.method], dict[str, Any]()
    if row.data:
        asked |= {"labels": settings.prune_labels, "temperature": settings.temperature}
    if row.data or row.drawn:
        asked |= {"seed": settings.seed}
    if row.rounds:
        return asked | {"rounds": settings.rounds, "sparsity": settings.sparsity, "progress": progress}
    return asked | {"unit": settings.unit}


def _warn_of_zeros(scores: Scores, masks: dict[str, Tensor]) -> None:
    zeros = 0
    for name, mask in masks.items():
        units = mask.flatten(scores[name].ndim).any(-1) if mask.ndim > scores[name].ndim else mask
        zeros += int((scores[name][units.to(scores[name].device)] == 0).sum())
    if zeros:
        told = f"{zeros} weights that are kept score 0, the first of those that do"
        warnings.warn(f"{told}: {scores.facts.method} chooses no more; raise the sparsity", SaoWarning, stacklevel=3)


def _by_density(layers: dict[str, nn.Module], settings: TrainingSettings) -> Masks:
    assert settings.sparsity is not None
    weights = {name: layer.weight.detach().cpu().numpy() for name, layer in layers.items()}
    within = settings.within or "random"
    return density_masks(weights, settings.method, settings.sparsity, within=within, seed=settings.seed)


def _redraw_(model: nn.Module, seed: int, build: Build) -> None:
    """Give `model` the weights of the network that is built from another seed, which follows from this one."""
    other = build(int(generator(seed, 0, CONTROL).integers(2**31)))
    with torch.no_grad():
        for parameter, drawn in zip(model.parameters(), other.parameters(), strict=True):
            parameter.copy_(drawn)
