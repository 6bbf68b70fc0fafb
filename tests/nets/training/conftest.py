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


@pytest.fixture
def mnist_folder(tmp_path):
    """A folder as torchvision has it, with six images of MNIST's size to train on, and four to test on."""
    for part, count in (("train", 6), ("t10k", 4)):
        raw = tmp_path / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        images = (np.arange(count * 784) % 784 % 256).astype(np.uint8).tobytes()
        sizes = b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + images)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + sizes[:4] + bytes(range(count)))
    return tmp_path


@pytest.fixture(autouse=True)
def one_thread_of_torch():
    """Networks as small as these gain nothing by two, which wait for each other where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
