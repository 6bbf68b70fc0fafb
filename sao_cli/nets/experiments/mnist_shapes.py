"""Data of one shape, MNIST's, so that a mask or a network of one is one of the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.io.datasets.dataset import Dataset, Images
from sao_cli.io.datasets.samples import read_dataset

SIDE = 28


def mnist_shaped(name: str, folder: str | None = None, *, images: int | None = None, seed: int = 0) -> Dataset:
    """The named data with images of 28 x 28, of which the first `images` (all) are to train on.

    Each pixel of the 8 x 8 digits is 3 x 3, with a black border of 2 around: theirs is where MNIST has its own. Larger
    ones than 28 are refused by SaoError; what `read_dataset` raises. `seed` chooses the digits to test on. O(pixels).

    >>> data = mnist_shaped("digits", images=100)
    >>> data.train_images.shape, data.test_images.shape
    ((100, 1, 28, 28), (360, 1, 28, 28))
    """
    if images is not None and images < 1:
        raise SaoError(f"{images} images to train on: one is the least")
    data = read_dataset(name, folder, seed=seed)
    train, labels = data.train_images[:images], data.train_labels[:images]
    return replace(data, train_images=_enlarged(train), train_labels=labels, test_images=_enlarged(data.test_images))


def _enlarged(images: Images) -> Images:
    side = images.shape[-1]
    times = SIDE // side
    border = (SIDE - times * side) // 2
    if times * side + 2 * border != SIDE:
        raise SaoError(f"images of {side} pixels a side are no MNIST's: 28, or enlarged to 28, as 8 are")
    grown = images.repeat(times, axis=2).repeat(times, axis=3) if times > 1 else images
    return np.pad(grown, [(0, 0), (0, 0), (border, border), (border, border)])
