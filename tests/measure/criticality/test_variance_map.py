"""The edge of chaos: known values, from a share of zeros and a slope, at other q*, and where there is none."""

import math

import numpy as np
import pytest

from sao_cli import ActivationFunction, SaoError, VarianceMap, edge_of_chaos, sparse_activation
from sao_cli.measure.criticality.moments import inactive_share


@pytest.mark.parametrize(
    ("name", "share", "clip", "expected"),
    [
        ("cst", 0.85, 1.0, (1.4395314709384557, 2.718699753098352, 0.8361399228510996, 0.699149189523563)),
        ("soft-threshold", 0.7, None, (1.0364333894937898, 1.8257418583505542, 0.7326864454310444, 1.0)),
        ("relu-tau", 0.85, None, (1.0364333894937898, 2.581988897471612, 0.7326864454310444, 1.0)),
    ],
)
def test_values_of_thirty_digits(name, share, clip, expected):
    function = sparse_activation(name, activation_sparsity=share, clip=clip)
    edge = edge_of_chaos(function)
    assert (function.tau, edge.sigma_w, edge.sigma_b, float(edge.slope(1.0))) == pytest.approx(expected, rel=1e-9)
    assert float(edge.value(1.0)) == pytest.approx(1, rel=1e-14)
    assert float(edge.chi_1(1.0)) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize(
    ("name", "share", "clip", "curvature"),
    [("cst", 0.85, 1.0, 0.3943858443092013), ("relu-tau", 0.85, None, 0.8055117990879825)],
)
def test_curvatures_of_thirty_digits(name, share, clip, curvature):
    edge = edge_of_chaos(sparse_activation(name, activation_sparsity=share, clip=clip))
    assert edge.sigma_w**2 * float(edge.moments(1.0).curvature) == pytest.approx(curvature, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "slope", "expected"),
    [
        ("cst", 0.5, (0.6727491871328662, 2.9445200405736354, 0.8691132267063533)),
        ("crelu", 0.7, (1.1703673400915204, 2.7082871761553857, 0.771583344167356)),
    ],
)
def test_a_clip_is_found_by_the_slope_that_it_has(name, slope, expected):
    function = sparse_activation(name, activation_sparsity=0.85, slope=slope)
    edge = edge_of_chaos(function)
    assert (function.clip, edge.sigma_w, edge.sigma_b) == pytest.approx(expected, rel=1e-8)
    assert float(edge.slope(1.0)) == pytest.approx(slope, rel=1e-10)


@pytest.mark.parametrize("name", ["cst", "crelu"])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
@pytest.mark.parametrize("slope", [0.01, 0.5, 0.99])
def test_every_slope_is_had_by_one_clip(name, share, slope):
    function = sparse_activation(name, activation_sparsity=share, slope=slope, q_star=0.3)
    assert float(edge_of_chaos(function, 0.3).slope(0.3)) == pytest.approx(slope, rel=1e-9)
    assert float(inactive_share(function, 0.3)) == pytest.approx(share)


def test_another_q_star_is_a_rescaling():
    """At fixed s and slope: sigma_w and slopes stay, and tau, the clip and sigma_b go with sqrt(q*)."""
    one, four = (sparse_activation("cst", activation_sparsity=0.8, slope=0.6, q_star=q) for q in (1.0, 4.0))
    small, large = edge_of_chaos(one), edge_of_chaos(four, 4.0)
    assert (four.tau, four.clip) == pytest.approx((2 * one.tau, 2 * one.clip))
    assert (large.sigma_w, large.sigma_b) == pytest.approx((small.sigma_w, 2 * small.sigma_b))


def test_named_edges():
    relu = edge_of_chaos("relu", 7.0)
    assert (relu.sigma_w**2, relu.sigma_b) == (pytest.approx(2), 0.0)
    tanh = edge_of_chaos("tanh", 0.570048)  # Schoenholz et al. 2017 print 1.76 for sigma_b^2 = 0.05
    assert (tanh.sigma_w**2, tanh.sigma_b**2) == pytest.approx((1.760955, 0.05), rel=2e-6)


@pytest.mark.parametrize("name", ["gelu", "silu", "selu", "erf", "hard-tanh", "leaky-relu"])
def test_other_activations_have_an_edge_at_one(name):
    edge = edge_of_chaos(name)
    assert (float(edge.value(1.0)), float(edge.chi_1(1.0))) == pytest.approx((1, 1), rel=1e-12)


@pytest.mark.parametrize(
    ("activation", "q_star", "said"),
    [
        ("sigmoid", 1.0, r"at q\* = 1: sigma_b\^2 would be -5.543346, .* there is one at q\* from 45.7"),
        ("softplus", 1.0, r"sigma_b\^2 would be -2.140122, .* odd functions"),
        (ActivationFunction("relu-tau", tau=-0.25), 1.0, r"relu-tau\(tau=-0.25\) at q\* = 1: sigma_b\^2 would be -0.2"),
        (ActivationFunction("relu-tau", tau=50.0), 1.0, r"E phi'\^2 is 0 there"),
        ("relu", -1.0, "q_star -1"),
        ("relu", math.inf, "q_star inf"),
    ],
)
def test_where_there_is_none_the_error_tells_why_and_where_there_is(activation, q_star, said):
    with pytest.raises(SaoError, match=said):
        edge_of_chaos(activation, q_star)


def test_a_sigmoid_has_one_where_the_error_says():
    assert edge_of_chaos("sigmoid", 50.0).sigma_b > 0


def test_maps_take_arrays():
    edge = edge_of_chaos(ActivationFunction("cst", tau=1.0, clip=1.0))
    q = np.geomspace(1e-3, 1e3, 24).reshape(4, 6)
    assert edge.value(q).shape == edge.slope(q).shape == edge.chi_1(q).shape == (4, 6)
    with pytest.raises(SaoError, match="sigma_b nan"):
        VarianceMap(ActivationFunction("relu"), 1.0, math.nan)
