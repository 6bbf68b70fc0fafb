"""Haar matrices against LAPACK's factor, and against what is known of a uniformly random orthogonal matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, kstest

from sao_cli.base.errors import InfeasibleError, MemoryLimitError, SaoError
from sao_cli.weights.haar import LEAST_DIAGONAL, MANY_BLOCKS, haar_blocks, haar_matrix, orthonormal_rows_


def rng(seed=0):
    return np.random.default_rng(seed)


def gram_error(blocks):
    """The largest entry of Gram - I on the blocks' shorter side."""
    wide = blocks if blocks.shape[1] <= blocks.shape[2] else blocks.swapaxes(1, 2)
    return abs(wide @ wide.swapaxes(1, 2) - np.eye(wide.shape[1])).max()


def positive_factor(gaussians):
    """Q and the diagonal of R of each (rows, columns) block's transpose, R's diagonal positive, one LAPACK QR each."""
    factors = [np.linalg.qr(gaussian.T) for gaussian in gaussians]
    signs = [np.sign(np.diag(r)) for _, r in factors]
    q = np.array([(q * sign).T for (q, _), sign in zip(factors, signs, strict=True)])
    return q, np.array([abs(np.diag(r)) for _, r in factors])


def without_sign_fix(count, k, seed):
    return np.linalg.qr(rng(seed).standard_normal((count, k, k)))[0]


def entry_pvalues(blocks):
    """A KS test for each position of k x k blocks: an entry x of a Haar matrix has (1+x)/2 ~ Beta((k-1)/2, (k-1)/2)."""
    k = blocks.shape[2]
    law = beta((k - 1) / 2, (k - 1) / 2)
    return np.array([kstest((1 + column) / 2, law.cdf).pvalue for column in blocks.reshape(len(blocks), -1).T])


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3, MANY_BLOCKS, 700]), st.integers(0, 9))
def test_blocks_are_orthonormal_on_their_shorter_side(rows, columns, count, seed):
    blocks = haar_blocks(count, rows, columns, rng(seed))
    assert blocks.shape == (count, rows, columns)
    assert blocks.dtype == np.float64
    assert blocks.flags.c_contiguous
    assert gram_error(blocks) <= 1e-14


def test_a_quarter_of_a_million_blocks_are_orthonormal_to_the_last_bits():
    assert gram_error(haar_blocks(250_000, 4, 4, rng())) <= 1e-14


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 7), (8, 8), (16, 16), (1, 256)])
def test_gram_schmidt_gives_lapacks_factor_with_a_positive_diagonal(shape):
    gaussians = rng(1).standard_normal((50, *shape))
    q, diagonal = positive_factor(gaussians)
    blocks = np.moveaxis(gaussians, 0, -1).copy()
    least = orthonormal_rows_(blocks)
    condition = diagonal.max(axis=1) / diagonal.min(axis=1)
    error = abs(np.moveaxis(blocks, -1, 0) - q).max(axis=(1, 2))
    assert (error <= 50 * 2.0**-52 * shape[1] * condition).all()
    np.testing.assert_allclose(least, diagonal.min(axis=1), rtol=1e-12)


@pytest.mark.parametrize("distance", [1e-4, 1e-8, 1e-11])
def test_nearly_dependent_rows_come_out_orthonormal(distance):
    """One projection would leave an error of about eps / distance."""
    first = rng(2).standard_normal((1, 6, 40))
    blocks = np.concatenate([first + distance * rng(s).standard_normal((1, 6, 40)) for s in range(6)])
    least = orthonormal_rows_(blocks)
    assert least.max() < 100 * distance
    assert gram_error(np.moveaxis(blocks, -1, 0)) <= 1e-14


class ScriptedNormals:
    """A generator whose first draw has dependent rows in some blocks, as good as never in the real one."""

    def __init__(self, spoil):
        self.normal, self.spoil, self.sizes = rng(), spoil, []

    def standard_normal(self, shape):
        drawn = self.normal.standard_normal(shape)
        if not self.sizes:
            self.spoil(drawn)
        self.sizes.append(shape[-1])
        return drawn


def all_zero(drawn):
    drawn[:, :, [3, 70]] = 0


def equal_rows(drawn):
    drawn[2, :, [3, 70]] = drawn[0, :, [3, 70]] * 3


@pytest.mark.parametrize("spoil", [all_zero, equal_rows])
def test_a_dependent_block_is_drawn_again(spoil):
    script = ScriptedNormals(spoil)
    blocks = haar_blocks(100, 3, 3, script)
    assert script.sizes == [100, 2]
    assert gram_error(blocks) <= 1e-14
    spared = np.delete(haar_blocks(100, 3, 3, rng()), [3, 70], axis=0)
    np.testing.assert_array_equal(np.delete(blocks, [3, 70], axis=0), spared)


def test_a_zero_draw_of_one_by_one_is_drawn_again():
    assert set(haar_blocks(100, 1, 1, ScriptedNormals(all_zero)).ravel()) == {-1.0, 1.0}


def test_an_exactly_dependent_row_is_told():
    rows = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])[:, :, None]
    assert orthonormal_rows_(rows)[0] < LEAST_DIAGONAL


@pytest.mark.parametrize("draw", ["gram-schmidt", "lapack"])
def test_every_entry_has_the_law_of_a_haar_entry(draw, monkeypatch):
    monkeypatch.setattr("sao_cli.weights.haar.SMALL_BLOCK", 256 if draw == "gram-schmidt" else 0)
    blocks = haar_blocks(4000, 4, 4, rng(3))
    assert entry_pvalues(blocks).min() > 1e-3
    assert entry_pvalues(without_sign_fix(4000, 4, 3)).min() < 1e-100


def test_the_square_of_an_entry_is_beta_distributed():
    """x^2 ~ Beta(1/2, (k-1)/2) in a block with one row or column of k: a uniform unit vector."""
    for shape in ((1, 7), (7, 1), (7, 7)):
        first = haar_blocks(4000, *shape, rng(4))[:, 0, 0]
        assert kstest(first**2, beta(0.5, 3).cdf).pvalue > 1e-3


@pytest.mark.parametrize("k", [1, 2, 3, 4, 17])
def test_half_of_the_determinants_are_negative(k):
    count = 2000
    signs = np.sign(np.linalg.det(haar_blocks(count, k, k, rng(k))))
    assert abs(signs.mean()) < 4 / np.sqrt(count)
    assert abs(np.sign(np.linalg.det(without_sign_fix(count, k, k))).mean()) == 1 or k == 1


@pytest.mark.parametrize("power", [1, 2])
def test_traces_of_powers_have_the_moments_of_normal_numbers(power):
    """tr(Q^p), less 1 for even p, has mean 0 and variance p on O(k) (Diaconis and Shahshahani 1994)."""
    count = 20_000
    blocks = haar_blocks(count, 8, 8, rng(5))
    trace = np.trace(np.linalg.matrix_power(blocks, power), axis1=1, axis2=2) - (power == 2)
    assert abs(trace.mean()) < 4 * np.sqrt(power / count)
    assert abs((trace**2).mean() - power) < 4 * np.sqrt(2 * power**2 / count)
    assert abs((trace**4).mean() - 3 * power**2) < 4 * np.sqrt(96 * power**4 / count)


def test_blocks_differ_across_the_pieces_in_which_they_are_drawn():
    for count, k in ((20_000, 4), (300, 20)):
        assert len(np.unique(haar_blocks(count, k, k, rng())[:, 0, 0])) == count


def test_one_matrix_is_one_block_and_the_same_seed_gives_the_same_bytes():
    for shape in ((4, 4), (30, 7), (7, 30)):
        matrix = haar_matrix(*shape, rng(6))
        np.testing.assert_array_equal(matrix, haar_blocks(1, *shape, rng(6))[0])
        assert not np.array_equal(matrix, haar_matrix(*shape, rng(7)))


def test_no_blocks_are_none():
    assert haar_blocks(0, 3, 4, rng()).shape == (0, 3, 4)


def test_sizes_are_checked_before_anything_is_drawn():
    with pytest.raises(InfeasibleError, match="m = 0"):
        haar_matrix(0, 3, rng())
    with pytest.raises(SaoError, match="-1 blocks"):
        haar_blocks(-1, 2, 2, rng())
    with pytest.raises(MemoryLimitError, match="orthogonal 1000000 x 1000000 blocks needs"):
        haar_matrix(10**6, 10**6, rng())
