"""Expanding kept matrices: dense, sparse and as pictures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import MemoryLimitError
from sao_cli.data.mask import Mask
from sao_cli.measure.reach import path_matrix
from sao_cli.measure.reach.reachability import reachability


def kept(inputs, outputs, seed):
    """A path matrix with repeated and zero rows and columns, and the same by a dense product."""
    rng = np.random.default_rng(seed)
    first = rng.integers(-1, 6, 9)[:, None] == rng.integers(0, 7, inputs)[None, :]
    second = rng.random((outputs, 9)) < 0.2
    result = reachability([Mask.from_dense(first), Mask.from_dense(second)], keep="last")
    counts = first.T.astype(int) @ second.T.astype(int)
    return result.boolean[0], counts > 0


sizes = st.tuples(st.integers(1, 200), st.integers(1, 200), st.integers(0, 1000))


@given(sizes)
def test_dense_and_sparse_forms_agree_with_the_product(size):
    matrix, expected = kept(*size)
    assert matrix.shape == expected.shape
    assert matrix.nnz == expected.sum()
    np.testing.assert_array_equal(matrix.to_dense(), expected)
    sparse = matrix.to_scipy()
    np.testing.assert_array_equal(sparse.toarray(), expected)
    assert sparse.has_canonical_format
    assert sparse.dtype == bool


@given(sizes, st.integers(1, 1 << 12))
def test_blocks_of_any_size_give_the_same(size, entries):
    matrix, expected = kept(*size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(path_matrix, "_BLOCK_ENTRIES", entries)
        np.testing.assert_array_equal(matrix.to_dense(), expected)
        np.testing.assert_array_equal(matrix.to_scipy().toarray(), expected)


@settings(max_examples=50)
@given(sizes, st.integers(1, 250))
def test_image_averages_blocks(size, pixels):
    matrix, expected = kept(*size)
    image = matrix.image(pixels)
    assert image.shape == tuple(min(nodes, pixels) for nodes in expected.shape)
    edges = [
        [k * nodes // blocks for k in range(blocks + 1)]
        for nodes, blocks in zip(expected.shape, image.shape, strict=True)
    ]
    for (i, j), value in np.ndenumerate(image):
        block = expected[edges[0][i] : edges[0][i + 1], edges[1][j] : edges[1][j + 1]]
        assert value == block.mean()


def test_an_image_of_no_more_nodes_than_pixels_is_the_matrix():
    matrix, expected = kept(30, 40, seed=0)
    np.testing.assert_array_equal(matrix.image(40), expected)


def test_what_would_not_fit_is_refused(monkeypatch):
    matrix, _ = kept(100, 100, seed=0)
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryLimitError, match="dense 100 x 100"):
        matrix.to_dense()
    with pytest.raises(MemoryLimitError, match="sparse matrix"):
        matrix.to_scipy()
    assert matrix.image(10).shape == (10, 10)


def test_a_large_matrix_of_groups_stays_small():
    n = 200_000
    wide = Mask(np.array([0, n]), np.arange(n), (1, n))
    tall = Mask(np.arange(n + 1), np.zeros(n, np.int32), (n, 1))
    (matrix,) = reachability([wide, tall], keep="last").boolean
    assert matrix.packed.nbytes == 8
    assert matrix.nnz == n * n
    np.testing.assert_array_equal(matrix.image(3), np.ones((3, 3)))
