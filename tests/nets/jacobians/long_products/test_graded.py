"""Long products against multi-precision arithmetic, closed forms, and each other."""

import itertools
import math
import warnings

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError, SaoWarning
from sao_cli.nets.jacobians.long_products.graded import GradedProduct
from sao_cli.nets.jacobians.long_products.graded_values import (
    _checked_singular_values,
    _jacobi_singular_values,
    graded_log2_singular_values,
)
from sao_cli.nets.jacobians.long_products.noise import even_noise
from sao_cli.nets.jacobians.long_products.orthogonalisation import GROWTH, orthogonalised
from sao_cli.nets.jacobians.long_products.pivoting import pivoted_columns
from sao_cli.nets.jacobians.long_products.scales import power_of_two

EPSILON = 2.0**-52


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # these matrices only lose time to more
    yield
    torch.set_num_threads(threads)


def exact_logs(factors, digits):
    """Natural logarithms of the singular values of the product, -inf past the digits, in multi-precision arithmetic."""
    with mpmath.workdps(digits):
        product = mpmath.matrix(factors[0].tolist())
        for factor in factors[1:]:
            product = mpmath.matrix(factor.tolist()) * product
        values = mpmath.svd_r(product if product.rows >= product.cols else product.T, compute_uv=False)
        least = values[0] * mpmath.mpf(10) ** (20 - digits)
        return np.array([float(mpmath.log(value)) if value > least else -math.inf for value in values])


def naive_logs(factors):
    with np.errstate(divide="ignore"):
        return np.log(np.linalg.svd(np.linalg.multi_dot(factors[::-1]), compute_uv=False))


def product_of(factors, **options):
    product = GradedProduct(factors[0].shape[-1], **options)
    for factor in factors:
        product.multiply(torch.as_tensor(factor))
    return product


def gaussian(rng, *sizes):
    return [rng.standard_normal((m, n)) for n, m in itertools.pairwise(sizes)]


def silenced(rng, factors, dead):
    """The factors, some of whose rows are exactly 0, as ReLU makes them."""
    for factor, count in zip(factors, dead, strict=True):
        factor[rng.permutation(len(factor))[:count]] = 0.0
    return factors


@pytest.mark.parametrize(("depth", "seed", "decades"), [(40, 0, 9), (120, 0, 66), (120, 1, 60)])
def test_products_of_square_gaussian_matrices_are_right_where_the_naive_svd_is_wrong_by_decades(depth, seed, decades):
    factors = gaussian(np.random.default_rng(seed), *[10] * (depth + 1))
    expected = exact_logs(factors, 60 + 2 * depth)
    found = product_of(factors).log_singular_values()
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-9)
    assert found.rank == 10
    assert np.abs(found.values - expected).max() < found.error < 1e-9
    assert np.abs(naive_logs(factors) - expected).max() > decades * math.log(10)


@pytest.mark.parametrize("depth", [40, 120])
def test_rank_deficient_factors_lower_the_rank_and_leave_the_other_values_right(depth):
    rng = np.random.default_rng(depth)
    factors = silenced(rng, gaussian(rng, *[10] * (depth + 1)), [1 if layer % 30 == 3 else 0 for layer in range(depth)])
    factors[20][:, 5] = factors[20][:, 6]  # and deficient without a zero
    factors[20][0] = factors[20][1]
    expected = exact_logs(factors, 60 + 2 * depth)
    found = product_of(factors).log_singular_values()
    assert found.rank == np.isfinite(expected).sum() < 10
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sizes", [(12, 7, 9, 5, 8), (3, 9, 9, 9, 11), (9, 30, 4, 30, 9), (5, 1, 5), (6, 40, 40, 2)])
def test_rectangular_factors_have_the_values_of_their_product(sizes):
    factors = gaussian(np.random.default_rng(1), *sizes)
    for interval in (None, 1, 9):
        product = product_of(factors, interval=interval)
        found = product.log_singular_values()
        assert product.shape == (sizes[-1], sizes[0])
        assert found.values.shape == (min(sizes[0], sizes[-1]),)
        np.testing.assert_allclose(found.values, exact_logs(factors, 60), rtol=0, atol=1e-11)


def test_every_depth_of_one_pass_is_right():
    factors = gaussian(np.random.default_rng(2), *[6] * 41)
    product = GradedProduct(6)
    for depth, factor in enumerate(factors, 1):
        product.multiply(torch.from_numpy(factor))
        if depth in (1, 2, 13, 14, 40):
            found = product.log_singular_values(base=10)
            expected = exact_logs(factors[:depth], 120) / math.log(10)
            np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-10)
            assert product.depth == depth


@pytest.mark.parametrize("gain", [1.1, 1e-3])
def test_an_orthogonal_stack_has_the_powers_of_its_gain_at_every_depth_to_1000(gain):
    rng = np.random.default_rng(3)
    stack = [torch.from_numpy(gain * np.linalg.qr(rng.standard_normal((16, 16)))[0]) for _ in range(25)]
    product = GradedProduct(16)
    for depth in range(1, 1001):
        product.multiply(stack[depth % 25])
        if depth % 100 == 0:
            values = product.log_singular_values().values
            np.testing.assert_allclose(values, depth * math.log(gain), rtol=0, atol=1e-10)
    assert product.orthogonalisations < 60


def test_well_conditioned_factors_are_orthogonalised_seldom_and_ill_conditioned_ones_each_time():
    rng = np.random.default_rng(4)
    orthogonal = [np.linalg.qr(rng.standard_normal((20, 20)))[0] for _ in range(64)]
    graded_ones = [matrix * 10.0 ** -np.linspace(0, 3, 20)[:, None] for matrix in orthogonal]
    assert product_of(orthogonal).orthogonalisations <= 8
    assert product_of(graded_ones).orthogonalisations >= 60
    assert product_of(orthogonal, interval=4).orthogonalisations == 15


def test_a_group_that_is_much_worse_than_those_before_it_is_told():
    rng = np.random.default_rng(5)
    factors = [np.eye(8)] * 60 + gaussian(rng, *[8] * 25)
    with pytest.warns(SaoWarning, match=r"factors \d+ to \d+ have a condition number .* set interval=1"):
        product_of(factors).log_singular_values()
    found = product_of(factors, interval=1).log_singular_values()
    np.testing.assert_allclose(found.values, exact_logs(factors, 150), rtol=0, atol=1e-10)


def test_a_small_independent_direction_is_not_taken_for_what_is_left_of_a_large_dependent_one():
    """Nor is it known where rounding may hide as much; zeros hide nothing."""
    scales = [1.0, 1.0, 1e30]
    dependent = np.array([[1.0, 1.0, 0.3e-30], [2.0, 2.0, 0.1e-30], [0.5, 0.5, 1.0e-30]])
    explained = np.array([[1.0, 1.0, 0.3e-30], [2.0, 2.5, 0.1e-30], [0.5, 0.7, 1.0e-30], [0.0, 0.0, 0.0]])[[0, 3, 2]]
    for columns, known in ((dependent, 1), (explained, 2)):
        factors = [np.diag([1.0, 1.0, 1e-30]), columns * scales]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaoWarning)
            found = product_of(factors, interval=1).log_singular_values()
        assert found.rank == 2
        assert np.isfinite(found.values).sum() == known
        np.testing.assert_allclose(found.values[:known], exact_logs(factors, 120)[:known], rtol=0, atol=1e-13)


@pytest.mark.parametrize("width", [16, 80])
def test_block_sparse_factors_with_silent_rows_keep_their_exact_rank(width):
    rng = np.random.default_rng(width)
    factors = []
    for _ in range(5):
        blocks = np.kron(np.eye(width // 4), np.ones((4, 4))) * rng.standard_normal((width, width))
        factors.append((blocks * (rng.random(width) < 0.8)[:, None])[:, rng.permutation(width)])
    found = product_of(factors).log_singular_values()
    expected = np.linalg.svd(np.linalg.multi_dot(factors[::-1]), compute_uv=False)
    kept = expected > 1e-13 * expected[0]
    assert found.rank == kept.sum()
    np.testing.assert_allclose(np.exp(found.values), np.where(kept, expected, 0), rtol=1e-8, atol=1e-300)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([None, 1, 3]), st.integers(1, 12))
def test_products_of_any_shape_and_rank_match_multi_precision(seed, interval, depth):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, depth + 1)
    factors = silenced(rng, gaussian(rng, *sizes), rng.binomial(sizes[1:], 0.1))
    factors = [factor * 10.0 ** rng.integers(-60, 60) for factor in factors]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = product_of(factors, interval=interval).log_singular_values()
    assert (np.diff(found.values[: found.rank]) <= 0).all()
    if said:  # three factors whose product is nearly singular: it says so, and promises nothing
        assert "digits are lost" in str(said[0].message)
        return
    expected = exact_logs(factors, 150)
    assert found.rank == np.isfinite(expected).sum()
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=10 * found.error + 1e-12)


def test_chains_of_a_batch_are_what_they_are_alone():
    rng = np.random.default_rng(6)
    shared, own = gaussian(rng, *[9] * 31), rng.standard_normal((30, 4, 9, 9))
    own[5, 1, 3:6] = 0.0  # ranks differ
    own[7, 2] = 0.0
    product = GradedProduct(9, batch=4)
    for matrix, scales in zip(shared, own, strict=True):
        product.multiply(torch.from_numpy(matrix))
        product.multiply(torch.from_numpy(scales))
    found = product.log_singular_values()
    assert found.rank.tolist() == [9, 6, 0, 9]
    for chain in range(4):
        factors = [factor for pair in zip(shared, own[:, chain], strict=True) for factor in pair]
        alone = product_of(factors).log_singular_values()
        np.testing.assert_allclose(found.values[chain], alone.values, rtol=0, atol=1e-9)


@pytest.mark.parametrize("batch", [None, 3])
def test_operators_are_what_their_dense_matrices_are(batch):
    rng = np.random.default_rng(7)
    sparse = [torch.from_numpy(matrix * (rng.random(matrix.shape) < 0.5)) for matrix in gaussian(rng, 12, 15, 15, 10)]
    dense, applied = GradedProduct(12, batch=batch), GradedProduct(12, batch=batch)
    for matrix in sparse:
        dense.multiply(matrix)
        applied.multiply(lambda x, matrix=matrix: matrix @ x)
    values = [product.log_singular_values().values for product in (dense, applied)]
    np.testing.assert_array_equal(*values)


def test_scales_past_float64_and_within_one_matrix_are_kept_apart():
    exponents = np.array([5000, 4990, 800, 0, -1, -3000])
    rng = np.random.default_rng(8)
    right = rng.standard_normal((6, 8))
    with mpmath.workdps(4000):
        scaled = mpmath.matrix(right.tolist())
        for row, exponent in enumerate(exponents.tolist()):
            scaled[row, :] *= mpmath.mpf(2) ** exponent
        expected = [float(mpmath.log(value, 2)) for value in mpmath.svd_r(scaled.T, compute_uv=False)]
    found, condition = graded_log2_singular_values(right, exponents)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    assert (condition >= 1).all()
    assert 1 < condition[-1] < 100


def test_an_ordinary_svd_is_taken_only_where_its_small_values_are_right():
    rng = np.random.default_rng(14)
    triangle = np.tril(rng.standard_normal((40, 40)), -1) + 9 * np.eye(40)
    wild = np.tril(rng.standard_normal((40, 40)))  # without any grading, and a condition number of about 2^40
    assert np.abs(naive_logs([wild, np.eye(40)]) - exact_logs([wild], 60)).max() > 1e-9
    assert _checked_singular_values(wild) is None
    values = _checked_singular_values(triangle)
    np.testing.assert_allclose(np.log(values), exact_logs([triangle], 60), rtol=0, atol=1e-14)


def test_the_jacobi_svd_keeps_the_small_values_of_graded_columns():
    graded = np.random.default_rng(15).standard_normal((6, 6)) * 10.0 ** -np.array([0, 1, 30, 31, 60, 90])
    found = np.log(_jacobi_singular_values(graded))
    np.testing.assert_allclose(found, exact_logs([graded], 200), rtol=0, atol=1e-12)


def test_columns_that_nearly_depend_on_larger_ones_are_pivoted():
    first, second, third = np.linalg.qr(np.random.default_rng(16).standard_normal((3, 3)))[0]
    product = torch.from_numpy(np.stack([2 * first, 1.9 * first + 1e-6 * second, second + third], axis=1))[None]
    left, exponents, right, *_ = orthogonalised(product, torch.zeros(1, 3, dtype=torch.int64), None, EPSILON)
    assert right.abs().max() <= GROWTH
    again = left * power_of_two(exponents, torch.float64)[:, None, :] @ right
    torch.testing.assert_close(again, product, rtol=0, atol=10 * EPSILON)


def test_long_gaussian_products_agree_however_often_they_are_orthogonalised():
    rng = np.random.default_rng(9)
    factors = gaussian(rng, *[12] * 801)
    often, seldom = product_of(factors, interval=1), product_of(factors, interval=2)
    often, seldom = often.log_singular_values(), seldom.log_singular_values()
    assert often.values[0] - often.values[-1] > 1418  # wider than all of float64's normal numbers
    np.testing.assert_allclose(often.values, seldom.values, rtol=0, atol=often.error + seldom.error)
    assert often.error < 1e-9


def test_right_factors_stay_well_conditioned():
    product = product_of(gaussian(np.random.default_rng(10), *[48] * 201))
    assert product.log_singular_values().error < 1e-10  # eps times T's condition number is part of it


def test_float32_keeps_its_own_precision_far_outside_its_range():
    factors = [factor.astype(np.float32) for factor in gaussian(np.random.default_rng(11), *[10] * 41)]
    found = product_of(factors, dtype=torch.float32).log_singular_values()
    np.testing.assert_allclose(found.values, exact_logs(factors, 140), rtol=0, atol=1e-2)
    assert found.error > 1e-6


def test_a_product_that_is_zero_has_rank_0():
    found = product_of([np.ones((3, 4)), np.zeros((2, 3)), np.ones((5, 2))]).log_singular_values()
    assert found.rank == 0
    assert (found.values == -math.inf).all()


def test_the_empty_product_is_the_identity():
    assert GradedProduct(3).log_singular_values().values.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_powers_of_two_are_exact(dtype):
    low, high = (-1022, 1023) if dtype == torch.float64 else (-126, 127)
    exponents = torch.arange(low, high + 1)
    assert power_of_two(exponents, dtype).tolist() == [2.0**exponent for exponent in exponents.tolist()]
    assert power_of_two(torch.tensor([-(2**50), 2**50]), dtype).tolist() == [0.0, 2.0**high]


def test_pivoting_gives_the_same_columns_back_with_orthonormal_ones_before_the_lost():
    rng = np.random.default_rng(12)
    basis = torch.from_numpy(rng.standard_normal((2, 90, 50)))
    product = torch.cat([basis, basis @ torch.from_numpy(rng.standard_normal((50, 20)))], dim=-1)
    product = product[:, :, torch.from_numpy(rng.permutation(70))]
    even = even_noise(product)
    order, left, upper, *_ = pivoted_columns(product.clone(), torch.zeros(2, 70, dtype=torch.int64), 1e-12, even)
    assert left.shape == (2, 90, 50)
    identity = torch.eye(50, dtype=torch.float64).expand(2, 50, 50)
    torch.testing.assert_close(left.mT @ left, identity, rtol=0, atol=100 * EPSILON)
    ordered = product.gather(-1, order[:, None, :].expand_as(product))
    torch.testing.assert_close(left @ upper, ordered, rtol=0, atol=1e4 * EPSILON)
    assert not torch.count_nonzero(upper.tril(-1))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"columns": 0}, "0 columns"),
        ({"columns": 2, "batch": 0}, "0 chains"),
        ({"columns": 2, "interval": 0}, "0 factors"),
        ({"columns": 2, "dtype": torch.float16}, "choose float64 or float32"),
    ],
)
def test_what_no_product_can_be_is_refused(options, match):
    with pytest.raises(SaoError, match=match):
        GradedProduct(**options)


@pytest.mark.parametrize(
    ("factor", "match"),
    [
        (torch.ones(3, 4), r"shape \(3, 4\) after 3 rows; it must be \(m, 3\)"),
        (torch.ones(2, 3, 3), "must be"),
        (torch.ones(3, 3, dtype=torch.complex128), "real numbers"),
        (torch.full((3, 3), math.nan), "factor 2 gives nan"),
        (torch.full((3, 3), math.inf), "finite"),
        (lambda x: x.float(), "must keep the dtype"),
        (lambda x: x[:, :1], "all sizes but the rows"),
        (lambda x: x[0], "all sizes but the rows"),
    ],
)
def test_factors_that_do_not_chain_are_refused_and_leave_the_product_as_it_was(factor, match):
    product = product_of([np.diag([1.0, 2.0, 4.0])])
    with pytest.raises(FormatError, match=match):
        product.multiply(factor)
    assert product.log_singular_values(base=2).values.tolist() == [2.0, 1.0, 0.0]


def test_a_base_of_one_and_what_would_not_fit_are_refused():
    with pytest.raises(SaoError, match="a base is above 1"):
        GradedProduct(2).log_singular_values(base=1.0)
    with pytest.raises(MemoryLimitError, match="choose fewer inputs"):
        GradedProduct(10**7).multiply(torch.ones(1, 1).expand(10**7, 10**7))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees_with_the_cpu():
    rng = np.random.default_rng(13)
    factors = silenced(rng, gaussian(rng, *[40] * 61), [2 if layer == 9 else 0 for layer in range(60)])
    here, there = (product_of(factors, device=device).log_singular_values() for device in ("cpu", "cuda"))
    np.testing.assert_array_equal(here.rank, there.rank)
    np.testing.assert_allclose(here.values, there.values, rtol=0, atol=here.error + there.error)


@pytest.mark.parametrize("scale", [1e-90, 1e-20, 1.0, 1e20, 1e90])
def test_factors_whose_largest_entry_is_told_stay_in_range(scale):
    rng = np.random.default_rng(3)
    factors = [scale * np.linalg.qr(rng.standard_normal((6, 6)))[0] for _ in range(60)]
    product = GradedProduct(6)
    for factor in factors:
        dense = torch.from_numpy(factor)
        product.multiply(lambda X, dense=dense: dense @ X, np.abs(factor).max(axis=1))
    found = product.log_singular_values(base=10)
    assert np.abs(found.values - 60 * math.log10(scale)).max() < 1e-12 * max(1.0, 60 * abs(math.log10(scale)))
