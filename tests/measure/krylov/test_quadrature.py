"""Quadrature rules of Lanczos coefficients against the measures that they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.data.mask import Mask
from sao_cli.measure.krylov.lanczos import Gram, Lanczos
from sao_cli.measure.krylov.quadrature import (
    Distribution,
    Rule,
    distance,
    mean_distribution,
    quadrature_rule,
    resolution,
)


def coefficients(eigenvalues, start, steps):
    """Lanczos coefficients of diag(eigenvalues), all above 0 or one of them 0, from `start`."""
    size = len(eigenvalues)
    mask = Mask(np.arange(size + 1), np.arange(size), (size, size))
    process = Lanczos(Gram(mask, np.sqrt(eigenvalues)), start / np.linalg.norm(start))
    for _ in range(steps):
        process.step()
    return process.alphas, process.betas


def measure(size, seed=0, low=0.0):
    rng = np.random.default_rng(seed)
    start = rng.standard_normal(size)
    return rng.uniform(low, 1.0, size), start, start**2 / (start @ start)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7])
def test_a_rule_integrates_polynomials(steps):
    """Gauss: k nodes are exact up to degree 2k - 1, and not beyond."""
    eigenvalues, start, masses = measure(60)
    rule = quadrature_rule(*coefficients(eigenvalues, start, steps))
    for degree in range(2 * steps):
        assert rule.weights @ rule.nodes**degree == pytest.approx(masses @ eigenvalues**degree, rel=1e-10)
    assert rule.weights @ rule.nodes ** (2 * steps) < masses @ eigenvalues ** (2 * steps) * (1 - 1e-9)


def test_zeros_below_a_gap_become_an_atom_at_zero():
    eigenvalues, start, masses = measure(200, low=0.25)
    eigenvalues[:60] = 0.0
    rule = quadrature_rule(*coefficients(eigenvalues, start, 25))
    assert (rule.nodes[0], rule.widths[0], rule.lumps[0]) == (0, 0, rule.weights[0])
    assert rule.weights[0] == pytest.approx(masses[:60].sum(), abs=1e-9)


@pytest.mark.parametrize("steps", [8, 12, 16, 24])
def test_a_cluster_near_zero_is_near_zero_and_not_at_it(steps):
    """Before and after copies of it have come: the gap above it, up to 0.5, stays empty."""
    eigenvalues, start, masses = measure(400, low=0.25)
    eigenvalues[:160] *= 1e-5
    share = masses[:160].sum()
    curve = mean_distribution([quadrature_rule(*coefficients(eigenvalues, start, steps))])
    assert curve.cdf(np.zeros(1)) == 0
    assert curve.cdf(np.array([0.015, 0.1, 0.45])) == pytest.approx(np.full(3, share), abs=0.01)


@pytest.mark.parametrize("steps", [20, 41, 80])
def test_a_density_that_ends_at_zero_has_no_lump_there(steps):
    """The singular values of square matrices: density 1/sqrt(lambda), of which the first node sees more than half."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal(20_000)
    rule = quadrature_rule(*coefficients(rng.random(20_000) ** 2, start, steps))
    assert rule.widths[0] == pytest.approx(3 * rule.nodes[0])
    assert rule.lumps[0] == 0


def test_a_space_that_is_used_up_gives_the_measure_itself():
    eigenvalues = np.repeat([0.0, 0.25, 1.0], [3, 4, 5])
    _, start, masses = measure(12)
    alphas, betas = coefficients(eigenvalues, start, 3)
    rule = quadrature_rule(alphas, [*betas[:-1], 0.0])
    assert rule.nodes == pytest.approx([0, 0.25, 1], abs=1e-12)
    assert rule.nodes[0] == 0
    assert rule.lumps == pytest.approx([masses[:3].sum(), masses[3:7].sum(), masses[7:].sum()], abs=1e-12)
    assert not rule.widths.any()


def test_copies_that_rounding_makes_count_as_one():
    """Far beyond the step at which the outlier has converged: without joining, its copies would share its weight."""
    eigenvalues, start, masses = measure(400, low=0.5)
    eigenvalues[0] = 9.0
    rule = quadrature_rule(*coefficients(eigenvalues, start, 150))
    assert len(rule.nodes) < 150
    assert rule.nodes[-1] == pytest.approx(9)
    assert rule.weights[-1] == pytest.approx(masses[0], rel=1e-6)
    assert (rule.widths[-1], rule.lumps[-1]) == (0, rule.weights[-1])
    assert rule.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("low", [0.0, 0.5])
def test_a_smooth_measure_has_no_lumps_and_an_atom_in_it_has(low):
    """Now and then two nodes share the atom and neither counts as one; a few steps more or less, and one does."""
    eigenvalues, start, masses = measure(20_000, low=low)
    assert not quadrature_rule(*coefficients(eigenvalues, start, 40)).lumps.any()
    eigenvalues[:6000] = 0.8
    alphas, betas = coefficients(eigenvalues, start, 44)
    rules = [quadrature_rule(alphas[:steps], betas[:steps]) for steps in range(37, 45)]
    lumpy = [rule for rule in rules if rule.lumps.any()]
    assert len(lumpy) >= 6
    for rule in lumpy:
        assert np.count_nonzero(rule.lumps) == 1
        assert rule.nodes[rule.lumps.argmax()] == pytest.approx(0.8, abs=0.01)
    assert np.median([rule.lumps.max() for rule in lumpy]) == pytest.approx(masses[:6000].sum(), abs=0.02)


def rule_of(nodes, weights, lumps=None, widths=None):
    nodes, weights = np.array(nodes, dtype=float), np.array(weights, dtype=float)
    lumps = np.zeros(len(nodes)) if lumps is None else np.array(lumps, dtype=float)
    return Rule(nodes, weights, lumps, np.ones(len(nodes)) if widths is None else np.array(widths, dtype=float))


def test_a_curve_goes_through_the_middles_of_the_steps():
    distribution = mean_distribution([rule_of([1, 4, 9], [0.2, 0.6, 0.2])])
    x = np.array([0, 0.5, 1, 1.5, 2, 2.25, 2.5, 3, 4])
    assert distribution.cdf(x) == pytest.approx([0, 0.05, 0.1, 0.2, 0.5, 0.65, 0.8, 1, 1])


def test_weights_stay_near_their_nodes_beside_a_gap():
    """The first reaches 0.1 to the left, so 0.4 to the right; the second 0.1 to the right, so 0.4 to the left."""
    distribution = mean_distribution([rule_of([0.01, 4, 4.84], [0.5, 0.4, 0.1])])
    x = np.array([0, 0.05, 0.1, 0.3, 0.5, 1, 1.6, 1.8, 2])
    assert distribution.cdf(x) == pytest.approx([0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.6, 0.7])


def test_atoms_jump_and_clusters_spread():
    rule = rule_of([0, 1, 4], [0.25, 0.5, 0.25], lumps=[0.25, 0.5, 0.25], widths=[0, 0.19, 0])
    distribution = mean_distribution([rule])
    assert distribution.cdf(np.array([0.0, 0.9, 1.99, 2.0])) == pytest.approx([0.25, 0.25, 0.75, 1])
    assert distribution.cdf(np.array([0.0, 2.0]), "left") == pytest.approx([0, 0.75])
    assert distribution.cdf((np.sqrt([0.81]) + np.sqrt([1.19])) / 2) == pytest.approx([0.5])


def test_known_zeros_are_an_atom_up_to_the_first_weight():
    rules = [rule_of([0.1, 1], [0.3, 0.7], [0.2, 0]), rule_of([0.1, 1], [0.1, 0.9])]
    assert mean_distribution(rules, 0.25).cdf(np.zeros(1)) == pytest.approx([(0.25 + 0.1) / 2])
    assert mean_distribution(rules).cdf(np.zeros(1)) == 0
    assert mean_distribution(rules[:1], 0.25).cdf(np.sqrt([0.1, 1])) == pytest.approx([0.275, 1])
    cluster = mean_distribution([rule_of([0.1, 1], [0.3, 0.7], [0.2, 0], [0.05, 1])], 0.15)
    assert cluster.cdf(np.sqrt([0.0, 0.15, 1])) == pytest.approx([0.15, 0.27, 1], abs=0.02)
    seen = mean_distribution([rule_of([0, 1], [0.3, 0.7], [0.3, 0], [0, 1])], 0.25)
    assert seen.masses.sum() == pytest.approx(0.3)


def test_resolution_counts_the_change_twice_the_clusters_and_no_more_than_what_is_smooth():
    fine, coarse = rule_of([0, 1, 4], [0.2, 0.4, 0.4]), rule_of([0, 4], [0.4, 0.6])
    change = distance(mean_distribution([fine]), mean_distribution([coarse]))
    assert 0 < resolution([fine], [coarse]) == pytest.approx(2 * change)
    lumpy = rule_of([0, 1, 4], [0.2, 0.4, 0.4], lumps=[0, 0.3, 0])
    change = distance(mean_distribution([lumpy]), mean_distribution([coarse]))
    assert resolution([lumpy], [coarse]) == pytest.approx(2 * change + 0.3)
    sharp = rule_of([0, 1, 4], [0.5, 0.4, 0.1], lumps=[0.5, 0.4, 0], widths=[0, 0, 1])
    assert resolution([sharp], [coarse]) == pytest.approx(0.1)


@st.composite
def distributions(draw):
    grid = np.unique(draw(st.lists(st.integers(0, 12), min_size=2, max_size=5, unique=True))) / 4
    places = np.unique(draw(st.lists(st.integers(0, 12), max_size=4, unique=True))) / 4
    shares = np.array(draw(st.lists(st.integers(1, 9), min_size=len(grid), max_size=len(grid))), dtype=float)
    shares[0] = 0
    masses = np.array(draw(st.lists(st.integers(1, 9), min_size=len(places), max_size=len(places))), dtype=float)
    total = shares.sum() + masses.sum()
    return Distribution(grid, np.cumsum(shares) / total, places, masses / total)


@settings(max_examples=50)
@given(distributions(), distributions())
def test_the_distance_is_the_largest_gap_on_a_fine_grid(first, second):
    x = np.arange(-8, 57) / 16  # hits every point
    brute = max(np.abs(first.cdf(x, side) - second.cdf(x, side)).max() for side in ("left", "right"))
    assert distance(first, second) == pytest.approx(brute)
    assert first.scaled(2).cdf(2 * x) == pytest.approx(first.cdf(x))
    assert (np.diff(first.cdf(x)) >= -1e-15).all()
    assert first.cdf(x)[[0, -1]] == pytest.approx([0, 1])
