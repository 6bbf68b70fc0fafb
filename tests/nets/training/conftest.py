"""A tiny dataset, so that an epoch takes milliseconds."""

import numpy as np
import pytest
import torch

from sao_cli.nets.training.data import Dataset


@pytest.fixture(scope="session")
def tiny():
    """Forty images of 8 x 8, of two classes that differ in brightness; eight more to test on."""
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 2
    images = rng.integers(0, 100, (48, 1, 8, 8)) + 60 * labels[:, None, None, None]
    images = images.astype(np.uint8)
    return Dataset("tiny", 2, images[:40], labels[:40], images[40:], labels[40:])


@pytest.fixture(autouse=True)
def one_thread_of_torch():
    """Networks as small as these gain nothing by two, which wait for each other where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
