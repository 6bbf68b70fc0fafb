"""The nearest SAO mask: against all masks where there are few, random ones, and groups that were planted."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.masks.sao import sao_mask
from sao_cli.pruning.scores import nearest_sao as projection
from sao_cli.pruning.scores.nearest_sao import projected_mask


def kept(weight, mask):
    return float((weight[mask.to_dense()] ** 2).sum())


def labellings(size, groups):
    """All ways to put `size` nodes into numbered groups of equal size."""
    return {*itertools.permutations([group for group in range(groups) for _ in range(size // groups)])}


def best_of_all(weight, groups):
    m, n = weight.shape
    rows = np.array(sorted(labellings(m, groups)))
    columns = np.array(next(iter(labellings(n, groups))))[None] if groups == 1 else np.array([*labellings(n, groups)])
    sums = np.stack([(rows == group).astype(float) @ weight**2 for group in range(groups)])  # group, labelling, column
    member = np.stack([(columns == group).astype(float) for group in range(groups)])
    return np.einsum("grj,gcj->rc", sums, member).max()


def planted(m, n, d, noise, seed):
    rng = np.random.default_rng(seed)
    mask = sao_mask(m, n, d, seed=seed, layer=9).to_dense()
    return np.where(mask, 1.0, noise) * rng.normal(size=(m, n)), mask


@pytest.mark.parametrize(("m", "n", "d"), [(4, 4, 2), (6, 6, 3), (4, 6, 3), (6, 4, 2), (6, 6, 2), (2, 8, 4), (5, 5, 5)])
def test_tiny_ones_are_the_best_of_all(m, n, d):
    for seed in range(8):
        weight = np.random.default_rng(seed).normal(size=(m, n))
        mask = projected_mask(weight, d, starts=1)
        assert kept(weight, mask) == pytest.approx(best_of_all(weight, n // d), rel=1e-13)
        assert mask.provenance["kept_norm_bound"] == mask.provenance["kept_norm"]


@pytest.mark.parametrize(
    ("size", "groups", "count"), [(6, 3, 15), (8, 2, 35), (9, 3, 280), (7, 7, 1), (5, 1, 1), (2000, 2000, 1)]
)
def test_each_partition_is_tried_once(size, groups, count):
    found = [tuple(map(int, labels)) for labels in projection._partitions(size, groups)]
    assert len(found) == len(set(found)) == count == round(math.exp(projection._log_partitions(size, groups)))
    for labels in found:
        assert np.bincount(labels).tolist() == [size // groups] * groups
        assert np.unique(labels, return_index=True)[1].tolist() == sorted(np.unique(labels, return_index=True)[1])


def test_all_masks_are_tried_by_the_side_that_has_fewer_partitions():
    sides = [projection._side_to_exhaust(*case) for case in ((6, 6, 2), (64, 8, 4), (8, 64, 4), (512, 512, 512))]
    assert sides == [0, 1, 0, 0]
    assert projection._side_to_exhaust(1024, 8, 4) is None  # the rows are too many for one assignment
    assert projection._side_to_exhaust(1024, 8, 2) == 1  # but not for two groups
    assert projection._side_to_exhaust(12, 12, 4) == 0
    assert projection._side_to_exhaust(14, 14, 7) is None
    assert projection._side_to_exhaust(256, 256, 64) is None


@pytest.mark.parametrize("side", [(24, 24, 4), (20, 40, 8), (40, 20, 4)])
def test_beyond_the_bound_is_above_what_is_kept_and_below_all(side):
    m, n, d = side
    weight = np.random.default_rng(2).normal(size=(m, n))
    told = projected_mask(weight, d).provenance
    squares = np.sort(weight**2, axis=1)[:, ::-1][:, :d].sum(), np.sort(weight**2, axis=0)[::-1][: m * d // n].sum()
    assert told["kept_norm"] <= told["kept_norm_bound"] == pytest.approx(min(squares) / (weight**2).sum(), rel=1e-12)
    planted_weight, _ = planted(m, n, d, 0.0, seed=3)
    told = projected_mask(planted_weight, d).provenance
    assert [told["kept_norm"], told["kept_norm_bound"]] == pytest.approx([1.0, 1.0], rel=1e-12)


@pytest.mark.parametrize(("m", "n", "d"), [(12, 12, 1), (6, 18, 3), (18, 6, 1)])
def test_where_groups_are_single_rows_or_columns_it_is_exact(m, n, d):
    weight = np.random.default_rng(3).normal(size=(m, n))
    squares = weight**2
    wide = np.repeat(squares, d, axis=0) if m <= n else np.repeat(squares, m // n, axis=1)
    rows, columns = linear_sum_assignment(wide, maximize=True)
    assert kept(weight, projected_mask(weight, d)) == pytest.approx(wide[rows, columns].sum(), rel=1e-13)


@settings(deadline=None, max_examples=20)
@given(
    groups=st.integers(1, 5),
    c=st.integers(1, 4),
    d=st.integers(1, 4),
    seed=st.integers(0, 99),
    starts=st.integers(1, 2),
)
def test_it_is_an_sao_mask_never_worse_than_the_random_one(groups, c, d, seed, starts):
    weight = np.random.default_rng(seed).standard_cauchy((groups * c, groups * d))
    mask = projected_mask(weight, d, seed=seed, layer=2, starts=starts)
    assert set(mask.row_degrees.tolist()) == {d}
    assert set(mask.column_degrees.tolist()) == {c}
    assert mask.groups is not None
    assert mask.groups.count == groups
    assert kept(weight, mask) >= kept(weight, sao_mask(*weight.shape, d, seed=seed, layer=2)) * (1 - 1e-12)
    assert mask.provenance["kept_norm"] == pytest.approx(kept(weight, mask) / (weight**2).sum(), rel=1e-12)
    assert projected_mask(weight, d, seed=seed, layer=2, starts=starts) == mask


def test_the_first_start_is_the_random_mask(monkeypatch):
    monkeypatch.setattr(projection, "MAX_ROUNDS", 0)
    monkeypatch.setattr(projection, "MAX_PASSES", 0)
    weight = np.random.default_rng(1).normal(size=(24, 36))
    assert projected_mask(weight, 6, seed=3, layer=4, starts=1) == sao_mask(24, 36, 6, seed=3, layer=4)


def test_several_passes_find_small_groups_too():
    weight, mask = planted(128, 128, 4, 0.1, seed=2)  # after one pass it keeps 0.990 of what they do, before it 0.957
    np.testing.assert_array_equal(projected_mask(weight, 4).to_dense(), mask)


@pytest.mark.parametrize(("m", "n", "d", "noise"), [(96, 96, 8, 0.25), (128, 64, 8, 0.25), (60, 180, 9, 0.1)])
def test_planted_groups_are_found(m, n, d, noise):
    weight, mask = planted(m, n, d, noise, seed=1)
    np.testing.assert_array_equal(projected_mask(weight, d, seed=5).to_dense(), mask)


@pytest.mark.parametrize(
    ("most", "d"), [(16, 8), (8, 8), (8, 32)]
)  # eight groups a block, two, and two that are larger
def test_sides_that_are_split_into_blocks_find_them_too(monkeypatch, most, d):
    monkeypatch.setattr(projection, "MAX_ASSIGNED", most)
    weight, mask = planted(64, 64, d, 0.2, seed=2)
    found = projected_mask(weight, d)
    assert kept(weight, found) >= 0.99 * float((weight[mask] ** 2).sum())


def test_normal_values_keep_over_three_times_what_a_random_mask_does():
    weight = np.random.default_rng(0).normal(size=(128, 128))
    share = projected_mask(weight, 4).provenance["kept_norm"]
    largest = np.sort(weight**2, axis=None)[-512:].sum() / (weight**2).sum()
    assert 3 * 4 / 128 < share < largest


def test_kernels_are_weighed_as_wholes():
    weight, mask = planted(16, 16, 4, 0.1, seed=4)
    taps = np.random.default_rng(1).normal(size=(16, 16, 3, 3))
    taps /= np.linalg.norm(taps, axis=(2, 3), keepdims=True)
    assert projected_mask(weight[..., None, None] * taps, 4) == projected_mask(weight, 4)
    np.testing.assert_array_equal(projected_mask(weight, 4).to_dense(), mask)


def test_zeros_and_extreme_values_are_taken():
    assert projected_mask(np.zeros((4, 4)), 2).provenance["kept_norm"] == 0
    weight, _ = planted(8, 8, 2, 0.1, seed=0)
    assert projected_mask(weight * 1e200, 2) == projected_mask(weight, 2) == projected_mask(weight * 1e-200, 2)


def test_what_is_infeasible_is_refused():
    with pytest.raises(InfeasibleError, match="no sao mask of 6 x 9 with d = 2"):
        projected_mask(np.ones((6, 9)), 2)
    with pytest.raises(SaoError, match="starts = 0"):
        projected_mask(np.ones((4, 4)), 2, starts=0)
