"""idx files, written here by the format's description: of any axes, gzipped, and damaged in every way."""

import gzip
import struct

import numpy as np
import pytest

from sao_cli.base.errors import FileError, FormatError, MemoryLimitError
from sao_cli.io.datasets.idx import read_idx
from sao_cli.io.datasets.samples import load_samples, read_dataset


def idx_bytes(array, kind=8):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture(params=["raw", "bare", "gzipped"])
def folder(request, tmp_path):
    """MNIST's four files, where torchvision keeps them, by themselves, and gzipped."""
    place = tmp_path / ("." if request.param == "bare" else "MNIST/raw")
    place.mkdir(parents=True, exist_ok=True)
    packed = request.param == "gzipped"
    for part, count in (("train", 6), ("t10k", 4)):
        images = (np.arange(count * 784) % 251).reshape(count, 28, 28)
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(count) % 3)):
            data = gzip.compress(idx_bytes(array)) if packed else idx_bytes(array)
            (place / (f"{part}-{kind}-ubyte" + ".gz" * packed)).write_bytes(data)
    return tmp_path


def test_mnist_is_read_from_every_layout(folder):
    data = read_dataset("mnist", str(folder))
    assert data.train_images.shape == (6, 1, 28, 28)
    np.testing.assert_array_equal(data.train_images.ravel(), np.arange(6 * 784) % 251)
    assert (data.test_labels.tolist(), data.classes) == ([0, 1, 2, 0], 3)


def test_samples_are_standardised_by_all_training_pixels(folder):
    pixels = (np.arange(6 * 784) % 251).astype(float)
    samples = load_samples("mnist", str(folder), count=4)
    np.testing.assert_allclose(samples.flat, ((pixels - pixels.mean()) / pixels.std())[: 4 * 784].reshape(4, 784))
    tested = load_samples("mnist", str(folder), split="test")
    np.testing.assert_allclose(tested.x, samples.x)
    padded = load_samples("mnist", str(folder), inputs=1024)
    wide = np.pad(pixels.reshape(6, 28, 28), [(0, 0), (2, 2), (2, 2)]).reshape(6, 1024)
    np.testing.assert_allclose(padded.flat, (wide - wide.mean()) / wide.std())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-1], "cut off"),
        (lambda data: data[:9], "its header takes .* cut off"),
        (lambda data: b"", "cut off"),
        (lambda data: data + b"x", "there is more after its 24 bytes"),
        (lambda data: b"\x1f\x8b" + data[2:], "no idx file"),
        (lambda data: data[:2] + b"\x0d" + data[3:], "type 0x0d"),
        (lambda data: data[:3] + b"\xff" + data[4:], "no idx file"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], "cut off"),
    ],
)
def test_damage_is_one_line(tmp_path, change, said):
    path = tmp_path / "images"
    path.write_bytes(change(idx_bytes(np.arange(24).reshape(2, 3, 4))))
    with pytest.raises(FormatError, match=rf"images.*{said}") as caught:
        read_idx(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_gzip_and_a_bomb_are_one_line(tmp_path):
    path = tmp_path / "images.gz"
    whole = gzip.compress(idx_bytes(np.arange(24).reshape(2, 3, 4)))
    for data in (whole[:-9], whole[:20] + b"\0\0\0" + whole[23:], b"plain"):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=r"images\.gz.*(damaged or cut off)"):
            read_idx(path)
    path.write_bytes(gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**10)))
    with pytest.raises(MemoryLimitError, match="needs 4"):
        read_idx(path)


def test_files_that_are_not_there_or_disagree_are_one_line(tmp_path):
    with pytest.raises(FileError, match=r"fashion-mnist.*no train-images-idx3-ubyte .*FashionMNIST/raw"):
        read_dataset("fashion-mnist", str(tmp_path))
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((2, 28, 28))))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(3)))
    with pytest.raises(FormatError, match=r"labels of shape \(3,\) for 2 images"):
        read_dataset("mnist", str(tmp_path))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([1, 10])))
    with pytest.raises(FormatError, match="label 10 at number 2; labels are from 0 to 9"):
        read_dataset("mnist", str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((2, 28, 27))))
    with pytest.raises(FormatError, match=r"images are \(count, side, side\)"):
        read_dataset("mnist", str(tmp_path))
