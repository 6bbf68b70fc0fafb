"""One row of the registry is all that reading, writing, checkpoints and messages know of a format."""

import io
import sys
import types

import numpy as np
import pytest

from sao_cli import read_masks, sao_mask, write_masks
from sao_cli.base.errors import FileError, FormatError
from sao_cli.io.checkpoints import open_checkpoint
from sao_cli.io.formats import recognition, registry
from sao_cli.io.formats.tensor_file import Snapshot, Stored, TensorFile
from sao_cli.io.tensors import weights_in

MAGIC = b"TOY1"


class ToyFile(TensorFile):
    """Bytes of zeros and ones behind the magic and two bytes of sizes."""

    def __init__(self, place):
        self._file = Snapshot(place)
        self.name, self.metadata = self._file.name, {}
        with self._file.opened() as source:
            data = bytes(source.read_exactly(6, "the head"))
            self._array = np.frombuffer(source.read_exactly(data[4] * data[5], "the ones"), bool).reshape(*data[4:])
        self.stored = {self._file.stem: Stored(self._array.shape, "bool", self._array.size)}

    def read(self, name):
        return self._array


def write_toy(weights, file):
    [weight] = weights
    file.write(MAGIC + bytes(weight.shape) + weight.to_dense().tobytes())


@pytest.fixture
def toy(monkeypatch):
    """A format whose own file is a module of this name and whose row is the only thing beside it."""
    module = types.ModuleType("sao_cli.io.formats.toy_files")
    module.ToyFile, module.write_toy = ToyFile, write_toy
    module.read_toy = lambda source, tensor: weights_in(ToyFile(source), tensor)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    homes = {"read": "toy_files:read_toy", "opens": "toy_files:ToyFile", "write": "toy_files:write_toy"}
    starts = {"starts": lambda start: start.startswith(MAGIC), "suffixes": (".toy",), "in_folders": (".toy",)}
    rows = (*registry.FORMATS, registry.Format(".toy", **starts, **homes, several=False, kernels=False))
    for module in (registry, recognition):
        monkeypatch.setattr(module, "FORMATS", rows)


def test_a_format_is_a_row_and_a_file(toy, tmp_path):
    mask = sao_mask(8, 12, 3)
    write_masks(mask, tmp_path / "a.toy")
    for source in (tmp_path / "a.toy", io.BytesIO((tmp_path / "a.toy").read_bytes())):
        assert read_masks(source) == [mask]
    with open_checkpoint(tmp_path / "a.toy") as checkpoint:
        np.testing.assert_array_equal(checkpoint.read(checkpoint.entries[0]), mask.to_dense())
    with pytest.raises(FormatError, match=r"a \.toy file holds one matrix, and there are 2"):
        write_masks([mask, mask], tmp_path / "b.toy")
    with pytest.raises(FileError, match=r"end it in one of .*\.pt, \.toy$"):
        write_masks(mask, tmp_path / "b.txt")
    (tmp_path / "cut.toy").write_bytes((tmp_path / "a.toy").read_bytes()[:-1])
    with pytest.raises(FormatError, match="the ones takes 96 bytes, and the input ends after 95"):
        read_masks(tmp_path / "cut.toy")
    with pytest.raises(FormatError, match=r"or \.toy$"):
        read_masks(io.BytesIO(b"no format at all"))


def test_every_door_opens_and_no_suffix_or_start_stands_twice():
    for row in registry.FORMATS:
        assert all(callable(row.door(home)) for home in (row.read, row.opens, row.write) if home)
    suffixes = registry.suffixes_for()
    assert len(set(suffixes)) == len(suffixes)
    assert set(registry.suffixes_for(kernels=True)) < set(suffixes)
    for suffix in suffixes:
        assert suffix in registry.format_of(suffix).suffixes
