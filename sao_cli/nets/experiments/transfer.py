"""Masks from other data than those that the network is trained on (Lee et al., ICLR 2020, "Transfer of sparsity")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import DATA
from sao_cli.io.datasets.dataset import Dataset
from sao_cli.nets.experiments.error_rates import Read, rates_by_seed
from sao_cli.nets.experiments.mnist_shapes import mnist_shaped
from sao_cli.nets.experiments.unsupervised_pruning import WayErrors, way_settings
from sao_cli.nets.training.settings import TrainingSettings


def transfer_errors(
    data: str,
    masks_of: Sequence[str],
    folder: str | None = None,
    *,
    images: int | None = None,
    ways: Sequence[str] = ("labels", "uniform"),
    hidden: Sequence[int] = (3, 7),
    width: int = 100,
    sparsity: float = 0.9,
    epochs: int | None = None,
    learning_rate: float | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = silent,
) -> list[WayErrors]:
    """Networks trained on `data` with masks of each of other data, a row a depth, data and way: `settings.prune_data`.

    All is as in unsupervised_errors but for the samples that the mask is of, all training images or the first `images`
    of what is read from `folder`: a seed's weights are the same whatever the data, since all are mnist_shaped. Masks of
    `data` itself are unsupervised_errors' rows. Raises SaoError for data whose classes are not as many, and what
    unsupervised_errors raises. A run of Training a row and seed.

    >>> [row] = transfer_errors("digits", ["digits"], width=20, ways=["labels"], hidden=[1], seeds=[0], epochs=0)
    >>> row.rates.settings.prune_data
    'digits'
    """

    def read(settings: TrainingSettings) -> Read:
        assert settings.prune_data is not None
        learnt, scored = (_read(one, folder, images, settings.seed) for one in (settings.data, settings.prune_data))
        return learnt, scored

    asked: dict[str, Any] = {"sparsity": sparsity, "epochs": epochs, "learning_rate": learning_rate}
    of = [
        (way, way_settings(data, way, [width] * depth, prune_data=other, **asked))
        for depth in hidden
        for other in masks_of
        for way in ways
    ]
    return [WayErrors(way, rates_by_seed(settings, read, seeds, progress)) for way, settings in of]


def _read(name: str, folder: str | None, images: int | None, seed: int) -> Dataset:
    if name in DATA and DATA[name].bundled:
        return mnist_shaped(name, seed=seed)
    return mnist_shaped(name, folder, images=images, seed=seed)
