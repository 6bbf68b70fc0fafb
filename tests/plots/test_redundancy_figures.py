"""Pictures of redundancy: what they draw, against the numbers that they are given, by other routes."""

import numpy as np
import pytest
from scipy.integrate import quad

from sao_cli.base.errors import SaoError
from sao_cli.measure.redundancy.cosines import cosine_histogram, random_cosine_cdf
from sao_cli.measure.redundancy.fusing_curve import fusing_curve
from sao_cli.models.rank_row import rank_weight
from sao_cli.plots import cosine_figure, fusing_figure, singular_value_figure

WEIGHT = np.random.default_rng(0).standard_normal((12, 8))
WEIGHT[3], WEIGHT[7] = 2 * WEIGHT[5], 0
ROW = rank_weight(WEIGHT, name="0.weight")


def points(line):
    return np.column_stack((line.get_xdata(), line.get_ydata()))


@pytest.mark.parametrize("length", [2, 3, 4, 9, 784])
def test_random_directions_have_the_density_that_is_told(length):
    """At length 2 the density has a pole at 1, so the integrals stop short of it."""
    whole, _ = quad(lambda angle: np.sin(angle) ** (length - 2), 0, np.pi / 2)  # c = cos(angle)
    for c in (0.01, 0.3, 0.9):
        part, _ = quad(lambda c: (1 - c * c) ** ((length - 3) / 2), 0, c)
        assert random_cosine_cdf(c, length) == pytest.approx(part / whole, rel=1e-9)
    assert random_cosine_cdf([0.0, 1.0, 2.0], length).tolist() == [0, 1, 1]


def test_on_a_line_all_are_parallel():
    found = cosine_histogram(np.array([[1.0], [-2.0], [3.0]]), bins=4)
    assert found.shares.tolist() == found.expected.tolist() == [0, 0, 0, 1]


def test_shares_are_those_of_all_pairs_of_what_is_not_zero():
    found = cosine_histogram(WEIGHT, bins=10)
    live = np.delete(WEIGHT, 7, axis=0)
    pairs = [abs(u @ v) / np.sqrt(u @ u * (v @ v)) for k, u in enumerate(live) for v in live[:k]]
    expected, _ = np.histogram(np.minimum(pairs, 1), np.linspace(0, 1, 11))
    assert (found.vectors, found.sampled, found.pairs) == (11, 11, 55)
    assert np.allclose(found.shares * 55, expected)


def test_a_sample_is_the_seed_s_and_is_near_the_whole():
    vectors = np.random.default_rng(1).standard_normal((400, 5)).astype(np.float32)
    found, again, other = (cosine_histogram(vectors, bins=5, most=100, seed=seed) for seed in (0, 0, 1))
    assert found.sampled == 100
    assert found.shares.tolist() == again.shares.tolist() != other.shares.tolist()
    assert np.abs(found.shares - found.expected).max() < 0.03
    assert found.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("vectors", [np.zeros((3, 2)), np.ones((1, 4))])
def test_without_pairs_there_are_no_shares(vectors):
    assert not cosine_histogram(vectors).shares.any()


def test_cosines_are_drawn_beside_random_ones_with_the_nearest_and_the_threshold():
    both = cosine_histogram(WEIGHT.T, bins=10), cosine_histogram(WEIGHT, bins=10)
    figure = cosine_figure([ROW], [both], 1e-4)
    columns, random, nearest, *_, tau = figure.axes[0].lines
    there = both[0].shares > 0
    assert np.allclose(points(columns), np.column_stack((np.arange(0.05, 1, 0.1), both[0].shares))[there])
    assert np.allclose(random.get_ydata(), both[0].expected)
    assert nearest.get_xdata() == [ROW.columns.max_cosine]
    assert tau.get_xdata() == [1 - 1e-4] * 2
    assert "drawn at random" not in figure.get_supxlabel()
    sampled = [cosine_histogram(WEIGHT, bins=10, most=4)] * 2
    assert "all pairs of up to 4 drawn at random" in cosine_figure([ROW] * 22, [sampled] * 22, 0).get_supxlabel()
    assert "(the first 20 of 22 layers)" in cosine_figure([ROW] * 22, [sampled] * 20, 0).get_supxlabel()


def test_singular_values_are_drawn_down_to_their_zeros_with_tau():
    [panel] = singular_value_figure([ROW]).axes
    values, tau = panel.lines
    assert np.allclose(values.get_ydata(), np.linalg.svd(WEIGHT, compute_uv=False))
    assert tau.get_ydata() == [ROW.tau] * 2
    [low] = singular_value_figure([rank_weight(np.outer(np.ones(3), np.ones(4)), name="w")]).axes
    assert len(low.lines[0].get_xdata()) == 1
    with pytest.raises(SaoError, match="no layer to draw"):
        singular_value_figure([])


def test_costs_are_those_of_fusing_and_rise_with_the_threshold():
    curve = fusing_curve(WEIGHT, (1e-6, 0.5), tau_euc=9)
    assert curve.saved[0] == 1 - 10 / 12
    assert curve.errors[0] < 1e-15
    assert curve.saved[1] > curve.saved[0]
    assert 0 < curve.errors[1] < 1
    above, below = fusing_figure([ROW], [curve], 1e-4, 9).axes
    assert np.allclose(below.lines[0].get_ydata(), 100 * curve.saved)
    assert np.allclose(above.lines[0].get_ydata(), np.where(curve.errors, curve.errors, np.nan), equal_nan=True)
    assert (above.get_yscale(), below.get_xlabel()) == ("log", "tau_cos, at tau_euc 9")
    assert [line.get_text() for line in above.figure.legends[0].get_texts()] == ["0.weight", "tau_cos 0.0001"]
    nothing = fusing_figure([ROW], [fusing_curve(np.eye(3), (1e-6,))], 0, 0.1).axes[0]
    assert nothing.texts[0].get_text() == "0 for each"
