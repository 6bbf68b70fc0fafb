"""Long products in numpy against those in torch, which multi-precision arithmetic has checked, and numpy's memory."""

import itertools
import warnings

import numpy as np
import pytest
import torch

from sao_cli.base.errors import FormatError, SaoError, SaoWarning
from sao_cli.nets.jacobians.long_products import arithmetic
from sao_cli.nets.jacobians.long_products.arithmetic import (
    columns_sorted,
    contiguous,
    packed_qr,
    quietly,
    reflected_basis,
    rows_sorted,
    triangle_solved,
    triangle_times_,
)
from sao_cli.nets.jacobians.long_products.graded import GradedProduct
from sao_cli.nets.jacobians.long_products.noise import even_noise
from sao_cli.nets.jacobians.long_products.pivoting import pivoted_columns

EPSILON = 2.0**-52


def both(factors, dtype="float64", **options):
    """What numpy and torch find."""
    found = []
    for kind in (np.dtype(dtype), getattr(torch, dtype)):
        product = GradedProduct(factors[0].shape[-1], dtype=kind, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaoWarning)
            for factor in factors:
                product.multiply(factor)
            found.append(product.log_singular_values(base=10))
    return found


def gaussian(rng, *sizes):
    return [rng.standard_normal((m, n)) for n, m in itertools.pairwise(sizes)]


def graded(rng, side, rows, columns):
    """A Gaussian matrix whose rows, columns or both span decades."""
    scales = 10.0 ** rng.uniform(-16, 0, (2, side))
    return scales[0, :, None] ** rows * rng.standard_normal((side, side)) * scales[1] ** columns


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sizes", [[70] * 24, [12, 7, 9, 5, 8], [9, 30, 4, 30, 9], [6, 40, 40, 2], [5, 1, 5]])
def test_gaussian_products_of_all_shapes(sizes, dtype):
    ours, theirs = both(gaussian(np.random.default_rng(1), *sizes), dtype)
    assert ours.rank == theirs.rank == min(sizes)
    np.testing.assert_allclose(ours.values, theirs.values, rtol=0, atol=3 * (ours.error + theirs.error))


@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (0, 1), (1, 1)])
def test_graded_rows_and_columns(rows, columns):
    rng = np.random.default_rng(2)
    ours, theirs = both([graded(rng, 5, rows, columns) for _ in range(16)])
    assert ours.rank == theirs.rank == 5
    np.testing.assert_allclose(ours.values, theirs.values, rtol=0, atol=6 * (ours.error + theirs.error))


def test_batches_of_unequal_rank_and_rows_that_are_silent():
    rng = np.random.default_rng(3)
    factors = [rng.standard_normal((3, 12, 12)) * (rng.random((3, 12, 1)) < 0.9) for _ in range(8)]
    factors[2][1] = 0.0
    ours, theirs = both(factors, batch=3)
    np.testing.assert_array_equal(ours.rank, theirs.rank)
    assert ours.rank[1] == 0
    resolved = np.isfinite(theirs.values)
    np.testing.assert_array_equal(np.isfinite(ours.values), resolved)
    np.testing.assert_allclose(ours.values[resolved], theirs.values[resolved], rtol=0, atol=1e-9)


def test_blocks_that_fall_apart_and_columns_that_depend_on_others():
    rng = np.random.default_rng(4)
    factors = []
    for _ in range(6):
        blocks = np.kron(np.eye(6), np.ones((4, 4))) * rng.standard_normal((24, 24)) * (rng.random((24, 1)) < 0.9)
        blocks[:, 3] = blocks[:, 2]
        factors.append(blocks[:, rng.permutation(24)])
    ours, theirs = both(factors)
    assert ours.rank == theirs.rank < 24
    np.testing.assert_allclose(ours.values[: ours.rank], theirs.values[: ours.rank], rtol=0, atol=1e-8)


def test_pivoted_columns_come_back():
    rng = np.random.default_rng(5)
    basis = rng.standard_normal((2, 90, 50))
    product = np.concatenate([basis, basis @ rng.standard_normal((50, 20))], axis=-1)[:, :, rng.permutation(70)]
    noise = even_noise(product)
    with quietly(product):
        order, left, upper, *_ = pivoted_columns(product.copy(), np.zeros((2, 70), dtype=np.int64), 1e-12, noise)
    np.testing.assert_allclose(left.mT @ left, np.broadcast_to(np.eye(50), (2, 50, 50)), atol=100 * EPSILON)
    ordered = np.take_along_axis(product, order[:, None, :], axis=-1)
    np.testing.assert_allclose(left @ upper, ordered, atol=1e4 * EPSILON)


@pytest.mark.parametrize("shape", [(2, 70, 70), (1, 130, 130), (2, 9, 4), (2, 4, 9), (1, 1, 6)])
def test_what_numpy_does_within_the_memory_of_its_arrays(shape):
    rng = np.random.default_rng(6)
    given = rng.standard_normal(shape)
    chains, m, n = shape
    least = min(m, n)
    square = given.copy()
    packed, factors = packed_qr(square)
    assert np.shares_memory(packed, square) == (m == n or m == 1)
    upper = np.triu(packed)[:, :least]
    left = reflected_basis(packed[:, :, :least], factors)
    np.testing.assert_allclose(left @ upper, given, atol=100 * EPSILON)
    np.testing.assert_allclose(left.mT @ left, np.broadcast_to(np.eye(least), (chains, least, least)), atol=1e-13)
    orders = [np.stack([rng.permutation(size) for _ in range(chains)]) for size in (m, n)]
    np.testing.assert_array_equal(
        rows_sorted(given.copy(), orders[0]), np.take_along_axis(given, orders[0][:, :, None], axis=1)
    )
    np.testing.assert_array_equal(
        columns_sorted(given.copy(), orders[1]), np.take_along_axis(given, orders[1][:, None, :], axis=2)
    )
    again = contiguous(np.ascontiguousarray(given.mT).mT)
    assert again.flags.c_contiguous
    np.testing.assert_array_equal(again, given)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_triangles_are_solved_and_multiplied_without_reading_the_rest(upper, transposed):
    rng = np.random.default_rng(7)
    given = rng.standard_normal((2, 8, 8)) + 8 * np.eye(8)
    triangle = (np.triu if upper else np.tril)(given)
    right = rng.standard_normal((2, 8, 3))
    held = np.ascontiguousarray(given.mT).mT if transposed else given
    np.testing.assert_allclose(triangle @ triangle_solved(held, right, upper=upper), right, atol=1e-13)
    wide = np.concatenate([np.triu(given), rng.standard_normal((2, 8, 2))], axis=2)
    longer = rng.standard_normal((2, 10, 3))
    np.testing.assert_allclose(triangle_times_(wide, longer.copy()), np.triu(wide) @ longer, atol=1e-13)


def test_a_product_is_of_numpy_or_of_torch_and_takes_either():
    matrix = np.random.default_rng(8).standard_normal((4, 4))
    for dtype in (np.float64, np.dtype("float64"), None):
        product = GradedProduct(4, dtype=dtype)
        product.multiply(torch.from_numpy(matrix))
        product.multiply(matrix.tolist())
        found = product.log_singular_values().values
        np.testing.assert_allclose(found, np.log(np.linalg.svd(matrix @ matrix, compute_uv=False)), atol=1e-12)
    assert arithmetic.namespace(np.dtype("float32")) is np
    with pytest.raises(SaoError, match="float16 would resolve next to nothing"):
        GradedProduct(2, dtype=np.float16)
    with pytest.raises(FormatError, match="real numbers"):
        GradedProduct(2, dtype=np.float64).multiply(np.eye(2, dtype=complex))
    with pytest.raises(FormatError, match="must keep the dtype"):
        GradedProduct(2, dtype=np.float64).multiply(lambda X: X.astype(np.float32))
