"""Small files that were made to take much memory or time are refused before they do; in processes of bounded memory."""

import gzip
import io
import json
import re
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from sao_cli.base.errors import FormatError, SaoError, SaoWarning
from sao_cli.io import read_inputs, read_matrices, read_weights
from sao_cli.io.checkpoints import open_checkpoint
from sao_cli.io.proportions import MOST_THINGS, require_count

ROOM = 1 << 30  # bytes that a process may use more than after its imports
SCRIPT = """
import resource, sys
import torch, scipy.sparse
from sao_cli.base.errors import SaoError
from sao_cli.io import read_weights
from sao_cli.io.checkpoints import open_checkpoint
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + %d,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for path in sys.argv[1:]:
    for reader in (read_weights, open_checkpoint):
        try:
            reader(path)
            print("read")
        except SaoError as error:
            print(error)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))  # kB
"""


def header_of(length):
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", length)


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression, compresslevel=1) as archive:
        for name, pieces in members.items():
            with archive.open(name, "w") as file:
                for piece in pieces:
                    file.write(piece)
    return buffer.getvalue()


def npy_header(shape, descr="<f8"):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def gzipped(start, piece, count):
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
        file.write(start)
        for _ in range(count):
            file.write(piece)
    return buffer.getvalue()


def safetensors(text, data=b""):
    return len(text).to_bytes(8, "little") + text + data


MEGABYTE = bytes(1 << 20)
SPACES = b" " * (1 << 20)
MARKET = b"%%MatrixMarket matrix coordinate pattern general\n"
DIMENSIONS = b",".join([b"9223372036854775807"] * 100_000)


def bombs():
    """Files of some megabytes at most, and what is said of them."""
    yield "header.npz", zipped({"w.npy": [header_of(1 << 29), *[SPACES] * 260]}), "more than 200-fold"
    yield "header.npy", header_of(1 << 30) + SPACES, "its header of 1073741824 bytes is longer than 10000"
    yield "claim.npy", npy_header((1 << 20, 1 << 20)) + MEGABYTE, "an array of 1048576x1048576 (needs|takes)"
    yield "digits.npy", npy_header((10**4000, 10**4000)) + MEGABYTE, "too large for any file"
    yield "brackets.npy", header_of(9000) + b"(" * 9000, "can't be read"
    yield "many.npy", npy_header((1,) * 2000) + MEGABYTE, "can't be read|more after the array"
    yield "lines.mtx.gz", gzipped(MARKET, SPACES, 8), "a line of more"
    yield "pickle.pt", zipped({"a/data.pkl": [b"]" * (1 << 20)] * 100}), "needs .* is free"
    dimensions = b'{"w":{"dtype":"F32","shape":[' + DIMENSIONS + b'],"data_offsets":[0,4]}}'
    yield "axes.safetensors", safetensors(dimensions, b"1234"), "100000 axes"
    yield "nested.safetensors", safetensors(b'{"a":' + b"[" * 1_000_000), "header can't be read"
    yield (
        "digits.safetensors",
        safetensors(b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,' + b"9" * 4300 + b"]}}"),
        "no sense|read",
    )
    yield "nested.index.json", b'{"weight_map": ' + b"[" * 1_000_000, "JSON"
    yield "rows.mtx", MARKET + b"100000000 10 1\n1 1\n", "nearly all of whose rows and columns are empty"
    yield "sizes.mtx", MARKET + b"10 10 99999999999999999\n1 1\n", "needs .* is free"
    coo = {"format": np.array(b"coo"), "shape": np.array([10**8, 10]), "data": np.ones(1)}
    buffer = io.BytesIO()
    np.savez(buffer, **coo, row=np.array([0]), col=np.array([0]))
    yield "rows.npz", buffer.getvalue(), "nearly all of whose rows and columns are empty"


def test_bombs_take_neither_memory_nor_time(tmp_path):
    pytest.importorskip("torch")
    expected = []
    for name, content, said in bombs():
        assert len(content) < 1 << 25
        (tmp_path / name).write_bytes(content)
        expected.append((name, said))
    paths = [str(tmp_path / name) for name, _ in expected]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT % ROOM, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, peak = done.stdout.splitlines()
    assert len(lines) == 2 * len(expected)
    for (name, said), plain, listed in zip(expected, lines[::2], lines[1::2], strict=True):
        for line in (plain, listed):
            assert line.isprintable()
            assert len(line) < 400
        assert re.search(said, plain), plain
        assert name in plain
        assert listed == "read" or name in listed  # a checkpoint may list a tensor that can't be read, with its reason
    assert int(peak) * 1024 < ROOM + (1 << 29)


def test_so_many_tensors_no_network_has(tmp_path, monkeypatch):
    require_count(MOST_THINGS, "it")
    with pytest.raises(FormatError, match="it: it holds 300001 things, and a network has no more than 300000 tensors"):
        require_count(MOST_THINGS + 1, "it")
    monkeypatch.setattr("sao_cli.io.proportions.MOST_THINGS", 3)
    names = {f"{k}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for k in range(4)}
    (tmp_path / "w.safetensors").write_bytes(safetensors(json.dumps(names).encode()))
    np.savez(tmp_path / "w.npz", **{name: np.eye(2) for name in names})
    (tmp_path / "w.json").write_text(json.dumps({"weight_map": dict.fromkeys(names, "w.safetensors")}))
    for name in ("w.safetensors", "w.npz", "w.json"):
        for reader in (read_weights, open_checkpoint):
            with pytest.raises(FormatError, match=r"holds 4 things|this is JSON"):
                reader(tmp_path / name)


def test_a_piped_gzip_bomb_is_told_by_what_came_so_far():
    content = gzipped(npy_header((1 << 13, 1 << 13)), MEGABYTE, 260)
    with pytest.raises(SaoError, match="more than 200-fold"):
        read_weights(io.BytesIO(content))
    dense = np.zeros((500, 500))
    dense[0] = 1
    buffer = io.BytesIO()
    np.save(buffer, dense)
    (found,) = read_matrices(io.BytesIO(gzip.compress(buffer.getvalue())))
    assert found.mask.nnz == 500


# what one file holds besides


def test_several_arrays_in_one_npy_are_refused(tmp_path):
    with open(tmp_path / "three.npy", "wb") as file:
        for size in (4, 5, 6):
            np.save(file, np.eye(size))
    for reader in (read_weights, open_checkpoint, lambda path: read_inputs(path, 4)):
        with pytest.raises(
            FormatError, match=r"another array after the array; a \.npy holds one only: .* numpy\.savez"
        ):
            reader(tmp_path / "three.npy")
    (tmp_path / "more.npy").write_bytes((tmp_path / "three.npy").read_bytes()[:257] + b"\n")
    for reader in (read_weights, open_checkpoint):
        with pytest.raises(FormatError, match="there is more after the array"):
            reader(tmp_path / "more.npy")


def test_bfloat16_that_has_lost_its_name_is_refused(tmp_path):
    np.save(tmp_path / "w.npy", np.zeros((2, 2), "V2"))
    with pytest.raises(FormatError, match=r"type \|V2, which has lost its name: a \.npy file can't say .* bfloat16"):
        read_weights(tmp_path / "w.npy")


@pytest.mark.parametrize(
    ("field", "symmetry", "body", "dense"),
    [
        ("real", "symmetric", "3 3 4\n1 1 5\n2 1 1\n1 2 1\n3 1 7\n", [[5, 2, 7], [2, 0, 0], [7, 0, 0]]),
        ("real", "skew-symmetric", "2 2 2\n2 1 1\n1 2 -1\n", [[0, -2], [2, 0]]),
        ("pattern", "symmetric", "2 2 2\n2 1\n1 2\n", [[0, 1], [1, 0]]),
    ],
)
def test_both_triangles_of_a_symmetric_matrix_are_said(field, symmetry, body, dense):
    text = f"%%MatrixMarket matrix coordinate {field} {symmetry}\n{body}"
    with pytest.warns(SaoWarning) as said:
        (found,) = read_matrices(io.BytesIO(text.encode()))
    done = "counted once" if field == "pattern" else "added up, so that they come out doubled"
    assert f"1 entries stand in both triangles of a {symmetry} matrix, and are {done}" in str(said[0].message)
    np.testing.assert_array_equal(found.to_dense(), dense)


@pytest.mark.filterwarnings("error")
def test_entries_in_both_triangles_that_do_not_meet_are_right():
    text = "%%MatrixMarket matrix coordinate real symmetric\n3 3 2\n2 1 1\n1 3 4\n"
    (found,) = read_matrices(io.BytesIO(text.encode()))
    np.testing.assert_array_equal(found.to_dense(), [[0, 1, 4], [1, 0, 0], [4, 0, 0]])


def test_provenance_deep_in_itself_is_passed_over():
    deep = '{"method": ' + "[" * 400 + "]" * 400 + "}"
    text = f"%%MatrixMarket matrix coordinate pattern general\n%sao {deep}\n1 1 1\n1 1\n"
    with pytest.warns(SaoWarning, match="no JSON object"):
        (found,) = read_matrices(io.BytesIO(text.encode()))
    assert dict(found.mask.provenance) == {}
