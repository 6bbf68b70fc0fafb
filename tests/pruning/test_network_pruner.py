"""Scores and densities of a network's weights as one pruner: kernels, controls, what a method in rounds has chosen."""

import numpy as np
import pytest

from sao_cli.base.errors import SaoError, SaoWarning
from sao_cli.pruning.network_pruner import NetworkPruner
from sao_cli.pruning.pruner import Prunable

SHAPES = {"kernel": (4, 3, 2, 2), "matrix": (5, 4)}
RNG = np.random.default_rng(0)
WEIGHTS = {name: RNG.normal(size=shape) for name, shape in SHAPES.items()}
SCORES = {"kernel": RNG.random((4, 3)), "matrix": RNG.random((5, 4))}


def prunable(name, number):
    m, n, *taps = SHAPES[name]
    return Prunable(m, n, number, lambda: WEIGHTS[name], int(np.prod(taps)), name=name, shape=SHAPES[name])


def kept(method, *given, **asked):
    pruner = NetworkPruner(method, *given, **asked)
    weights = [prunable(name, number) for number, name in enumerate(SHAPES, 1)]
    pruner.prepare(weights)
    masks = [pruner.mask(one, one.read()).to_dense().reshape(one.shape) for one in reversed(weights)]
    return pruner, dict(zip(SHAPES, masks[::-1], strict=True))


def test_kernels_stay_whole_and_a_shuffle_moves_their_taps():
    pruner, masks = kept("mine", SCORES, sparsity=0.5)
    assert set(masks["kernel"].sum(axis=(2, 3)).ravel()) == {0, 4}
    size = sum(int(mask.sum()) for mask in masks.values())
    assert round(0.5 * 68) - 4 < size <= round(0.5 * 68)
    least = SCORES["kernel"][masks["kernel"][..., 0, 0]].min()
    assert pruner.zero_scores == 0
    assert (SCORES["matrix"][~masks["matrix"]] <= least).all()
    _, moved = kept("mine", SCORES, sparsity=0.5, control="shuffle")
    assert [int(one.sum()) for one in moved.values()] == [int(one.sum()) for one in masks.values()]
    assert set(moved["kernel"].sum(axis=(2, 3)).ravel()) - {0, 4}


def test_inverted_scores_keep_what_others_drop():
    scores = {"kernel": np.ones(SHAPES["kernel"]), "matrix": np.arange(20.0).reshape(5, 4) + 2}
    _, masks = kept("mine", scores, sparsity=0.8)
    assert np.flatnonzero(masks["matrix"]).tolist() == [*range(6, 20)]
    _, masks = kept("mine", scores, sparsity=0.8, control="invert")
    assert np.flatnonzero(masks["kernel"]).tolist() == [*range(14)]
    with pytest.raises(SaoError, match="erk has no scores to invert"):
        NetworkPruner("erk", sparsity=0.5, control="invert")
    with pytest.raises(SaoError, match="unknown control"):
        NetworkPruner("erk", sparsity=0.5, control="inverse")


def test_what_is_chosen_stays_but_for_inverted_scores():
    chosen = {name: np.zeros(shape, bool) for name, shape in SHAPES.items()}
    chosen["matrix"][2] = True
    scores = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    scores["matrix"][2, 1:] = 3.0
    with pytest.warns(SaoWarning, match="1 weights that are kept score 0"):
        pruner, masks = kept("rounds", scores, chosen, sparsity=0.9)
    np.testing.assert_array_equal(masks["matrix"], chosen["matrix"])
    assert (pruner.zero_scores, pruner.ties_at_threshold) == (1, 64)
    with pytest.warns(SaoWarning, match="score 0"):
        _, masks = kept("rounds", scores, chosen, sparsity=0.9, control="invert")
    assert masks["kernel"].sum() == 7
