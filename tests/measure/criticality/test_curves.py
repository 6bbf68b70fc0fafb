"""The curves of pictures: slopes by the clip against clips by the slope, and a range with all fixed points in it."""

import numpy as np
import pytest

from sao_cli import criticality, edge_of_chaos, sparse_activation
from sao_cli.base.errors import SaoError
from sao_cli.measure.criticality.curves import map_of, slope_curve, variance_curve
from sao_cli.measure.layer.activations import ActivationFunction

CST = sparse_activation("cst", activation_sparsity=0.85, slope=0.9)


@pytest.mark.parametrize(("q_star", "slope"), [(1.0, 0.3), (4.0, 0.7)])
def test_slopes_by_the_clip_turn_clips_by_the_slope_round(q_star, slope):
    function = sparse_activation("crelu", activation_sparsity=0.85, slope=slope, q_star=q_star)
    curve = slope_curve(function, q_star)
    assert np.interp(function.clip, curve.clips, curve.slopes) == pytest.approx(slope, abs=2e-3)
    assert (np.diff(curve.slopes) > 0).all()


def test_a_steep_slope_is_not_alone():
    curve = slope_curve(CST, 1.0)
    assert curve.alone[np.searchsorted(curve.slopes, 0.7)]
    assert not curve.alone[np.searchsorted(curve.slopes, 0.9)]
    with pytest.raises(SaoError, match=r"relu-tau\(tau=1\) takes none"):
        slope_curve(ActivationFunction("relu-tau", 1.0), 1.0)


def test_a_row_tells_its_map_and_the_curve_holds_all_fixed_points():
    [row] = criticality(CST, width=10, chains=1)
    assert map_of(row) == edge_of_chaos(CST)
    q, values = variance_curve(map_of(row), [point.q for point in row.fixed_points], row.q_star)
    assert q[0] == 0 < row.fixed_points[-1].q < q[-1]
    changes = np.count_nonzero(np.diff(np.sign(values - q)))
    assert changes == len(row.fixed_points) == 3
