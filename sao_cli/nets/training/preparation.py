"""What is done to a network before it is trained: pruned, by a rule or by scores of samples, and repaired."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import TRAIN_METHODS
from sao_cli.io.datasets.dataset import Dataset
from sao_cli.nets.initialise.masked_isometry import repair_masked_
from sao_cli.nets.scores.foresight import shuffled_batches
from sao_cli.nets.training.methods import prune_
from sao_cli.nets.training.scored_masks import Build, Samples, prune_by_scores_
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.pruning.pruner import Pruner
from sao_cli.reports.networks import InputOutputJacobian


def prepare_(
    model: nn.Module,
    settings: TrainingSettings,
    samples: Callable[[], Samples],
    build: Build,
    jacobian: Callable[[], InputOutputJacobian] | None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Prune `model` in place, and repair it where `settings` say so; gives what the row of epoch 0 tells of it.

    `samples` are inputs and labels of which scores are, made only where the method has scores, and `build` makes the
    dense network from a seed; `jacobian` measures the model as it stands, or is None where that is not wanted.
    """
    told: dict[str, Any] = {}
    if jacobian is not None:
        told["jacobian_dense"] = jacobian()
    if TRAIN_METHODS[settings.method].scored:
        chose: Pruner = prune_by_scores_(model, settings, samples(), build, progress)
    else:
        chose = prune_(model, settings)
    told |= {"ties_at_threshold": chose.ties_at_threshold, "zero_scores": chose.zero_scores}
    if jacobian is not None:
        told["jacobian_pruned"] = jacobian()
    if settings.isometry:
        assert settings.gain is not None
        asked: dict[str, Any] = {"descent": settings.isometry_steps, "progress": progress}
        told["repairs"] = tuple(repair_masked_(model, gain=settings.gain, **asked))
    if settings.isometry and jacobian is not None:
        told["jacobian_repaired"] = jacobian()
    return told


def first_samples(batches: Iterable[tuple[Tensor, Tensor]], count: int | None) -> list[tuple[Tensor, Tensor]]:
    """The first `count` samples of the batches, or all of them, in batches."""
    chosen: list[tuple[Tensor, Tensor]] = []
    for x, labels in batches:
        if count is not None and count <= 0:
            break
        chosen.append((x[:count], labels[:count]))
        count = None if count is None else count - len(labels)
    return chosen


def round_samples(batches: Iterable[tuple[Tensor, Tensor]], size: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """All samples of the batches, shuffled by `seed`, in batches of the size that a round reads."""
    x, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return shuffled_batches(x, labels, size, seed)


def require_same_shapes(settings: TrainingSettings, data: Dataset, other: Dataset | None) -> Dataset:
    """`other`, the data that scores are of; SaoError where it is None, or its images or classes are not as `data`'s."""
    if other is None:
        raise SaoError(f"prune_data {settings.prune_data}: give these data too, as load_data reads them")
    there, wanted = ((one.channels, one.side, one.classes) for one in (other, data))
    if there != wanted:
        told = "{} channels of {} pixels a side and {} classes"
        raise SaoError(
            f"prune_data {settings.prune_data} has {told.format(*there)}, and {settings.data} {told.format(*wanted)}; "
            "a mask goes from one to another of the same shapes"
        )
    return other
