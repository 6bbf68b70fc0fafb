"""Two-stage masks: against the definition tried one by one, and against the product of the stages' matrices."""

import collections
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from sao_cli.base.errors import DeadlineError, InfeasibleError
from sao_cli.data.mask import Mask
from sao_cli.masks import two_stage as module
from sao_cli.masks.degrees import feasible_degrees, resolve_degree
from sao_cli.masks.ramanujan import ramanujan_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.masks.two_stage import find_stages, two_stage, two_stage_factors, two_stage_mask
from sao_cli.masks.xnet import xnet_mask
from sao_cli.measure.graph.expansion import expansion

SHAPES = [(m, n) for m, n in itertools.product(range(4, 49), repeat=2) if two_stage_factors(m, n)]


@st.composite
def sizes(draw):
    """(m, n, d) of a feasible two-stage mask."""
    m, n = draw(st.sampled_from(SHAPES))
    return m, n, draw(st.sampled_from(feasible_degrees(m, n, "two-stage")))


def quotient_of(stages):
    """(q, k) 0/1 matrix: which group of the second stage shares a hidden node with which group of the first."""
    of_first, of_second = stages.first.groups.rows, stages.second.groups.columns
    quotient = np.zeros((stages.second.groups.count, stages.first.groups.count))
    quotient[of_second, of_first] = 1
    return quotient


def singular_values(mask):
    return np.linalg.svd(mask.to_dense(float), compute_uv=False)


@given(st.integers(1, 36), st.integers(1, 36))
def test_factors_are_those_that_the_definition_allows(m, n):
    """Both stages SAO masks, degrees of 2 and more all round, and room for p different edges in the quotient."""
    p = min(m, n)
    expected = collections.defaultdict(set)
    for a, b in itertools.product(range(2, n + 1), range(2, p + 1)):
        if a not in feasible_degrees(p, n) or b not in feasible_degrees(m, p):
            continue
        groups, c = n // a, p * a // n  # of the first stage; a group of the second reads b of these groups
        if c >= 2 and b <= groups and c <= p // b:
            expected[a * b].add((a, b))
    found = two_stage_factors(m, n)
    assert {d: set(pairs) for d, pairs in found.items()} == expected
    assert list(found) == sorted(found) == feasible_degrees(m, n, "two-stage")
    for pairs in found.values():
        ratios = [max(p * a // n, b) / min(p * a // n, b) for a, b in pairs]  # of the quotient's two degrees
        assert ratios == sorted(ratios)


@given(sizes(), st.integers(0, 3))
def test_the_mask_is_the_product_of_two_sao_stages_with_one_path_at_most(shape, seed):
    m, n, d = shape
    stages = two_stage(m, n, d, seed=seed)
    a, b = stages.mask.provenance["stages"]
    p = min(m, n)
    assert a * b == d
    assert (stages.first.shape, stages.second.shape) == ((p, n), (m, p))
    for stage, degree in ((stages.first, a), (stages.second, b)):
        groups = stage.n // degree
        assert set(stage.row_degrees.tolist()) == {degree}
        np.testing.assert_allclose(
            singular_values(stage)[:groups], math.sqrt(stage.m * degree / groups), rtol=1e-12
        )  # groups times sqrt(c d) with c = m/groups: disjoint complete bipartite graphs, nothing else has these
        assert stage.groups.count == groups
    paths = stages.second.to_dense(int) @ stages.first.to_dense(int)
    np.testing.assert_array_equal(paths, stages.mask.to_dense(int))
    assert stages.mask == two_stage_mask(m, n, d, seed=seed)


@given(sizes(), st.integers(0, 3))
def test_it_is_connected_and_biregular(shape, seed):
    m, n, d = shape
    mask = two_stage_mask(m, n, d, seed=seed)
    assert set(mask.row_degrees.tolist()) == {d}
    assert set(mask.column_degrees.tolist()) == {m * d // n}
    assert connected_components(np.block([[np.zeros((m, m)), mask.to_dense(float)], [np.zeros((n, m + n))]]))[0] == 1


@settings(max_examples=40)
@given(sizes(), st.integers(0, 3))
def test_its_singular_values_are_those_of_the_quotient_scaled(shape, seed):
    """M = E Q F with E^T E = (m/q) I and F F^T = a I: sqrt(a m/q) times those of Q, and zeros."""
    m, n, d = shape
    stages = two_stage(m, n, d, seed=seed)
    a, b = stages.mask.provenance["stages"]
    quotient = quotient_of(stages)
    scale = math.sqrt(a * m * b / min(m, n))
    expected = np.zeros(min(m, n))
    of_quotient = scale * np.linalg.svd(quotient, compute_uv=False)
    expected[: len(of_quotient)] = of_quotient
    np.testing.assert_allclose(singular_values(stages.mask), expected, atol=1e-6)
    report = expansion(stages.mask)
    assert report.connected
    assert report.lambda_1 == pytest.approx(math.sqrt(d * m * d / n))
    assert report.lambda_2 == pytest.approx(expected[1], abs=1e-6)


@pytest.mark.parametrize(("n", "ramanujan"), [(6, True), (8, True), (10, True), (14, False), (64, False)])
def test_degree_four_meets_the_bound_only_while_the_quotient_cycle_is_short(n, ramanujan):
    """The quotient is a cycle of n/2 + n/2 nodes, lambda_2 = 4 cos(2 pi/n), against 2 sqrt(3) (equal at n = 12)."""
    report = expansion(two_stage_mask(n, n, 4, seed=1))
    assert report.lambda_2 == pytest.approx(4 * math.cos(2 * math.pi / n))
    assert report.ramanujan is ramanujan


def test_groups_are_uniformly_random():
    """6 x 6, d = 4, 3000 draws: the zeros of row 0 over 15 pairs, the row equal to it over 5; chi-square at 0.999."""
    zeros, twins = collections.Counter(), collections.Counter()
    for seed in range(3000):
        dense = two_stage_mask(6, 6, 4, seed=seed).to_dense()
        zeros[tuple(np.flatnonzero(~dense[0]).tolist())] += 1
        twins[int(np.flatnonzero((dense[1:] == dense[0]).all(axis=1))[0])] += 1
    assert len(zeros) == 15
    assert sum((count - 200) ** 2 / 200 for count in zeros.values()) < 36.1
    assert len(twins) == 5
    assert sum((count - 600) ** 2 / 600 for count in twins.values()) < 18.5


@given(sizes(), st.integers(0, 3))
def test_stages_are_found_in_any_order_of_rows_and_columns(shape, seed):
    mask = two_stage_mask(*shape, seed=seed)
    rng = np.random.default_rng(seed)
    shuffled = mask.to_dense()[rng.permutation(mask.m)][:, rng.permutation(mask.n)]
    stages = find_stages(Mask.from_dense(shuffled))
    assert stages is not None
    np.testing.assert_array_equal(stages.second.to_dense(int) @ stages.first.to_dense(int), shuffled)
    assert stages.first.groups is not None
    assert stages.second.groups is not None


def test_stages_are_found_in_disconnected_products_too():
    stages = find_stages(sao_mask(16, 16, 4, seed=1))
    assert set(stages.first.row_degrees.tolist()) == set(stages.second.row_degrees.tolist()) == {2}
    np.testing.assert_array_equal(
        stages.second.to_dense(int) @ stages.first.to_dense(int), sao_mask(16, 16, 4, seed=1).to_dense()
    )


@pytest.mark.parametrize(
    "mask",
    [
        ramanujan_mask(32, 32, 4),  # the degrees would do, equal rows and columns are missing
        sao_mask(12, 12, 3),  # no degree a b
        xnet_mask(32, 32, 4),
        Mask.from_dense(np.tile([[1, 0]], (8, 4))),  # dead columns
        Mask.from_entries([], [], (8, 8)),
        Mask.from_dense([[1]]),
        Mask.from_dense(np.kron(ramanujan_mask(8, 16, 4).to_dense(), np.ones((2, 1)))),  # equal rows, columns differ
        Mask.from_dense(np.kron(ramanujan_mask(16, 8, 2).to_dense(), np.ones((1, 2)))),
    ],
)
def test_other_masks_have_no_stages(mask):
    assert find_stages(mask) is None


def test_infeasible_degrees_are_refused_with_the_rule_and_the_nearest():
    with pytest.raises(InfeasibleError) as caught:
        two_stage_mask(256, 128, 5)
    assert "no two-stage mask of 256 x 128 with d = 5: d must be a*b with k = 128/a a divisor of 128" in str(
        caught.value
    )
    assert "nearest feasible (c, d): (8, 4), (16, 8), (32, 16)" in str(caught.value)
    with pytest.raises(InfeasibleError, match=r"no two-stage mask of 7 x 7: d must be a\*b"):
        resolve_degree(7, 7, "two-stage")
    assert resolve_degree(256, 256, "two-stage") == 4


def test_disconnected_quotients_are_drawn_again_and_given_up_by_saying_so(monkeypatch):
    draws = []

    def disconnected(m, n, d, **_):
        draws.append(d)
        return sao_mask(m, n, d)

    monkeypatch.setattr(module, "biregular_mask", disconnected)
    with pytest.raises(DeadlineError, match="none of 200 random quotients of 9 x 9 with 3 ones a row was connected"):
        two_stage_mask(27, 27, 9)
    assert draws == [3] * 200
    assert two_stage_mask(64, 64, 4).nnz == 256  # a quotient of degree 2 is one cycle: no draws at all
