"""EOI weights beside the same product taken one dense rotation at a time, and what they promise by themselves."""

import collections
import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base import rng
from sao_cli.base.errors import InfeasibleError, MemoryLimitError, SaoError
from sao_cli.weights import givens
from sao_cli.weights.givens import eoi_weight

EPS = 2.0**-52


def plain_products(m, n, seed=0, layer=1):
    """Every state of the product: the partial identity, then one more rotation each, m >= n."""
    pairs = rng.generator(seed, layer).integers(0, [m, m - 1], size=(40 * m, 2))
    angles = 2 * np.pi * rng.generator(seed, layer, rng.VALUES).random(40 * m)
    state = np.eye(m, n)
    yield state
    for (i, step), angle in zip(pairs, angles, strict=True):
        j = (i + 1 + step) % m
        rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        state = state.copy()
        state[[i, j]] = rotation @ state[[i, j]]
        yield state


def plain_weight(m, n, target, seed=0, layer=1):
    """The state nearest to `target` entries of the last one below and the first one not below, and its number."""
    if m < n:
        state, rotations = plain_weight(n, m, target, seed, layer)
        return state.T, rotations
    if target == n:
        return np.eye(m, n), 0
    for number, (last, state) in enumerate(itertools.pairwise(plain_products(m, n, seed, layer))):
        below, above = np.count_nonzero(last), np.count_nonzero(state)
        if above >= target:
            return (last, number) if target - below < above - target else (state, number + 1)
    raise AssertionError("the plain product drew too few rotations")


def orthogonality_error(dense):
    gram = dense @ dense.T if dense.shape[0] <= dense.shape[1] else dense.T @ dense
    return abs(gram - np.eye(len(gram))).max()


def assert_is_the_plain_product(weight, target, seed=0, layer=1):
    expected, rotations = plain_weight(*weight.shape, target, seed, layer)
    dense = weight.to_dense()
    np.testing.assert_array_equal(dense != 0, expected != 0)
    np.testing.assert_allclose(dense, expected, rtol=0, atol=4 * EPS * (1 + rotations) ** 0.5)
    assert weight.mask.provenance["rotations"] == rotations


@st.composite
def targets(draw):
    """(m, n, entries) that an orthogonal matrix can have, from the partial identity to no zero at all."""
    m, n = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    return m, n, draw(st.integers(min(m, n), m * n))


@settings(max_examples=150)
@given(targets(), st.integers(0, 9), st.integers(1, 3))
def test_is_the_product_of_one_rotation_after_another(sizes, seed, layer):
    m, n, target = sizes
    weight = eoi_weight(m, n, 1 - target / (m * n), seed=seed, layer=layer)
    assert_is_the_plain_product(weight, target, seed, layer)
    assert orthogonality_error(weight.to_dense()) < 40 * EPS * max(m, n) ** 0.5


@pytest.mark.parametrize(("m", "n", "sparsity"), [(300, 300, 0.9), (150, 40, 0.5), (7, 400, 0.8), (500, 2, 0.4)])
def test_is_the_plain_product_at_sizes_of_many_chunks(m, n, sparsity):
    weight = eoi_weight(m, n, sparsity, seed=5)
    assert_is_the_plain_product(weight, round((1 - sparsity) * m * n), seed=5)


def test_large_and_sparse():
    """1e4 rows of 4 entries on average: rows of W W^T by scipy's sparse product."""
    n = 10_000
    weight = eoi_weight(n, n, 1 - 4 / n)
    matrix = weight.to_scipy()
    gram = (matrix @ matrix.T).tocoo()
    assert abs(gram.data - (gram.row == gram.col)).max() < 40 * EPS
    assert abs(weight.mask.nnz - 4 * n) < weight.mask.row_degrees.max()
    assert (np.diff(weight.mask.indices)[np.diff(weight.mask.entry_rows) == 0] > 0).all()


@pytest.mark.parametrize(("m", "n"), [(1, 1), (2, 2), (1, 6), (6, 1), (2, 1), (1, 2), (200, 200), (60, 90)])
def test_no_sparsity_ends_without_a_zero(m, n):
    weight = eoi_weight(m, n, 0.0)
    assert weight.mask.nnz == m * n
    assert weight.values.all()
    assert orthogonality_error(weight.to_dense()) < 1e-14


@pytest.mark.parametrize(("m", "n"), [(1, 1), (5, 5), (7, 3), (3, 7), (1, 4), (49, 49)])
def test_the_largest_sparsity_is_the_partial_identity(m, n):
    weight = eoi_weight(m, n, 1 - 1 / max(m, n))
    np.testing.assert_array_equal(weight.to_dense(), np.eye(m, n))
    assert weight.mask.provenance["rotations"] == 0


def test_a_tie_goes_to_the_denser_state():
    """2 x 2 has 2 entries or 4, and three quarters of 4 is halfway."""
    assert eoi_weight(2, 2, 0.25).mask.nnz == 4
    assert eoi_weight(2, 2, 0.4).mask.nnz == 2


def test_a_wide_matrix_is_a_tall_one_transposed():
    np.testing.assert_array_equal(eoi_weight(9, 30, 0.7).to_dense(), eoi_weight(30, 9, 0.7).to_dense().T)


def test_the_chunk_does_not_matter(monkeypatch):
    expected = eoi_weight(80, 50, 0.6, seed=2)
    monkeypatch.setattr(givens, "CHUNK", 79)
    found = eoi_weight(80, 50, 0.6, seed=2)
    assert found.mask == expected.mask
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=20 * EPS)


def test_same_seed_same_bytes():
    first, again = (eoi_weight(50, 40, 0.8, seed=3, layer=2) for _ in range(2))
    assert first == again
    assert first.mask.provenance == again.mask.provenance
    assert first != eoi_weight(50, 40, 0.8, seed=4, layer=2)
    assert first != eoi_weight(50, 40, 0.8, seed=3, layer=3)


def test_provenance():
    told = dict(eoi_weight(6, 4, 0.5, seed=7, layer=3).mask.provenance)
    assert told.pop("version")
    assert told.pop("rotations") > 0
    assert told == {
        "method": "eoi",
        "m": 6,
        "n": 4,
        "c": None,
        "d": None,
        "values": "orthogonal",
        "seed": 7,
        "layer": 3,
        "requested_sparsity": 0.5,
    }


def test_pairs_are_uniform():
    """One rotation of 4 rows: each of the 6 pairs, 1200 draws, chi-square below its 0.999 quantile."""
    drawn = collections.Counter()
    for seed in range(1200):
        weight = eoi_weight(4, 4, 1 - 6 / 16, seed=seed)
        assert weight.mask.provenance["rotations"] == 1
        drawn[tuple(np.flatnonzero(weight.mask.row_degrees == 2).tolist())] += 1
    assert len(drawn) == 6
    assert sum((count - 200) ** 2 / 200 for count in drawn.values()) < 20.5


def test_angles_are_uniform():
    """One rotation of 2 rows: its angle in 8 equal parts of the circle, chi-square below its 0.999 quantile."""
    rotations = np.array([eoi_weight(2, 2, 0.0, seed=seed).to_dense() for seed in range(1600)])
    angles = np.arctan2(rotations[:, 0, 1], rotations[:, 0, 0])
    counts, _ = np.histogram(angles, bins=8, range=(-np.pi, np.pi))
    assert ((counts - 200) ** 2 / 200).sum() < 24.3


def test_values_do_not_decide_the_pattern(monkeypatch):
    """Angles of 0 leave the identity, and its exact zeros are no ones: files refuse stored zeros."""

    def without_angles(seed, *stream):
        if stream[-1] == rng.VALUES and len(stream) == 2:
            return SimpleNamespace(uniform=lambda low, high, count: np.zeros(count))
        return rng.generator(seed, *stream)

    monkeypatch.setattr(givens, "generator", without_angles)
    weight = eoi_weight(9, 5, 0.3)
    np.testing.assert_array_equal(weight.to_dense(), np.eye(9, 5))
    assert weight.mask.nnz == 5


@pytest.mark.parametrize(("m", "n", "sparsity"), [(4, 4, 0.9), (100, 30, 0.995), (30, 100, 0.995), (1, 1, 0.9)])
def test_too_sparse_names_the_nearest_sparsity(m, n, sparsity):
    with pytest.raises(InfeasibleError, match=f"no orthogonal {m} x {n} matrix has sparsity {sparsity}") as error:
        eoi_weight(m, n, sparsity)
    text = str(error.value)
    assert "\n" not in text
    assert ("columns" if m > n else "rows") in text
    nearest = float(re.search(r"nearest feasible one is (\S+)$", text)[1])
    assert eoi_weight(m, n, nearest).mask.nnz == min(m, n)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_a_sparsity_is_a_fraction(sparsity):
    with pytest.raises(InfeasibleError, match="outside 0 <= sparsity < 1"):
        eoi_weight(4, 4, sparsity)


def test_bad_sizes_and_seeds():
    with pytest.raises(InfeasibleError, match="n = 0"):
        eoi_weight(4, 0, 0.5)
    with pytest.raises(SaoError, match="seed -1 is negative"):
        eoi_weight(4, 4, 0.5, seed=-1)


@pytest.mark.parametrize("shape", [(2**30, 2**30), (2**45, 1)])
def test_absurd_sizes_are_refused_before_anything_is_allocated(shape):
    with pytest.raises(MemoryLimitError, match=f"an orthogonal {shape[0]} x {shape[1]} matrix with"):
        eoi_weight(*shape, 0.5)


def test_tells_how_far_it_is():
    told = []
    weight = eoi_weight(100, 100, 0.9, progress=lambda *now: told.append(now))
    whats, done, totals = zip(*told, strict=True)
    assert (set(whats), set(totals)) == ({"rotating rows"}, {1000})
    assert done[0] == 100
    assert list(done) == sorted(set(done))
    assert done[-1] < weight.mask.nnz
