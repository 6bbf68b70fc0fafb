"""CIFAR's binary batches, written here by the description on their page."""

import numpy as np
import pytest

from sao_cli.base.errors import FileError, FormatError
from sao_cli.io.datasets.samples import load_samples, read_dataset

TEN = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


def write(place, names, classes, coarse):
    place.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    written = {}
    for name in names:
        labels, images = rng.integers(0, classes, 3), rng.integers(0, 256, (3, 3, 32, 32))
        rows = [
            bytes([7] * coarse + [label]) + image.astype(np.uint8).tobytes()
            for label, image in zip(labels.tolist(), images, strict=True)
        ]
        (place / name).write_bytes(b"".join(rows))
        written[name] = labels, images
    return written


@pytest.mark.parametrize("place", [".", "cifar-10-batches-bin"])
def test_cifar10_is_read_from_its_binary_batches(tmp_path, place):
    written = write(tmp_path / place, TEN, 10, 0)
    data = read_dataset("cifar10", str(tmp_path))
    np.testing.assert_array_equal(data.train_labels, np.concatenate([written[name][0] for name in TEN[:5]]))
    np.testing.assert_array_equal(data.train_images, np.concatenate([written[name][1] for name in TEN[:5]]))
    np.testing.assert_array_equal(data.test_images, written[TEN[5]][1])
    x = load_samples("cifar10", str(tmp_path)).x
    np.testing.assert_allclose(x.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(x.std((0, 2, 3)), 1, atol=1e-12)


def test_cifar100_has_fine_labels(tmp_path):
    written = write(tmp_path / "cifar-100-binary", ["train.bin", "test.bin"], 100, 1)
    data = read_dataset("cifar100", str(tmp_path))
    np.testing.assert_array_equal(data.train_labels, written["train.bin"][0])
    np.testing.assert_array_equal(data.train_images, written["train.bin"][1])


def test_damage_is_one_line(tmp_path):
    with pytest.raises(FileError, match=r"no data_batch_1\.bin.*unpack cifar-10-binary\.tar\.gz"):
        read_dataset("cifar10", str(tmp_path))
    write(tmp_path, TEN, 10, 0)
    whole = (tmp_path / TEN[2]).read_bytes()
    for data in (whole[:-1], b""):
        (tmp_path / TEN[2]).write_bytes(data)
        with pytest.raises(FormatError, match=r"data_batch_3\.bin.*a record takes 3073"):
            read_dataset("cifar10", str(tmp_path))
    (tmp_path / TEN[2]).write_bytes(b"\x0a" + whole[1:])
    with pytest.raises(FormatError, match=r"label 10 at number 1; labels are from 0 to 9"):
        read_dataset("cifar10", str(tmp_path))
    (tmp_path / TEN[2]).unlink()
    with pytest.raises(FileError, match=r"data_batch_3\.bin.*no such file"):
        read_dataset("cifar10", str(tmp_path))
