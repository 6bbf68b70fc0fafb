"""Options of several items go to those that take them, and what none takes is refused before anything runs."""

import numpy as np
import pytest

from sao_cli import SaoError
from sao_cli.base.errors import FileError
from sao_cli.study.papers.paper_options import options_of

SEVERAL = ("sao/fig7", "sao/table7", "sao/table9", "spp/transfer")


def idx(path, array):
    """An array of bytes as an idx file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


@pytest.fixture
def folder(tmp_path):
    """A folder that has MNIST, of two images, and nothing else."""
    for part in ("train", "t10k"):
        idx(tmp_path / f"MNIST/raw/{part}-images-idx3-ubyte", np.ones((2, 28, 28)))
        idx(tmp_path / f"MNIST/raw/{part}-labels-idx1-ubyte", np.arange(2))
    return str(tmp_path)


def test_one_item_is_asked_all_of_it():
    told = {"data": "mnist", "folder": "nowhere", "depths": (7,)}
    assert options_of(["sao/fig7"], **told) == {"sao/fig7": told}


def test_data_and_depths_go_to_those_that_take_them():
    found = options_of(SEVERAL, data="mnist", folder="there", depths=[200, 8])
    assert [one["data"] for one in found.values()] == [None, "mnist", "mnist", "mnist"]
    assert [one["folder"] for one in found.values()] == [None, "there", "there", "there"]
    assert [one["depths"] for one in found.values()] == [(), (200,), (8,), ()]


def test_what_a_folder_lacks_is_told_and_done_without(folder):
    said = []
    found = options_of(SEVERAL, folder=folder, say=said.append)
    assert {item for item, one in found.items() if one["folder"]} == {"sao/table7"}
    assert ["cinic10" in line and "sao/table9" in line for line in said] == [True, False]
    assert ["fashion-mnist" in line and "spp/transfer" in line for line in said] == [False, True]
    assert options_of(SEVERAL, data="mnist", folder="nowhere")["sao/table9"]["folder"] == "nowhere"


@pytest.mark.parametrize(
    ("items", "told", "error", "said"),
    [
        (("sao/fig7", "sao/fig8"), {"data": "mnist"}, SaoError, "none of the 2 items is of data"),
        (SEVERAL, {"depths": [8, 51]}, SaoError, "depth 51: none of the 4 items has it; there are 8, 16, 32, 50, 128"),
        (("sao/fig7", "sao/fig8"), {"depths": [8]}, SaoError, "leave it out"),
        (SEVERAL, {"folder": "nowhere"}, FileError, "can't read mnist from nowhere"),
    ],
)
def test_what_none_of_them_takes_is_refused(items, told, error, said):
    with pytest.raises(error, match=said):
        options_of(items, **told)
