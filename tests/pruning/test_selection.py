"""Exactly kappa of all scores: counts over many pairs, ties by place, signs, kernels, and what is refused."""

import numpy as np
import pytest

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError
from sao_cli.masks.degrees import kappa
from sao_cli.pruning.keep import drop_least_, keep_largest
from sao_cli.pruning.selection import kept_in_round, select


def kept(scores, sparsity, **given):
    return [np.flatnonzero(mask).tolist() for mask in select(scores, sparsity, **given).masks.values()]


def test_equal_scores_stay_by_place():
    scores = {"a": np.array([[5.0, 4, 3], [3, 3, 2]]), "b": np.array([[0.0, 0], [0, 0]])}
    assert kept(scores, 0.7) == [[0, 1, 2], []]
    found = select(scores, 0.2)
    assert [np.flatnonzero(mask).tolist() for mask in found.masks.values()] == [[0, 1, 2, 3, 4, 5], [0, 1]]
    assert (found.kappa, found.kept, found.ties_at_threshold, found.zero_scores) == (8, 8, 2, 2)
    assert select(scores, 0.7).ties_at_threshold == 2


@pytest.mark.parametrize(
    ("size", "sparsity", "count"),
    [(266200, 0.95, 13310), (266610, 0.95, 13331), (266610, 0.9, 26661), (129400, 0.9, 12940), (130010, 0.9, 13001)],
)
def test_counts_of_the_known_sizes(size, sparsity, count):
    assert kept_in_round(size, sparsity, 100, 100) == count
    scores = {"all": np.ones((1, size))}
    assert kept(scores, sparsity) == [list(range(count))]


def test_counts_are_exact_over_many_sizes_and_sparsities():
    rng = np.random.default_rng(0)
    sizes = [*range(1, 60), 266200, 266610]
    pairs = [(size, sparsity / 100) for size in sizes for sparsity in (0, 10, 29, 50, 57, 70, 80, 90, 95, 98, 99, 99.9)]
    assert len(pairs) > 700
    for size, sparsity in pairs:
        wanted = round((1 - sparsity) * size)
        assert kappa(size, sparsity) == wanted
        if wanted and size < 100:
            scores = {"a": rng.integers(-2, 3, (1, size)) + 0.5}
            found = select(scores, sparsity)
            assert (found.kappa, found.kept, found.masks["a"].sum()) == (wanted, wanted, wanted)
            assert found.masks["a"].ravel()[np.argsort(-scores["a"].ravel(), kind="stable")[:wanted]].all()


def test_signed_scores_keep_the_largest_and_not_the_largest_magnitudes():
    assert kept({"a": np.array([[-9.0, -1.0, 2.0, 1.0]])}, 0.5) == [[2, 3]]
    assert kept({"a": np.array([[-9.0, -1.0, -2.0, -3.0]])}, 0.5) == [[1, 2]]


def test_kernels_are_kept_as_one_as_far_as_they_fit():
    scores = {"kernel": np.array([[3.0, 2.0]]), "matrix": np.array([[2.5, 1.0, 0.5, 0.1]])}
    sizes = {"kernel": 9}
    assert kept(scores, 0.5, sizes=sizes) == [[0], [0]]  # 11 of 22 numbers, and the second kernel would take 9 more
    assert select(scores, 0.5, sizes).kept == 10
    with pytest.raises(InfeasibleError, match="4 numbers are to be kept, and the first kernel has 9"):
        select(scores, 0.8, sizes)


def test_what_chooses_nothing_is_refused():
    with pytest.raises(SaoError, match="all 4 scores are 0"):
        select({"a": np.zeros((2, 2))}, 0.5)
    for wrong in (np.nan, np.inf, -np.inf):
        with pytest.raises(FormatError, match=rf"the scores of b hold {wrong}"):
            select({"a": np.ones((2, 2)), "b": np.array([[1.0, wrong]])}, 0.5)
    with pytest.raises(InfeasibleError, match=r"sparsity 0\.9 of 4 weights keeps none; 0\.75 keeps one"):
        select({"a": np.ones((2, 2))}, 0.9)
    with pytest.raises(SaoError, match="nothing to choose among"):
        select({}, 0.5)


@pytest.mark.parametrize("levels", [3, 50, 10**9])
def test_dropping_the_least_is_keeping_the_largest_of_what_is_left(levels):
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, levels, 60_000).astype(float)
    alive = np.ones(len(scores), dtype=bool)
    for count in (59_999, 59_000, 57_000, 57_000, 20_000, 19_500, 3, 1):
        left = np.flatnonzero(alive)
        known = left[keep_largest(scores[left], count)]
        drop_least_(alive, scores, count)
        np.testing.assert_array_equal(np.flatnonzero(alive), known)
    with pytest.raises(InfeasibleError):
        drop_least_(alive, scores, 2)
