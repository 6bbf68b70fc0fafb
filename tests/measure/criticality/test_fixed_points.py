"""All fixed points: known ones, double roots, neutral ones, 0, and whether the map goes to them."""

import math

import numpy as np
import pytest

from sao_cli import ActivationFunction, VarianceMap, edge_of_chaos, fixed_variances, sparse_activation
from sao_cli.measure.criticality.fixed_points import attracting
from sao_cli.measure.criticality.moments import inactive_share

TANH = ActivationFunction("tanh")


@pytest.mark.parametrize(
    ("name", "clip", "expected"),
    [
        (
            "cst",
            2.0,
            [
                (1.0, 0.9711838757284684, 1.0, 0.85),
                (1.049599919570919, 1.028290739518078, 1.0654888831092, 0.8400104140686532),
                (12.193118872907318, 0.4965968562342116, 2.379485630604413, 0.3198459610437079),
            ],
        ),
        (
            "crelu",
            2.0,
            [
                (1.0, 0.9466362386442033, 1.0, 0.85),
                (1.234766387161755, 1.0428104232568478, 1.1581850400062754, 0.8245164504956028),
                (3.4765254748842427, 0.8320846836124546, 1.595691386370456, 0.7108481459489425),
            ],
        ),
        ("cst", 1.0, [(1.0, 0.6991491895235725, 1.0, 0.85)]),
    ],
)
def test_known_fixed_points_and_no_others(name, clip, expected):
    edge = edge_of_chaos(sparse_activation(name, activation_sparsity=0.85, clip=clip))
    points = fixed_variances(edge)
    told = [(p.q, p.slope, float(edge.chi_1(p.q)), float(inactive_share(edge.activation, p.q))) for p in points]
    np.testing.assert_allclose(told, expected, rtol=1e-7)
    assert [point.stability for point in points] == ["stable", "unstable", "stable"][: len(points)]


@pytest.mark.parametrize("name", ["relu-tau", "soft-threshold"])
@pytest.mark.parametrize("q_star", [0.01, 1.0, 37.0])
def test_a_double_root_is_found_though_no_sign_changes(name, q_star):
    edge = edge_of_chaos(sparse_activation(name, activation_sparsity=0.85, q_star=q_star), q_star)
    assert [(point.q, point.stability) for point in fixed_variances(edge, q_star)] == [(q_star, "half-stable")]
    q = q_star * np.array([0.9, 0.99, 1.01, 1.1])
    assert (edge.value(q) > q).all()


def test_a_pair_beside_where_the_map_nearly_touches_is_told_from_a_double_root():
    edge = edge_of_chaos(sparse_activation("relu-tau", activation_sparsity=0.85))
    lower = VarianceMap(edge.activation, edge.sigma_w, math.sqrt(edge.sigma_b**2 - 1e-9))
    points = fixed_variances(lower)
    assert [point.stability for point in points] == ["stable", "unstable"]
    assert points[1].q - points[0].q == pytest.approx(2 * math.sqrt(2e-9 / 0.8055117990879825), rel=1e-3)
    assert not fixed_variances(VarianceMap(edge.activation, edge.sigma_w, math.sqrt(edge.sigma_b**2 + 1e-9)))


@pytest.mark.parametrize("name", ["relu", "leaky-relu", "linear"])
def test_where_every_variance_is_kept_one_stands_for_all(name):
    assert [(p.q, p.stability) for p in fixed_variances(edge_of_chaos(name), 3.0)] == [(3.0, "neutral")]


@pytest.mark.parametrize(
    ("name", "sigma_w", "expected"),
    [
        ("tanh", 0.9, [(0.0, 0.81, "stable")]),
        ("tanh", 1.0, [(0.0, 1.0, "stable")]),
        ("tanh", 1.5, [(0.0, 2.25, "unstable"), (None, None, "stable")]),
        ("relu", 1.0, [(0.0, 0.5, "stable")]),
        ("selu", 0.5, [(0.0, 0.25 * 1.0507009873554805**2 * (1 + 1.6732632423543772**2) / 2, "stable")]),
        ("sigmoid", 1.0, [(None, None, "stable")]),
        ("sigmoid", 0.0, [(0.0, 0.0, "stable")]),
    ],
)
def test_zero_is_one_where_nothing_is_added(name, sigma_w, expected):
    variance_map = VarianceMap(ActivationFunction(name), sigma_w, 0.0)
    points = fixed_variances(variance_map)
    assert [point.stability for point in points] == [stability for _, _, stability in expected]
    for point, (q, slope, _) in zip(points, expected, strict=True):
        assert point.q == q or (q is None and float(variance_map.value(point.q)) == pytest.approx(point.q, rel=1e-13))
        assert slope is None or point.slope == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(
    ("variance_map", "start"),
    [
        (VarianceMap(TANH, math.sqrt(1.3), math.sqrt(0.05)), 1.0),
        (VarianceMap(TANH, 1.0, 0.0), 1.0),
        (VarianceMap(ActivationFunction("gelu"), 1.48, 0.26), 0.9),
        (edge_of_chaos(sparse_activation("cst", activation_sparsity=0.85, clip=2.0)), 1.1),
    ],
)
def test_the_map_goes_where_it_is_said_to(variance_map, start):
    q = start
    for _ in range(250):  # tanh comes to 0 as 1/(2 l)
        q = float(variance_map.value(q))
    found = attracting(variance_map, fixed_variances(variance_map), start)
    assert found.q == pytest.approx(q, rel=1e-6, abs=3e-3)


def test_some_go_nowhere():
    variance_map = VarianceMap(ActivationFunction("relu"), 1.5, 0.1)
    assert fixed_variances(variance_map) == []
    assert attracting(variance_map, [], 1.0) is None
