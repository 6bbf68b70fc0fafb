"""What tests of training and of experiments share."""

import numpy as np
import pytest


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
