"""The rows of criticality: verdicts with all reasons, what needs a width, what is examined, and what is refused."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from sao_cli import ActivationFunction, SaoError, SaoWarning, criticality, weight_stack

SPARSE = {"activation_sparsity": 0.85}


def test_a_clipped_threshold_is_trainable_at_both_depths_from_one_set_of_chains():
    rows = criticality("cst", **SPARSE, slope=0.7, depths=(30, 100), width=300, chains=100)
    assert [(row.depth, row.verdict, row.trainable, row.reasons) for row in rows] == [
        (30, "trainable", True, ()),
        (100, "trainable", True, ()),
    ]
    assert {row.escape for row in rows} == {0.0}
    assert [row.jacobian.variance for row in rows] == pytest.approx(
        [30 * rows[0].sigma_w ** 2, 100 * rows[0].sigma_w ** 2]
    )
    assert rows[0].jacobian.mean == pytest.approx(1)
    assert (rows[0].xi_c, rows[0].correlation_law, rows[0].correlation_power) == (None, "algebraic", 2)
    json.dumps([row.to_dict() for row in rows], allow_nan=False)


@pytest.mark.parametrize("name", ["relu-tau", "soft-threshold"])
def test_without_a_clip_it_is_half_stable(name):
    [row] = criticality(name, **SPARSE)
    assert (row.verdict, row.trainable, row.escape) == ("half-stable", False, None)
    assert [(point.q, point.stability) for point in row.fixed_points] == [(1.0, "half-stable")]
    [row] = criticality(name, **SPARSE, width=300)
    assert row.escape > 0.2
    assert row.escape_stderr == pytest.approx(math.sqrt(row.escape * (1 - row.escape) / 400))
    assert f"as {row.escape:.1%} of networks of width 300 do" in row.reasons[0]
    assert row.trainable_depth < 30


def test_three_fixed_points_are_left():
    [row] = criticality("cst", **SPARSE, slope=0.9, width=300)
    q = [point.q for point in row.fixed_points]
    assert (row.verdict, row.escape_level) == ("several-fixed-points", pytest.approx(math.sqrt(q[1] * q[2])))
    assert row.escape == pytest.approx(0.19, abs=5 * row.escape_stderr)
    assert [point.phase for point in row.fixed_points] == ["critical", "chaotic", "chaotic"]
    with pytest.warns(SaoWarning, match="3 fixed points: a width tells how many networks leave"):
        [row] = criticality("cst", **SPARSE, slope=0.9)
    assert row.trainable


def test_where_every_variance_is_kept_networks_wander():
    shallow, deep = criticality("relu", width=300, depths=(30, 100))
    assert (shallow.verdict, shallow.fixed_points[0].stability) == ("trainable", "neutral")
    assert deep.reasons[0].startswith(f"several-fixed-points: every q is one, and {deep.escape:.1%} of networks")
    assert 30 < deep.trainable_depth < 100


def test_all_reasons_stand_the_worst_first():
    [row] = criticality("relu-tau", tau=2.0, sigma_w=1.0, sigma_b=0.0, width=10)
    assert [reason.partition(":")[0] for reason in row.reasons] == ["ordered", "too-sparse"]
    assert (row.q_star, row.activation_sparsity, row.xi_c, row.trainable_depth) == (0.0, 1.0, 0.0, 0)
    assert (row.jacobian.mean, row.jacobian.variance) == (0.0, None)
    [row] = criticality("crelu", activation_sparsity=0.95, slope=0.5, width=300)
    assert row.verdict == "too-sparse"
    assert "N (1 - s) = 15 units" in row.reasons[0]


def test_what_is_given_is_examined_at_the_fixed_point_that_it_comes_to():
    [row] = criticality("tanh", sigma_w=math.sqrt(1.3), sigma_b=math.sqrt(0.05), depths=[48])
    assert row.q_star == pytest.approx(0.315316, rel=2e-4)
    assert (row.verdict, row.trainable_depth, row.correlation_law) == ("ordered", 47, "exponential")
    assert (row.xi_q, row.xi_c) == pytest.approx((1.7852, 7.8341), rel=2e-4)
    assert row.jacobian.mean == pytest.approx(row.chi_1**48)
    with pytest.raises(SaoError, match=r"sigma_w 2 and sigma_b 0: from q = 1 the variance .* grows without end"):
        criticality("relu", sigma_w=2.0, sigma_b=0.0)


def test_a_critical_tanh_without_biases_is_examined_at_zero():
    [row] = criticality("tanh", sigma_w=1.0, sigma_b=0.0)
    assert (row.q_star, row.fixed_points[0].stability, row.verdict) == (0.0, "stable", "trainable")


@pytest.mark.parametrize(
    ("told", "spread"),
    [({}, 1), ({"d": 8}, 1.125), ({"weights": "orthogonal"}, 0), ({"weights": "orthogonal", "d": 8}, 0)],
)
def test_the_jacobian_by_the_weights(told, spread):
    [row] = criticality("relu", depths=[12], **told)
    assert (row.jacobian.mean, row.jacobian.variance) == pytest.approx((1, 12 * (1 + spread)))


def test_a_gaussian_on_a_sparse_mask_has_that_spread():
    """Of the squared singular values of 40 layers, within five standard errors: 1 + 1/d."""
    found = []
    for seed in range(40):
        [weight] = weight_stack([96, 96], method="rg-n", d=4, seed=seed)
        squares = np.linalg.svd(weight.to_dense(), compute_uv=False) ** 2
        found.append([squares.mean(), (squares**2).mean()])
    (mean, fourth), error = np.mean(found, axis=0), np.std(found, axis=0) / math.sqrt(len(found))
    assert mean == pytest.approx(1, abs=5 * error[0])
    assert fourth == pytest.approx(2 + 1 / 4, abs=5 * error[1])


def test_few_ones_on_living_units_are_warned_of():
    with pytest.warns(SaoWarning, match=r"d \(1 - s\) = 0.6 of .* d = 14 is better"):
        criticality("cst", **SPARSE, slope=0.5, d=4)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"activation": "sigmoid"}, r"no edge of chaos of sigmoid at q\* = 1: sigma_b\^2 would be -5.543346"),
        ({"activation": "softplus"}, r"sigma_b\^2 would be -2.140122"),
        ({"activation": "cst"}, "cst needs one of activation_sparsity and tau"),
        ({"activation": "cst", "tau": 1, "clip": 1, "slope": 0.5}, "cst needs one of slope and clip"),
        ({"activation": "tanh", "tau": 1}, "tanh takes no tau"),
        ({"activation": "relu-tau", "tau": 1, "clip": 2}, "relu-tau takes no clip"),
        ({"activation": "relu-tau", "activation_sparsity": 0}, "activation_sparsity 0: .* relu-tau is one-sided"),
        ({"activation": "cst", "activation_sparsity": 1, "clip": 1}, "activation_sparsity 1"),
        ({"activation": "cst", "activation_sparsity": 0.5, "slope": 1}, "slope 1: "),
        (
            {"activation": "cst", "activation_sparsity": 0.5, "slope": 1e-7},
            r"0.0001 to 40 sqrt\(q\*\) none have it",
        ),
        ({"activation": ActivationFunction("relu-tau", tau=1), "tau": 1}, r"relu-tau\(tau=1\) is a function as it is"),
        ({"activation": "relu", "q_star": 0}, "q_star 0"),
        ({"activation": "tanh", "q_star": 1e-320}, "1e-300 at least"),
        ({"activation": "relu", "sigma_w": 1}, "examined together"),
        ({"activation": "relu", "sigma_w": -1, "sigma_b": 0}, "sigma_w -1"),
        ({"activation": "relu", "depths": [0]}, "depth 0: it is a whole number from 1"),
        ({"activation": "relu", "depths": []}, "no depth"),
        ({"activation": "relu", "width": 0}, "width 0"),
        ({"activation": "relu", "width": 4, "d": 5}, "d 5: a row of a layer of width 4"),
        ({"activation": "relu", "width": 4, "chains": 0}, "chains 0"),
        ({"activation": "relu", "width": 10**12}, "choose fewer chains or a smaller width"),
        ({"activation": "relu", "weights": "gausian"}, "did you mean 'gaussian'"),
        ({"activation": "rleu"}, "did you mean 'relu'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(told, said):
    with pytest.raises(SaoError, match=said) as refused:
        criticality(**told)
    assert "\n" not in str(refused.value)


def test_neither_torch_nor_scipy_is_loaded():
    call = "sao_cli.criticality('cst', activation_sparsity=.8, slope=.5, width=9)"
    code = f"import sys, sao_cli; {call}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "scipy", "matplotlib"} & set(loaded)
