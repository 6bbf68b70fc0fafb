"""The one rule of what stays, against a plain sort of all scores: ties, signs, sizes, what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError
from sao_cli.pruning import threshold
from sao_cli.pruning.keep import keep_largest
from sao_cli.pruning.threshold import Ranked, global_threshold


def ranked(*scores, sizes=None):
    sizes = sizes or [1] * len(scores)
    return [Ranked(lambda one=one: one, one.size, size) for one, size in zip(scores, sizes, strict=True)]


def kept_by_sorting(scores, count):
    """Flat places, counted through all weights, of the `count` largest; of equal ones the first."""
    flat = np.concatenate([one.reshape(-1) for one in scores])
    return np.sort(np.argsort(-flat, kind="stable")[:count])


def kept_by_threshold(scores, count):
    found = global_threshold(ranked(*scores), count)
    kept = [found.kept(number, one).reshape(-1) for number, one in enumerate(scores)]
    assert found.count == count == sum(int(one.sum()) for one in kept)
    flat, chosen = np.concatenate([one.reshape(-1) for one in scores]), np.concatenate(kept)
    assert found.dropped == np.count_nonzero(flat[~chosen] == flat[chosen].min())
    return np.flatnonzero(chosen)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**20),
    levels=st.sampled_from([2, 3, 10**6]),
    signed=st.booleans(),
    held=st.sampled_from([1, 20, 2**21]),
    share=st.floats(0.01, 1),
)
def test_the_threshold_keeps_what_a_stable_sort_keeps(seed, levels, signed, held, share):
    rng = np.random.default_rng(seed)
    scores = [(rng.integers(0, levels, shape) - signed * levels // 2 + 0.5) for shape in ((3, 5), (1, 1), (8, 4))]
    count = max(1, round(share * 48))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threshold, "HELD", held)
        patch.setattr(threshold, "SHIFTS", (53, 42, 31, 20, 10, 0))  # small histograms, so that the test is quick
        np.testing.assert_array_equal(kept_by_threshold(scores, count), kept_by_sorting(scores, count))


def test_one_vector_is_kept_as_many_are():
    scores = np.random.default_rng(0).integers(-3, 4, 60) / 2
    for count in range(1, 61):
        found = global_threshold(ranked(scores), count)
        np.testing.assert_array_equal(np.flatnonzero(found.kept(0, scores)), keep_largest(scores, count))


@pytest.mark.parametrize("held", [3, 2**23])
def test_neighbouring_floats_are_told_apart_and_both_zeros_are_one(monkeypatch, held):
    monkeypatch.setattr(threshold, "HELD", held)
    calls = []
    scores = np.array([[1.0, np.nextafter(1, 2), np.nextafter(1, 0), 5e-324, -0.0, 0.0, -5e-324]])
    weight = Ranked(lambda: calls.append(1) or scores, 7)
    assert global_threshold([weight], 1).score == np.nextafter(1, 2)
    assert len(calls) == (2 if held == 3 else 1)
    assert global_threshold([weight], 4).score == 5e-324
    assert global_threshold([weight], 5) == threshold.Threshold(0.0, (1,), 1, 5)
    assert global_threshold([weight], 7).score == -5e-324


def test_a_kernel_counts_as_many_numbers_as_it_has_taps():
    matrix, kernel = np.array([[4.0, 3.0, 1.0]]), np.array([[3.0, 3.0, 2.0]])
    found = global_threshold(ranked(kernel, matrix, sizes=[9, 1]), 11)
    assert found.score == 3.0
    assert found.ties == (1, 1)  # 4 (1 number), the first kernel of 3 (9), and 3 (1): the second kernel does not fit
    assert (found.count, found.dropped) == (11, 1)
    assert found.kept(0, kernel).tolist() == [[True, False, False]]
    assert found.kept(1, matrix).tolist() == [[True, True, False]]
    with pytest.raises(InfeasibleError, match="4 numbers are to be kept, and the first kernel has 9"):
        global_threshold(ranked(kernel, matrix / 10, sizes=[9, 1]), 4)


def test_what_chooses_nothing_is_refused():
    for count in (0, 7):
        with pytest.raises(InfeasibleError, match=f"6 weights keeps {count}"):
            global_threshold(ranked(np.ones((2, 3))), count)
    with pytest.raises(SaoError, match="all 7 scores are 0"):
        global_threshold(ranked(np.zeros((2, 3)), -np.zeros(1)), 2)
    for wrong in (np.nan, np.inf, -np.inf):
        with pytest.raises(FormatError, match=f"hold {wrong}"):
            global_threshold(ranked(np.ones(2), np.array([1.0, wrong])), 2)
    assert global_threshold(ranked(-np.ones(2), np.zeros(2)), 1).ties == (0, 1)
