"""The in-place initialisers of kernels: the package's own kernels in the tensor, reproducible, orthogonal, errors."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.nets.initialise.kernels import (
    delta_orthogonal_,
    eco_orthogonal_,
    kernel_,
    kernel_of,
    random_taps,
    sao_delta_orthogonal_,
    soc_orthogonal_,
)
from sao_cli.nets.initialise.matrices import drawn_seed
from sao_cli.weights.build_weights import weight_stack
from sao_cli.weights.kernels.build_kernels import METHODS, build_kernel
from sao_cli.weights.kernels.soc import soc_error_bound

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def manual(seed):
    return torch.Generator().manual_seed(seed)


def empty(*shape, dtype=torch.float64):
    return torch.full(shape, torch.nan, dtype=dtype)


def responses(weight, side):
    """The matrix of the circular convolution by `weight`, from its impulse responses, centred."""
    c_out, c_in, *size = weight.shape
    image = torch.zeros(c_out, c_in, *[side] * len(size), dtype=weight.dtype)
    for tap in np.ndindex(*size):
        place = tuple((k // 2 - a) % side for a, k in zip(tap, size, strict=True))
        image[(slice(None), slice(None), *place)] += weight[(slice(None), slice(None), *tap)]
    axes = tuple(range(2, weight.ndim))
    shifted = [torch.roll(image, shift, axes) for shift in np.ndindex(*[side] * len(size))]
    return torch.stack([one.flatten(2) for one in shifted], 3).transpose(1, 2).reshape(c_out * side ** len(size), -1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(3,), (2, 3), (1, 3, 2)])
def test_every_method_fills_the_tensor_with_the_kernel_of_the_drawn_seed(method, size):
    tensor = empty(12, 8, *size)
    options = {"method": method, "gain": 1.5} | ({} if method == "dense" else {"sparsity": 0.5})
    assert kernel_(tensor, generator=manual(7), **options) is tensor
    expected = build_kernel(12, 8, size, axes=len(size), seed=drawn_seed(manual(7)), **options)
    np.testing.assert_array_equal(tensor.numpy(), expected.values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_rounded_once_and_autograd_records_nothing(dtype):
    conv = torch.nn.Conv2d(16, 16, 3, dtype=dtype)
    before = conv.weight
    kernel_(conv.weight, "eco", degree=4, generator=manual(1))
    assert conv.weight is before
    assert before.is_leaf
    assert before.requires_grad
    expected = build_kernel(16, 16, scheme="eco", d=4, seed=drawn_seed(manual(1)))
    assert torch.equal(before, expected.as_dtype(str(dtype).removeprefix("torch.")).to_torch())
    last = empty(3, 3, 16, 16).permute(2, 3, 0, 1)  # a view that lies otherwise in memory
    assert torch.equal(kernel_(last, "eco", degree=4, generator=manual(1)), torch.from_numpy(expected.values.copy()))


@pytest.mark.parametrize(
    ("initialise", "shape", "side", "kept"),
    [
        (delta_orthogonal_, (6, 4, 3, 3), 4, 24),
        (delta_orthogonal_, (4, 6, 3), 5, 24),
        (delta_orthogonal_, (2, 2, 2, 3, 3), 3, 4),
        (sao_delta_orthogonal_, (8, 8, 3, 2), 3, 32),
        (eco_orthogonal_, (4, 4, 3, 3), 3, 16),
        (partial(eco_orthogonal_, degree=2), (6, 4, 4), 4, 8),
        (soc_orthogonal_, (4, 4, 9), 6, 16),
        (partial(soc_orthogonal_, degree=2, scale=0.3), (6, 6, 5, 5), 4, 12),
    ],
)
def test_the_circular_operator_has_the_gain_for_all_singular_values(initialise, shape, side, kept):
    weight = initialise(empty(*shape), gain=1.25, generator=manual(3))
    terms = (shape[-1] + 1) // 2
    error = {9: soc_error_bound(1.0, terms), 5: soc_error_bound(0.3, terms)}.get(shape[-1], 0)
    values = torch.linalg.svdvals(responses(weight, side))
    assert len(values) == min(shape[:2]) * side ** (len(shape) - 2)
    np.testing.assert_allclose(values.numpy(), 1.25, rtol=error + 1e-13)
    assert Kernel.of(weight).mask.nnz <= kept
    assert torch.equal(initialise(empty(*shape), gain=1.25, generator=manual(3)), weight)
    assert not torch.equal(initialise(empty(*shape), gain=1.25, generator=manual(4)), weight)


def test_looks_linear_kernels_have_singular_values_2_and_0():
    for weight in (delta_orthogonal_, sao_delta_orthogonal_):
        tensor = weight(empty(8, 8, 3, 3), looks_linear=True)
        values = torch.linalg.svdvals(responses(tensor, 3)).numpy()
        np.testing.assert_allclose(values, np.repeat([2, 0], 36), atol=1e-13)
        assert torch.equal(tensor[:4, 4:], -tensor[:4, :4])
    assert (tensor[..., 1, 1] != 0).sum(1).tolist() == [4] * 8


def test_torch_manual_seed_governs():
    torch.manual_seed(3)
    first, second = (sao_delta_orthogonal_(empty(8, 8, 3)) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(sao_delta_orthogonal_(empty(8, 8, 3)), first)
    assert not torch.equal(first, second)


def test_a_meta_tensor_stays_as_it_is():
    tensor = torch.empty(8, 8, 9, 9, device="meta")
    assert sao_delta_orthogonal_(tensor) is soc_orthogonal_(tensor) is tensor


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_of_weight_stack_stands_for_the_kernel_of_its_method(method):
    target = {} if method == "dense" else {"sparsity": 0.75}
    [weight] = weight_stack([8, 16], method=method, gain=1.1, seed=5, **target)
    ours, theirs = (
        kernel_of(weight, (2, 3), gain=1.1, seed=5),
        build_kernel(16, 8, (2, 3), method=method, gain=1.1, seed=5, **target),
    )
    assert ours.mask == theirs.mask
    np.testing.assert_array_equal(ours.values, theirs.values)


@pytest.mark.parametrize(
    ("law", "variance"),
    [("normal", 1 / (2 * 9)), ("he-uniform", 2 / (2 * 9)), ("glorot-normal", 2 / (2 * 9 + 400 * 9))],
)
def test_the_fans_of_random_taps_count_taps(law, variance):
    mask = Mask.from_dense(np.ones((400, 2)))
    values = random_taps(mask, (3, 3), law, seed=1)
    assert values.shape == (800, 9)
    assert abs(values.var() / variance - 1) < 4 * math.sqrt(2 / values.size)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: kernel_(empty(4, 4)), FormatError, r"shape \(4, 4\); these initialisers fill a kernel"),
        (lambda: kernel_(empty(4, 4, 1, 1, 1, 1)), FormatError, r"shape \(4, 4, 1, 1, 1, 1\)"),
        (lambda: kernel_(torch.empty(4, 4, 3, dtype=torch.int64)), FormatError, "torch.int64; weights are one of"),
        (lambda: kernel_(torch.ones(4, 4, 3).to_sparse()), FormatError, "layout torch.sparse_coo"),
        (lambda: kernel_(empty(4, 4, 3), "soc"), SaoError, "soc_orthogonal_ does that"),
        (lambda: kernel_(empty(4, 4, 3), "delt"), SaoError, "unknown scheme 'delt'"),
        (lambda: kernel_(empty(4, 4, 3), method="gmp"), SaoError, "unknown method 'gmp'"),
        (lambda: kernel_(empty(8, 8, 3), degree=3), InfeasibleError, "nearest feasible"),
        (lambda: sao_delta_orthogonal_(empty(8, 8, 3), 2.5), SaoError, "degree 2.5 is no whole number"),
        (lambda: kernel_(empty(8, 8, 3), degree=2, sparsity=0.5), SaoError, "give one of them"),
        (lambda: delta_orthogonal_(empty(8, 8, 3), 0.0), SaoError, "gain 0.0 is no positive finite number"),
        (lambda: soc_orthogonal_(empty(8, 8, 9), gain=-1), SaoError, "gain -1 is no positive finite number"),
        (lambda: delta_orthogonal_(torch.empty(8, 8, 3), 1e300), FormatError, "overflows float32"),
        (lambda: delta_orthogonal_(empty(7, 8, 3), looks_linear=True), SaoError, "is odd"),
        (lambda: soc_orthogonal_(empty(8, 8, 4, 4)), SaoError, "4 x 4 taps; soc needs an odd number"),
        (lambda: soc_orthogonal_(empty(8, 8, 9, 7)), SaoError, "9 x 7 taps"),
        (lambda: soc_orthogonal_(empty(8, 8, 3, 3)), SaoError, "bound 0.5 .*; take 9 taps, scale 0.14, or SOCConv2d"),
    ],
)
def test_what_cannot_be_filled_is_refused_in_one_line(call, error, said):
    with pytest.raises(error, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("taps", [3, 5, 7])
def test_the_scale_that_is_named_as_the_way_out_is_one(taps):
    with pytest.raises(SaoError, match="take 9 taps") as caught:
        soc_orthogonal_(empty(2, 2, taps))
    scale = float(str(caught.value).split("scale ")[-1].split(",")[0])
    assert soc_orthogonal_(empty(2, 2, taps), scale=scale).isfinite().all()
