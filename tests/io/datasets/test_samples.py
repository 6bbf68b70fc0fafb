"""Samples by name and from a file: standardised and as they are; what is wrong is one line."""

import subprocess
import sys

import numpy as np
import pytest

from sao_cli.base.errors import FileError, FormatError, SaoError, SaoWarning
from sao_cli.catalog import DATA
from sao_cli.io.datasets.bundled import digits
from sao_cli.io.datasets.samples import load_samples


def test_digits_are_standardised_as_in_training():
    sklearn = pytest.importorskip("sklearn.datasets")
    samples = load_samples("digits")
    assert (samples.x.shape, samples.x.dtype, samples.classes) == ((1437, 1, 8, 8), np.float64, 10)
    assert (samples.x.mean(), samples.x.std()) == pytest.approx((0, 1), abs=1e-12)
    assert len(load_samples("digits", split="test").y) + 1437 == len(sklearn.load_digits().target)
    assert not np.array_equal(load_samples("digits", seed=1).y, samples.y)


def test_digits_are_scikit_learn_s_without_loading_it():
    sklearn = pytest.importorskip("sklearn.datasets")
    found = digits(DATA["digits"], seed=0)
    images = np.concatenate([found.train_images, found.test_images])
    labels = np.concatenate([found.train_labels, found.test_labels])
    told = sklearn.load_digits()

    def in_order(images, labels):
        return sorted((label, image.tobytes()) for image, label in zip(images, labels.tolist(), strict=True))

    assert in_order(images, labels) == in_order(told.images.astype(np.uint8), told.target)
    code = "import sys; from sao_cli.io.datasets.samples import load_samples; load_samples('digits')\n"
    code += "assert not {'sklearn', 'scipy'} & set(sys.modules), 'loaded'"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stderr == b""


def test_a_file_is_read_as_it_is(tmp_path):
    x = np.random.default_rng(0).normal(5, 9, (7, 2, 3))
    for dtype in (np.float64, np.float32, np.uint8, ">f8"):
        np.savez(tmp_path / "a.npz", x=x.astype(dtype), y=np.array([0, 1, 2, 3, 0, 1, 2], np.uint8))
        samples = load_samples(str(tmp_path / "a.npz"))
        np.testing.assert_array_equal(samples.x, x.astype(dtype))
        assert samples.x.dtype == (np.float32 if dtype == np.float32 else np.float64)
        assert (samples.y.tolist(), samples.y.dtype, samples.classes) == ([0, 1, 2, 3, 0, 1, 2], np.int64, 4)
    assert load_samples(str(tmp_path / "a.npz"), count=5).flat.shape == (5, 6)


def test_few_samples_of_few_classes_are_told(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((6, 2)), y=np.array([0, 0, 0, 1, 1, 1]))
    with pytest.warns(SaoWarning, match="the first 3 samples of .* are of 1 of its 2 classes"):
        assert load_samples(str(tmp_path / "a.npz"), count=3).classes == 2


X, Y = np.ones((3, 2)), np.arange(3)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": X}, "has no array 'y', but x"),
        ({"y": Y}, "has no array 'x', but y"),
        ({"x": X, "y": Y[:2]}, "3 inputs in x and 2 labels in y"),
        ({"x": X, "y": np.array([0, 1.5, 1])}, r"y holds 1\.5; labels are whole numbers"),
        ({"x": X, "y": np.array([0, np.nan, 1])}, "y holds nan"),
        ({"x": X, "y": np.array([0, -1, 1])}, "y holds -1"),
        ({"x": X, "y": np.array([0, 2**60, 1])}, f"y holds {2**60}"),
        ({"x": X, "y": Y[:, None]}, r"shape \(3, 1\)"),
        ({"x": X * np.nan, "y": Y}, "x holds nan; every input must be finite"),
        ({"x": X[:, 0], "y": Y}, r"x of float64 and shape \(3,\)"),
        ({"x": X * 1j, "y": Y}, "x of complex128"),
        ({"x": X[:0], "y": Y[:0]}, r"shape \(0, 2\)"),
        ({"x": np.array([[None, 1]]), "y": Y[:1]}, "[Pp]ython objects"),
    ],
)
def test_a_file_that_is_no_data_is_one_line(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FormatError, match=rf"a\.npz.*{said}") as caught:
        load_samples(str(tmp_path / "a.npz"))
    assert "\n" not in str(caught.value)


def test_wrong_names_are_one_line(tmp_path):
    with pytest.raises(SaoError, match=r"unknown data 'digit'; did you mean 'digits'.*or a FILE\.npz"):
        load_samples("digit")
    with pytest.raises(SaoError, match="unknown split 'tst'; did you mean 'test'"):
        load_samples("digits", split="tst")
    with pytest.raises(SaoError, match="0 samples: one is the least"):
        load_samples("digits", count=0)
    with pytest.raises(FileError, match="no such file"):
        load_samples(str(tmp_path / "nothing.npz"))
    (tmp_path / "cut.npz").write_bytes(b"PK\3\4 no more")
    with pytest.raises(FormatError, match=r"cut\.npz.*damaged or cut off"):
        load_samples(str(tmp_path / "cut.npz"))


def test_reading_needs_no_torch(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    code = f"from sao_cli.io.datasets.samples import load_samples; load_samples({str(tmp_path / 'a.npz')!r})"
    told = f"{code}; import sys; assert not {{'torch', 'scipy', 'torchvision'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", told], check=True)
