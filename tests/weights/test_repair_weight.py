"""Repair: polar factors where they are possible, nearer to an isometry elsewhere, and nothing off the mask."""

import numpy as np
import pytest
from scipy.linalg import polar

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.masks.ramanujan import ramanujan_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.weights.isometry import isometry, structural_rank
from sao_cli.weights.repair_weight import repair, whole_matrix


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9)])
def test_a_dense_matrix_becomes_its_polar_factor(shape):
    weight = 0.3 * normal(*shape)
    found = repair(weight, gain=1.0)
    np.testing.assert_allclose(found.weight, polar(weight)[0], atol=1e-14)
    assert found.after.residual < 1e-13
    values = np.linalg.svd(weight, compute_uv=False)
    assert found.before.residual == pytest.approx(np.linalg.norm(values**2 - 1), rel=1e-12)
    assert found.before.sigma_min == pytest.approx(values[-1], rel=1e-12)


def test_each_group_of_an_sao_mask_becomes_its_own_polar_factor():
    mask = sao_mask(12, 8, 4)
    weight = mask.to_dense() * normal(12, 8)
    found = repair(weight, gain=2.0)
    for group in range(2):
        block = np.ix_(mask.groups.rows == group, mask.groups.columns == group)
        np.testing.assert_allclose(found.weight[block], 2 * polar(weight[block])[0], atol=1e-13)


@pytest.mark.parametrize("gain", [None, 0.5])
def test_a_connected_mask_comes_nearer_and_keeps_its_zeros(gain):
    pattern = ramanujan_mask(64, 64, 4).to_dense()
    weight = 3 * pattern * normal(64, 64)
    found = repair(weight, gain=gain)
    np.testing.assert_array_equal(found.weight != 0, pattern)
    target = np.sqrt((weight**2).sum() / 64) if gain is None else gain
    assert found.gain == pytest.approx(target, rel=1e-12)
    values = np.linalg.svd(found.weight, compute_uv=False)
    assert found.after.residual == pytest.approx(np.linalg.norm((values / target) ** 2 - 1), rel=1e-9)
    assert found.after.residual < 0.7 * found.before.residual
    assert found.after.sigma_max == pytest.approx(values[0], rel=1e-9)
    assert found.change == pytest.approx(np.linalg.norm(found.weight - weight) / np.linalg.norm(weight), rel=1e-12)
    if gain is None:
        assert np.linalg.norm(found.weight) == pytest.approx(np.linalg.norm(weight), rel=1e-12)


def test_a_mask_without_a_perfect_matching_comes_to_its_floor_at_the_kept_norm():
    weight = np.zeros((4, 4))
    weight[0, :2], weight[1, 2:] = [3.0, 1.0], [0.5, 0.5]
    found = repair(weight)
    assert found.structural_rank == 2
    assert found.residual_floor == pytest.approx(np.sqrt(2))
    assert found.after.residual == pytest.approx(np.sqrt(2), abs=1e-14)
    assert np.linalg.norm(found.weight) == pytest.approx(np.linalg.norm(weight), rel=1e-14)


def test_an_isometry_stays_what_it_is_bit_for_bit():
    weight = np.linalg.qr(normal(8, 8))[0].astype(np.float32)
    again = repair(repair(weight).weight.astype(np.float32))
    once = repair(weight).weight
    np.testing.assert_array_equal(again.weight, once)
    assert repair(3 * np.eye(4)).change == 0.0


@pytest.mark.parametrize(("dtype", "held"), [("bfloat16", np.float32), (None, np.float16)])
def test_what_is_told_is_of_the_rounded_values(dtype, held):
    coarse = (np.round(normal(8, 8) * 32) / 32).astype(held)
    found = repair(coarse, dtype=dtype, gain=1.0)
    values = np.linalg.svd(found.weight, compute_uv=False)
    assert found.after.residual == pytest.approx(np.linalg.norm(values**2 - 1), rel=1e-6)
    assert 1e-5 < found.after.residual < 0.1
    if dtype is None:
        np.testing.assert_array_equal(found.weight.astype(held), found.weight)


def test_kernels_are_repaired_where_they_are_matrices():
    kernel = np.zeros((4, 4, 3, 3))
    kernel[:, :, 1, 1] = normal(4, 4)
    found = repair(kernel, gain=1.0)
    np.testing.assert_allclose(found.weight[:, :, 1, 1], polar(kernel[:, :, 1, 1])[0], atol=1e-14)
    assert np.count_nonzero(found.weight) == 16
    assert whole_matrix(normal(4, 4, 1, 1)) is None
    assert "3 x 3 convolution" in whole_matrix(normal(2, 2, 3, 3))
    assert "2 x 2 convolution" in whole_matrix(normal(2, 2, 2, 2))


def test_one_step_is_one_projection_and_none_is_the_start():
    mask = ramanujan_mask(16, 16, 4)
    values = normal(mask.nnz)
    start = isometry(mask, start=values, max_steps=0)
    np.testing.assert_array_equal(start.values, values)
    assert (start.steps, start.stopped) == (0, "steps")
    dense = np.zeros((16, 16))
    dense[mask.to_dense()] = values
    one = isometry(mask, start=values, max_steps=1)
    np.testing.assert_allclose(one.values, polar(dense)[0][mask.to_dense()], atol=1e-13)
    assert one.steps == 1
    assert structural_rank(mask) == 16


@pytest.mark.parametrize(
    ("weight", "said"),
    [(np.zeros((3, 3)), "all zeros"), (np.ones((3, 3), bool), "type bool"), (np.ones((0, 3)), "no matrix")],
)
def test_what_can_not_be_repaired_is_refused(weight, said):
    assert said in whole_matrix(weight)
    with pytest.raises(FormatError, match=said):
        repair(weight)


def test_bad_numbers_are_refused():
    with pytest.raises(SaoError, match="gain 0"):
        repair(np.eye(2), gain=0)
    with pytest.raises(SaoError, match="max_steps = -1"):
        repair(normal(3, 3), max_steps=-1)
