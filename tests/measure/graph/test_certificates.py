"""Upper bounds: never below the truth more often than they say, and close to it where they can be."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import betainc

from sao_cli.base.progress import silent
from sao_cli.measure.graph.certificates import (
    cholesky_below,
    cholesky_slack,
    gram_matrix,
    is_above,
    missing,
    overlap,
    upper_bound,
)
from sao_cli.measure.krylov.grid_lanczos import GridGram, GridLanczos
from sao_cli.measure.krylov.lanczos import Gram, largest_ritz, perron_pair, random_direction

from .. import known_graphs as known


def deflated(mask):
    gram = GridGram(mask)
    gram.uniform = True
    return gram


def process_of(gram, steps, seed):
    process = GridLanczos(gram, random_direction(gram, np.random.default_rng(seed)))
    for _ in range(steps):
        process.step()
    return process


def second_eigenpair(mask):
    left, values, right = np.linalg.svd(mask.to_dense(float))
    return values[1] ** 2, left[:, 1] if mask.m <= mask.n else right[1]


@pytest.mark.parametrize("dimension", [2, 3, 4, 10, 1000, 10**6])
@pytest.mark.parametrize("probability", [1e-9, 1e-3, 0.1])
def test_the_overlap_is_rarer_than_asked_and_hardly_so(dimension, probability):
    delta = overlap(dimension, probability)
    exact = betainc(0.5, (dimension - 1) / 2, delta**2)
    assert 0.99 * probability < exact <= probability * (1 + 1e-9)


def test_in_one_dimension_the_overlap_is_whole():
    assert overlap(1, 1e-9) == 1


@pytest.mark.parametrize("steps", [4, 8, 16, 40])
def test_the_random_bound_fails_no_oftener_than_it_says(steps):
    """500 starts at a failure probability of 0.1: a binomial count of 50 with standard deviation 6.7, at most."""
    mask = known.random_lift(4, 4, 40, 0)
    gram, (truth, _) = deflated(mask), second_eigenpair(mask)
    delta = overlap(gram.dimension, 0.1)
    failures = 0
    for seed in range(500):
        process = process_of(gram, steps, seed)
        low = largest_ritz(process.alphas, process.betas).value
        failures += upper_bound(low, 16.0, process.alphas, process.betas, delta, gram.roundoff(16, 1.0)) < truth
    assert failures <= 50 + 4 * 6.7


def test_a_larger_delta_would_fail_often():
    """The oracle above has teeth: with delta a hundred times too large, the bound does fall below the truth."""
    mask = known.random_lift(4, 4, 40, 0)
    gram, (truth, _) = deflated(mask), second_eigenpair(mask)
    delta = 100 * overlap(gram.dimension, 0.1)
    processes = [process_of(gram, 16, seed) for seed in range(50)]
    assert sum(is_above(truth, p.alphas, p.betas, delta, 0.0) for p in processes) > 25


@pytest.mark.parametrize("seed", range(6))
def test_with_the_true_overlap_the_bound_never_fails_whatever_rounding_did(seed):
    """Six times as many steps as dimensions, long after orthogonality is lost."""
    mask = known.random_lift(3, 5, 30, seed)
    gram, (truth, vector) = deflated(mask), second_eigenpair(mask)
    process = process_of(gram, 0, seed)
    delta, roundoff = abs(vector @ process.current), gram.roundoff(15, 1.0)
    for count in range(1, 6 * gram.size):
        process.step()
        if count % 15 == 0:
            below = truth - 4 * math.sqrt(count) * roundoff
            assert not is_above(below, process.alphas, process.betas, delta, roundoff)
            assert not is_above(truth * (1 - 1e-9), process.alphas, process.betas, delta, 0.0)


def test_the_bound_closes_in_on_the_truth():
    mask = known.random_lift(4, 4, 100, 2)
    gram, (truth, _) = deflated(mask), second_eigenpair(mask)
    bounds = []
    for steps in (20, 60, 180):
        process = process_of(gram, steps, 0)
        low = largest_ritz(process.alphas, process.betas).value
        args = (process.alphas, process.betas, overlap(399, 1e-9), gram.roundoff(16, 1.0))
        bounds.append(upper_bound(low, 16.0, *args))
        assert is_above(bounds[-1], *args) or bounds[-1] == 16
        assert not is_above(low - 0.01, *args)
    assert truth <= bounds[2] < bounds[1] < bounds[0] <= 16
    assert bounds[2] - truth < 0.01


def test_rounding_that_drowns_the_start_certifies_nothing():
    process = process_of(deflated(known.random_lift(4, 4, 100, 2)), 180, 0)
    assert is_above(15.9, process.alphas, process.betas, 1e-9, 1e-15)
    assert not is_above(15.9, process.alphas, process.betas, 1e-9, 1e-7)


def test_what_is_missing_for_a_proof_falls_to_nothing_as_steps_are_taken():
    process = process_of(deflated(known.random_lift(4, 4, 100, 2)), 60, 0)
    left = [missing(15.0, process.alphas[:k], process.betas[:k], 1e-9, 0.0) for k in range(1, 61)]
    assert left[0] == pytest.approx(math.log(1e9) - math.log((15 - process.alphas[0]) / process.betas[0]))
    assert left.index(0.0) > 5
    assert all(after < before or before == 0 for before, after in pairwise(left))
    assert missing(7.0, process.alphas, process.betas, 1e-9, 0.0) == math.inf  # a Ritz value is above it


@pytest.mark.parametrize(
    "mask",
    [known.random_lift(4, 4, 30, 0), known.random_lift(7, 3, 20, 1), known.random_pattern(40, 9000, 0.4, 2)],
)
def test_the_gram_matrix_is_exact(mask):
    dense = mask.to_dense(np.int64)
    expected = dense @ dense.T if mask.m <= mask.n else dense.T @ dense
    assert np.array_equal(gram_matrix(Gram(mask)), expected)


@pytest.mark.parametrize("mask", [known.random_lift(4, 4, 40, 0), known.random_lift(3, 6, 25, 1)])
def test_cholesky_tells_above_from_below(mask):
    gram, (truth, _) = deflated(mask), second_eigenpair(mask)
    trivial = float(mask.row_degrees[0] * mask.column_degrees[0])
    entries = gram_matrix(gram)
    slack = cholesky_slack(gram.size, trivial, truth)
    assert slack < 1e-9
    assert cholesky_below(gram, trivial, truth + slack, entries)
    assert not cholesky_below(gram, trivial, truth, entries)
    assert not cholesky_below(gram, trivial, truth - slack, entries)
    assert not cholesky_below(gram, 0.0, truth + slack, entries)  # the trivial pair is still there


def test_cholesky_never_certifies_what_is_false():
    """Down to the last bits below the truth: the allowance for rounding keeps it from saying yes."""
    for seed in range(20):
        mask = known.random_lift(3, 3, 12, seed)
        gram, (truth, _) = deflated(mask), second_eigenpair(mask)
        entries = gram_matrix(gram)
        for ulps in range(0, 200, 20):
            assert not cholesky_below(gram, 9.0, truth * (1 - ulps * 2.0**-52), entries)


def test_cholesky_with_an_inexact_trivial_vector_is_still_an_upper_bound():
    mask = known.random_pattern(40, 60, 0.2, 0)
    gram, (truth, _) = Gram(mask), second_eigenpair(mask)
    value, vector, _ = perron_pair(gram, silent)
    entries = gram_matrix(gram)
    gram.direction = vector
    assert cholesky_below(gram, value, truth * (1 + 1e-10), entries)
    assert not cholesky_below(gram, value, truth * (1 - 1e-10), entries)
    crooked = vector + 0.05 * np.random.default_rng(0).standard_normal(40)
    gram.direction = crooked / math.sqrt(crooked @ crooked)
    assert not cholesky_below(gram, value, truth * (1 - 1e-10), entries)
    assert not cholesky_below(gram, value, truth * (1 + 1e-10), entries)
    assert cholesky_below(gram, value, truth + 0.9 * (value - truth), entries)
