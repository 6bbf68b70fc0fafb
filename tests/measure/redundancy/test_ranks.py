"""Ranks against numpy's, matrices of a chosen spectrum, and columns that are chosen one by one in long doubles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError
from sao_cli.measure.redundancy.pivoted import pivoted_columns
from sao_cli.measure.redundancy.ranks import independent_columns, ranks, why_out_of_reach

FORMS = ["float64", "float32", "masked", "blocks"]


def of_spectrum(values, m, n, seed=0):
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((m, len(values))))[0]
    right = np.linalg.qr(rng.standard_normal((n, len(values))))[0]
    return left * np.asarray(values) @ right.T


def chosen_one_by_one(dense, tau):
    """Each next column the farthest from the span of the chosen ones, of equal ones the first."""
    left = np.asarray(dense).astype(np.longdouble).copy()
    chosen = []
    while len(chosen) < min(left.shape):
        distances = np.sqrt((left**2).sum(axis=0))
        distances[chosen] = -1
        if (farthest := int(np.argmax(distances))) < 0 or distances[farthest] < tau:
            break
        direction = left[:, farthest] / distances[farthest]
        left -= np.outer(direction, direction @ left)
        chosen.append(farthest)
    return chosen


def example(form, m, n, seed):
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((m, n))
    if form == "masked":
        dense *= rng.random((m, n)) < 0.5
    if form == "blocks":
        dense *= np.arange(m)[:, None] % 3 == np.arange(n) % 3
    return dense.astype(np.float32 if form == "float32" else np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_soft_ranks_of_the_known_values(dtype):
    weight = of_spectrum([4, 2, 1, 0.1, 0.01, 0.001], 8, 6).astype(dtype)
    found = [ranks(weight, tau=tau) for tau in (0.0005, 0.005, 0.05, 0.5, 1.5)]
    assert [one.soft_rank for one in found] == [6, 5, 4, 3, 2]
    assert found[0].rank == found[0].rank_with_bias == 6
    assert found[0].slack == pytest.approx(0.001, rel=1e-3)
    assert found[0].stable_rank == pytest.approx((16 + 4 + 1 + 0.01 + 1e-4 + 1e-6) / 16, rel=1e-6)
    relative = ranks(weight, tau_relative=0.05 / 4)
    assert (relative.soft_rank, relative.tau) == (4, pytest.approx(0.05, rel=1e-6))


@settings(max_examples=40)
@given(
    st.sampled_from(FORMS), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6), st.sampled_from([0.03, 0.4, 2])
)
def test_they_are_those_of_both_matrices_by_their_definitions(form, m, n, seed, tau):
    weight = example(form, m, n, seed)
    bias = example(form, m, 1, seed + 1)[:, 0]
    for given_bias, whole in ((None, weight), (bias, np.column_stack((weight, bias)))):
        found = ranks(weight, given_bias, tau=tau)
        sigma = np.linalg.svd(whole.astype(np.float64), compute_uv=False)
        eps = np.finfo(weight.dtype).eps
        assert found.rank == np.linalg.matrix_rank(weight.astype(np.float64), rtol=max(m, n) * eps)
        assert found.rank_with_bias == np.linalg.matrix_rank(whole.astype(np.float64), rtol=max(whole.shape) * eps)
        assert found.soft_rank == np.count_nonzero(sigma >= tau)
        np.testing.assert_allclose(found.singular_values, sigma, atol=1e-7 * sigma[0])
        wide = whole.shape[1] > m
        assert found.slack == pytest.approx(0 if wide else sigma[-1], abs=1e-7 * sigma[0] + 1e-300)
        assert found.mlis_soft == len(chosen_one_by_one(whole, tau))
        assert independent_columns(weight, given_bias, tau=tau).tolist() == chosen_one_by_one(whole, tau)
        strict = independent_columns(weight, given_bias)
        assert len(strict) == found.rank_with_bias
        assert strict.tolist() == chosen_one_by_one(whole, 1e-12)[: len(strict)]


def test_the_left_out_columns_bound_the_next_singular_value():
    """sigma_{r+1} <= sqrt(n - r) tau; the subset and the soft rank may differ, either way."""
    differs = set()
    for seed in range(40):
        weight = example("float64", 8, 8, seed)
        found = ranks(weight, tau=0.5)
        r = found.mlis_soft
        if r < 8:
            assert found.singular_values[r] <= np.sqrt(8 - r) * 0.5
        differs.add(np.sign(found.mlis_soft - found.soft_rank))
    # columns of length 1 that all lie near one: a subset of 1, and of two directions of length 0.6 none is longer
    assert 1 in differs
    near = np.array([[1.0, 1, 1, 1], [0.3, -0.3, 0.3, -0.3]])
    assert (ranks(near, tau=0.59).soft_rank, ranks(near, tau=0.59).mlis_soft) == (2, 1)


def test_more_columns_than_rows_are_dependent_always():
    wide = ranks(np.random.default_rng(0).standard_normal((10, 500)), tau=1e-9)
    assert (wide.rank, wide.soft_rank, wide.mlis_soft, wide.slack) == (10, 10, 10, 0)


def test_cholesky_and_qr_take_the_same_columns(monkeypatch):
    rng = np.random.default_rng(4)
    for shape in ((30, 20), (20, 30), (25, 25)):
        dense = rng.standard_normal(shape) * np.geomspace(1, 1e-3, shape[1])
        taken = pivoted_columns(dense, 0.01)
        monkeypatch.setattr("sao_cli.measure.redundancy.pivoted.WIDE", 0)
        assert pivoted_columns(dense, 0.01).tolist() == taken.tolist()
        monkeypatch.undo()
    assert pivoted_columns(np.eye(3), 1.0).tolist() == [0, 1, 2]  # at tau itself they still count
    assert pivoted_columns(np.eye(3), 1.1).tolist() == []
    assert pivoted_columns(np.eye(4), 1e-12).tolist() == [0, 1, 2, 3]  # below what a Gram matrix resolves


def test_a_bias_counts_as_a_column():
    weight = np.outer([1.0, 2, 3], [1.0, -1])
    assert ranks(weight, np.array([1.0, 2, 3])).rank_with_bias == 1
    found = ranks(weight, np.array([1.0, 0, 0]))
    assert (found.rank, found.rank_with_bias) == (1, 2)
    zero = ranks(np.eye(3), np.zeros(3), tau=0.5)
    assert (zero.rank, zero.rank_with_bias, zero.slack, zero.mlis_soft) == (3, 3, 0, 3)
    assert len(zero.singular_values) == 3
    assert len(ranks(np.eye(3)[:, :2], np.zeros(3)).singular_values) == 3


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_dtype_decides_what_is_zero_and_halves_are_taken_as_they_are_stored(dtype):
    weight = of_spectrum([1, 0.5, 1e-9], 6, 6).astype(np.float32)
    assert ranks(weight, dtype=dtype).rank == 2
    assert ranks(of_spectrum([1, 0.5, 1e-9], 6, 6)).rank == 3
    assert ranks(np.eye(2000, dtype=np.float16)[:, :5], dtype="float16").rank == 5


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e200, 1e300])
def test_numbers_far_from_one_keep_their_ranks(scale):
    weight = of_spectrum([1, 0.5, 0.25, 1e-3], 6, 5)
    found = ranks(scale * weight, scale * np.ones(6), tau=scale * 0.1)
    plain = ranks(weight, np.ones(6), tau=0.1)
    for key in ("rank", "rank_with_bias", "soft_rank", "mlis_soft"):
        assert getattr(found, key) == getattr(plain, key)
    assert found.slack == pytest.approx(scale * plain.slack, abs=scale * 1e-12)
    assert len(independent_columns(scale * weight, tau=scale * 0.1)) == len(independent_columns(weight, tau=0.1))


def test_a_weight_of_zeros_needs_no_column():
    found = ranks(np.zeros((3, 4)), np.zeros(3))
    assert (found.rank, found.rank_with_bias, found.soft_rank, found.mlis_soft, found.slack) == (0, 0, 0, 0, 0)
    assert found.stable_rank is None
    assert independent_columns(np.zeros((3, 4))).tolist() == []


def test_bad_input_is_refused(monkeypatch):
    for tau in (0, -1, np.nan, np.inf):
        with pytest.raises(SaoError, match=r"--tau .* a finite number above 0"):
            ranks(np.eye(2), tau=tau)
    with pytest.raises(SaoError, match=r"--tau-relative 0; "):
        ranks(np.eye(2), tau_relative=0)
    with pytest.raises(FormatError, match="the weight holds nan"):
        ranks(np.array([[np.nan]]))
    with pytest.raises(FormatError, match="the bias holds inf"):
        ranks(np.eye(2), np.array([np.inf, 0]))
    with pytest.raises(FormatError, match="a bias of 3 numbers for a weight of 2 rows"):
        ranks(np.eye(2), np.ones(3))
    with pytest.raises(FormatError, match=r"weight of shape \(2,\)"):
        ranks(np.ones(2))
    with pytest.raises(FormatError, match="real numbers"):
        ranks(np.eye(2) * 1j)
    assert why_out_of_reach(4097, 4097) == (
        "the ranks of 4097 x 4097 would take too long: they are told up to 4096 on the shorter side and 134217728 "
        "numbers"
    )
    assert why_out_of_reach(4096, 4097) is None
    with pytest.raises(SaoError, match="4097 x 4097"):
        ranks(np.broadcast_to(1.0, (4097, 4096)), np.ones(4097))
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 1000)
    for dense in (np.ones((30, 30)), np.ones((30, 30), np.float32), np.ones((30, 90), np.float32)):
        with pytest.raises(MemoryLimitError, match="30 x"):
            ranks(dense)
