"""Which weights stay: every method against a sort of all numbers, or the construction that it names."""

import itertools
from functools import partial

import numpy as np
import pytest

import sao_cli
from sao_cli.base.errors import SaoError
from sao_cli.catalog import PRUNING
from sao_cli.data.nm_pattern import NMPattern
from sao_cli.pruning.pruner import Prunable
from sao_cli.pruning.rules import RulePruner


def normal(*shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


WEIGHTS = [normal(8, 8, seed=0), 2 * normal(4, 12, seed=1), normal(6, 4, 3, 3, seed=2)]


def prunable(weight, layer, size=None, groups=1):
    size = int(np.prod(weight.shape[2:])) if size is None else size
    return Prunable(*weight.shape[:2], layer, lambda: weight, size, groups)


def masks(method, weights=WEIGHTS, **target):
    pruner = RulePruner(method, **target)
    units = [prunable(weight, layer) for layer, weight in enumerate(weights, 1)]
    pruner.prepare(units)
    return [pruner.mask(unit, unit.read()).to_dense() for unit in reversed(units)][::-1]  # in any order


def scores(weight):
    return np.sqrt(np.square(weight).reshape(*weight.shape[:2], -1).mean(axis=2))


def test_local_magnitudes():
    for weight, mask in zip(WEIGHTS, masks("lmp", sparsity=0.75), strict=True):
        found = scores(weight)
        np.testing.assert_array_equal(mask, found >= np.sort(found, axis=None)[-round(0.25 * found.size)])


def test_global_magnitudes_count_the_numbers_of_a_kernel():
    kept = masks("gmp", sparsity=0.75)
    numbers = np.concatenate([np.repeat(scores(weight).ravel(), weight[0, 0].size) for weight in WEIGHTS])
    most = round(0.25 * numbers.size)
    size = sum(int(mask.sum()) * weight[0, 0].size for mask, weight in zip(kept, WEIGHTS, strict=True))
    assert most - 9 < size <= most
    least = min(scores(weight)[mask].min() for weight, mask in zip(WEIGHTS, kept, strict=True))
    assert max(scores(weight)[~mask].max(initial=0) for weight, mask in zip(WEIGHTS, kept, strict=True)) <= least


def test_random_places_are_lrp_masks_by_seed_and_layer():
    for layer, (weight, mask) in enumerate(zip(WEIGHTS, masks("lrp", d=2, seed=5), strict=True), 1):
        m, n = weight.shape[:2]
        np.testing.assert_array_equal(mask, sao_cli.lrp_mask(m, n, 2 * m, seed=5, layer=layer).to_dense())


def test_the_nearest_sao_mask_is_that_of_each_group():
    weight = normal(8, 4, seed=3)
    [mask] = masks("sao", [weight[:4]], d=2)
    np.testing.assert_array_equal(mask, sao_cli.projected_mask(weight[:4], 2).to_dense())
    both = RulePruner("sao", d=2).mask(prunable(weight, 1, groups=2), weight)
    parts = [sao_cli.projected_mask(part, 2).to_dense() for part in (weight[:4], weight[4:])]
    np.testing.assert_array_equal(both.to_dense(), np.concatenate(parts))


def best_of(group, kept):
    """The sum of squares of the best choice of places, by trying them all."""
    return max(sum(group[place] ** 2 for place in places) for places in itertools.combinations(range(len(group)), kept))


@pytest.mark.parametrize(("pattern", "kept"), [(None, 2), (NMPattern(1, 4), 1), (NMPattern(3, 4), 3)])
def test_n_of_each_m_inputs_stay_the_largest_at_each_tap(pattern, kept):
    for weight, mask in zip(WEIGHTS, masks("nm", pattern=pattern), strict=True):
        taps = weight.reshape(*weight.shape[:2], -1)
        left = np.where(mask.reshape(taps.shape), taps, 0)
        for row, column, tap in np.ndindex(len(taps), taps.shape[1] // 4, taps.shape[2]):
            group = left[row, 4 * column : 4 * column + 4, tap]
            assert np.count_nonzero(group) == kept
            whole = taps[row, 4 * column : 4 * column + 4, tap]
            assert np.square(group).sum() == pytest.approx(best_of(whole, kept))
    [tied] = masks("nm", [np.array([[1.0, -1.0, 1.0, 1.0]])])
    assert tied.tolist() == [[True, True, False, False]]
    assert RulePruner("nm").why_not(prunable(normal(4, 6, seed=0), 1)) == "4 does not divide its 6 inputs"


def test_what_no_weight_of_these_sizes_can_have_is_told():
    unit = prunable(normal(15, 16, seed=0), 1)
    assert "gcd(15, 16) = 1" in RulePruner("sao", sparsity=0.75).why_not(unit)
    assert "d = 17" in RulePruner("lmp", d=17).why_not(unit)
    assert "keep none of its 240 weights" in RulePruner("lrp", sparsity=0.999).why_not(unit)
    assert RulePruner("gmp", sparsity=0.999).why_not(unit) is None  # others may keep what this one loses
    with pytest.raises(SaoError, match="did you mean 'gmp'"):
        RulePruner("gmpp")


def test_a_score_is_a_file_and_a_row_of_the_catalog(monkeypatch):
    """Any function of a weight to (m, n) is one: here the smallest magnitudes stay."""
    row = type(PRUNING["lmp"])(**vars(PRUNING["lmp"]) | {"name": "smallest", "score": "tests:smallest"})
    monkeypatch.setitem(PRUNING, "smallest", row)
    load = partial(lambda home: lambda weight: -scores(weight))
    monkeypatch.setattr("sao_cli.pruning.rules.load", load)
    for weight, mask in zip(WEIGHTS, masks("smallest", sparsity=0.5), strict=True):
        assert scores(weight)[mask].max() < scores(weight)[~mask].min()
