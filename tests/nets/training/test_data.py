"""The data: splits and order by the seed, what a network reads, and torchvision's data by a stand-in."""

import sys
import types

import numpy as np
import pytest
import torch

from sao_cli.base.errors import FileError, SaoError
from sao_cli.nets.training.data import Batches, load_data
from sao_cli.nets.training.labels import randomly_labelled
from sao_cli.nets.training.settings import TrainingSettings

CPU = torch.device("cpu")


def settings(**given):
    return TrainingSettings(**given).resolved()


def test_digits_are_split_evenly_by_class():
    data = load_data(settings())
    assert (len(data.train_labels), len(data.test_labels)) == (1437, 360)
    every = np.bincount(np.concatenate([data.train_labels, data.test_labels]))
    tested = np.bincount(data.test_labels)
    assert (np.abs(tested - 0.2 * every) < 1).all()
    other = load_data(settings(seed=1))
    assert not np.array_equal(other.test_images, data.test_images)


def test_inputs_are_standardised_by_the_training_images(tiny):
    batches = Batches(tiny, settings(dtype="float64"), CPU)
    x = torch.cat([x for x, _ in batches.all_train()])
    assert x.shape == (40, 64)
    assert (x.mean().item(), x.std(unbiased=False).item()) == pytest.approx((0, 1), abs=1e-12)
    by_hand = (tiny.test_images[:3].astype(float) - tiny.train_images.mean()) / tiny.train_images.std()
    np.testing.assert_allclose(batches.probes(3).numpy(), by_hand.reshape(3, 64), rtol=1e-12)
    assert Batches(tiny, settings(arch="cnn"), CPU).probes(3).shape == (3, 1, 8, 8)


def test_an_epochs_order_follows_from_seed_and_number(tiny):
    batches = Batches(tiny, settings(batch_size=16), CPU)
    first, again, second = ([labels.tolist() for _, labels in batches.train(epoch)] for epoch in (1, 1, 2))
    assert [len(one) for one in first] == [16, 16, 8]
    assert first == again
    assert first != second
    assert sorted(label for batch in second for label in batch) == sorted(tiny.train_labels.tolist())


def test_lipconvnet_reads_24_pixels():
    data = load_data(settings(arch="lipconvnet"))
    small = load_data(settings())
    assert data.train_images.shape == (1437, 1, 24, 24)
    np.testing.assert_array_equal(data.train_images[:, :, 1::3, 2::3], small.train_images)


def test_lenet_5_reads_digits_enlarged_and_lenet_300_as_they_are():
    large, small = (load_data(settings(arch=arch)) for arch in ("lenet5", "lenet300"))
    np.testing.assert_array_equal(large.train_images, small.train_images.repeat(3, 2).repeat(3, 3))
    assert small.train_images.shape == (1437, 1, 8, 8)


def test_random_labels_are_the_training_images_alone(tiny):
    found = randomly_labelled(tiny, seed=3)
    np.testing.assert_array_equal(found.train_labels, randomly_labelled(tiny, seed=3).train_labels)
    assert (found.train_labels != randomly_labelled(tiny, seed=4).train_labels).any()
    assert found.train_images is tiny.train_images
    assert (found.test_images is tiny.test_images, found.test_labels is tiny.test_labels) == (True, True)
    digits = load_data(settings())
    drawn = randomly_labelled(digits, seed=0).train_labels
    # 1437 draws of 10 classes: the counts' chi-square has 9 degrees of freedom, and its 99.9 % point is 27.9.
    counts = np.bincount(drawn, minlength=10)
    assert ((counts - 143.7) ** 2 / 143.7).sum() < 27.9
    assert abs((drawn == digits.train_labels).sum() - 143.7) < 4 * (143.7 * 0.9) ** 0.5  # they say nothing of it


class Stand:
    """What torchvision's CIFAR10 has: `data` and `targets`."""

    def __init__(self, folder, train, download):
        if "empty" in folder and not download:
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        self.data = np.arange(5 * 32 * 32 * 3).reshape(5, 32, 32, 3).astype(np.uint8)
        self.targets = [0, 1, 2, 3, 4]


@pytest.fixture
def torchvision(monkeypatch):
    module = types.ModuleType("torchvision")
    module.datasets = types.SimpleNamespace(CIFAR10=Stand)
    monkeypatch.setitem(sys.modules, "torchvision", module)


def test_grey_images_have_the_border_that_the_paper_has(mnist_folder):
    data = load_data(settings(data="mnist"), str(mnist_folder))
    assert data.train_images.shape == (6, 1, 32, 32)  # 1024 pixels, as SAO's Table 1 has
    assert not data.train_images[:, :, :2].any()
    assert data.train_images[0, 0, 2, 2:7].tolist() == [0, 1, 2, 3, 4]
    for given in ({"arch": "lenet300"}, {"arch": "lenet5"}, {"widths": (16, 16)}):
        assert load_data(settings(data="mnist", **given), str(mnist_folder)).train_images.shape == (6, 1, 28, 28)


@pytest.mark.usefixtures("torchvision")
def test_the_pickled_version_is_left_to_torchvision(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    coloured = load_data(settings(data="cifar10", arch="cnn"), str(tmp_path))
    assert coloured.test_images.shape == (5, 3, 32, 32)
    assert coloured.test_images[0, :, 0, 1].tolist() == [3, 4, 5]
    cut = load_data(settings(data="cifar10", arch="lipconvnet"), str(tmp_path))
    np.testing.assert_array_equal(cut.test_images, coloured.test_images[:, :, 4:28, 4:28])


@pytest.mark.usefixtures("torchvision")
def test_data_that_are_not_there_are_one_line(tmp_path):
    with pytest.raises(FileError, match=r"can't read mnist from .*no train-images-idx3-ubyte.*--download` fetches it"):
        load_data(settings(data="mnist"), str(tmp_path))
    empty = tmp_path / "empty"
    (empty / "cifar-10-batches-py").mkdir(parents=True)
    with pytest.raises(FileError, match=r"only the pickled version.*Dataset not found.*cifar-10-binary\.tar\.gz"):
        load_data(settings(data="cifar10"), str(empty))
    assert len(load_data(settings(data="cifar10"), str(empty), download=True).train_labels) == 5
    with pytest.raises(SaoError, match="name it by --data-folder"):
        load_data(settings(data="mnist"))
    with pytest.raises(SaoError, match="come with scikit-learn"):
        load_data(settings(), "here")
    with pytest.raises(SaoError, match="torchvision can't fetch cinic10"):
        load_data(settings(data="cinic10"), "here", download=True)


def test_missing_packages_are_one_line(monkeypatch, tmp_path):
    for name in ("sklearn", "sklearn.datasets", "torchvision"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SaoError, match=r"sao-cli\[train\]"):
        load_data(settings())
    with pytest.raises(SaoError, match=r"sao-cli\[vision\]"):
        load_data(settings(data="cinic10"), "here")
    (tmp_path / "cifar-100-python").mkdir()
    with pytest.raises(SaoError, match=r"never unpickled here .*sao-cli\[vision\].*unpack cifar-100-binary\.tar\.gz"):
        load_data(settings(data="cifar100"), str(tmp_path))


def test_a_torchvision_for_another_torch_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(SaoError, match="nms does not exist; install the version that goes with torch"):
        load_data(settings(data="mnist"), "here", download=True)
