"""Packed matrices against dense arrays, and the rank over F2 against elimination on Python integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sao_cli.measure.reach.packed import WORD, column_counts, popcount, rank_f2, row_popcounts, unpack

from ..oracles import rank_by_integers


def packed(dense):
    """The packed form of a dense boolean matrix, by np.packbits: the library only ever unpacks."""
    rows, columns = dense.shape
    padded = np.zeros((rows, -(-columns // 64) * 64), bool)
    padded[:, :columns] = dense
    return np.packbits(padded, axis=1, bitorder="little").view(WORD)


def random_of_rank(rows, columns, rank, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (rows, rank)) @ rng.integers(0, 2, (rank, columns)) % 2 == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (64, 64), (65, 63), (63, 130), (300, 257)])
@pytest.mark.parametrize("rank", [0, 1, 2, 40, 400])
def test_rank_is_that_of_integer_elimination(shape, rank):
    dense = random_of_rank(*shape, rank, seed=rank)
    assert rank_f2(packed(dense)) == rank_by_integers(dense)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_rank_of_any_small_matrix(dense):
    assert rank_f2(packed(dense)) == rank_by_integers(dense)


def test_rank_over_f2_is_not_the_rank_over_the_reals():
    triangle = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], bool)
    assert np.linalg.matrix_rank(triangle) == 3
    assert rank_f2(packed(triangle)) == 2


def test_rank_of_special_matrices():
    assert rank_f2(packed(np.eye(129, dtype=bool))) == 129
    assert rank_f2(packed(np.ones((70, 200), bool))) == 1
    assert rank_f2(packed(np.tri(150, dtype=bool)[::-1])) == 150
    assert rank_f2(packed(np.zeros((10, 10), bool))) == 0
    assert rank_f2(np.zeros((0, 3), WORD)) == 0
    assert rank_f2(np.zeros((3, 0), WORD)) == 0


@given(st.integers(0, 2**32), st.integers(1, 150), st.integers(1, 150))
def test_rank_survives_transposing_and_shuffling(seed, rows, columns):
    rng = np.random.default_rng(seed)
    dense = rng.random((rows, columns)) < rng.random()
    shuffled = dense[rng.permutation(rows)][:, rng.permutation(columns)]
    assert rank_f2(packed(dense)) == rank_f2(packed(dense.T)) == rank_f2(packed(shuffled))


def test_rank_leaves_its_argument_alone():
    words = packed(random_of_rank(100, 100, 50, seed=0))
    before = words.copy()
    rank_f2(words)
    np.testing.assert_array_equal(words, before)


def test_counts_and_unpacking_agree_with_the_dense_matrix():
    dense = random_of_rank(700, 130, 60, seed=3)
    words = packed(dense)
    rows = np.random.default_rng(0).integers(0, 700, 2000)
    assert popcount(words) == dense.sum()
    np.testing.assert_array_equal(row_popcounts(words), dense.sum(axis=1))
    np.testing.assert_array_equal(unpack(words)[:, :130], dense)
    np.testing.assert_array_equal(unpack(words[:, 1:])[:, :66], dense[:, 64:])
    np.testing.assert_array_equal(column_counts(words, rows)[:130], dense[rows].sum(axis=0))


def test_counts_of_all_ones_do_not_overflow_a_byte():
    words = np.full((1000, 2), np.iinfo(np.uint64).max, WORD)
    assert column_counts(words, np.arange(1000)).tolist() == [1000] * 128
    assert popcount(words) == 128_000
