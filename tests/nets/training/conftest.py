"""A tiny dataset, so that an epoch takes milliseconds."""

import numpy as np
import pytest

from sao_cli.nets.training.data import Dataset


@pytest.fixture(scope="session")
def tiny():
    """Forty images of 8 x 8, of two classes that differ in brightness; eight more to test on."""
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 2
    images = rng.integers(0, 100, (48, 1, 8, 8)) + 60 * labels[:, None, None, None]
    images = images.astype(np.uint8)
    return Dataset("tiny", 2, images[:40], labels[:40], images[40:], labels[40:])
