"""write_checkpoint: what safetensors reads, tensor by tensor, whole or not at all."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sao_cli.base.errors import FileError, FormatError, SaoError
from sao_cli.data.precision import rounded
from sao_cli.io.checkpoints import Lazy, open_checkpoint, write_checkpoint

DTYPES = st.sampled_from(["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"])


def finite(dtype):
    return hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.text(max_size=5).filter(lambda name: name != "__metadata__" and not name.startswith("module.")),
        DTYPES.flatmap(
            lambda dtype: hnp.arrays(
                dtype, hnp.array_shapes(min_dims=0, max_dims=4, max_side=3), elements=finite(dtype)
            )
        ),
        min_size=1,
        max_size=5,
    ),
    st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
)
def test_what_is_written_is_read_here_and_by_the_safetensors_package(tmp_path_factory, tensors, metadata):
    from safetensors import safe_open

    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    write_checkpoint(tensors, path, metadata)
    with open_checkpoint(path) as checkpoint, safe_open(path, "np") as theirs:
        assert checkpoint.metadata == metadata == (theirs.metadata() or {})
        assert [entry.name for entry in checkpoint.entries] == list(tensors)
        for entry in checkpoint.entries:
            for read in (checkpoint.read(entry), theirs.get_tensor(entry.name)):
                assert read.dtype == tensors[entry.name].dtype
                np.testing.assert_array_equal(read, tensors[entry.name])


def test_bfloat16_is_rounded_to_even_and_read_by_torch(tmp_path):
    from safetensors.torch import load_file

    values = np.random.default_rng(1).standard_normal((50, 7)).astype(np.float32)
    values[0, :4] = [1 + 2**-8, 1 + 3 * 2**-8, -0.0, 2.0**-133]
    path = tmp_path / "half.safetensors"
    write_checkpoint({"a": Lazy(values.shape, "bfloat16", lambda: values)}, path)
    expected = rounded(values, "bfloat16").astype(np.float32)
    np.testing.assert_array_equal(load_file(path)["a"].float().numpy(), expected)
    checkpoint = open_checkpoint(path)
    np.testing.assert_array_equal(checkpoint.read(checkpoint.entries[0]), expected)


def test_torch_tensors_keep_their_dtype_and_gradients_are_no_hindrance(tmp_path):
    import torch

    tensors = {"p": torch.nn.Parameter(torch.ones(2, 3).bfloat16()), "n": torch.arange(3), "t": torch.ones(2, 3).t()}
    write_checkpoint(tensors, tmp_path / "a.safetensors")
    checkpoint = open_checkpoint(tmp_path / "a.safetensors")
    assert [(entry.name, entry.dtype, entry.shape) for entry in checkpoint.entries] == [
        ("p", "bfloat16", (2, 3)),
        ("n", "int64", (3,)),
        ("t", "float32", (3, 2)),
    ]


def test_lazy_tensors_are_made_one_at_a_time_once_and_aligned(tmp_path):
    made = []

    def one(name, dtype):
        def make():
            made.append(name)
            return np.ones(3, dtype)

        return Lazy((3,), dtype, make)

    tensors = {
        name: one(name, dtype) for name, dtype in zip("abcd", ("bool", "float32", "float64", "int8"), strict=True)
    }
    write_checkpoint(tensors, tmp_path / "a.safetensors")
    assert made == ["c", "b", "a", "d"]  # by width
    content = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert list(header) == list("abcd")
    assert all(
        (8 + length + header[name]["data_offsets"][0]) % width == 0 for name, width in zip("bc", (4, 8), strict=True)
    )
    write_checkpoint(tensors, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == content


def failing():
    raise OSError("no values")


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "problem"),
    [
        ({"a": Lazy((2,), "float32", lambda: np.ones(3))}, {}, FormatError, r"tensor a: made of shape \(3,\)"),
        ({"a": Lazy((1,), "int8", lambda: np.ones(1))}, {}, FormatError, "made of dtype float64, .* round it first"),
        ({"a": Lazy((1,), "float16", lambda: np.full(1, 1e5))}, {}, FormatError, "a value of 100000 overflows float16"),
        ({"a": Lazy((1,), "bfloat16", lambda: np.full(1, 3.4e38))}, {}, FormatError, "overflows bfloat16"),
        ({"a": Lazy((1,), "floaty", failing)}, {}, FormatError, "unknown dtype 'floaty'"),
        ({"a": np.array(["text"])}, {}, FormatError, "unknown dtype"),
        ({"__metadata__": np.ones(1)}, {}, SaoError, "can't be named '__metadata__'"),
        ({"a": np.ones(1)}, {"epoch": 3}, SaoError, "metadata 'epoch': 3; both are text"),
        ({"a": Lazy((1,), "float32", failing)}, {}, FileError, "can't write .*: no values"),
    ],
)
def test_a_failure_leaves_the_old_file_and_nothing_aside(tmp_path, tensors, metadata, error, problem):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(error, match=problem):
        write_checkpoint(tensors, path, metadata)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_finite_is_written_as_it_is_and_other_suffixes_are_refused(tmp_path):
    full = np.array([0x7FFFFFFF], np.uint32).view(np.float32)[0]  # a NaN that rounding up would carry into the sign
    values = np.array([full, np.inf, -np.inf])
    write_checkpoint(
        {"a": values, "b": Lazy((3,), "bfloat16", lambda: np.array([full, np.inf, -np.inf], np.float32))},
        tmp_path / "a.safetensors",
    )
    from safetensors.torch import load_file

    for tensor in load_file(tmp_path / "a.safetensors").values():
        np.testing.assert_array_equal(tensor.float().numpy(), values)
    with pytest.raises(FileError, match=r"end the name in \.safetensors"):
        write_checkpoint({"a": values}, tmp_path / "a.pt")
