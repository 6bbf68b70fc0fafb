"""Convolution kernels through every format that holds them, and what is said where one does not."""

import gzip
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import prune

from sao_cli.base.errors import FileError, FormatError, MemoryLimitError, SaoError
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.data.precision import PRECISIONS
from sao_cli.io import Matrix, read_masks, read_matrices, read_weights, suffix_for, write_kernel, write_weights

KERNELS = st.from_type(Kernel)
SUFFIXES = (".safetensors", ".pt", ".npz", ".npy")
VALUES = np.zeros((3, 2, 1, 2))
VALUES[0, 0], VALUES[2, 1] = [[0, 1.5]], [[-2, 0.25]]
KERNEL = Kernel.from_dense(VALUES.astype(np.float32), {"method": "sao", "scheme": "delta", "size": [1, 2]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


class Pipe(io.RawIOBase):
    """A stream that can't seek."""

    def __init__(self, content):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.content.readinto(buffer)


def streamed(weights):
    file = io.BytesIO()
    write_weights(weights, file)
    return file.getvalue()


# round trips


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".npz"])
@settings(max_examples=25)
@given(kernel=KERNELS)
def test_a_kernel_comes_back_bit_for_bit(folder, suffix, kernel):
    path = folder / f"k{suffix}"
    write_kernel(kernel, path)
    for source in (path, Pipe(path.read_bytes()), io.BytesIO(gzip.compress(path.read_bytes(), 1))):
        (found,) = read_weights(source)
        assert found == kernel
        assert found.values.tobytes() == np.ascontiguousarray(kernel.values).tobytes()  # signs of zeros too
        assert found.mask.provenance == kernel.mask.provenance


@settings(max_examples=25)
@given(kernel=KERNELS)
def test_npy_keeps_the_values_and_numpys_own_types(folder, kernel):
    if kernel.dtype == "bfloat16":
        with pytest.raises(FormatError, match=r"k\.npy: a \.npy file can't say that numbers are bfloat16.* use \.npz"):
            write_kernel(kernel, folder / "k.npy")
        return
    write_kernel(kernel, folder / "k.npy")
    (found,) = read_weights(folder / "k.npy")
    np.testing.assert_array_equal(found.values, kernel.values)
    assert found.dtype == kernel.dtype
    assert np.load(folder / "k.npy").dtype == found.dtype


@settings(max_examples=20)
@given(stack=st.lists(st.one_of(KERNELS, st.from_type(Matrix)), min_size=1, max_size=11))
def test_a_stack_of_both_comes_back_in_order(folder, stack):
    write_weights(stack, folder / "stack.safetensors")
    for source in (folder / "stack.safetensors", Pipe(streamed(stack))):
        found = read_weights(source)
        assert found == stack
        assert [one.mask.provenance for one in found] == [one.mask.provenance for one in stack]
    assert read_masks(folder / "stack.safetensors") == [one.mask for one in stack]


def test_a_stack_goes_through_torch_too(folder):
    write_weights([KERNEL, Matrix(KERNEL.mask), KERNEL], folder / "stack.pt")
    assert read_weights(folder / "stack.pt") == [KERNEL, Matrix(KERNEL.mask), KERNEL]


@settings(max_examples=20)
@given(kernel=KERNELS)
def test_the_libraries_that_own_the_formats_load_ours(folder, kernel):
    for suffix in (".safetensors", ".pt", ".npz"):
        write_kernel(kernel, folder / f"own{suffix}")
    arrays = {
        "safetensors": safetensors.torch.load_file(folder / "own.safetensors")["weight"],
        "torch": torch.load(folder / "own.pt", weights_only=True)["weight"],
    }
    for tensor in arrays.values():
        assert str(tensor.dtype) == f"torch.{kernel.dtype}"
        np.testing.assert_array_equal(tensor.double().numpy(), kernel.values)
    np.testing.assert_array_equal(np.load(folder / "own.npz")["weight"], kernel.values)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_kernel_same_bytes_whatever_its_memory_order(folder, suffix, monkeypatch):
    write_kernel(KERNEL, folder / f"one{suffix}")
    monkeypatch.setattr("time.time", lambda: 1e9)
    reordered = np.asfortranarray(KERNEL.values)
    write_kernel(Kernel(reordered, KERNEL.mask, KERNEL.dtype), folder / f"two{suffix}")
    assert (folder / f"one{suffix}").read_bytes() == (folder / f"two{suffix}").read_bytes()


def test_a_stream_gets_safetensors_bytes(folder):
    write_kernel(KERNEL, folder / "k.safetensors")
    assert streamed(KERNEL) == (folder / "k.safetensors").read_bytes()
    script = "import sys; from sao_cli.io import *; write_weights(read_weights('-'), '-')"
    done = subprocess.run([sys.executable, "-c", script], input=streamed(KERNEL), capture_output=True, check=True)
    assert done.stdout == streamed(KERNEL)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ([[1, 0], [0, 1]], 4),
        ([[0, 0]], 2),
        ([], 2),
        *[(told, None) for told in ([[3, 0]], [[-1, 0]], [[0]], [[0, True]], [[10**30, 0]], "x", None, [0, 1], {})],
    ],
)
def test_zero_kernels_are_kept_where_that_can_be_true(told, kept):
    kernel = Kernel.from_dense(VALUES, {"zero_kernels": told, "seed": 1})
    (found,) = read_weights(io.BytesIO(streamed(kernel)))
    assert found.mask.nnz == (kept or 2)
    assert dict(found.mask.provenance) == ({"seed": 1} if kept else {"zero_kernels": told, "seed": 1})
    assert (found.mask.to_dense() >= KERNEL.mask.to_dense()).all()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".npz"])
def test_its_name_is_that_of_a_modules_weight(folder, suffix):
    write_kernel(KERNEL, folder / f"named{suffix}")
    assert read_weights(folder / f"named{suffix}", tensor="weight") == [KERNEL]
    with pytest.raises(FormatError, match=r"holds no tensor other; it holds weight 3x2x1x2$"):
        read_weights(folder / f"named{suffix}", tensor="other")


# what others write


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.npz", "a.npy"])
def test_kernels_of_every_dtype(folder, dtype, name):
    tensor = torch.from_numpy(np.abs(VALUES)).to(getattr(torch, dtype))
    dense = tensor.to(torch.float32).numpy() if dtype == "bfloat16" else tensor.numpy()
    save(folder / name, {"conv.weight": tensor if name[2] in "ps" else dense, "conv.bias": torch.ones(3)})
    (found,) = read_weights(folder / name)
    np.testing.assert_array_equal(found.values, tensor.double().numpy())
    assert found.dtype == {"bfloat16": "float32" if ".np" in name else dtype}.get(
        dtype, dtype if "f" in dtype else "float64"
    )
    (mask,) = read_masks(folder / name)
    np.testing.assert_array_equal(mask.to_dense(), (tensor != 0).numpy().any(axis=(2, 3)))


def save(path, arrays):
    """The arrays as a checkpoint of the kind that the name says; in .npy the first alone."""
    if path.suffix == ".npy":
        np.save(path, np.asarray(next(iter(arrays.values()))))
    elif path.suffix == ".npz":
        np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
    elif path.suffix == ".safetensors":
        safetensors.torch.save_file(arrays, path)
    else:
        torch.save(arrays, path)


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors", "net.npz"])
def test_a_checkpoint(folder, name):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv1d(2, 3, 5), torch.nn.Conv2d(2, 4, 3, groups=2), torch.nn.Conv3d(1, 2, 2), torch.nn.Linear(4, 3),
        torch.nn.BatchNorm2d(4), torch.nn.Conv2d(3, 3, 1),
    )  # fmt: skip
    kept = (torch.rand(4, 1, 1, 1) < 0.5).float().expand(4, 1, 3, 3)
    prune.custom_from_mask(net[1], "weight", kept)
    save(folder / name, net.state_dict())
    for number, weight in ((0, net[0].weight), (1, net[1].weight), (2, net[2].weight), (5, net[5].weight)):
        (found,) = read_weights(folder / name, tensor=f"{number}.weight")
        assert found == Kernel.of(weight)
        assert found.dtype == "float32"
    (mask,) = read_masks(folder / name, tensor="1.weight_mask")
    np.testing.assert_array_equal(mask.to_dense(), kept[:, :, 0, 0].numpy())
    assert isinstance(read_matrices(folder / name, tensor="3.weight")[0], Matrix)
    offered = r"net\.\w+ holds 5 matrices and kernels: "
    with pytest.raises(FormatError, match=offered) as error:
        read_weights(folder / name)
    for shown in ("0.weight 3x2x5", "1.weight 4x1x3x3", "2.weight 2x1x2x2x2", "3.weight 3x4", "5.weight 3x3x1x1"):
        assert shown in str(error.value)
    assert str(error.value).endswith("; choose one with --tensor NAME")
    for tensor, said in [
        ("4.weight", r"tensor 4\.weight has shape \(4,\); a weight has 2 to 5 axes"),
        ("4.num_batches_tracked", r"has shape \(\); a weight has 2 to 5 axes"),
        ("1.wieght", r"holds no tensor 1\.wieght; did you mean 1\.weight"),
    ]:
        with pytest.raises(FormatError, match=said):
            read_weights(folder / name, tensor=tensor)


@pytest.mark.parametrize("name", ["b.pt", "b.safetensors", "b.npz"])
def test_only_vectors_or_only_kernels(folder, name):
    save(folder / name, {"bias": torch.ones(3), "scale": torch.tensor(1.0)})
    with pytest.raises(FormatError, match=r"no tensor with 2 to 5 axes; it holds bias 3, scale scalar"):
        read_weights(folder / name)
    save(folder / name, {"a": torch.ones(2, 2, 3), "b": torch.ones(3, 2, 3, 3), "c": torch.ones((1,) * 6)})
    with pytest.raises(FormatError, match=r"holds 2 kernels: a 2x2x3, b 3x2x3x3; choose one"):
        read_weights(folder / name)


@pytest.mark.parametrize("name", ["p.pt", "p.safetensors", "p.npz"])
def test_what_is_pruned_may_be_anything(folder, name):
    original = torch.ones(2, 1, 3)
    original[1] = float("inf")
    mask = torch.ones(2, 1, 3)
    mask[1] = 0
    save(folder / name, {"w_orig": original, "w_mask": mask})
    (found,) = read_weights(folder / name)
    np.testing.assert_array_equal(found.values, (original * mask).nan_to_num(0).numpy())
    assert found.mask.nnz == 1


def test_sparse_tensors_of_torch(folder):
    torch.save(torch.from_numpy(VALUES).to_sparse_coo(), folder / "sparse.pt")
    assert read_weights(folder / "sparse.pt") == [Kernel.from_dense(VALUES)]


# what is refused, in one line


def test_a_kernel_is_no_matrix(folder):
    write_kernel(KERNEL, folder / "k.safetensors")
    with pytest.raises(
        FormatError, match=r"convolution kernel of 3x2x1x2, where a matrix .*`sao spectrum FILE --image"
    ):
        read_matrices(folder / "k.safetensors")


@pytest.mark.parametrize("suffix", [".mtx", ".mtx.gz"])
def test_text_has_no_place_for_taps(folder, suffix):
    said = rf"a {suffix} file holds matrices, and a kernel has taps too; use \.safetensors"
    for weights in (KERNEL, [Matrix(KERNEL.mask), KERNEL]):
        with pytest.raises(FileError, match=said):
            write_weights(weights, folder / f"never{suffix}")
    with pytest.raises(FileError, match=said):
        suffix_for(folder / f"never{suffix}", 1, kernels=True)
    assert not (folder / f"never{suffix}").exists()


def test_what_can_be_known_before_the_work(folder):
    with pytest.raises(FileError, match=r"end it in one of \.npz, \.npy, \.safetensors, \.pt$"):
        suffix_for(folder / "kernel", 1, kernels=True)
    with pytest.raises(FormatError, match=r"holds one matrix, and there are 2; use \.safetensors"):
        suffix_for(folder / "two.npy", 2, kernels=True)
    assert suffix_for("/dev/stdout", 1, kernels=True) == ".safetensors"
    assert suffix_for(folder / "k.PT", 3, kernels=True) == ".pt"
    with pytest.raises(FormatError, match="kernel 1 has the value nan"):
        write_kernel(Kernel(np.full((1, 1, 1), np.nan), Mask.from_dense([[1]])), folder / "nan.npy")
    assert not (folder / "nan.npy").exists()


@pytest.mark.parametrize("name", ["c.pt", "c.safetensors", "c.npz", "c.npy"])
def test_values_and_sizes_that_no_kernel_has(folder, name):
    wrong = torch.ones(2, 3, 1, 2)
    wrong[1, 0, 0, 1] = float("nan")
    for tensor, said in [
        (wrong, r"nan at place \(2, 1, 1, 2\); every value must be a finite number"),
        (torch.ones(2, 3, 0, 2), r"a kernel of shape \(2, 3, 0, 2\) is empty; each axis needs at least 1"),
        (torch.ones(0, 3, 1), r"a kernel of shape \(0, 3, 1\) is empty"),
    ]:
        save(folder / name, {"w": tensor})
        with pytest.raises(FormatError, match=said) as error:
            read_weights(folder / name)
        assert str(error.value).startswith(str(folder / name))


def npy_of(shape, body=b"", descr="<f8"):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    return header.getvalue() + body


def safetensors_of(shape, size, dtype="F64", name="w"):
    text = json.dumps({name: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, size]}}).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy_of((10**5, 10**5, 10**3)), "100000x100000x1000 needs"),
        (safetensors_of((10**5, 10**5, 10**3), 8 * 10**13), "tensor w needs .* is free"),
        (safetensors_of((2, 2, 2), 63), "can't take the bytes 0 to 63"),
        (safetensors_of((2, 2, 2), 64) + b"\0" * 63, "ends after 63 of them: it is cut off"),
        (npy_of((2, 2, 2), b"\0" * 63), "ends after 63 of them: it is cut off"),
        (npy_of((0, 2**62, 2**62)), "can't be read|is empty"),
        (safetensors_of((0, 2**62, 2**62), 0), "can't be read|is empty"),
        (npy_of((1,) * 70, b"\0" * 8), "can't be read"),
        (safetensors_of((1,) * 70, 8) + b"\0" * 8, "holds no tensor with 2 to 5 axes; it holds w 1x1x1"),
        (npy_of((1, 1, 1), b"\0" * 16, "<c16"), "of type complex128; a kernel needs real numbers"),
        (safetensors_of((1, 1, 1), 64, "F8\n") + b"\0" * 64, "its dtype F8 is not known"),
        (safetensors_of((1, 1, 1), 8, name="a\nb\x1b[2J"), r"tensor 'a\\nb\\x1b\[2J' takes 8 bytes"),
        ((10**8).to_bytes(8, "little") + b"{", "the header takes 100000000 bytes, and the input ends after 1"),
        ((10**8 + 1).to_bytes(8, "little") + b"{", "at its start; expected"),
    ],
)
def test_claims_and_damage(content, said):
    with pytest.raises((FormatError, MemoryLimitError), match=said) as error:
        read_weights(Pipe(content))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(("suffix", "rounds"), [(".safetensors", 250), (".npz", 250), (".pt", 60)])
def test_damaged_kernels_raise_only_our_errors(folder, suffix, rounds):
    write_kernel(KERNEL, folder / f"whole{suffix}")
    content = (folder / f"whole{suffix}").read_bytes()
    rng = np.random.default_rng(4)
    refused = 0
    for length in range(0, len(content), 1 + len(content) // 60):
        with pytest.raises(SaoError):
            read_weights(Pipe(content[:length]))
    for _ in range(rounds):
        changed = bytearray(content)
        changed[rng.integers(len(changed))] = rng.integers(256)
        try:
            read_weights(io.BytesIO(changed))
        except SaoError as error:
            refused += 1
            assert "\n" not in str(error), error  # noqa: PT017 - the error is one of hundreds
    assert refused > rounds / 10


def test_names_with_control_characters_are_shown_by_repr(folder):
    save(folder / "n.pt", {"a\nb": torch.full((1, 1, 1), float("nan"))})
    save(folder / "n.safetensors", {"a\nb": torch.ones(1, 1, 1), "c\td": torch.ones(1, 1)})
    for name, said in [("n.pt", r"n\.pt: 'a\\nb': nan at place"), ("n.safetensors", r"'a\\nb' 1x1x1, 'c\\td' 1x1")]:
        with pytest.raises(FormatError, match=said) as error:
            read_weights(folder / name)
        assert "\n" not in str(error.value)


def test_every_precision_is_named_as_the_header_names_it(folder):
    for dtype, code in zip(PRECISIONS, ("F64", "F32", "F16", "BF16"), strict=True):
        content = streamed(KERNEL.as_dtype(dtype))
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        assert header["weight"]["dtype"] == code
        assert list(header) == ["__metadata__", "weight"]
        assert json.loads(header["__metadata__"]["sao"])["weight"]["scheme"] == "delta"
