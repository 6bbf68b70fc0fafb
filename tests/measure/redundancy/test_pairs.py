"""The nearest pairs of vectors against all pairs in extended precision, and where float32 products tell too little."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, MemoryLimitError
from sao_cli.measure.redundancy import pairs, unit_vectors
from sao_cli.measure.redundancy.pairs import nearest_pairs, zero_vectors


def all_pairs(vectors, floor=1e-3):
    """[(1 - |cos|, i, j)] of all pairs above the floor, ascending, one at a time in long doubles."""
    exact = np.asarray(vectors).astype(np.longdouble)
    norms = np.sqrt((exact**2).sum(axis=1))
    live = [k for k in range(len(exact)) if norms[k] > floor * norms.max()]
    found = []
    for i, j in itertools.combinations(live, 2):
        first, second = exact[i] / norms[i], exact[j] / norms[j]
        sign = 1 if first @ second >= 0 else -1
        found.append((float(((first - sign * second) ** 2).sum() / 2), i, j))
    return sorted(found)


def planted(dtype, seed=0, shape=(40, 9)):
    vectors = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    vectors[7], vectors[30], vectors[20], vectors[21] = 2 * vectors[3], -vectors[3], 0, 3.3 * vectors[22].astype(float)
    return vectors


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_they_are_the_nearest_of_all_pairs(dtype, block):
    vectors = planted(dtype) if dtype != np.int64 else np.random.default_rng(2).integers(-4, 5, (30, 6))
    found = nearest_pairs(vectors, 9, block=block)
    expected = all_pairs(vectors)[:9]
    if dtype == np.int64:  # equal up to rounding: the gaps alone
        assert [pair.gap for pair in found] == pytest.approx([gap for gap, _, _ in expected], abs=1e-15)
        return
    assert [(pair.i, pair.j) for pair in found] == [(i, j) for _, i, j in expected]
    assert [pair.gap for pair in found] == pytest.approx([gap for gap, _, _ in expected], rel=1e-7, abs=1e-29)
    assert [(pair.i, pair.j, pair.cosine) for pair in found[:3]] == [(3, 7, 1.0), (3, 30, -1.0), (7, 30, -1.0)]


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 5), st.integers(1, 9), st.sampled_from([0.0, 0.3]))
def test_any_block_count_and_floor(seed, size, length, count, floor):
    vectors = np.random.default_rng(seed).standard_normal((size, length)).astype(np.float32)
    vectors[::3] *= np.float32(0.01)
    expected = all_pairs(vectors, floor)[:count]
    for block in (1, 4, 1024):
        found = nearest_pairs(vectors, count, floor=floor, block=block)
        assert [pair.gap for pair in found] == pytest.approx([gap for gap, _, _ in expected], rel=1e-6, abs=1e-13)
        assert found == sorted(found)


def test_float32_products_do_not_decide():
    """Gaps of 1e-9 to 1e-8 all read 0 or 1e-7 in float32."""
    rng = np.random.default_rng(3)
    base = rng.standard_normal((8, 300))
    turned = base + np.geomspace(1.4e-5, 1e-4, 8)[::-1, None] * rng.standard_normal((8, 300))
    vectors = np.concatenate((base, turned)).astype(np.float32)
    found = nearest_pairs(vectors, 8)
    assert [(pair.i, pair.j) for pair in found] == [(k, k + 8) for k in range(7, -1, -1)]
    assert [pair.gap for pair in found] == pytest.approx([gap for gap, _, _ in all_pairs(vectors)[:8]], rel=1e-8)


def test_orthogonal_and_parallel_vectors_by_the_thousand_leave_little_to_hold(monkeypatch):
    monkeypatch.setattr(pairs, "MOST_TIES", 40)
    orthogonal = np.linalg.qr(np.random.default_rng(1).standard_normal((64, 64)))[0].astype(np.float32)
    assert [pair.gap for pair in nearest_pairs(orthogonal, 3, block=16)] == pytest.approx(
        [gap for gap, _, _ in all_pairs(orthogonal)[:3]], abs=1e-15
    )
    first = [(0, 1), (0, 2), (0, 3)]
    for many in (np.eye(90), np.ones((90, 3)), np.ones((90, 3), np.float32)):
        assert [(pair.i, pair.j) for pair in nearest_pairs(many, 3, block=16)] == first
    vectors = np.concatenate((np.eye(90), np.eye(90)[40:41] + 0.1 * np.eye(90)[41:42]))  # one pair above thousands
    assert [(pair.i, pair.j) for pair in nearest_pairs(vectors, 3, block=16)] == [(40, 90), (41, 90), (0, 1)]


def test_a_search_ends_where_nothing_can_be_nearer():
    steps = []
    nearest_pairs(np.ones((90, 3)), block=10, progress=lambda what, done, total: steps.append(done))
    assert steps == [0]


def test_what_is_dropped_and_what_it_is_of_the_other():
    (pair,) = nearest_pairs(np.array([[3.0, 4.0], [-6.0, -8.1]]))
    assert (pair.kept, pair.dropped) == (0, 1)
    assert pair.ratio == pytest.approx((3 * -6 + 4 * -8.1) / 25, rel=1e-12)
    assert pair.distance == pytest.approx(5 * np.sqrt(2 * (1 + pair.cosine)), rel=1e-6)
    assert pair.cosine == pytest.approx((3 * -6 + 4 * -8.1) / (5 * np.hypot(6, 8.1)), rel=1e-14)
    (equal,) = nearest_pairs(np.array([[0.6, 0.8], [0.8, 0.6]]))
    assert (equal.kept, equal.dropped, nearest_pairs(np.array([[9.0, 1], [1, 0]]))[0].dropped) == (0, 1, 0)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1.0, 1e200, 1e307])
def test_norms_neither_overflow_nor_vanish(scale):
    vectors = np.array([[1.0, 2.0, 0.5], [2.0, 4.1, 1.0], [0.0, -1.0, 3.0]])
    (pair,) = nearest_pairs(scale * vectors)
    (plain,) = nearest_pairs(vectors)
    assert (pair.i, pair.j, pair.gap) == (0, 1, pytest.approx(plain.gap, rel=1e-9))
    assert pair.norm_i == pytest.approx(scale * plain.norm_i, rel=1e-9)
    small = nearest_pairs(np.array([[1e-40, 2e-40], [1e-40, 2.1e-40], [3e38, 0]], np.float32), floor=0)
    assert (small[0].i, small[0].j) == (0, 1)


def test_the_unit_pair_of_the_known_values():
    """sigma_2^2 of two unit columns is 1 - |cos|."""
    columns = np.random.default_rng(5).standard_normal((6, 2))
    columns /= np.linalg.norm(columns, axis=0)
    assert np.linalg.svd(columns)[1][1] ** 2 == pytest.approx(nearest_pairs(columns.T)[0].gap, abs=1e-12)


def test_vectors_at_or_below_the_floor_are_zero(monkeypatch):
    monkeypatch.setattr(unit_vectors, "_PIECE", 4)
    vectors = np.array([[1000.0, 0.0], [1.0, 0.0], [0.0, 1.001], [0.0, 0.0]])
    assert zero_vectors(vectors).tolist() == [1, 3]
    assert zero_vectors(vectors, 0.0).tolist() == [3]
    assert [(pair.i, pair.j) for pair in nearest_pairs(vectors, 5)] == [(0, 2)]
    assert zero_vectors(np.zeros((2, 3))).tolist() == [0, 1]
    assert nearest_pairs(np.zeros((2, 3))) == nearest_pairs(np.ones((1, 3))) == nearest_pairs(np.empty((0, 3))) == []
    assert nearest_pairs(np.empty((3, 0))) == []


def test_bad_input_is_refused(monkeypatch):
    for wrong in (np.nan, np.inf):
        with pytest.raises(FormatError, match=f"the vectors hold {wrong}"):
            nearest_pairs(np.array([[1.0, wrong], [1, 2]]))
    with pytest.raises(FormatError, match="beyond the largest double"):
        nearest_pairs(np.full((2, 4), 1.7e308))
    with pytest.raises(FormatError, match="rows of a matrix"):
        nearest_pairs(np.ones(3))
    with pytest.raises(FormatError, match="floor of 1"):
        zero_vectors(np.ones((3, 3)), 1)
    with pytest.raises(FormatError, match="0 pairs"):
        nearest_pairs(np.ones((3, 3)), 0)
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 100)
    with pytest.raises(MemoryLimitError, match="search for pairs among 3 vectors of 3"):
        nearest_pairs(np.eye(3))
