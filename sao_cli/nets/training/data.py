"""The images that networks are trained on: handwritten digits, which scikit-learn ships, and torchvision's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import AUGMENT, ORDER, SPLIT, generator
from sao_cli.catalog import ARCHITECTURES, DATA
from sao_cli.masks.architectures import LIP_IMAGE
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.nets.training.vision import augmented, load_images

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

TEST_SHARE = 0.2  # of the digits


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (count, channels, side, side) of whole numbers below 256 and labels (count,), to train on and to test on.

    `mean` and `std` (channels,) are of all training pixels of a channel: what a network reads is standardised by them.
    """

    name: str
    classes: int
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for coloured ones."""
        return int(self.train_images.shape[1])

    @property
    def side(self) -> int:
        """Pixels along an edge."""
        return int(self.train_images.shape[2])

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (1, channels, 1, 1) of the training pixels, in float64; O(pixels)."""
        pixels = np.moveaxis(self.train_images, 1, 0).reshape(self.channels, -1)
        counts = np.stack([np.bincount(one, minlength=256) for one in pixels]) / pixels.shape[1]
        mean = counts @ np.arange(256)
        spread = np.sqrt(counts @ np.square(np.arange(256)) - mean**2)
        spread[spread == 0] = 1.0
        return torch.from_numpy(mean).view(1, -1, 1, 1), torch.from_numpy(spread).view(1, -1, 1, 1)


class Batches:
    """The images of a dataset as a network of `settings` reads them, batch by batch.

    The order of an epoch, and what augments its images, depend on seed and epoch alone, so that a run which continues
    from an epoch sees what an uninterrupted one sees.
    """

    def __init__(self, data: Dataset, settings: TrainingSettings, device: torch.device) -> None:
        self._data, self._settings, self._device = data, settings, device
        self._dtype = getattr(torch, settings.dtype)
        self._mean, self._std = (moment.to(self._dtype).to(device) for moment in data.moments)
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


def load_data(
    settings: TrainingSettings, folder: str | None = None, download: bool = False, progress: Progress = silent
) -> Dataset:
    """The dataset of `settings`, its images of the side that the architecture reads.

    `digits` are scikit-learn's 1,797 images of 8 x 8 (Alpaydin and Kaynak, UCI, 1998), of which `seed` chooses a fifth
    of each class to test on. The others are read by torchvision from `folder`, and fetched into it only with
    `download`.

    An FNN and a CNN of a depth and a width read images of 28 pixels with a border of 2, so that there are 1024 (SAO,
    Table 1); with listed widths, as LeNets have, they are read as they are. LipConvNet reads 24 x 24 (SAO, Table 4):
    digits with each pixel 3 x 3, as LeNet-5 does too, and the middle of larger images.

    Raises SaoError where scikit-learn or torchvision is missing, FileError where the data are not in the folder.

    >>> data = load_data(TrainingSettings())
    >>> data.train_images.shape, len(data.test_labels)
    ((1437, 1, 8, 8), 360)
    """
    if not DATA[settings.data].bundled:
        return _fitted(Dataset(settings.data, *load_images(settings.data, folder, download, progress)), settings)
    if folder is not None or download:
        raise SaoError("the digits come with scikit-learn; a data folder and download are for the other data")
    return _fitted(_digits(settings.data, settings.seed), settings)


def stratified(labels: Labels, share: float, seed: int) -> NDArray[np.bool_]:
    """(count,) which samples are for the test: `share` of each class, and of all rounded up; random by `seed`.

    >>> stratified(np.repeat([0, 1], 10), 0.2, seed=0).reshape(2, 10).sum(axis=1)
    array([2, 2])
    """
    rng = generator(seed, 0, SPLIT)
    classes, counts = np.unique(labels, return_counts=True)
    wanted = share * counts
    taken = np.floor(wanted).astype(int)
    total = int(np.ceil(share * len(labels)))
    taken[np.argsort(taken - wanted, kind="stable")[: total - taken.sum()]] += 1
    test = np.zeros(len(labels), dtype=bool)
    for one, count in zip(classes, taken, strict=True):
        test[rng.permutation(np.flatnonzero(labels == one))[:count]] = True
    return test


def _digits(name: str, seed: int) -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise SaoError("the digits come with scikit-learn, which is not there: pip install 'sao-cli[train]'") from error
    found = load_digits()
    images, labels = found.images.astype(np.uint8)[:, None], found.target.astype(np.int64)
    test = stratified(labels, TEST_SHARE, seed)
    return Dataset(name, 10, images[~test], labels[~test], images[test], labels[test])


def _fitted(data: Dataset, settings: TrainingSettings) -> Dataset:
    """The data with images of a side that the architecture reads."""
    row = ARCHITECTURES[settings.arch]
    if row.enlarges and data.side * 3 == LIP_IMAGE:
        return _changed(data, lambda images: images.repeat(3, axis=2).repeat(3, axis=3))
    if row.fixed:
        edge = (data.side - LIP_IMAGE) // 2
        return _changed(data, lambda images: images[:, :, edge : edge + LIP_IMAGE, edge : edge + LIP_IMAGE])
    if data.side == 28 and not settings.hidden:
        return _changed(data, lambda images: np.pad(images, [(0, 0), (0, 0), (2, 2), (2, 2)]))
    return data


def _changed(data: Dataset, change: Callable[[Images], Images]) -> Dataset:
    return replace(data, train_images=change(data.train_images), test_images=change(data.test_images))
