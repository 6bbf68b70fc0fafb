"""Images of MNIST's shape."""

import numpy as np
import pytest

from sao_cli import SaoError
from sao_cli.io.datasets.samples import read_dataset
from sao_cli.nets import inputs_like_mnist
from sao_cli.nets.experiments.mnist_shapes import mnist_shaped


def test_a_digit_s_pixels_are_three_by_three_within_a_border():
    small, data = read_dataset("digits"), mnist_shaped("digits", images=5)
    assert data.train_images.shape == (5, 1, 28, 28)
    assert data.test_images.shape == (360, 1, 28, 28)
    np.testing.assert_array_equal(data.train_labels, small.train_labels[:5])
    for image, grown in zip(small.train_images[:5, 0], data.train_images[:, 0], strict=True):
        np.testing.assert_array_equal(np.kron(image, np.ones((3, 3))), grown[2:-2, 2:-2])
        assert grown.sum() == grown[2:-2, 2:-2].sum()


def test_images_of_28_pixels_stay(mnist_folder):
    data, read = mnist_shaped("mnist", str(mnist_folder), images=4), read_dataset("mnist", str(mnist_folder))
    np.testing.assert_array_equal(data.train_images, read.train_images[:4])
    np.testing.assert_array_equal(data.test_images, read.test_images)
    x, y = inputs_like_mnist("mnist", str(mnist_folder), count=4)
    pixels = data.train_images.reshape(4, -1).astype(float)
    np.testing.assert_allclose(x, (pixels - pixels.mean()) / pixels.std(), rtol=1e-12)
    assert y.tolist() == data.train_labels.tolist()


def test_what_is_none_is_told(monkeypatch):
    with pytest.raises(SaoError, match="0 images to train on: one is the least"):
        mnist_shaped("digits", images=0)
    monkeypatch.setattr("sao_cli.nets.experiments.mnist_shapes.SIDE", 27)
    with pytest.raises(SaoError, match="images of 8 pixels a side"):
        mnist_shaped("digits")
