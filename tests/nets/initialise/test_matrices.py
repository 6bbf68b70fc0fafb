"""The in-place initialisers: the package's own weights in the tensor, reproducible, in every dtype, and errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError
from sao_cli.nets.initialise.matrices import (
    drawn_seed,
    eoi_orthogonal_,
    initialize_,
    sao_orthogonal_,
    two_stage_orthogonal_,
)
from sao_cli.weights.build_weights import METHODS, weight_stack

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def manual(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_fills_the_tensor_with_the_weights_of_the_drawn_seed(method):
    degree = None if method == "dense" else 8
    tensor = torch.full((48, 96), torch.nan, dtype=torch.float64)
    assert initialize_(tensor, method, degree=degree, gain=1.5, generator=manual(7)) is tensor
    [expected] = weight_stack([96, 48], method=method, d=degree, gain=1.5, seed=drawn_seed(manual(7)))
    np.testing.assert_array_equal(tensor.numpy(), expected.to_dense())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["sao", "dense"])
def test_values_are_rounded_to_the_nearest_of_the_tensors_dtype(method, dtype):
    wide, narrow = (initialize_(torch.empty(32, 32, dtype=t), method, generator=manual(1)) for t in (DTYPES[0], dtype))
    assert narrow.dtype is dtype
    assert torch.equal(narrow != 0, wide != 0)
    # Half a unit in the last place; bfloat16 goes by way of float32, whose rounding may come to it.
    info = torch.finfo(dtype)
    bound = info.eps / 2 * wide.abs() * (1 + 2**-15) + info.smallest_normal * info.eps
    assert ((narrow.double() - wide).abs() <= bound).all()


@pytest.mark.parametrize("initialise", [sao_orthogonal_, two_stage_orthogonal_, eoi_orthogonal_])
@given(st.sampled_from([(16, 16, 4), (32, 16, 4), (16, 32, 8), (48, 48, 4)]), st.floats(0.1, 10), st.integers(0, 99))
def test_the_named_ones_are_orthogonal_times_the_gain(initialise, sizes, gain, seed):
    m, n, degree = sizes
    weight = initialise(torch.empty(m, n, dtype=torch.float64), degree, gain, manual(seed))
    np.testing.assert_allclose(torch.linalg.svdvals(weight).numpy(), gain, rtol=1e-13)
    ones = int((weight != 0).sum())
    assert ones == m * degree if initialise is not eoi_orthogonal_ else abs(ones - m * degree) < m + n


def test_torch_manual_seed_governs_and_the_generator_moves_on():
    torch.manual_seed(3)
    first, second = (sao_orthogonal_(torch.empty(16, 16)) for _ in range(2))
    torch.manual_seed(3)
    again = sao_orthogonal_(torch.empty(16, 16))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    generator = manual(3)
    state = torch.get_rng_state()
    assert torch.equal(sao_orthogonal_(torch.empty(16, 16), generator=generator), first)
    assert torch.equal(sao_orthogonal_(torch.empty(16, 16), generator=generator), second)
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_use_63_bits():
    seeds = np.array([drawn_seed(manual(seed)) for seed in range(200)])
    assert seeds.min() >= 0
    # Each of bits 0 .. 62 is 0 and 1 among 200 draws, but for a chance of 63 * 2^-199.
    assert np.bitwise_or.reduce(seeds) == 2**63 - 1
    assert np.bitwise_and.reduce(seeds) == 0


def test_a_parameter_is_filled_in_place_and_autograd_records_nothing():
    linear = torch.nn.Linear(32, 16)
    before = linear.weight
    sao_orthogonal_(linear.weight, degree=4)
    assert linear.weight is before
    assert before.requires_grad
    assert before.is_leaf
    assert (before != 0).sum() == 64
    linear(torch.ones(1, 32)).sum().backward()
    assert before.grad.shape == (16, 32)


def test_a_transposed_view_is_filled_by_its_own_rows():
    base = torch.empty(32, 16, dtype=torch.float64)
    sao_orthogonal_(base.T, degree=4, generator=manual(0))
    expected = sao_orthogonal_(torch.empty(16, 32, dtype=torch.float64), degree=4, generator=manual(0))
    assert torch.equal(base.T, expected)


def test_sparsity_and_values_reach_the_method():
    weight = initialize_(torch.empty(64, 64), "ramanujan", sparsity=0.9, values="uniform", generator=manual(0))
    assert (weight != 0).sum(1).tolist() == [8] * 64
    assert weight.abs().max() < (3 / 8) ** 0.5


def test_a_meta_tensor_stays_as_it_is():
    assert sao_orthogonal_(torch.empty(8, 8, device="meta")).is_meta


@pytest.mark.parametrize(
    ("tensor", "options", "error", "text"),
    [
        (torch.empty(4), {}, FormatError, r"shape \(4,\); these initialisers fill a matrix"),
        (torch.empty(4, 4, 3, 3), {}, FormatError, r"shape \(4, 4, 3, 3\)"),
        (torch.empty(4, 4, dtype=torch.int64), {}, FormatError, "torch.int64; weights are one of float64"),
        (torch.empty(4, 4, dtype=torch.complex64), {}, FormatError, "torch.complex64"),
        (torch.eye(4).to_sparse(), {}, FormatError, "layout torch.sparse_coo"),
        (torch.empty(300, 784), {"degree": 5}, InfeasibleError, "nearest feasible"),
        (torch.empty(8, 8), {"degree": 2.5}, SaoError, "degree 2.5 is no whole number"),
        (torch.empty(8, 8), {"degree": 2, "sparsity": 0.5}, SaoError, "give one of them"),
        (torch.empty(8, 8), {"gain": 0.0}, SaoError, "gain 0.0 is no positive finite number"),
        (torch.empty(8, 8), {"method": "soa"}, SaoError, "unknown method 'soa'; did you mean 'sao'"),
        (torch.empty(8, 8, dtype=torch.float16), {"gain": 1e9}, FormatError, "overflows float16"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_the_tensor_kept(tensor, options, error, text):
    before = tensor.clone()
    with pytest.raises(error, match=text) as caught:
        initialize_(tensor, **options)
    assert "\n" not in str(caught.value)
    assert torch.equal(tensor.to_dense().nan_to_num(), before.to_dense().nan_to_num())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_gets_the_same_weights(dtype):
    here, there = (
        sao_orthogonal_(torch.empty(64, 64, dtype=dtype, device=device), generator=manual(2))
        for device in ("cpu", "cuda")
    )
    assert torch.equal(here, there.cpu())
    generator = torch.Generator(device="cuda").manual_seed(5)
    assert sao_orthogonal_(torch.empty(64, 64, device="cuda"), generator=generator).isfinite().all()
