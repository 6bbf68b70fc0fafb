"""Kernel: its mask is which 2-D kernels it keeps, and what it says of itself is true of the array."""

import dataclasses

import numpy as np
import pytest
import torch

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS

KEPT = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=bool)


def values(*size):
    return np.random.default_rng(0).standard_normal((4, 3, *size)) * KEPT.reshape(4, 3, *(1 for _ in size))


@pytest.mark.parametrize("size", [(5,), (3, 2), (1, 2, 3)])
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_tensor_there_and_back(size, dtype):
    tensor = torch.from_numpy(values(*size)).to(getattr(torch, dtype))
    kernel = Kernel.of(torch.nn.Parameter(tensor))
    assert kernel.shape == (4, 3, *size)
    assert kernel.size == size
    assert kernel.dtype == dtype
    assert kernel.eps == torch.finfo(tensor.dtype).eps
    np.testing.assert_array_equal(kernel.mask.to_dense(), KEPT)
    assert kernel.to_torch().dtype is tensor.dtype
    assert torch.equal(kernel.to_torch(), tensor)
    assert kernel.to_dense().dtype == kernel.numpy_dtype
    np.testing.assert_array_equal(kernel.to_dense(), tensor.double().numpy())
    assert Kernel.of(kernel) is kernel
    assert Kernel.of(tensor.to_sparse_coo()) == kernel
    assert repr(kernel) == f"Kernel(4 x 3 x {' x '.join(map(str, size))}, kernels=6, {dtype})"


def test_whole_numbers_and_lists_are_float64():
    kernel = Kernel.of([[[1, 0, -2]]])
    assert kernel == Kernel.from_dense(np.array([[[1, 0, -2]]], dtype=np.int8))
    assert kernel.dtype == "float64"


@pytest.mark.parametrize(
    "order", [np.asfortranarray, lambda array: np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]]
)
def test_a_dense_copy_is_in_c_order_and_writable(order):
    dense = values(3, 2)
    kernel = Kernel(order(dense), Mask.from_dense(KEPT))
    copy = kernel.to_dense()
    assert copy.flags.c_contiguous
    np.testing.assert_array_equal(copy, dense)
    assert torch.equal(kernel.to_torch(), torch.from_numpy(dense))
    copy[0] = 7
    np.testing.assert_array_equal(kernel.values, dense)
    with pytest.raises(ValueError, match="read-only"):
        kernel.values[0] = 7


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_rounding_to_a_precision_is_torchs_and_keeps_the_mask(dtype):
    dense = values(2, 2)
    dense[0, 0] = 1e-310  # becomes 0 in all but float64
    kernel = Kernel.from_dense(dense, {"seed": 1}).as_dtype(dtype)
    expected = torch.from_numpy(dense).to(getattr(torch, dtype)).double().numpy()
    np.testing.assert_array_equal(kernel.values, expected)
    np.testing.assert_array_equal(kernel.mask.to_dense(), KEPT)
    assert kernel.mask.provenance == {"seed": 1}
    assert kernel.as_dtype(None) is kernel.as_dtype(dtype) is kernel


def test_what_is_equal():
    dense = values(3, 3)
    kernel = Kernel.from_dense(dense)
    assert kernel == Kernel.from_dense(dense.copy(), {"other": "provenance"})
    more = KEPT.copy()
    more[2, 2] = True
    for other in (
        Kernel.from_dense(-dense),
        Kernel(dense, Mask.from_dense(more)),
        dataclasses.replace(kernel, dtype="float32"),
        Kernel.from_dense(dense[..., None]),
        "kernel",
    ):
        assert kernel != other
    with pytest.raises(TypeError):
        hash(kernel)


def test_the_reshaped_matrix_is_torchs_flatten():
    kernel = Kernel.from_dense(values(3, 2).astype(np.float32), {"method": "sao"})
    matrix = kernel.reshaped()
    assert isinstance(matrix, Matrix)
    assert matrix.dtype == "float32"
    assert matrix.mask.provenance == {"method": "sao"}
    np.testing.assert_array_equal(matrix.to_dense(), kernel.to_torch().flatten(1).numpy())
    assert Kernel.of(torch.ones(2, 2, 3, dtype=torch.bfloat16)).reshaped().dtype == "bfloat16"


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Kernel.of(np.ones((2, 2))), r"the kernel: its shape is \(2, 2\); .* has 3 to 5 axes"),
        (lambda: Kernel.of(np.ones((1,) * 6)), "has 3 to 5 axes"),
        (lambda: Kernel.of(np.ones((2, 0, 3))), r"shape \(2, 0, 3\) is empty; each axis needs at least 1"),
        (lambda: Kernel.of(np.ones((1, 1, 1), complex)), "of type complex128; a kernel needs real numbers"),
        (lambda: Kernel.of(torch.full((2, 1, 2), torch.inf)), r"inf at place \(1, 1, 1\); every value must be"),
        (lambda: Kernel(np.ones((2, 1, 1)), Mask.from_dense([[1]])), r"a mask of 1 x 1 for a kernel of shape \(2, 1"),
        (lambda: Kernel(np.ones((2, 1, 1)), Mask.from_dense([[1], [0]])), "values where its mask keeps nothing"),
        (lambda: Kernel(np.full((1, 1, 1), np.nan), Mask.from_dense([[0]])), "values where its mask keeps nothing"),
        (lambda: Kernel(np.ones((1, 1, 1)), Mask.from_dense([[1]]), "float33"), "unknown dtype 'float33'; did you"),
        (lambda: Kernel.of(np.ones((1, 1, 1))).as_dtype("half"), "unknown dtype 'half'"),
        (lambda: Kernel.of(np.full((1, 1, 1), -1e9)).as_dtype("float16"), "a weight of 1e[+]09 overflows float16"),
        (lambda: Kernel.of(np.broadcast_to(1.0, (10**5,) * 3)), "the values of the kernel needs .* is free"),
    ],
)  # fmt: skip
def test_what_is_no_kernel(build, said):
    with pytest.raises(SaoError, match=said) as error:
        build()
    assert isinstance(error.value, FormatError | MemoryLimitError) or "dtype" in said
    assert "\n" not in str(error.value)
