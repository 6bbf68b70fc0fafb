"""The plane of sigma_w and sigma_b against edges of chaos and fixed points one by one."""

import math

import numpy as np
import pytest

from sao_cli import ActivationFunction, SaoError, VarianceMap, edge_of_chaos, fixed_variances
from sao_cli.measure.criticality.phase_plane import edge_curve, fixed_point_counts

CST = ActivationFunction("cst", tau=1.4395314709384557, clip=2.0)


@pytest.mark.parametrize("function", [CST, ActivationFunction("tanh"), ActivationFunction("relu")], ids=str)
def test_the_curve_is_edge_after_edge(function):
    q = np.array([[0.3, 1.0], [4.0, 20.0]])
    curve = edge_curve(function, q)
    for place in np.ndindex(q.shape):
        edge = edge_of_chaos(function, q[place])
        assert (curve.sigma_w[place], curve.sigma_b[place]) == pytest.approx((edge.sigma_w, edge.sigma_b), rel=1e-12)


def test_there_is_no_curve_where_there_is_no_edge():
    curve = edge_curve("sigmoid", [1.0, 40.0, 60.0])
    assert np.isnan(curve.sigma_w).tolist() == np.isnan(curve.sigma_b).tolist() == [True, True, False]


def test_counts_are_those_of_all_fixed_points():
    sigma_w, sigma_b = np.linspace(2.0, 3.2, 7), np.linspace(0.6, 1.0, 5)
    counts = fixed_point_counts(CST, sigma_w, sigma_b)
    exact = [[len(fixed_variances(VarianceMap(CST, across, up))) for across in sigma_w] for up in sigma_b]
    assert counts.tolist() == exact
    assert {1, 3} <= set(counts.flat)


def test_what_is_no_deviation_is_refused():
    with pytest.raises(SaoError, match=r"sigma -1\.0"):
        fixed_point_counts("tanh", [1.0], [-1.0])
    with pytest.raises(SaoError, match="sigma nan"):
        fixed_point_counts("tanh", [math.nan], [1.0])
