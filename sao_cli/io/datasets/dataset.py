"""Labelled images, split into those to train on and those to test on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FileError, FormatError
from sao_cli.data.arrays import Values
from sao_cli.io.output import shown

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Part = tuple[Images, Labels]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (count, channels, side, side) of whole numbers below 256 and labels (count,), to train on and to test on.

    `moments` are of all training pixels of a channel: what a network reads is standardised by them.
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
    def moments(self) -> tuple[Values, Values]:
        """Mean and standard deviation (1, channels, 1, 1) of the training pixels, in float64; O(pixels)."""
        pixels = np.moveaxis(self.train_images, 1, 0).reshape(self.channels, -1)
        counts = np.stack([np.bincount(one, minlength=256) for one in pixels]) / pixels.shape[1]
        mean = counts @ np.arange(256)
        spread = np.sqrt(counts @ np.square(np.arange(256)) - mean**2)
        spread[spread == 0] = 1.0
        return mean.reshape(1, -1, 1, 1), spread.reshape(1, -1, 1, 1)

    @cached_property
    def centred_moments(self) -> tuple[Values, Values]:
        """The mean of each training pixel, (1, channels, side, side), and one deviation from it of all, (1, 1, 1, 1).

        (x - mean) / deviation has mean 0 at each pixel and mean square 1 over all of them, by one scale: pixels keep
        their ratios, and those that never change stay 0. float64; O(pixels).
        """
        mean = self.train_images.mean(axis=0, keepdims=True, dtype=np.float64)
        squares = np.square(self.train_images, dtype=np.uint16).mean(axis=0, keepdims=True, dtype=np.float64)
        variance = float((squares - np.square(mean)).mean())
        return mean, np.full((1, 1, 1, 1), np.sqrt(variance) if variance > 0 else 1.0)

    def bordered(self) -> Dataset:
        """The data with a border of 2 around images of 28 pixels, which makes them 32 x 32; others as they are."""
        if self.side != 28:
            return self
        border = [(0, 0), (0, 0), (2, 2), (2, 2)]
        return replace(
            self, train_images=np.pad(self.train_images, border), test_images=np.pad(self.test_images, border)
        )


def dataset_of(name: str, train: Part, test: Part) -> Dataset:
    """The Dataset of two parts, with as many classes as the largest label tells."""
    classes = int(max(train[1].max(), test[1].max())) + 1
    return Dataset(name, classes, *train, *test)


def require_labels(labels: NDArray[np.integer], classes: int, name: str) -> Labels:
    """The labels as int64. Raises FormatError for one outside 0 to `classes` - 1, with its place."""
    if (wrong := np.flatnonzero((labels < 0) | (labels >= classes))).size:
        first = int(wrong[0])
        raise FormatError(f"{name}: label {labels[first]} at number {first + 1}; labels are from 0 to {classes - 1}")
    return labels.astype(np.int64)


def missing(name: str, folder: object, found: str, way_out: str) -> FileError:
    """The error for data that are not where they were looked for."""
    return FileError(f"can't read {name} from {shown(str(folder))}: {found}; {way_out}")
