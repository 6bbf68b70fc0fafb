"""One drawn network: wide layers follow the map, and inputs that share their weights come together at the edge."""

import numpy as np
import pytest

from sao_cli.base.errors import SaoError
from sao_cli.measure.criticality.drawn_network import drawn_signals
from sao_cli.measure.criticality.variance_map import VarianceMap, edge_of_chaos
from sao_cli.measure.layer.activations import ActivationFunction

CST = ActivationFunction("cst", tau=1.4395314709384557, clip=1.0016263473668099)


def test_wide_layers_follow_the_map():
    """Within five standard errors of one network's mean over its units, from a q that is not fixed."""
    wide = edge_of_chaos(CST, 1.0)
    found = drawn_signals(wide, 2.0, depth=4, width=3000, inputs=8, seed=3)
    expected = [2.0]
    for _ in range(3):
        expected.append(float(wide.value(expected[-1])))
    for layer, q in enumerate(expected):
        moments = wide.moments(q)
        spread = wide.sigma_w**2 * float(moments.fourth - moments.square**2) ** 0.5 + q
        assert found.q[:, layer].mean() == pytest.approx(q, abs=5 * 2 * spread / 3000**0.5)
    assert found.inactive[:, 0].mean() == pytest.approx(0.6913, abs=0.02)  # 2 Phi(tau/sqrt 2) - 1


def test_inputs_of_one_network_come_together_at_the_edge_and_not_in_chaos():
    def spread(sigma_w):
        found = drawn_signals(VarianceMap(ActivationFunction("tanh"), sigma_w, 0.5), 1.0, depth=40, width=200)
        return found.q[:, -1].std()

    assert spread(0.5) < 1e-6 < 1e-2 < spread(3.0)


def test_more_layers_leave_the_first_as_they_are():
    few, many = (drawn_signals(edge_of_chaos("tanh", 1.0), 1.0, depth=depth, width=20) for depth in (3, 5))
    np.testing.assert_array_equal(few.q, many.q[:, :3])


def test_what_no_input_gives_is_refused():
    with pytest.raises(SaoError, match="biases alone give"):
        drawn_signals(VarianceMap(ActivationFunction("tanh"), 1.0, 2.0), 1.0, depth=2, width=4)
    with pytest.raises(SaoError, match="inputs 0"):
        drawn_signals(edge_of_chaos("tanh", 1.0), 1.0, depth=2, width=4, inputs=0)
