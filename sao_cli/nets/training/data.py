"""The images that networks are trained on, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import AUGMENT, ORDER, generator
from sao_cli.catalog import ARCHITECTURES
from sao_cli.data.arrays import Values
from sao_cli.io.datasets.dataset import Dataset, Images, Labels
from sao_cli.io.datasets.samples import read_dataset
from sao_cli.masks.architectures import LIP_IMAGE
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.nets.training.vision import augmented


class Batches:
    """The images of a dataset as a network of `settings` reads them, batch by batch.

    The order of an epoch, and what augments its images, depend on seed and epoch alone, so that a run which continues
    from an epoch sees what an uninterrupted one sees.
    """

    def __init__(self, data: Dataset, settings: TrainingSettings, device: torch.device) -> None:
        self._data, self._settings, self._device = data, settings, device
        self._dtype = getattr(torch, settings.dtype)
        self._mean, self._std = (
            torch.from_numpy(one).to(self._dtype).to(device) for one in input_moments(data, settings)
        )
        self._flat = not ARCHITECTURES[settings.arch].image
        assert settings.batch_size is not None
        self._size = settings.batch_size
        self.count = -(-len(data.train_labels) // self._size)

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch of training, in its random order: (inputs, labels)."""
        seed = self._settings.seed
        order = generator(seed, 0, ORDER, epoch).permutation(len(self._data.train_labels))
        for number, start in enumerate(range(0, len(order), self._size)):
            chosen = order[start : start + self._size]
            images = self._data.train_images[chosen]
            if self._settings.augment:
                images = augmented(images, generator(seed, 0, AUGMENT, epoch, number))
            yield self._inputs(images), self._labels(self._data.train_labels[chosen])

    def all_train(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All training images in order, as they are."""
        return self._in_order(self._data.train_images, self._data.train_labels)

    def test(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All test images in order."""
        return self._in_order(self._data.test_images, self._data.test_labels)

    def probes(self, count: int) -> Tensor:
        """The first `count` test inputs, or all there are."""
        return self._inputs(self._data.test_images[:count])

    def _in_order(self, images: Images, labels: Labels) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(labels), 256):  # no gradients are kept: small enough for any memory
            part = slice(start, start + 256)
            yield self._inputs(images[part]), self._labels(labels[part])

    def _inputs(self, images: Images) -> Tensor:
        pixels = torch.from_numpy(images).to(self._device).to(self._dtype)
        x = (pixels - self._mean) / self._std
        return x.flatten(1) if self._flat else x

    def _labels(self, labels: Labels) -> Tensor:
        return torch.from_numpy(labels).to(self._device)


def input_moments(data: Dataset, settings: TrainingSettings) -> tuple[Values, Values]:
    """What is taken from pixels, and what they are then divided by, which broadcast over images, for resolved settings.

    The moments of a channel. Of networks that begin at the edge of chaos each pixel's own mean, and one scale for all:
    their E[x^2] is (q* - sigma_b^2)/sigma_w^2 then, so that h_1 = W_1 x + b_1 has the variance q* already.

    >>> data = load_data(settings := TrainingSettings().resolved())
    >>> input_moments(data, settings) == data.moments
    True
    """
    if not settings.critical:
        return data.moments
    assert settings.q_star is not None
    assert settings.sigma_w is not None
    assert settings.sigma_b is not None
    mean, deviation = data.centred_moments
    return mean, deviation * settings.sigma_w / np.sqrt(settings.q_star - settings.sigma_b**2)


def load_data(
    settings: TrainingSettings, folder: str | None = None, download: bool = False, progress: Progress = silent
) -> Dataset:
    """The dataset of `settings`, its images of the side that the architecture reads.

    `digits` are scikit-learn's, of which `seed` chooses a fifth of each class to test on. The others are read from
    `folder`, and fetched into it by torchvision only with `download`.

    An FNN and a CNN of a depth and a width read images of 28 pixels with a border of 2, so that there are 1024 (SAO,
    Table 1); with listed widths, as LeNets have, they are read as they are. LipConvNet reads 24 x 24 (SAO, Table 4):
    digits with each pixel 3 x 3, as LeNet-5 does too, and the middle of larger images.

    Raises SaoError where scikit-learn or torchvision is needed and missing, FileError where the data are not in the
    folder, FormatError where they are damaged.

    >>> data = load_data(TrainingSettings())
    >>> data.train_images.shape, len(data.test_labels)
    ((1437, 1, 8, 8), 360)
    """
    found = read_dataset(settings.data, folder, seed=settings.seed, download=download, progress=progress)
    return _fitted(found, settings)


def _fitted(data: Dataset, settings: TrainingSettings) -> Dataset:
    """The data with images of a side that the architecture reads."""
    row = ARCHITECTURES[settings.arch]
    if row.enlarges and data.side * 3 == LIP_IMAGE:
        return _changed(data, lambda images: images.repeat(3, axis=2).repeat(3, axis=3))
    if row.fixed:
        edge = (data.side - LIP_IMAGE) // 2
        return _changed(data, lambda images: images[:, :, edge : edge + LIP_IMAGE, edge : edge + LIP_IMAGE])
    return data if settings.hidden else data.bordered()


def _changed(data: Dataset, change: Callable[[Images], Images]) -> Dataset:
    return replace(data, train_images=change(data.train_images), test_images=change(data.test_images))
