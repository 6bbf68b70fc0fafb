"""BLAS on a block of a larger matrix, of which it reads and writes the lower triangle and nothing else."""

import numpy as np
import pytest

from sao_cli.measure.values.blas_in_place import subtract_rank_2k, symmetric_product


@pytest.mark.parametrize(("size", "count"), [(1, 1), (7, 3), (40, 48)])
def test_a_block_is_read_and_written_where_it_is(size, count):
    rng = np.random.default_rng(size)
    whole = rng.standard_normal((size + 5, size + 5))
    whole[np.triu_indices(len(whole), 1)] = np.nan
    block, before = whole[3:-2, 3:-2], whole.copy()
    symmetric = np.tril(block) + np.tril(block, -1).T
    rows, left, right = (rng.standard_normal(shape) for shape in ((count, size), (size, count), (size, count)))
    np.testing.assert_allclose(symmetric_product(block, rows), rows @ symmetric, rtol=0, atol=1e-12 * size)
    np.testing.assert_array_equal(whole, before)
    subtract_rank_2k(block, left, right)
    wanted = np.tril(symmetric - left @ right.T - right @ left.T)
    np.testing.assert_allclose(np.tril(block), wanted, rtol=0, atol=1e-12 * (size + count))
    whole[3:-2, 3:-2] = before[3:-2, 3:-2] = 0
    np.testing.assert_array_equal(whole, before)
