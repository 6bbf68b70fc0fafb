"""Approximate isometry: against dense linear algebra, exact cases, and the reasons for which it stops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.masks.lrp import lrp_mask
from sao_cli.masks.ramanujan import ramanujan_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.masks.two_stage import two_stage_mask
from sao_cli.weights import isometry as module
from sao_cli.weights.isometry import isometry
from sao_cli.weights.random import random_values

EPS = np.finfo(float).eps


def gram_residual(mask, values):
    """||W W^T - I||_F on the smaller side, from the dense matrix."""
    dense = Matrix(mask, values).to_dense()
    gram = dense @ dense.T if mask.m <= mask.n else dense.T @ dense
    return np.linalg.norm(gram - np.eye(len(gram)))


def maximum_matching(dense):
    """The size of a maximum matching by augmenting paths, one row at a time."""
    partner = {}

    def augment(row, seen):
        for column in np.flatnonzero(dense[row]).tolist():
            if column not in seen:
                seen.add(column)
                if column not in partner or augment(partner[column], seen):
                    partner[column] = row
                    return True
        return False

    return sum(augment(row, set()) for row in range(len(dense)))


@st.composite
def masks(draw):
    """Small masks of any density: disconnected, with dead rows and columns, rank-deficient."""
    m, n = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return Mask.from_dense(rng.random((m, n)) < draw(st.sampled_from([0.0, 0.1, 0.2, 0.4, 0.7, 1.0])))


@settings(max_examples=300)
@given(masks(), st.integers(0, 3))
def test_the_report_is_what_the_dense_matrix_says(mask, seed):
    fit = isometry(mask, seed=seed)
    dense = Matrix(mask, fit.values).to_dense() if mask.nnz else np.zeros(mask.shape)
    singular_values = np.linalg.svd(dense, compute_uv=False)
    tolerance = 100 * EPS * max(mask.shape)
    assert fit.residual == pytest.approx(gram_residual(mask, fit.values), abs=tolerance)
    assert fit.sigma_max == pytest.approx(singular_values[0], abs=tolerance)
    assert fit.sigma_min == pytest.approx(singular_values[-1], abs=tolerance)
    assert fit.structural_rank == maximum_matching(mask.to_dense())
    assert fit.residual_floor == math.sqrt(min(mask.shape) - fit.structural_rank)
    assert fit.residual_floor - tolerance <= fit.residual
    assert fit.residual <= gram_residual(mask, random_values(mask, "normal", seed=seed)) + tolerance
    live = dense[mask.row_degrees > 0]
    if len(live):
        ratios = (live**2).sum(axis=1) ** 2 / (live**4).sum(axis=1)
        assert fit.effective_ones == pytest.approx(ratios.mean())
        assert 1 - tolerance <= fit.effective_ones <= mask.row_degrees.max() + tolerance
    else:
        assert fit.effective_ones is None
    assert fit.values.shape == (mask.nnz,)
    assert (fit.values != 0).all()
    assert fit.stopped in ("floor", "slow", "drift", "steps")
    assert fit.to_dict()["residual"] == fit.residual


@pytest.mark.parametrize(("m", "n", "d"), [(24, 24, 4), (24, 48, 8), (48, 24, 4), (6, 6, 6), (8, 8, 1), (64, 128, 32)])
def test_on_complete_components_one_step_is_exact(m, n, d):
    mask = sao_mask(m, n, d, seed=2)
    fit = isometry(mask, seed=3)
    assert gram_residual(mask, fit.values) < 1e-13
    assert fit.residual < 1e-13
    assert (fit.steps, fit.stopped) == (1, "floor")
    assert (fit.sigma_min, fit.sigma_max) == (pytest.approx(1, abs=1e-13), pytest.approx(1, abs=1e-13))
    blocks = mask.to_dense()
    blocks_start = np.where(blocks, Matrix(mask, random_values(mask, "normal", seed=3)).to_dense(), 0)
    left, _, right = np.linalg.svd(blocks_start, full_matrices=False)
    np.testing.assert_allclose(Matrix(mask, fit.values).to_dense(), left @ right, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_square_mask_stops_before_it_becomes_a_permutation(seed):
    """n = 256, d = 4: far below the Gaussian start's, a third below one of zeros, and still 1.5 and more ones a row."""
    mask = ramanujan_mask(256, 256, 4, seed=seed)
    start = random_values(mask, "normal", seed=seed)
    fit = isometry(mask, seed=seed)
    assert fit.residual < 0.6 * gram_residual(mask, start)
    assert 0.4 * 16 < fit.residual < 0.6 * 16
    assert 1.5 < fit.effective_ones < 2
    assert fit.stopped == "drift"
    assert fit.steps in (2, 3)
    assert 1.3 < fit.sigma_max < 1.45
    assert fit.sigma_min < 0.05


def test_rectangular_random_masks_come_nearer():
    fit = isometry(ramanujan_mask(128, 256, 8), seed=1)
    assert fit.residual < 0.3 * math.sqrt(128)
    assert 0.6 < fit.sigma_min < fit.sigma_max < 1.3


def test_masks_that_have_isometries_are_brought_near_them():
    """A two-stage mask, and one of density 0.9: neither drifts, and singular values come near 1."""
    fit = isometry(two_stage_mask(256, 256, 16), seed=1)
    assert fit.residual < 0.1 * 16
    assert fit.effective_ones > 3.5
    assert fit.stopped == "slow"
    assert 10 < fit.steps < 25
    fit = isometry(lrp_mask(64, 64, 3700), seed=1)
    assert fit.residual < 1e-3
    assert fit.effective_ones > 15
    assert (fit.steps, fit.stopped) == (50, "steps")


def test_steps_lower_the_residual_and_each_is_the_projection(monkeypatch):
    """The k-th result is M * polar of the one before, by a dense SVD of the whole matrix."""
    mask = ramanujan_mask(64, 64, 8, seed=1)
    monkeypatch.setattr(module, "KEPT", 0)
    monkeypatch.setattr(module, "LEAST_GAIN", 0)
    weights = Matrix(mask, random_values(mask, "normal", seed=1)).to_dense()
    residuals = [gram_residual(mask, random_values(mask, "normal", seed=1))]
    for steps in range(1, 12):
        monkeypatch.setattr(module, "MAX_STEPS", steps)
        fit = isometry(mask, seed=1)
        left, _, right = np.linalg.svd(weights)
        weights = (left @ right) * mask.to_dense()
        np.testing.assert_allclose(Matrix(mask, fit.values).to_dense(), weights, atol=1e-9)
        assert (fit.steps, fit.stopped) == (steps, "steps")
        residuals.append(fit.residual)
    assert (np.diff(residuals) < 0).all()


def test_without_the_guard_it_drifts_to_a_permutation(monkeypatch):
    """What the stopping rule is for: the residual goes on falling, and the mask is lost."""
    monkeypatch.setattr(module, "KEPT", 0)
    fit = isometry(ramanujan_mask(256, 256, 4), seed=1)
    assert fit.residual < 0.15 * 16
    assert fit.effective_ones < 1.1


def test_on_a_mask_of_large_girth_the_residual_is_a_sum_over_rows_and_columns():
    """No two rows of a cycle share two columns: residual^2 = sum (|w|^2 - 1)^2 + sum ((sum w^2)^2 - sum w^4)."""
    mask = ramanujan_mask(40, 40, 2, seed=1)
    fit = isometry(mask, seed=1)
    squares = Matrix(mask, fit.values).to_dense() ** 2
    rows, columns = squares.sum(axis=1), squares.sum(axis=0)
    expected = ((rows - 1) ** 2).sum() + (columns**2 - (squares**2).sum(axis=0)).sum()
    assert fit.residual == pytest.approx(math.sqrt(expected), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_rank_deficient_patterns_come_near_their_floor(seed):
    """An arrow of 5 x 5 has rank 2: three singular values stay 0, the others come near 1."""
    arrow = np.zeros((5, 5))
    arrow[0], arrow[:, 0] = 1, 1
    fit = isometry(Mask.from_dense(arrow), seed=seed)
    assert (fit.structural_rank, fit.residual_floor) == (2, math.sqrt(3))
    assert math.sqrt(3) <= fit.residual < 1.02 * math.sqrt(3)
    assert fit.sigma_min < 1e-12


def test_a_start_at_the_floor_of_its_rank_is_left_alone():
    """One 1 in the arrow's first row and column each: rank 2 of 3, and nothing better there is."""
    mask = Mask.from_dense([[1, 1, 1], [1, 0, 0], [1, 0, 0]])
    fit = isometry(mask, start=np.array([0.0, 1.0, 0.0, 1.0, 0.0]))
    assert (fit.residual, fit.residual_floor) == (pytest.approx(1, abs=1e-15), 1.0)
    assert (fit.steps, fit.stopped) == (0, "floor")


def test_a_step_that_raises_the_residual_is_not_taken():
    """Projections never part from the isometries, but sum (sigma - 1)^2 is not sum (sigma^2 - 1)^2."""
    start = np.array([-0.162, 0.656, -0.83, 0.529, 0.751, 0.141])
    mask = Mask.from_dense([[1, 1, 0], [1, 0, 1], [0, 1, 1]])
    left, _, right = np.linalg.svd(Matrix(mask, start).to_dense())
    assert gram_residual(mask, (left @ right)[mask.to_dense()]) > 1.05 * gram_residual(mask, start)
    fit = isometry(mask, start=start)
    np.testing.assert_array_equal(fit.values, start)
    assert (fit.steps, fit.stopped) == (0, "slow")


def test_a_start_of_less_than_full_rank_is_completed():
    fit = isometry(Mask.from_dense(np.ones((3, 4))), start=np.ones(12))
    assert fit.residual < 1e-14
    assert (fit.steps, fit.stopped) == (1, "floor")


@pytest.mark.parametrize(
    ("dense", "rank"),
    [([[1]], 1), ([[1, 0, 1, 1]], 1), ([[1], [0], [1]], 1), ([[0, 0], [0, 1]], 1), (np.ones((3, 5)), 3)],
)
def test_lines_and_dead_nodes(dense, rank):
    """Rank-many singular values are 1 at once, the others 0, whatever is dead."""
    mask = Mask.from_dense(dense)
    fit = isometry(mask)
    assert fit.residual == pytest.approx(fit.residual_floor, abs=1e-14)
    assert fit.residual_floor == math.sqrt(min(mask.shape) - rank)
    assert fit.sigma_max == pytest.approx(1, abs=1e-14)


def test_a_mask_without_ones_has_nothing_to_fit():
    fit = isometry(Mask.from_entries([], [], (3, 4)))
    assert fit.values.shape == (0,)
    assert (fit.residual, fit.residual_floor, fit.steps, fit.stopped) == (math.sqrt(3), math.sqrt(3), 0, "floor")
    assert (fit.sigma_min, fit.sigma_max, fit.effective_ones) == (0.0, 0.0, None)


def test_components_are_fitted_each_on_its_own():
    """Two masks side by side, corner to corner, get the values that each gets alone from the same start."""
    first, second = lrp_mask(9, 7, 30, seed=1), ramanujan_mask(16, 16, 4, seed=1)
    joint = np.zeros((25, 23))
    joint[:9, :7], joint[9:, 7:] = first.to_dense(), second.to_dense()
    start = np.random.default_rng(1).standard_normal(first.nnz + second.nnz)
    fit = isometry(Mask.from_dense(joint), start=start)
    alone = [isometry(first, start=start[: first.nnz]), isometry(second, start=start[first.nnz :])]
    np.testing.assert_allclose(fit.values, np.concatenate([part.values for part in alone]), atol=1e-11)
    assert fit.residual == pytest.approx(math.hypot(*(part.residual for part in alone)))
    assert fit.steps == max(part.steps for part in alone)
    assert fit.stopped == max(alone, key=lambda part: part.residual).stopped


@settings(max_examples=40)
@given(st.integers(0, 1000))
def test_permuting_and_transposing_does_the_same_to_the_result(seed):
    rng = np.random.default_rng(seed)
    dense = (rng.random((12, 10)) < 0.4) * rng.standard_normal((12, 10))
    mixed = dense[rng.permutation(12)][:, rng.permutation(10)]
    results = []
    for matrix in (dense, mixed, dense.T):
        one = Matrix.from_dense(matrix)
        results.append(isometry(one.mask, start=one.values))
    for other in results[1:]:
        np.testing.assert_allclose(np.sort(other.values), np.sort(results[0].values), atol=1e-9)
        assert other.residual == pytest.approx(results[0].residual)


def test_an_isometry_given_as_the_start_stays():
    mask = sao_mask(8, 8, 2)
    fit = isometry(mask)
    again = isometry(mask, start=fit.values)
    np.testing.assert_array_equal(again.values, fit.values)
    assert (again.steps, again.stopped) == (0, "floor")


def test_zeros_do_not_stay_on_the_mask():
    """[[1, 0], [t, 1]] tends to a permutation: t = 0 is the isometry, and stands as 2^-52."""
    mask = Mask.from_dense([[1, 0], [1, 1]])
    fit = isometry(mask, start=np.array([1.0, 0.0, -1.0]))
    np.testing.assert_array_equal(fit.values, [1.0, 2.0**-52, -1.0])
    assert fit.residual == 0.0


def test_the_same_seed_gives_the_same_bytes():
    mask = ramanujan_mask(64, 64, 4)
    first, again = isometry(mask, seed=4), isometry(mask, seed=4)
    assert first.values.tobytes() == again.values.tobytes()
    assert (isometry(mask, seed=5).values != first.values).any()
    assert (isometry(mask, seed=4, layer=2).values != first.values).any()


def test_progress_counts_the_steps():
    told = []
    fit = isometry(ramanujan_mask(64, 64, 4), progress=lambda what, done, total: told.append((done, total)))
    assert told[: fit.steps] == [(step, None) for step in range(1, fit.steps + 1)]


def test_what_does_not_fit_is_refused(monkeypatch):
    mask = ramanujan_mask(16, 16, 4)
    with pytest.raises(FormatError, match=r"a start of shape \(3,\) for a mask of 64 ones"):
        isometry(mask, start=np.ones(3))
    with pytest.raises(FormatError, match="entry 5 of the start is nan"):
        isometry(mask, start=np.where(np.arange(64) == 5, np.nan, 1.0))
    monkeypatch.setattr(module, "BYTES_PER_ENTRY", 1e15)
    with pytest.raises(MemoryLimitError, match="isometry of a 16 x 16 component needs"):
        isometry(mask)
    monkeypatch.setattr(module, "LARGEST_SIDE", 15)
    with pytest.raises(SaoError, match="one here is 16 x 16; its shorter side can be 15 at most"):
        isometry(mask)
