"""Damaged and hostile checkpoints: one line that says what is wrong, nothing executed, and what is whole still read."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from sao_cli.base.errors import FileError, FormatError, MemoryLimitError, SaoError
from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(5, np.float32), "c": np.full((3, 2), 7.0)}


def content(suffix):
    buffer = io.BytesIO()
    if suffix == "npz":
        np.savez_compressed(buffer, **TENSORS)
    elif suffix == "npy":
        np.save(buffer, TENSORS["a"])
    else:
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in TENSORS.items()}
        torch.save(tensors, buffer, _use_new_zipfile_serialization=suffix == "pt")
    return buffer.getvalue()


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def told(dtype="F32", shape=(1, 1), start=0, end=4):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def read_all(path):
    """What can be read of it, and the reasons of the rest."""
    arrays, reasons = {}, {}
    with open_checkpoint(path) as checkpoint:
        for entry in checkpoint.entries:
            try:
                arrays[entry.name] = checkpoint.read(entry)
            except SaoError as error:
                reasons[entry.name] = str(error)
    assert all(map(is_line, reasons.values()))
    return arrays, reasons


def failure(path):
    """The error that opening the file raises, or None; whatever of it can be read was."""
    try:
        read_all(path)
    except SaoError as error:
        return str(error)
    return None


def is_line(text):
    return text.isprintable() and len(text) < 400


def test_a_safetensors_file_cut_off_at_any_byte_keeps_what_is_whole(tmp_path):
    write_checkpoint(TENSORS, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    start = 8 + int.from_bytes(whole[:8], "little")
    ends = {"c": start + 48, "a": start + 72, "b": start + 92}
    assert len(whole) == ends["b"]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if size < start:
            with pytest.raises(FormatError, match=r"cut off|empty") as caught:
                open_checkpoint(path)
            assert str(caught.value).isprintable()
            continue
        arrays, reasons = read_all(path)
        assert arrays.keys() == {name for name, end in ends.items() if end <= size}
        assert all("cut off" in reason for reason in reasons.values())
        assert len(arrays) + len(reasons) == 3
        listed = {entry.name for entry in open_checkpoint(path).entries if "cut off" in (entry.reason or "")}
        assert listed == reasons.keys()


@pytest.mark.parametrize("suffix", ["pt", "pth", "npz", "npy"])
def test_other_formats_cut_off_or_changed_give_one_line_or_what_is_left(tmp_path, suffix):
    whole = content(suffix)
    path = tmp_path / f"damaged.{suffix}"
    rng = np.random.default_rng(3)
    for case in range(60):
        damaged = bytearray(whole)
        if case % 2:
            damaged = damaged[: rng.integers(len(damaged))]
        else:
            for place in rng.integers(len(damaged), size=3):
                damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        line = failure(path)
        if line is None:
            assert not case % 2 or suffix == "npy"
        else:
            assert line.startswith(str(path))
            assert is_line(line)


def test_safetensors_changed_at_any_byte_of_the_header_gives_one_line_or_what_is_left(tmp_path):
    write_checkpoint(TENSORS, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    path = tmp_path / "changed.safetensors"
    rng = np.random.default_rng(4)
    for place in range(8, 8 + int.from_bytes(whole[:8], "little")):
        changed = bytearray(whole)
        changed[place] = rng.integers(256)
        path.write_bytes(changed)
        assert is_line(failure(path) or "")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (told("F4"), "its dtype F4 is not known"),
        (told("\x1b[31m"), r"its dtype '\\x1b\[31m' is not known"),
        (told(shape=(2, 2)), "float32 of its shape can't take the bytes 0 to 4"),
        (told(shape=(-1, -1)), "makes no sense"),
        (told(shape=(1, True)), "makes no sense"),
        (told(shape=(10**30, 0), end=0), "empty"),
        (told(start=4, end=0), "can't take the bytes 4 to 0"),
        (told(start=8, end=12), "cut off: the file ends 4 bytes before"),
        (told(start=4 + 2**70, end=8 + 2**70), "cut off"),
        ({"dtype": "F32"}, "makes no sense"),
        (None, "makes no sense"),
        ([], "makes no sense"),
    ],
)
def test_what_is_wrong_with_one_tensor_is_its_reason(tmp_path, entry, problem):
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors({"good": told(start=4, end=8), "bad": entry}, np.ones(2, "<f4").tobytes()))
    arrays, reasons = read_all(path)
    assert arrays == {"good": 1}
    [bad] = [one for one in open_checkpoint(path).entries if one.name == "bad"]
    assert bad.kind == "skipped"
    with pytest.raises(FormatError, match=problem):
        open_checkpoint(path).read(bad)
    assert reasons.keys() == {"bad"}


def test_tensors_that_share_bytes_are_both_in_doubt(tmp_path):
    path = tmp_path / "a.safetensors"
    header = {"a": told(shape=(2, 1), end=8), "b": told(start=4, end=8), "c": told(start=8, end=12)}
    path.write_bytes(safetensors(header, np.ones(3, "<f4").tobytes()))
    arrays, reasons = read_all(path)
    assert arrays.keys() == {"c"}
    assert all("another tensor's too" in reason for reason in reasons.values())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_spoil_their_tensor_only(tmp_path, bad):
    wrong = np.ones((3, 4), np.float16)
    wrong[1, 2] = bad
    path = tmp_path / "a.safetensors"
    write_checkpoint({"w": wrong, "good": np.eye(2), "none": np.ones((0, 3))}, path)
    arrays, reasons = read_all(path)
    assert arrays.keys() == {"good"}
    assert f"tensor w: {bad} at place (2, 3); every value must be a finite number" in reasons["w"]
    assert reasons["none"].endswith("tensor none: empty")


def test_names_stay_raw_in_entries_and_are_shown_in_messages(tmp_path):
    names = ["line\nbreak", "\x1b[2Jred", "<b>", "\ud800", ""]
    path = tmp_path / "a.safetensors"
    header = {name: told(start=4 * place, end=4 * place + 4) for place, name in enumerate(names)}
    path.write_bytes(safetensors(header, np.full(5, np.nan, "<f4").tobytes()))
    assert [entry.name for entry in open_checkpoint(path).entries] == names
    _, reasons = read_all(path)
    assert len(reasons) == 5
    write_checkpoint({"\x1b.weight": np.eye(2), "\x1b.weight_mask": 2 * np.eye(2)}, path)
    assert open_checkpoint(path).entries[1].reason.startswith(r"mask of '\x1b.weight'")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "npz", "npy", "shard"])
def test_nothing_of_a_hostile_pickle_is_executed(tmp_path, form):
    planted, path = tmp_path / "planted", tmp_path / "evil.bin"
    evil = {"weight": Evil(str(planted))}
    if form in ("zip", "legacy", "shard"):
        import torch

        torch.save(evil, path, _use_new_zipfile_serialization=form != "legacy")
    elif form == "pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        with path.open("wb") as file:
            (np.savez if form == "npz" else np.save)(file, np.array([Evil(str(planted))], dtype=object))
    if form == "shard":
        (tmp_path / "evil.index.json").write_text(json.dumps({"weight_map": {"a": "evil.bin"}}))
        [entry] = open_checkpoint(tmp_path / "evil.index.json").entries
        told_reason = entry.reason
    elif form in ("npz", "npy"):
        [told_reason] = read_all(path)[1].values()
    else:
        with pytest.raises(FormatError) as caught:
            open_checkpoint(path)
        told_reason = str(caught.value)
        assert "\n" not in told_reason
    assert "unpickling could read" in told_reason or "nothing" in told_reason
    if form not in ("npz", "npy", "shard"):
        assert "nothing of it was executed" in told_reason or "nothing was executed" in told_reason
        assert "save the model's state_dict" in told_reason
    assert not planted.exists()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", r"it is empty; expected Matrix Market text .*, \.npz, \.npy, \.safetensors, \.pt or an index"),
        (b"GGUF\x03\0\0\0\0\0\0\0", "this is a GGUF file; sao reads .* convert it with"),
        (b"\x1f\x8b\x08\0aaaaaaaaaaaa", "the compressed data is damaged or cut off"),
        (b"%%MatrixMarket matrix", "expected the header %%MatrixMarket matrix"),
        (safetensors({}), "holds no tensor at all"),
        (safetensors(b"{]"), "the safetensors header can't be read"),
        (safetensors(b'{"a":' + b"[" * 100_000), "the safetensors header can't be read"),
        (safetensors(b'{"a": 1}', length=9_999_999), "cut off"),
        (b'{"a": 1}', "no index of a checkpoint's shards: it has no weight_map"),
        (b'{"weight_map": {"a": 1}}', "its weight_map is no mapping"),
        (b'{"weight_map": []}', "its weight_map is no mapping"),
        (b'{"weight_map": {}}', "holds no tensor at all"),
        (b'{"weight_map": ', "no index of a checkpoint's shards"),
        (b"[1, 2, 3, 4, 5]", "this is JSON; name the file with the tensors"),
    ],
)
def test_what_is_no_checkpoint(tmp_path, data, problem):
    path = tmp_path / "what"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=problem) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()


def test_zips_that_are_no_checkpoint(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "text")
    with pytest.raises(FormatError, match=r"neither \.npz nor \.pt; expected"):
        open_checkpoint(tmp_path / "a.zip")
    np.savez(tmp_path / "b.npz", text=np.array("text"), good=np.eye(2))
    assert {entry.name: entry.reason for entry in open_checkpoint(tmp_path / "b.npz").entries}["good"] is None


@pytest.mark.parametrize(
    ("path", "problem"),
    [("none.pt", "no such file"), ("a\0b", "can't be a path"), ("pipe", "no regular file")],
)
def test_what_can_t_be_opened(tmp_path, monkeypatch, path, problem):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(FileError, match=problem):
        open_checkpoint(path)


def test_a_tensor_larger_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_checkpoint({"good": np.eye(2), "huge": np.ones((100, 100)), "w_orig": np.eye(9), "w_mask": np.eye(9)}, path)
    checkpoint = open_checkpoint(path)
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 1000)
    good, huge, pair = checkpoint.entries
    assert checkpoint.read(good).shape == (2, 2)
    with pytest.raises(MemoryLimitError, match=r"tensor huge needs 80 kB, and 1 kB is free"):
        checkpoint.read(huge)
    with pytest.raises(MemoryLimitError, match=r"tensor w needs 1.94 kB"):
        checkpoint.read(pair)
