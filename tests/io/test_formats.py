"""The formats beside Matrix Market: round trips, and the libraries that own them as the second party."""

import gzip
import io
import json
import math
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FileError, FormatError, MemoryLimitError, SaoWarning
from sao_cli.data.mask import Mask
from sao_cli.io import Matrix, read_masks, read_matrices, write_masks, write_matrices
from sao_cli.io.formats.registry import suffixes_for

MATRICES = st.from_type(Matrix)
SUFFIXES = suffixes_for()
STACKING = [suffix for suffix in SUFFIXES if suffix != ".npy"]
CARRYING = [suffix for suffix in SUFFIXES if suffix != ".npy"]
MASK = Mask.from_dense([[0, 1, 0], [1, 0, 1]], {"method": "sao", "seed": 3, "unknown": ["kept"]})
DENSE = np.array([[0, 1.5, 0], [-2, 0, 1e-300]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


def saved(folder, suffix, matrices):
    path = folder / f"x{suffix}"
    write_matrices(matrices, path)
    return path


class Pipe(io.RawIOBase):
    """A stream that can't seek."""

    def __init__(self, content):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.content.readinto(buffer)


# round trips


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40)
@given(matrix=MATRICES)
def test_one_matrix_comes_back_bit_for_bit(folder, suffix, matrix):
    path = saved(folder, suffix, matrix)
    for source in (path, str(path), io.BytesIO(path.read_bytes()), Pipe(path.read_bytes())):
        (found,) = read_matrices(source)
        assert found == matrix
        assert suffix not in CARRYING or found.mask.provenance == matrix.mask.provenance


@pytest.mark.parametrize("suffix", STACKING)
@settings(max_examples=25)
@given(stack=st.lists(MATRICES, min_size=1, max_size=12))
def test_a_stack_comes_back_in_order(folder, suffix, stack):
    path = saved(folder, suffix, stack)
    for source in (path, Pipe(path.read_bytes())):
        found = read_matrices(source)
        assert found == stack
        assert [matrix.mask.provenance for matrix in found] == [matrix.mask.provenance for matrix in stack]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_mask_same_bytes(folder, suffix, monkeypatch):
    first = saved(folder, suffix, Matrix(MASK)).read_bytes()
    again = folder / f"another_name{suffix}"
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_masks(Mask(MASK.indptr.copy(), MASK.indices.copy(), MASK.shape, dict(MASK.provenance)), again)
    assert again.read_bytes() == first


def test_the_format_is_told_by_the_content_not_by_the_name(folder):
    for suffix in SUFFIXES:
        disguised = folder / "disguised.mtx"
        disguised.write_bytes(saved(folder, suffix, Matrix(MASK)).read_bytes())
        assert read_masks(disguised) == [MASK]
        assert suffix == ".mtx.gz" or read_masks(io.BytesIO(gzip.compress(disguised.read_bytes()))) == [MASK]


def test_a_format_of_one_matrix_refuses_a_stack(folder):
    with pytest.raises(FormatError, match=r"\.npy file holds one matrix, and there are 2; use .mtx or .safeten"):
        write_masks([MASK, MASK], folder / "never.npy")
    assert not (folder / "never.npy").exists()


@pytest.mark.parametrize("name", ["mask", "mask.txt", ".npz", "mask.gz", "mask.mtx.bz2"])
def test_unknown_suffix_lists_the_known_ones(folder, name):
    with pytest.raises(FileError, match=r"end it in one of .mtx, .mtx.gz, .npz, .npy, .safetensors, .pt"):
        write_masks(MASK, folder / name)
    assert not (folder / name).exists()


def test_what_no_reader_could_give_back_is_not_written(folder):
    one = Mask.from_dense([[1, 1]])
    for value in (0.0, np.nan, -np.inf):
        with pytest.raises(FormatError, match="matrix 1 has the value"):
            write_matrices(Matrix(one, np.array([1, value])), folder / "never.mtx")
    with pytest.raises(FormatError, match="no matrix to write"):
        write_masks([], folder / "never.mtx")
    with pytest.raises(FormatError, match="each one needs one value"):
        Matrix(one, np.ones(3))
    assert not (folder / "never.mtx").exists()


def test_dense_formats_of_a_huge_mask_are_refused_and_leave_nothing(folder):
    huge = Mask(np.zeros(10**6 + 1, np.int32), np.empty(0, np.int32), (10**6, 10**9))
    for suffix in (".npy", ".safetensors", ".pt"):
        with pytest.raises(MemoryLimitError, match="a dense 1000000 x 1000000000 mask needs"):
            write_masks(huge, folder / f"huge{suffix}")
        assert not list(folder.glob("huge*")) + list(folder.glob(".sao*"))


# numpy and scipy


@settings(max_examples=40)
@given(matrix=MATRICES)
def test_scipy_loads_our_npz(folder, matrix):
    loaded = scipy.sparse.load_npz(saved(folder, ".npz", matrix))
    assert isinstance(loaded, scipy.sparse.csr_array)
    loaded.check_format(full_check=True)
    np.testing.assert_array_equal(loaded.toarray(), matrix.to_dense())


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia"])
@pytest.mark.parametrize("container", ["array", "matrix"])
@pytest.mark.parametrize("dtype", [bool, np.int8, np.float32, np.float64])
def test_we_load_scipys_npz(folder, kind, container, dtype):
    dense = (np.random.default_rng(6).integers(-2, 3, (6, 4)) / dtype(1)).astype(dtype)
    matrix = getattr(scipy.sparse, f"coo_{container}")(dense).asformat(kind)
    for compressed in (True, False):
        scipy.sparse.save_npz(folder / "scipy.npz", matrix, compressed)
        (mask,) = (quietly if kind in ("bsr", "dia") else read_masks)(folder / "scipy.npz")
        np.testing.assert_array_equal(mask.to_dense(), dense != 0)
    if dtype is bool:
        assert quietly(folder / "scipy.npz", read_matrices)[0].values is None
    else:
        np.testing.assert_array_equal(quietly(folder / "scipy.npz", read_matrices)[0].to_dense(), dense)


def quietly(path, read=read_masks):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaoWarning)  # blocks and diagonals hold explicit zeros
        return read(path)


def test_scipys_explicit_zeros_and_duplicates_are_said(folder):
    matrix = scipy.sparse.coo_array(([1.0, 2.0, 0.0], ([0, 0, 1], [1, 1, 2])), shape=(2, 3))
    scipy.sparse.save_npz(folder / "twice.npz", matrix)
    with pytest.warns(SaoWarning) as said:
        (found,) = read_matrices(folder / "twice.npz")
    np.testing.assert_array_equal(found.to_dense(), [[0, 3, 0], [0, 0, 0]])
    assert ["summed" in str(said[0].message), "value 0" in str(said[1].message)] == [True, True]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"indices": np.array([0, 9, 1])}, "an index 9 along an axis of 3, whose indices are 0 .. 2"),
        ({"indices": np.array([0, -1, 1])}, "an index -1 along an axis of 3"),
        ({"indices": np.array([0.5, 1, 1])}, "can't be read"),
        ({"indptr": np.array([0, 2, 1])}, "indptr does not ascend"),
        ({"indptr": np.array([0, 4, 3])}, "indptr does not ascend"),
        ({"indptr": np.array([0, 1])}, "indptr does not ascend"),
        ({"data": np.array([1.0, np.nan, 1])}, "every value must be a finite number"),
        ({"data": np.array([1.0, 1j, 1])}, "complex128"),
        ({"data": np.ones(2)}, "it has 3 indices for 2 values"),
        ({"shape": np.array([2])}, "can't be read|two axes"),
        ({"shape": np.array([2, 3, 4])}, "can't be read|two axes"),
        ({"format": np.array(b"lil")}, "format is 'lil'; expected one of csr, csc, coo"),
        ({"indptr": None}, "its array 'indptr' is missing"),
    ],
)
def test_broken_scipy_npz(folder, change, problem):
    arrays = {
        "format": np.array(b"csr"), "shape": np.array([2, 3]), "data": np.ones(3),
        "indices": np.array([0, 1, 1]), "indptr": np.array([0, 2, 3]),
    } | change  # fmt: skip
    np.savez(folder / "broken.npz", **{key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(FormatError, match=problem):
        read_masks(folder / "broken.npz")


@pytest.mark.parametrize("dtype", ["?", "i1", "<u2", ">i4", "<f2", ">f4", "<f8", "longdouble"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_real_dtype_and_order(folder, dtype, order):
    array = np.array([[0, 1, 0, 2], [3, 0, 0, 0]]).astype(dtype, order=order)
    np.save(folder / "array.npy", array)
    (found,) = read_matrices(folder / "array.npy")
    assert (found.values is None) == (array.dtype.kind == "b")
    np.testing.assert_array_equal(found.to_dense(), array)
    np.testing.assert_array_equal(np.load(saved(folder, ".npy", found)), array)


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.ones(3), r"its shape is \(3,\)"),
        (np.ones((2,) * 6), r"its shape is \(2, 2, 2, 2, 2, 2\); a weight has 2 to 5 axes"),
        (np.ones((1,) * 64), r"a weight has 2 to 5 axes"),
        (np.ones((0, 3)), "a layer needs at least one output and one input"),
        (np.ones((2, 2), complex), "its numbers are of type complex128"),
        (np.array([["a"]]), "its numbers are of type <U1"),
        (np.zeros((1, 1), [("x", float)]), "its numbers are of type"),
        (np.array([[1, np.nan]]), "nan at row 1, column 2"),
    ],
)
def test_arrays_that_are_no_matrix(folder, array, problem):
    np.save(folder / "array.npy", array)
    with pytest.raises(FormatError, match=problem):
        read_masks(folder / "array.npy")


def test_npy_that_claims_more_than_memory():
    header = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)}
    np.lib.format.write_array_header_1_0(header, claim)
    with pytest.raises(MemoryLimitError, match="1000000000x1000000000 needs"):
        read_masks(io.BytesIO(header.getvalue() + b"\0" * 64))


def test_npz_of_several_arrays(folder):
    path = folder / "several.npz"
    np.savez(path, bias=np.ones(3), fc1=np.eye(3), fc2=DENSE)
    np.testing.assert_array_equal(read_matrices(path, tensor="fc2")[0].to_dense(), DENSE)
    with pytest.raises(FormatError, match=r"holds 2 matrices: fc1 3x3, fc2 2x3; choose one with --tensor NAME"):
        read_masks(path)
    with pytest.raises(FormatError, match=r"holds no tensor fc3; did you mean fc2 or fc1\?"):
        read_masks(path, tensor="fc3")
    with pytest.raises(FormatError, match=r"holds no tensor other; it holds bias 3, fc1 3x3, fc2 2x3"):
        read_masks(path, tensor="other")
    with pytest.raises(FormatError, match=r"tensor bias has shape \(3,\); a weight has 2 to 5 axes"):
        read_masks(path, tensor="bias")
    np.savez(path, bias=np.ones(3), fc2=DENSE)
    np.testing.assert_array_equal(read_matrices(path)[0].to_dense(), DENSE)
    np.savez(path, bias=np.ones(3))
    with pytest.raises(FormatError, match="holds no tensor with 2 to 5 axes; it holds bias 3"):
        read_masks(path)


def test_formats_without_names_refuse_one(folder):
    for suffix in (".npy", ".npz"):
        with pytest.raises(FormatError, match="without named tensors; leave out --tensor fc1"):
            read_masks(saved(folder, suffix, Matrix(MASK)), tensor="fc1")


# safetensors


@settings(max_examples=25)
@given(stack=st.lists(MATRICES, min_size=1, max_size=3))
def test_the_safetensors_package_loads_ours(folder, stack):
    path = saved(folder, ".safetensors", stack)
    loaded = safetensors.torch.load_file(path)
    assert len(loaded) == len(stack)
    for number, matrix in enumerate(stack, 1):
        assert loaded[f"layer.{number}"].dtype is (torch.bool if matrix.values is None else torch.float64)
        np.testing.assert_array_equal(loaded[f"layer.{number}"].numpy(), matrix.to_dense())
    with safetensors.safe_open(path, "np") as file:
        carried = json.loads((file.metadata() or {"sao": "{}"})["sao"])
    assert carried == {f"layer.{k}": dict(x.mask.provenance) for k, x in enumerate(stack, 1) if x.mask.provenance}


@pytest.mark.parametrize(
    "dtype",
    [torch.bool, torch.uint8, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64],
)
def test_we_load_what_the_safetensors_package_saves(folder, dtype):
    tensor = torch.tensor([[0, 1.5, 0], [2.25, 0, 3]]).to(dtype)
    path = folder / "theirs.safetensors"
    safetensors.torch.save_file({"z": torch.ones(5), "weight": tensor, "a.bias": torch.ones(3)}, path)
    for source in (path, Pipe(path.read_bytes())):
        (found,) = read_matrices(source)
        np.testing.assert_array_equal(found.to_dense().astype(float), tensor.to(torch.float64).numpy())


def test_safetensors_of_several_tensors(folder):
    path = folder / "several.safetensors"
    tensors = {f"net.{k}.weight": torch.full((2, k), float(k)) for k in range(1, 12)}
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(FormatError, match=r"holds 11 matrices: .* and 3 more; choose one with --tensor"):
        read_masks(path)
    for source in (path, Pipe(path.read_bytes())):
        assert read_matrices(source, tensor="net.7.weight")[0].to_dense().tolist() == [[7.0] * 7] * 2


@pytest.mark.parametrize(
    ("header", "size", "problem"),
    [
        ({"a": {"dtype": "U8", "shape": [2, 2], "data_offsets": [0, 3]}}, 3, "can't take the bytes 0 to 3"),
        (
            {"a": {"dtype": "U8", "shape": [-2, -2], "data_offsets": [0, 4]}},
            4,
            "description in the header makes no sense",
        ),
        ({"a": {"dtype": "U8", "shape": [2, 2], "data_offsets": [1, 5]}}, 5, "overlap or leave gaps"),
        (
            {"a": {"dtype": "F8_E5M2", "shape": [2, 2], "data_offsets": [0, 4]}},
            4,
            "its type is float8_e5m2; convert it to one of",
        ),
        (
            {"a": {"dtype": "U8", "shape": [2, 2], "data_offsets": [0, 4]}},
            3,
            "ends after 3|cut off: the file ends 1 byte before",
        ),
        ({"a": {"dtype": "U8", "shape": [2, 2], "data_offsets": [0, 4]}}, 5, "more after the last|the file has"),
        (
            {"a": {"dtype": "F64", "shape": [10**9, 10**9], "data_offsets": [0, 8 * 10**18]}},
            9,
            "needs|cut off: the file ends",
        ),
        ({"a": [1]}, 0, "description in the header makes no sense"),
        ({"a": {"dtype": "U8"}}, 0, "description in the header makes no sense"),
        ({}, 0, "it holds no tensor at all"),
    ],
)
def test_broken_safetensors(folder, header, size, problem):
    text = json.dumps(header).encode()
    path = folder / "broken.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\1" * size)
    for source in (path, Pipe(path.read_bytes())):
        with pytest.raises((FormatError, MemoryLimitError), match=problem):
            read_masks(source)


# torch


@settings(max_examples=20)
@given(stack=st.lists(MATRICES, min_size=1, max_size=3))
def test_torch_loads_our_dict_of_tensors(folder, stack):
    loaded = torch.load(saved(folder, ".pt", stack), weights_only=True)
    assert list(loaded) == [f"layer.{number}" for number in range(1, len(stack) + 1)]
    for tensor, matrix in zip(loaded.values(), stack, strict=True):
        assert tensor.dtype is (torch.bool if matrix.values is None else torch.float64)
        np.testing.assert_array_equal(tensor.numpy(), matrix.to_dense())


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints(folder, zipped):
    path = folder / "model.pt"
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 4))
    torch.save({"epoch": 3, "model": net.state_dict()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(FormatError, match=r"holds 2 matrices: model.0.weight 2x3, model.2.weight 4x2; choose one"):
        read_masks(path)
    for source in (path, Pipe(path.read_bytes())):
        (found,) = read_matrices(source, tensor="model.2.weight")
        np.testing.assert_array_equal(found.to_dense(), net[2].weight.detach().double().numpy())


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(DENSE),
        torch.tensor(DENSE).to(torch.float32),
        torch.tensor(DENSE).to(torch.bfloat16),
        torch.tensor(DENSE) != 0,
        torch.tensor(DENSE).to_sparse_coo(),
        (torch.tensor(DENSE) != 0).to_sparse_coo(),
        torch.nn.Parameter(torch.tensor(DENSE)),
        torch.tensor(DENSE.T.copy()).T,
    ],
)
def test_a_bare_tensor(folder, tensor):
    torch.save(tensor, folder / "bare.pt")
    (found,) = read_matrices(folder / "bare.pt")
    np.testing.assert_array_equal(found.to_dense().astype(float), tensor.detach().to_dense().double().numpy())


def test_torch_tensors_that_are_no_mask(folder):
    for tensor, problem in [
        (torch.ones(2, 2, dtype=torch.complex64), "its type is complex64"),
        (torch.tensor([[1, math.nan]]), "nan at row 1, column 2"),
        (torch.ones(1, 1).expand(10**7, 10**7), "4 bytes that would become 400000000000000, more than 200-fold"),
        (torch.ones(3), "holds no tensor with 2 to 5 axes"),
        ({"a": "text"}, "it holds no tensor at all"),
    ]:
        torch.save(tensor, folder / "odd.pt")
        with pytest.raises((FormatError, MemoryLimitError), match=problem):
            read_masks(folder / "odd.pt")


# nothing is executed


class Bomb:
    """An object whose unpickling would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_planted_pickles_are_not_executed(folder):
    trace = folder / "executed"
    bomb = Bomb(trace)
    pickle.loads(pickle.dumps(bomb)).close()  # it does go off
    trace.unlink()
    torch.save({"layer.1": bomb}, folder / "zip.pt")
    torch.save({"layer.1": bomb}, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    np.save(folder / "object.npy", np.array([[bomb]], dtype=object), allow_pickle=True)
    np.savez(folder / "object.npz", a=np.array([[bomb]], dtype=object))
    np.savez(folder / "sparse.npz", format=np.array([bomb], dtype=object), data=np.ones(1), shape=np.array([1, 1]))
    (folder / "plain.pkl").write_bytes(pickle.dumps(bomb))
    (folder / "old.pkl").write_bytes(pickle.dumps(bomb, protocol=0))
    for name in ("zip.pt", "legacy.pt", "object.npy", "object.npz", "sparse.npz", "plain.pkl", "old.pkl"):
        with pytest.raises(FormatError) as caught:
            read_masks(folder / name)
        assert "\n" not in str(caught.value)
        assert not trace.exists(), name


def test_reading_and_writing_text_imports_numpy_alone():
    script = """
import io, sys
from sao_cli.io import read_masks, write_masks
from sao_cli.data.mask import Mask
file = io.BytesIO()
write_masks(Mask.from_dense([[1]], {"seed": 0}), file)
file.seek(0)
read_masks(file)
print(*{"scipy", "torch", "zipfile", "gzip", "safetensors", "difflib"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
