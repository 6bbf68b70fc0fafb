"""Labels that say nothing of their images: whether a sparse network can still learn them by heart."""

from __future__ import annotations

from dataclasses import replace

from sao_cli.base.rng import LABELS, generator
from sao_cli.io.datasets.dataset import Dataset


def randomly_labelled(data: Dataset, seed: int) -> Dataset:
    """The same images, each to train on with a uniformly random label by `seed`; the test labels stay true.

    What is learnt of these labels is memorised (Zhang et al., ICLR 2017), and the test accuracy stays near chance.
    """
    drawn = generator(seed, 0, LABELS).integers(data.classes, size=len(data.train_labels))
    return replace(data, train_labels=drawn)
