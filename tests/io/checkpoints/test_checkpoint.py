"""Checkpoints of every format: what is listed, what is read, and how much memory that takes."""

import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sao_cli.base.errors import FileError, FormatError
from sao_cli.io import write_masks
from sao_cli.io.checkpoints import Lazy, open_checkpoint, write_checkpoint
from sao_cli.masks.sao import sao_mask

RNG = np.random.default_rng(5)
ARRAYS = {
    "net.1.weight": RNG.standard_normal((4, 3)).astype(np.float32),
    "net.1.bias": RNG.standard_normal(4).astype(np.float32),
    "net.10.weight": RNG.standard_normal((2, 4)),
    "conv.weight": RNG.standard_normal((2, 3, 3, 3)).astype(np.float16),
    "mask": RNG.random((3, 5)) < 0.5,
}
KINDS = ["matrix", "skipped", "matrix", "kernel", "matrix"]


def save_torch(path, legacy=False):
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=not legacy)


def deflated(path):
    """A torch file whose records somebody's zip has compressed: torch would map them as if they were not."""
    save_torch(path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, record in records.items():
            archive.writestr(name, record)


FORMATS = {
    "safetensors": lambda path: write_checkpoint(ARRAYS, f"{path}.safetensors"),
    "npz": lambda path: np.savez(f"{path}.npz", **ARRAYS),
    "torch": lambda path: save_torch(f"{path}.bin"),
    "legacy": lambda path: save_torch(f"{path}.pth", legacy=True),
    "deflated": lambda path: deflated(f"{path}.pt"),
}


@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("renamed", [False, True])
def test_every_format_lists_in_order_and_reads_back(save, renamed, tmp_path):
    save(tmp_path / "model")
    [path] = tmp_path.iterdir()
    if renamed:  # the content decides, not the name
        path = path.rename(tmp_path / "weights")
    with open_checkpoint(path) as checkpoint:
        assert [entry.name for entry in checkpoint.entries] == list(ARRAYS)
        assert [entry.kind for entry in checkpoint.entries] == KINDS
        for _ in range(2):
            for entry in checkpoint.entries:
                array, expected = checkpoint.read(entry), ARRAYS[entry.name]
                np.testing.assert_array_equal(array, expected)
                assert (entry.shape, entry.dtype, entry.bytes) == (expected.shape, str(expected.dtype), expected.nbytes)
                assert array.dtype == expected.dtype


def test_a_npy_and_a_sparse_npz_are_one_matrix_named_by_the_file(tmp_path):
    np.save(tmp_path / "fc.npy", np.asfortranarray(ARRAYS["net.1.weight"]).astype(">f4"))
    mask = sao_mask(6, 9, 3)
    write_masks(mask, tmp_path / "layer.npz")
    for file, name, dense in (("fc.npy", "fc", ARRAYS["net.1.weight"]), ("layer.npz", "layer", mask.to_dense())):
        checkpoint = open_checkpoint(tmp_path / file)
        [entry] = checkpoint.entries
        assert (entry.name, entry.shape, entry.kind) == (name, dense.shape, "matrix")
        read = checkpoint.read(entry)
        np.testing.assert_array_equal(read, dense)
        assert read.dtype == dense.dtype


def shards(folder, opener="safetensors"):
    """Three shards, whose index lists the last first, as indexes sorted by name do."""
    parts = {f"model-{number}.safetensors": {f"{number}.weight": np.full((2, 2), number)} for number in (10, 2, 1)}
    for file, tensors in parts.items():
        write_checkpoint({name: array * 1.0 for name, array in tensors.items()}, folder / file)
    weight_map = {name: file for file, tensors in parts.items() for name in tensors}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 96}, "weight_map": weight_map}, indent=2))
    return index, weight_map


def test_shards_come_by_their_numbers_from_the_index_or_its_folder(tmp_path):
    index, _ = shards(tmp_path)
    for path in (index, tmp_path, str(tmp_path)):
        with open_checkpoint(path) as checkpoint:
            assert [entry.name for entry in checkpoint.entries] == ["1.weight", "2.weight", "10.weight"]
            assert [checkpoint.read(entry)[0, 0] for entry in checkpoint.entries] == [1, 2, 10]


def test_what_is_wrong_with_a_shard_is_the_reason_of_its_tensors(tmp_path):
    index, weight_map = shards(tmp_path)
    (tmp_path / "model-2.safetensors").unlink()
    (tmp_path / "model-10.safetensors").write_bytes(b"junk" * 5)
    write_checkpoint({"1.weight": np.eye(2), "extra": np.eye(2)}, tmp_path / "model-1.safetensors")
    outside = {"a": "../model-1.safetensors", "b": str(tmp_path / "model-1.safetensors"), "c": index.name}
    gone = {"2.bias": "model-1.safetensors"}
    index.write_text(json.dumps({"weight_map": {**weight_map, **outside, **gone}}))
    with open_checkpoint(tmp_path) as checkpoint:
        reasons = {entry.name: entry.reason for entry in checkpoint.entries}
        assert reasons.pop("1.weight") is None
        assert "model-2.safetensors is missing" in reasons.pop("2.weight")
        assert "found b'junk" in reasons.pop("10.weight")
        assert "not in the index" in reasons.pop("extra")
        assert "not in its shard" in reasons.pop("2.bias")
        assert "this is JSON; name the file with the tensors" in reasons.pop("c")
        assert all("outside the folder" in reason for reason in reasons.values())
        for entry in checkpoint.entries:
            if entry.reason:
                with pytest.raises(FormatError, match="tensor "):
                    checkpoint.read(entry)


def test_torch_shards(tmp_path):
    import torch

    torch.save({"a": torch.ones(2, 2)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.zeros(3, 2)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    files = {name: f"pytorch_model-0000{number}-of-00002.bin" for number, name in enumerate("ab", 1)}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    with open_checkpoint(tmp_path) as checkpoint:
        assert [(entry.name, entry.shape) for entry in checkpoint.entries] == [("a", (2, 2)), ("b", (3, 2))]
        assert checkpoint.read(checkpoint.entries[0]).sum() == 4


def test_a_folder_without_an_index(tmp_path):
    with pytest.raises(FileError, match="without a checkpoint"):
        open_checkpoint(tmp_path)
    write_checkpoint({"a": np.eye(2)}, tmp_path / "one.safetensors")
    (tmp_path / "optimizer.pt").write_bytes(b"not looked at")
    assert open_checkpoint(tmp_path).entries[0].name == "a"
    write_checkpoint({"b": np.eye(2)}, tmp_path / "two.safetensors")
    with pytest.raises(FileError, match=r"2 checkpoints: one.safetensors, two.safetensors; name one"):
        open_checkpoint(tmp_path)
    write_checkpoint({"c": np.eye(2)}, tmp_path / "model.safetensors")
    assert open_checkpoint(tmp_path).entries[0].name == "c"


def test_dtypes_that_numpy_lacks(tmp_path):
    import torch

    values = torch.tensor([[1.5, -2.0], [3e38, 0.0]])
    tensors = {"b": values.bfloat16(), "e": values.clamp(max=9).to(torch.float8_e4m3fn), "q": values.int()}
    torch.save(tensors, tmp_path / "a.pt")
    write_checkpoint({"b": tensors["b"]}, tmp_path / "a.safetensors")
    for path in ("a.pt", "a.safetensors"):
        with open_checkpoint(tmp_path / path) as checkpoint:
            entry = checkpoint.entries[0]
            assert (entry.dtype, entry.kind, entry.bytes) == ("bfloat16", "matrix", 8)
            read = checkpoint.read(entry)
            assert read.dtype == np.float32
            np.testing.assert_array_equal(read, tensors["b"].float().numpy())
    reasons = {entry.name: entry.reason for entry in open_checkpoint(tmp_path / "a.pt").entries}
    assert reasons == {"b": None, "e": "quantised (float8_e4m3fn): dequantise it, then save", "q": "integers"}


def test_a_torch_file_is_mapped_anew_after_much_was_read_and_not_if_it_changed(tmp_path, monkeypatch):
    from sao_cli.io.formats import torch_files

    monkeypatch.setattr(torch_files, "_RELEASED_AFTER", 50)
    save_torch(tmp_path / "a.pt")
    with open_checkpoint(tmp_path / "a.pt") as checkpoint:
        kept = [checkpoint.read(entry) for entry in checkpoint.entries]
        for array, expected in zip(kept, ARRAYS.values(), strict=True):
            np.testing.assert_array_equal(array, expected)
        save_torch(tmp_path / "b.pt")
        (tmp_path / "b.pt").rename(tmp_path / "a.pt")
        with pytest.raises(FormatError, match="changed while it was being read"):
            [checkpoint.read(entry) for entry in checkpoint.entries]


def test_several_threads_read_what_one_reads(tmp_path, monkeypatch):
    from sao_cli.io.formats import torch_files

    monkeypatch.setattr(torch_files, "_RELEASED_AFTER", 50)
    save_torch(tmp_path / "a.pt")
    wrong = []
    with open_checkpoint(tmp_path / "a.pt") as checkpoint:

        def read():
            for entry in checkpoint.entries:
                wrong.extend([entry] * (not np.array_equal(checkpoint.read(entry), ARRAYS[entry.name])))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


MEASURED = """
import sys
from sao_cli.io.checkpoints import open_checkpoint
def high():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
with open_checkpoint(sys.argv[1]) as checkpoint:
    before = high()
    total = sum(float(checkpoint.read(entry)[0, 0]) for entry in checkpoint.entries)
    print(total, high() - before)
"""


def peak(path):
    """What reading one tensor after the other takes, in MB; of the process itself, as ru_maxrss has its parent's."""
    done = subprocess.run([sys.executable, "-c", MEASURED, path], capture_output=True, text=True, check=True)
    total, kilobytes = done.stdout.split()
    return float(total), int(kilobytes) / 1000


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_peak_memory_is_that_of_the_largest_tensor(dtype, tmp_path):
    ones = np.ones((1000, 2500), np.float32)
    path = tmp_path / "large.safetensors"
    write_checkpoint({f"layer.{number}": Lazy(ones.shape, dtype, lambda: ones) for number in range(20)}, path)
    assert path.stat().st_size > (200e6 if dtype == "float32" else 100e6)
    total, grown = peak(path)
    assert total == 20
    assert grown < 40


@pytest.mark.skipif(sys.platform != "linux", reason="VmRSS is Linux's")
def test_what_was_read_of_a_torch_file_does_not_stay_in_memory(tmp_path):
    import torch

    def resident():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))

    torch.save({f"layer.{number}": torch.ones(1000, 2500) for number in range(12)}, tmp_path / "large.pt")
    with open_checkpoint(tmp_path / "large.pt") as checkpoint:
        before = resident()
        grown = []
        for entry in checkpoint.entries:
            assert checkpoint.read(entry).sum() == 2.5e6
            grown.append(resident() - before)
    assert max(grown) < 70  # of 120
