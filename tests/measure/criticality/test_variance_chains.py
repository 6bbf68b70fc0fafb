"""Chains of finite width: their law, who leaves, and the same numbers from the same seed."""

import math

import numpy as np
import pytest

from sao_cli import edge_of_chaos, sparse_activation, variance_chains
from sao_cli.measure.criticality.fixed_points import FixedVariance
from sao_cli.measure.criticality.variance_chains import escape_level, escaped, linearised_std
from sao_cli.measure.layer.activations import activation_value

CST = edge_of_chaos(sparse_activation("cst", activation_sparsity=0.85, slope=0.5))


def test_the_spread_is_the_linearised_one_within_a_twentieth():
    assert linearised_std(CST, 1.0, depth=100, width=300) == pytest.approx(0.0558, abs=2e-4)
    found = variance_chains(CST, 1.0, depth=40, width=300, chains=400)[:, 10:]
    assert found.std() == pytest.approx(0.0558, rel=0.05)


def test_the_spread_grows_without_end_where_nothing_pulls_back():
    edge = edge_of_chaos("relu")
    stds = [linearised_std(edge, 1.0, depth=depth, width=100) for depth in (1, 2, 5)]
    assert stds == pytest.approx([0.0, math.sqrt(5 / 100), math.sqrt(4 * 5 / 100)])
    found = variance_chains(edge, 1.0, depth=2, width=100, chains=4000)[:, 1]
    assert found.mean() == pytest.approx(1, abs=5 * found.std() / math.sqrt(4000))
    assert found.std() == pytest.approx(stds[1], rel=0.06)


def test_networks_of_that_width_have_the_same_law():
    """Real matrices and biases, one input: mean and standard deviation of q within five standard errors."""
    width, depth, rng = 60, 4, np.random.default_rng(3)
    chains = variance_chains(CST, 1.0, depth=depth, width=width, chains=2000)[:, -1]
    real = []
    for _ in range(1000):
        h, q = rng.standard_normal(width), 1.0
        for _ in range(depth - 1):
            x = activation_value(CST.activation, h)
            q = CST.sigma_b**2 + CST.sigma_w**2 * float(x @ x) / width
            weights = CST.sigma_w / math.sqrt(width) * rng.standard_normal((width, width))
            h = weights @ x + CST.sigma_b * rng.standard_normal(width)
        real.append(q)
    error = math.sqrt(chains.var() / chains.size + np.var(real) / len(real))
    assert chains.mean() == pytest.approx(np.mean(real), abs=5 * error)
    assert chains.std() == pytest.approx(np.std(real), rel=5 * math.sqrt(1 / 2000 + 1 / 1000))


def test_more_layers_leave_the_first_as_they_are():
    short, long = (variance_chains(CST, 1.0, depth=depth, width=20, chains=5, seed=3) for depth in (4, 9))
    np.testing.assert_array_equal(short, long[:, :4])
    assert (variance_chains(CST, 1.0, depth=4, width=20, chains=5, seed=4)[:, 1:] != short[:, 1:]).all()


def test_what_runs_away_stays_finite():
    edge = edge_of_chaos(sparse_activation("relu-tau", activation_sparsity=0.85))
    found = variance_chains(edge, 1e299, depth=6, width=5, chains=3)
    assert np.isfinite(found).all()


def points(*told):
    return [FixedVariance(q, 0.0, 0.0, stability) for q, stability in told]


@pytest.mark.parametrize(
    ("told", "q", "level"),
    [
        (points((1.0, "stable"), (2.0, "unstable"), (8.0, "stable")), 1.0, 4.0),
        (points((1.0, "stable"), (2.0, "unstable"), (8.0, "stable")), 2.0, 4.0),
        (points((1.0, "stable"), (2.0, "unstable"), (8.0, "stable")), 8.0, 80.0),
        (points((1.0, "half-stable")), 1.0, 10.0),
        (points((1.0, "half-stable"), (9.0, "stable")), 1.0, 3.0),
        (points((1.0, "stable"), (2.0, "unstable")), 1.0, 20.0),
        (points((0.0, "stable")), 0.0, 0.0),
    ],
)
def test_the_level_is_between_the_two_above_or_ten_times(told, q, level):
    assert escape_level(told, q) == pytest.approx(level)


def test_who_has_left_has_left():
    chains = np.array([[1.0, 5.0, 1.0, 1.0], [1.0, 1.0, 1.0, 9.0], [1.0, 1.0, 1.0, 1.0], [1.0, 4.0, 4.0, 4.0]])
    assert escaped(chains, 4.0).tolist() == [0.0, 0.25, 0.25, 0.5]
