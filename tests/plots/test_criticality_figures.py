"""Pictures of the edge of chaos: what is drawn is what was given, and its labels say what it is."""

import numpy as np
import pytest

from sao_cli import criticality
from sao_cli.plots import correlation_figure, phase_figure, slope_figure, variance_depth_figure, variance_map_figure


@pytest.fixture(scope="module")
def row():
    return criticality("crelu", activation_sparsity=0.85, slope=0.5)[0]


def labels(panel):
    return panel.get_xlabel(), panel.get_ylabel()


def test_the_map_marks_fixed_points_by_their_stability_and_steps_between_layers(row):
    q = np.linspace(0, 2, 5)
    above, below = variance_map_figure(row, q, q / 2 + 0.5, np.array([[1.0, 0.9, 1.2]])).axes
    assert labels(above) == ("q, the mean square of a layer's sums", "V(q) - q")
    [_, curve, marks] = above.lines
    np.testing.assert_allclose(curve.get_ydata(), 0.5 - q / 2)
    assert (marks.get_xdata().tolist(), marks.get_label()) == ([row.q_star], "stable")
    steps = below.lines[-1].get_xydata()
    assert steps.tolist() == [[1.0, 1.0], [1.0, 0.9], [0.9, 0.9], [0.9, 1.2], [1.2, 1.2]]


def test_a_map_of_rounding_alone_is_flat():
    [row] = criticality("relu")
    q = np.linspace(0, 2, 5)
    above, _ = variance_map_figure(row, q, q * (1 + 2e-16), np.ones((2, 3))).axes
    assert above.get_ylim() == (-0.5, 0.5)


def test_the_plane_shades_the_regions_that_there_are(row):
    counts = np.array([[0, 1], [1, 3]])
    figure = phase_figure(row, np.array([0, 1.0]), np.array([0, 4.0]), counts, (np.array([0.5]), np.array([2.0])))
    [panel] = figure.axes
    assert labels(panel) == ("sigma_b, the spread of the biases", "sigma_w, the scale of the weights")
    assert panel.collections[0].get_array().tolist() == [[0, 1], [1, 2]]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["no fixed point", "one", "several", "edge of chaos", "here"]
    assert panel.lines[-1].get_xydata().tolist() == [[row.sigma_b, row.sigma_w]]


def test_slopes_are_dashed_where_there_are_others(row):
    alone = np.array([True, True, False])
    [panel] = slope_figure(row, np.arange(3.0), np.array([0.1, 0.5, 0.9]), alone, (row.clip, row.slope)).axes
    _, first, second, here = panel.lines
    assert np.isnan(first.get_ydata()).tolist() == [False, False, True]
    assert np.isnan(second.get_ydata()).tolist() == [True, True, False]
    assert here.get_xydata().tolist() == [[row.clip, row.slope]]


def test_quantiles_are_over_chains(row):
    chains = np.array([[1.0, 0.5], [1.0, 1.5], [1.0, 0.7]])
    inputs = np.array([[2.0, 3.0], [4.0, np.inf]])
    figure = variance_depth_figure(row, 300, (chains, chains / 2), (inputs, inputs / 4))
    above, below = figure.axes
    assert above.lines[0].get_ydata().tolist() == [1.0, 0.7]
    assert below.lines[0].get_ydata().tolist() == [0.5, 0.35]
    assert below.lines[1].get_ydata()[0] == row.activation_sparsity
    assert figure.legends[0].get_title().get_text() == "3 chains of width 300, and one network at 2 inputs"
    assert above.lines[-1].get_xydata().tolist() == [[1.0, 3.0]]  # where all inputs are finite
    assert below.lines[-1].get_xydata().tolist() == [[1.0, 0.75]]
    assert above.get_yscale() == "linear"


def test_a_runaway_is_on_a_logarithmic_axis_and_what_is_never_0_has_no_share(row):
    [panel] = variance_depth_figure(row, 9, *[(np.array([[1.0, 1e200]]), np.zeros((1, 2)))] * 2).axes
    assert panel.get_yscale() == "log"


def test_correlations_have_their_law(row):
    [panel] = correlation_figure(row, {1.0: np.array([1.0, 0.5, 0.25])}).axes
    curve, law = panel.lines
    assert curve.get_xydata().tolist() == [[1, 0.5], [2, 0.25]]
    np.testing.assert_allclose(law.get_ydata(), row.kappa / np.array([1, 4]))
    [chaotic] = criticality("tanh", sigma_w=1.5811, sigma_b=0.2236)
    [panel] = correlation_figure(chaotic, {1.0: np.array([1.0, 0.5, 0.25])}).axes
    assert panel.lines[1].get_ydata()[0] == pytest.approx(1 - chaotic.fixed_points[0].correlation)
    [linear] = criticality("linear")
    [panel] = correlation_figure(linear, {1.0: np.array([1.0, 1.0])}).axes
    assert len(panel.lines) == 1
