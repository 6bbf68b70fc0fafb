"""SynFlow of chains: known values, conservation at every layer and unit, a second route, and any depth."""

import itertools

import numpy as np
import pytest

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.pruning.scores.chain_flow import chain_synflow

from ..known import (
    NET_A,
    SYNFLOW_100_ROUNDS,
    SYNFLOW_FIRST,
    SYNFLOW_ONE_ROUND,
    SYNFLOW_PATH,
    SYNFLOW_TOTAL,
    numbered,
    places,
)


def test_known_scores_of_a_small_chain():
    flow = chain_synflow(numbered(*NET_A))
    assert [one.sum() for one in flow.scores] == pytest.approx([SYNFLOW_TOTAL] * 3, rel=1e-12)
    assert flow.scores[0][0, 0] == pytest.approx(SYNFLOW_FIRST, rel=1e-12)
    assert 2**flow.log2_total == pytest.approx(SYNFLOW_TOTAL, rel=1e-12)
    assert flow.masks is None


@pytest.mark.parametrize(
    ("sparsity", "rounds", "known"),
    [(0.8, 1, SYNFLOW_ONE_ROUND), (0.8, 100, SYNFLOW_100_ROUNDS), (1 - 3 / 62, 100, SYNFLOW_PATH)],
)
def test_known_places_of_a_small_chain(sparsity, rounds, known):
    assert places(chain_synflow(numbered(*NET_A), sparsity, rounds).masks) == known


def test_scores_are_shares_of_all_paths_by_enumeration():
    weights = [np.abs(one) for one in numbered((3, 2), (2, 3), (2, 2))]
    brute = [np.zeros_like(one) for one in weights]
    for path in np.ndindex(2, 3, 2, 2):
        steps = [(after, before) for before, after in itertools.pairwise(path)]
        product = np.prod([one[step] for one, step in zip(weights, steps, strict=True)])
        for one, step in zip(brute, steps, strict=True):
            one[step] += product
    for found, known in zip(chain_synflow(weights).scores, brute, strict=True):
        np.testing.assert_allclose(found, known, rtol=1e-13)


def test_every_hidden_unit_passes_on_what_it_receives():
    scores = chain_synflow(numbered((30, 20), (40, 30), (5, 40))).scores
    for before, after in itertools.pairwise(scores):
        np.testing.assert_allclose(before.sum(axis=1), after.sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("gain", [1e-200, 1.0, 1e200])
def test_no_depth_overflows(gain):
    rng = np.random.default_rng(0)
    weights = [gain * rng.normal(size=(8, 8)) for _ in range(1000)]
    flow = chain_synflow(weights)
    sums = np.array([one.sum() for one in flow.scores])
    np.testing.assert_allclose(sums, sums[0], rtol=1e-9)
    assert 0.5 <= sums[0] <= 2  # R itself is far beyond any double
    unit = chain_synflow([one / gain for one in weights])
    assert flow.log2_total == pytest.approx(unit.log2_total + 1000 * np.log2(gain), rel=1e-9)
    pruned = chain_synflow(weights, 0.5, rounds=2)
    assert sum(int(mask.sum()) for mask in pruned.masks) == 32000


def test_what_is_no_chain_is_refused():
    with pytest.raises(FormatError, match="layer 2 reads 4 units, and the one before it writes 3"):
        chain_synflow([np.ones((3, 2)), np.ones((2, 4))])
    with pytest.raises(FormatError, match="layer 1 holds nan"):
        chain_synflow([np.array([[np.nan]])])
    with pytest.raises(FormatError, match="layer 1 is float64 of shape"):
        chain_synflow([np.ones((2, 2, 3, 3))])
    with pytest.raises(FormatError, match="layer 1 is bool"):
        chain_synflow([np.ones((2, 2), bool)])
    with pytest.raises(SaoError, match="no path leads"):
        chain_synflow([np.ones((2, 2)), np.zeros((2, 2))])
    with pytest.raises(SaoError, match="0 rounds"):
        chain_synflow([np.ones((2, 2))], rounds=0)
