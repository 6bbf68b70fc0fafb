"""A weight as P W' Q: by known values, by a second route that searches all pairs anew, and its identities."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.measure.redundancy.fusing import COLUMNS, ROWS, Fused, fuse, fuse_pair, without_zeros
from sao_cli.measure.redundancy.fusing_errors import fusing_errors, largest_singular_value
from sao_cli.measure.redundancy.pairs import nearest_pairs


def factors(fused):
    """P (m, m') and Q (n', n) as dense matrices."""
    (m, n), (rows, columns) = fused.shape, fused.weight.shape
    left, right = np.zeros((m, rows)), np.zeros((columns, n))
    left[np.arange(m), fused.row_index] = fused.row_scale
    right[fused.col_index, np.arange(n)] = fused.col_scale
    return left, right


def check_identities(fused, tolerance=1e-12):
    left, right = factors(fused)
    rows, columns = fused.weight.shape
    np.testing.assert_allclose(left @ fused.weight @ right, fused.product(), atol=1e-12 * abs(fused.weight).max())
    if rows > 1 or columns > 1 or fused.weight.any():
        np.testing.assert_allclose(left.T @ left, np.eye(rows), atol=tolerance)
        np.testing.assert_allclose(right @ right.T, np.eye(columns), atol=tolerance)
    assert (np.count_nonzero(left), np.count_nonzero(right)) == (
        np.count_nonzero(fused.row_scale),
        np.count_nonzero(fused.col_scale),
    )


def two_columns(theta, ratio):
    """The columns w_i, `ratio` long, and w_j of norm 1, at an angle theta."""
    return np.array([[ratio * math.cos(theta), 1.0], [ratio * math.sin(theta), 0.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("ratio", "shorter", "least"),
    [(1.0, 0.0141418, 0.01), (3.0, 0.0424254, 0.0134163), (10.0, 0.141418, 0.0140716)],
)
def test_the_error_of_a_pair(ratio, shorter, least):
    weight = two_columns(math.acos(1 - 1e-4), ratio)
    for rule, expected in (("paper", shorter), ("svd", least)):
        fused, fusions = fuse(weight, tau_cos=1.1e-4, tau_euc=1, rule=rule, axes=(COLUMNS,))
        assert fusions == 1
        assert np.linalg.norm(weight - fused.product()) == pytest.approx(expected, abs=2e-6)
        check_identities(fused)
    assert least == pytest.approx(np.linalg.svd(weight)[1][1], abs=2e-6)


def test_an_outer_product_becomes_one_number_of_its_norm():
    weight = np.outer(np.arange(1.0, 6), np.ones(5))
    for rule in ("paper", "svd"):
        fused, fusions = fuse(weight, rule=rule)
        assert (fused.weight.shape, fusions) == ((1, 1), 8)
        assert abs(fused.weight[0, 0]) == pytest.approx(16.583123951777, abs=1e-12)
        assert abs(fused.product() - weight).max() < 1e-13


@pytest.mark.parametrize("rule", ["paper", "svd"])
def test_a_chain_of_parallel_columns_and_two_rows(rule):
    weight = np.random.default_rng(0).standard_normal((8, 7))
    weight[:, 1], weight[:, 2] = 2 * weight[:, 3], -3 * weight[:, 3]
    weight[5] = -0.5 * weight[6]
    fused, fusions = fuse(weight, rule=rule)
    assert (fused.weight.shape, fusions, fused.fusions, fused.zero) == ((7, 5), 3, 3, 0)
    assert abs(fused.product() - weight).max() < 1e-14
    left, right = factors(fused)
    assert (np.count_nonzero(left), np.count_nonzero(right)) == (8, 7)
    assert np.linalg.norm(fused.weight) == pytest.approx(np.linalg.norm(weight), rel=1e-13)
    values = np.linalg.svd(weight, compute_uv=False)[:5]
    np.testing.assert_allclose(np.linalg.svd(fused.weight, compute_uv=False), values, rtol=1e-12)
    check_identities(fused)


def test_the_distance_decides_only_above_its_norm():
    theta = math.acos(1 - 0.99e-4)
    norm = 7.0710678118654755
    for factor, expected in ((0.99, 1), (1.02, 0)):
        weight = norm * factor * two_columns(theta, 1.0)
        assert fuse(weight, axes=(COLUMNS,))[1] == expected
    long = norm * 1.02 * two_columns(theta, 3.0)  # the shorter one decides
    assert fuse(long, axes=(COLUMNS,))[1] == 0
    assert fuse(long / 2, axes=(COLUMNS,))[1] == 1


def nearly_parallel(seed, m, n, spread):
    """(m, n) of a few directions with noise, in both axes."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, max(1, m // 2), m), rng.integers(0, max(1, n // 2), n)
    core = rng.standard_normal((m, n))[rows][:, columns]
    scales = np.exp(rng.normal(size=m))[:, None] * np.exp(rng.normal(size=n)) * rng.choice([-1, 1], n)
    return core * scales * (1 + spread * rng.standard_normal((m, n)))


def by_searching_anew(weight, tau_cos, tau_euc, rule):
    """What fuse gives, of searches for all pairs after each fusion."""
    fused = Fused.of(weight)
    due = [COLUMNS, ROWS]
    while due:
        axis, more = due.pop(0), False
        while pair := admissible(fused.along(axis)[0], tau_cos, tau_euc):
            fused, more = fuse_pair(fused, axis, pair, rule), True
        due += [1 - axis] if more and 1 - axis not in due else []
    return fused


def admissible(vectors, tau_cos, tau_euc):
    pairs = nearest_pairs(vectors, 10_000, floor=0.0) if len(vectors) > 1 else []
    return next((pair for pair in pairs if pair.gap <= tau_cos and pair.distance <= tau_euc), None)


@pytest.mark.parametrize("rule", ["paper", "svd"])
@pytest.mark.parametrize("spread", [3e-3, 1e-1])
@pytest.mark.parametrize("shape", [(24, 16), (12, 32)])
@pytest.mark.parametrize("held", [0, 8192])
def test_one_search_finds_what_searches_after_each_fusion_find(rule, spread, shape, held, monkeypatch):
    monkeypatch.setattr("sao_cli.measure.redundancy.neighbours._HELD", held)
    weight = nearly_parallel(1, *shape, spread)
    for tau_cos, tau_euc in ((1e-4, 0.1), (0.2, math.inf), (0.02, 0.1)):
        fused, fusions = fuse(weight, tau_cos=tau_cos, tau_euc=tau_euc, rule=rule, floor=0.0)
        expected = by_searching_anew(weight, tau_cos, tau_euc, rule)
        assert fused.weight.shape == expected.weight.shape
        assert fused.row_index.tolist() == expected.row_index.tolist()
        assert fused.col_index.tolist() == expected.col_index.tolist()
        np.testing.assert_allclose(fused.product(), expected.product(), atol=1e-10)
        assert fusions == sum(shape) - sum(fused.weight.shape)
        check_identities(fused)


def test_what_drifts_to_a_vector_that_nobody_was_near_to_is_found(monkeypatch):
    """The middle of two comes within the angle of a third one, which is a little farther from each of them."""
    monkeypatch.setattr("sao_cli.measure.redundancy.neighbours._WIDER", 1.001)
    angle = math.acos(1 - 1e-2)
    third = np.array([0.0, 0.95 * angle, 1.0])
    vectors = np.array([[0.49 * angle, 0.0, 1.0], [-0.49 * angle, 0.0, 1.0], third, [9.0, 9.0, 0.0]])
    assert [(pair.i, pair.j) for pair in nearest_pairs(vectors, 6) if pair.gap < 1e-2] == [(0, 1)]
    fused, fusions = fuse(vectors, tau_cos=1e-2, tau_euc=1, axes=(ROWS,))
    assert (fusions, fused.row_index.tolist()) == (2, [0, 0, 0, 1])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.sampled_from(["paper", "svd"]))
def test_planted_parallel_vectors_are_fused_exactly(seed, m, n, rule):
    rng = np.random.default_rng(seed)
    core = rng.standard_normal((rng.integers(1, m + 1), rng.integers(1, n + 1)))
    rows, columns = planted(rng, m, len(core)), planted(rng, n, core.shape[1])
    weight = rows @ core @ columns.T * 10.0 ** rng.integers(-100, 100)
    fused, _ = fuse(weight, tau_cos=1e-12, tau_euc=math.inf, rule=rule, floor=1e-9)
    assert all(new <= old for new, old in zip(fused.weight.shape, core.shape, strict=True))
    assert abs(fused.product() - weight).max() <= 1e-12 * abs(weight).max()
    assert fused.zero == sum(m - np.count_nonzero(one.any(axis=1)) for one, m in ((rows, m), (columns, n)))
    check_identities(fused)


def planted(rng, count, kinds):
    """(count, kinds) with one number a row, or none; each kind stands somewhere."""
    chosen = np.zeros((count, kinds))
    places = np.concatenate((np.arange(kinds), rng.integers(0, kinds, count - kinds)))
    values = rng.choice([-1, 1], count) * rng.uniform(0.1, 10, count)
    values[kinds:] *= rng.random(count - kinds) > 0.2
    chosen[np.arange(count), places] = values
    return chosen[rng.permutation(count)]


def test_zero_vectors_are_removed_and_no_fusions():
    weight = np.random.default_rng(3).standard_normal((6, 5))
    weight[:, 2] = 0.0
    weight[4] *= 1e-5
    fused, fusions = fuse(weight)
    assert (fused.weight.shape, fusions, fused.zero) == ((5, 4), 0, 2)
    assert (fused.col_scale[2], fused.row_scale[4]) == (0.0, 0.0)
    left, right = factors(fused)
    assert (np.count_nonzero(left), np.count_nonzero(right)) == (5, 4)
    check_identities(fused)
    errors = fusing_errors(weight, fused)
    assert errors.frobenius == pytest.approx(np.linalg.norm(weight[4]) / np.linalg.norm(weight), rel=1e-12)
    assert fuse(weight, floor=0.0)[0].zero == 1


def test_a_weight_of_zeros_becomes_one_zero():
    fused, fusions = fuse(np.zeros((3, 4)))
    assert (fused.weight.tolist(), fusions, fused.zero) == ([[0.0]], 0, 5)
    assert not fused.product().any()
    assert fusing_errors(np.zeros((3, 4)), fused) == (0.0, 0.0)


def test_only_the_longer_axis_where_that_is_asked():
    rng = np.random.default_rng(5)
    weight = np.outer(rng.standard_normal(4), rng.standard_normal(9))
    fused, fusions = fuse(weight, longer=True)  # columns to 4, then each in turn
    assert (fused.weight.shape, fusions) == ((1, 1), 11)
    distinct_rows = rng.standard_normal((4, 2)) @ np.repeat(np.eye(2), 4, axis=0).T  # 8 columns of two kinds
    fused, _ = fuse(distinct_rows, longer=True)
    assert fused.weight.shape == (4, 3)  # 8 to 4, and one more; then the rows are the longer ones
    assert fuse(distinct_rows)[0].weight.shape == (4, 2)
    assert fuse(distinct_rows.T, longer=True, axes=(COLUMNS,))[1] == 0


def test_fusing_goes_on_where_it_stopped():
    weight = nearly_parallel(2, 20, 20, 1e-2)
    first, one = fuse(weight, tau_cos=1e-5)
    second, more = fuse(first, tau_cos=1e-3)
    assert more > 0
    assert one > 0
    assert second.fusions == one + more
    check_identities(second)


def test_stated_errors_are_those_of_the_product():
    weight = nearly_parallel(4, 25, 40, 1e-2).astype(np.float32)
    fused, _ = fuse(weight, tau_cos=1e-3, tau_euc=1.0)
    errors = fusing_errors(weight, fused)
    difference = weight.astype(np.float64) - fused.product()
    assert 1e-4 < errors.frobenius == pytest.approx(np.linalg.norm(difference) / np.linalg.norm(weight), rel=1e-6)
    assert errors.spectral == pytest.approx(np.linalg.norm(difference, 2) / np.linalg.norm(weight, 2), rel=1e-6)
    assert np.linalg.norm(fused.weight) ** 2 + np.linalg.norm(difference) ** 2 == pytest.approx(
        np.linalg.norm(weight.astype(np.float64)) ** 2, rel=1e-9
    )  # what the svd rule leaves out is orthogonal to what it keeps


def test_large_spectral_norms_by_lanczos():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((600, 520))
    assert largest_singular_value(weight * 1e200) == pytest.approx(1e200 * np.linalg.norm(weight, 2), rel=1e-6)
    outer = np.outer(rng.standard_normal(600), rng.standard_normal(520))
    assert largest_singular_value(outer) == pytest.approx(np.linalg.norm(outer), rel=1e-12)


@pytest.mark.parametrize("held", [0, 8192])
def test_tiles_of_the_gram_matrix_join(monkeypatch, held):
    weight = nearly_parallel(6, 40, 30, 1e-2)
    whole = fuse(weight, tau_cos=1e-3)[0]
    monkeypatch.setattr("sao_cli.measure.redundancy.neighbours._BLOCK", 7)
    monkeypatch.setattr("sao_cli.measure.redundancy.neighbours._HELD", held)
    tiled = fuse(weight, tau_cos=1e-3)[0]
    assert whole.fusions > 10
    assert whole.row_index.tolist() == tiled.row_index.tolist()
    assert whole.col_index.tolist() == tiled.col_index.tolist()


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"tau_cos": -1e-4}, "--tau-cos -0.0001"),
        ({"tau_cos": 1.0}, "--tau-cos 1"),
        ({"tau_cos": math.nan}, "--tau-cos nan"),
        ({"tau_euc": -1}, "--tau-euc -1"),
        ({"floor": 1}, "--floor 1"),
        ({"rule": "sdv"}, "did you mean 'svd'"),
    ],
)
def test_thresholds_out_of_range_are_refused(told, said):
    with pytest.raises(SaoError, match=said):
        fuse(np.eye(2), **told)


def test_what_is_no_matrix_of_numbers_is_refused():
    for weight in (np.ones(3), np.ones((2, 0)), np.array([[1.0, math.nan]])):
        with pytest.raises(FormatError, match="a weight"):
            fuse(weight)
    with pytest.raises(SaoError, match="axis 2"):
        fuse_pair(Fused.of(np.ones((2, 2))), 2, nearest_pairs(np.ones((2, 2)))[0])


def test_without_zeros_keeps_what_is_longer_than_the_floor():
    fused = without_zeros(Fused.of(np.diag([1.0, 0.02, 0.005])), ROWS, 0.01)
    assert fused.row_scale.tolist() == [1.0, 1.0, 0.0]
