"""What Lee et al. (Appl. Sci. 2021, 11, 725) print, computed beside what holds (docs/theory.md, section 18)."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

TABLE_2 = {
    "inputs": (413.95, 400.20, 351.40, 346.85, 10.00),
    "inputs_std": (4.92, 5.07, 13.83, 10.01, 0.0),
    "outputs": (414.90, 401.20, 351.45, 347.15, 10.00),
    "outputs_std": (4.97, 5.07, 13.76, 10.30, 0.0),
    "features": (417.00, 406.15, 359.30, 353.45, 10.00),
}
FIRST_LAYER = 784 * 500
ALL = FIRST_LAYER + 4 * 500 * 500 + 500 * 10


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def cosine(x, y):
    return x @ y / (np.linalg.norm(x) * np.linalg.norm(y))


def pair(theta, rho=1.0, length=6):
    """Vectors of norms rho and 1 with the angle theta between them, in a random plane."""
    plane = np.linalg.qr(np.random.default_rng(0).normal(size=(length, 2)))[0]
    return rho * (math.cos(theta) * plane[:, 0] + math.sin(theta) * plane[:, 1]), plane[:, 0]


def slope(loss, x, step=1e-6):
    """d loss / d x by central differences."""
    return np.array([(loss(x + step * one) - loss(x - step * one)) / (2 * step) for one in np.eye(len(x))])


def test_equation_5_pushes_anti_parallel_vectors_apart():
    x, y = pair(math.radians(175))
    before = abs(cosine(x, y))
    printed = x - 0.01 * slope(lambda v: (1 - cosine(v, y)) ** 2, x)
    meant = x - 0.01 * slope(lambda v: (1 - abs(cosine(v, y))) ** 2, x)
    assert abs(cosine(printed, y)) < before < abs(cosine(meant, y))


def test_equation_5_is_the_fourth_power_of_the_sine_and_its_slope_the_third():
    """1.448e-5 at 5 and at 175 degrees, 1 at a right angle; the squared sine, of which the text speaks, is 7.6e-3."""
    losses = [(1 - abs(cosine(*pair(math.radians(at))))) ** 2 for at in (0, 180, 5, 175, 90)]
    assert losses == pytest.approx([0, 0, 1.448e-5, 1.448e-5, 1], abs=1e-8)
    assert losses[2] == pytest.approx(math.sin(math.radians(5)) ** 4 / 4, rel=5e-3)
    for theta in (1e-1, 1e-2):
        x, y = pair(theta)
        gradient = slope(lambda v, y=y: (1 - abs(cosine(v, y))) ** 2, x, 1e-4)
        assert np.linalg.norm(gradient) == pytest.approx(theta**3, rel=1e-2)
        assert abs(gradient @ x) < 1e-9


def fused_output(weight, x, r, coefficients):
    """W' x' where column 0 = r column 1 is fused into it, and x' has coefficients(r, x_0, x_1)/s in its place."""
    s = math.hypot(r, 1)
    kept = np.concatenate([[s * weight[:, 1]], weight[:, 2:].T])
    return kept.T @ np.concatenate([[coefficients(r, x[0], x[1]) / s], x[2:]])


def test_equations_7_and_11_hold_only_where_the_inputs_are_equal(rng):
    weight, x, r = rng.normal(size=(4, 5)), rng.normal(size=5), -2.5
    weight[:, 0] = r * weight[:, 1]
    equal = np.concatenate([x[:1], x[:1], x[2:]])
    for given, printed_is_right in ((x, False), (equal, True)):
        printed = fused_output(weight, given, r, lambda r, _, xj: (r + 1) * xj)
        meant = fused_output(weight, given, r, lambda r, xi, xj: r * xi + xj)
        np.testing.assert_allclose(meant, weight @ given, atol=1e-13)
        assert np.allclose(printed, weight @ given, atol=1e-13) == printed_is_right


def test_equation_8_divides_by_a_sum_that_may_be_0():
    vector = np.array([1.0, -2.0, 1.0])
    with np.errstate(invalid="ignore"):
        assert math.isnan((3 * vector).sum() / vector.sum())
    assert (3 * vector) @ vector / (vector @ vector) == 3


def test_equation_8_is_wrong_by_nine_tenths_for_one_pair_of_a_hundred(rng):
    """At 1 - cos = 1e-4 in R^500 the ratio of sums has a Cauchy error of scale tan theta."""
    theta, count = math.acos(1 - 1e-4), 4000
    kept, other = rng.normal(size=(2, count, 500))
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    other -= (other * kept).sum(axis=1, keepdims=True) * kept
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    dropped = math.cos(theta) * kept + math.sin(theta) * other
    np.testing.assert_allclose((dropped * kept).sum(axis=1), 1 - 1e-4, rtol=1e-12)
    share = np.mean(np.abs(dropped.sum(axis=1) / kept.sum(axis=1) - math.cos(theta)) > 0.9)
    law = 2 * stats.cauchy.sf(0.9 / math.sin(theta))
    assert law == pytest.approx(0.01, abs=1e-3)
    assert share == pytest.approx(law, abs=4 * math.sqrt(law / count))


def test_equation_4_holds_of_any_columns_as_a_may_be_small(rng):
    weight = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    small = np.full(6, 1e-9)
    assert 0 < np.linalg.norm(weight @ small) < 1e-8
    unit = small / np.linalg.norm(small)
    assert np.linalg.norm(weight @ unit) == pytest.approx(1)


def equalised_distance(wi, wj):
    """Equation 13 as printed."""
    c = 1 if cosine(wi, wj) > 0 else -1
    return np.linalg.norm(np.linalg.norm(wj) / np.linalg.norm(wi) * wi - c * wj)


@pytest.mark.parametrize("length", [2, 30, 3000])
def test_equation_13_is_the_cosine_again_in_any_dimension(rng, length):
    for _ in range(10):
        wi, wj = rng.normal(size=(2, length)) * [[3.0], [0.2]]
        told = np.linalg.norm(wj) * math.sqrt(2 * (1 - abs(cosine(wi, wj))))
        assert equalised_distance(wi, wj) == pytest.approx(told, rel=1e-12)


def test_equation_13_decides_above_a_norm_of_7_07(rng):
    wi, wj = pair(math.acos(1 - 1e-4), 5.0)
    assert 0.1 / equalised_distance(wi, wj) == pytest.approx(7.0710678, rel=1e-6)
    columns = rng.normal(0, math.sqrt(2 / 500), (500, 500))  # He et al.'s law
    assert np.linalg.norm(columns, axis=0).mean() == pytest.approx(math.sqrt(2), rel=1e-2)
    assert np.linalg.norm(columns, axis=0).max() < 7.07 / 4


@pytest.mark.parametrize("rho", [1.0, 3.0, 10.0])
def test_keeping_the_shorter_keeps_no_norm_down_and_costs_rho(rho):
    """Section 4.2 keeps the shorter lest norms grow; they grow as much, and the error is rho times as large."""
    theta = math.acos(1 - 1e-4)
    long, short = pair(theta, rho)
    found = []
    for dropped, kept in ((long, short), (short, long)):
        r = dropped @ kept / (kept @ kept)
        found.append((np.linalg.norm(dropped - r * kept), math.hypot(r, 1) * np.linalg.norm(kept)))
    (keep_short, norm_short), (keep_long, norm_long) = found
    assert keep_short / keep_long == pytest.approx(rho)
    assert norm_short == pytest.approx(math.hypot(rho, 1), rel=1e-4)
    assert norm_long == pytest.approx(math.hypot(rho, 1), rel=1e-4)
    least = np.linalg.svd(np.stack([long, short]), compute_uv=False)[1]
    known = {
        1: (0.0141418, 0.0141418, 0.01),
        3: (0.0424254, 0.0141418, 0.0134163),
        10: (0.141418, 0.0141418, 0.0140716),
    }
    assert (keep_short, keep_long, least) == pytest.approx(known[round(rho)], abs=2e-6)


def test_line_9_of_algorithm_1_needs_q_where_it_has_p(rng):
    """A fused column makes W' narrower: P, of its rows, has nothing to change, and the product no longer fits."""
    weight = rng.normal(size=(4, 5))
    weight[:, 0] = 2 * weight[:, 1]
    s = math.sqrt(5)
    narrow = np.column_stack([s * weight[:, 1], weight[:, 2:]])
    identity = np.eye(5)
    q = np.vstack([(2 * identity[0] + identity[1]) / s, identity[2:]])
    with pytest.raises(ValueError, match="matmul"):
        np.eye(4) @ narrow @ identity
    np.testing.assert_allclose(np.eye(4) @ narrow @ q, weight, atol=1e-14)
    np.testing.assert_allclose(q @ q.T, np.eye(4), atol=1e-14)


def test_table_2_has_shapes_of_the_longer_axis_columns_first():
    ahead = [m - n for m, n in zip(TABLE_2["outputs"], TABLE_2["inputs"], strict=True)]
    assert ahead == pytest.approx([0.95, 1.0, 0.05, 0.3, 0.0])
    assert all(0 <= one <= 1 + 1e-9 for one in ahead)
    shape, seen = [500, 500], []
    for _ in range(200):
        shape[0 if shape[0] > shape[1] else 1] -= 1
        seen.append(shape[0] - shape[1])
    assert set(seen) == {0, 1}


def test_equation_16_draws_class_vectors_together(rng):
    """Descent on the row term of the last layer makes two of its rows alike, which no fuse ever takes up."""
    rows = rng.normal(size=(3, 4))

    def nearest(flat):
        w = flat.reshape(3, 4)
        return min((1 - abs(cosine(w[i], w[j]))) ** 2 for i in range(3) for j in range(i))

    before, flat = nearest(rows.ravel()), rows.ravel()
    for _ in range(300):
        flat = flat - 0.1 * slope(nearest, flat)
    assert nearest(flat) < before / 100


def test_equation_17_can_only_be_the_frobenius_norm():
    """||W||_2^2 of a matrix is sigma_max^2, which holds one direction back and lets all others grow."""
    weight = np.diag([3.0, 2.0, 1.0])
    largest = slope(lambda v: np.linalg.norm(v.reshape(3, 3), 2) ** 2, weight.ravel()).reshape(3, 3)
    squares = slope(lambda v: np.linalg.norm(v.reshape(3, 3)) ** 2, weight.ravel()).reshape(3, 3)
    np.testing.assert_allclose(largest, np.diag([6.0, 0, 0]), atol=1e-6)
    np.testing.assert_allclose(squares, 2 * weight, atol=1e-6)


def normalised(weight, k=2.0, g=1.5):
    """Equation 15."""
    return k * weight / np.linalg.norm(weight) * g


def test_the_decay_of_17_does_nothing_to_what_15_computes(rng):
    weight, x, target = rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=3)

    def task(flat):
        return ((normalised(flat.reshape(3, 4)) @ x - target) ** 2).sum()

    np.testing.assert_allclose(normalised(0.01 * weight), normalised(weight), rtol=1e-12)
    assert abs(slope(task, weight.ravel()) @ weight.ravel()) < 1e-7


def test_a_fuse_that_is_not_exact_rescales_a_normalised_layer_unless_g_is_mended(rng):
    theta = 0.3
    long, short = pair(theta, 2.0)
    weight = np.column_stack([long, short, rng.normal(size=6)])
    r = long @ short / (short @ short)
    fused = np.column_stack([math.hypot(r, 1) * short, weight[:, 2]])
    untouched = normalised(weight)[:, 2]
    assert np.linalg.norm(normalised(fused)[:, 1] - untouched) > 1e-3
    mended = normalised(fused, g=1.5 * np.linalg.norm(fused) / np.linalg.norm(weight))
    np.testing.assert_allclose(mended[:, 1], untouched, rtol=1e-12)


def test_outputs_fill_an_affine_space_of_the_rank_without_the_bias(rng):
    weight = rng.normal(size=(6, 2)) @ rng.normal(size=(2, 5))
    bias = rng.normal(size=6)
    outputs = weight @ rng.normal(size=(5, 50)) + bias[:, None]
    assert np.linalg.matrix_rank(outputs - outputs.mean(axis=1, keepdims=True)) == np.linalg.matrix_rank(weight) == 2
    assert np.linalg.matrix_rank(np.column_stack([weight, bias])) == 3


@pytest.mark.parametrize(("ratio", "bias_ratio", "merges"), [(2, 2, True), (2, 1, False), (-2, -2, False)])
def test_features_of_fused_rows_merge_only_with_biases_of_their_ratio(rng, ratio, bias_ratio, merges):
    row, bias, x = rng.normal(size=4), 0.7, rng.normal(size=(4, 100))
    first, second = (np.maximum(w @ x + b, 0) for w, b in ((row, bias), (ratio * row, bias_ratio * bias)))
    rank = np.linalg.matrix_rank(np.stack([first, second]))
    assert rank == (1 if merges else 2)


def test_the_printed_list_of_widths_is_not_that_of_the_printed_counts():
    def weights(*sizes):
        return sum(m * n for n, m in pairwise(sizes))

    assert weights(784, 500, 500, 500, 500, 10) == 1_147_000
    assert weights(784, 500, 500, 500, 500, 500, 10) == ALL == 1_397_000
    assert ALL + 5 * 500 + 10 == 1_399_510
    assert round(ALL / 1e6, 2) == 1.40
    assert round(2 * ALL / 1e6, 2) == 2.79


def test_table_2_gives_another_share_than_table_1():
    left = FIRST_LAYER + sum(m * n for m, n in zip(TABLE_2["outputs"], TABLE_2["inputs"], strict=True))
    assert round(left) == 968_317
    assert 100 * (1 - left / ALL) == pytest.approx(30.69, abs=5e-3)
    together = sum(a * b for a, b in zip(TABLE_2["outputs_std"], TABLE_2["inputs_std"], strict=True))
    assert 100 * (1 - (left + together) / ALL) == pytest.approx(30.66, abs=5e-3)


def test_the_operations_of_table_1_are_of_dense_products_at_the_merged_features():
    left = FIRST_LAYER + sum(m * n for m, n in zip(TABLE_2["outputs"], TABLE_2["inputs"], strict=True))
    scales = 4 * (500 + 500) + 510  # of P and Q of layers 2 to 6
    assert 2 * (left + scales) / 1e6 == pytest.approx(1.95, abs=5e-3)
    dense = FIRST_LAYER + sum(m * n for n, m in pairwise((500, *TABLE_2["features"])))
    assert 2 * dense / 1e6 == pytest.approx(2.09, abs=5e-3)
    assert 1 - dense / ALL == pytest.approx(0.25, abs=2e-3)


def test_the_two_improvements_contradict_each_other():
    baseline, better = 90.45, 90.65
    assert 100 * (better - baseline) / (100 - baseline) == pytest.approx(2.09, abs=5e-3)
    assert 100 * 0.21 / (100 - baseline) == pytest.approx(2.20, abs=5e-3)


def p_values(difference, std, base_std, runs=20):
    """Of Student's t-test with equally many runs: one-sided and two-sided."""
    t = difference / math.sqrt((std**2 + base_std**2) / runs)
    return stats.t.sf(t, 2 * runs - 2), 2 * stats.t.sf(t, 2 * runs - 2)


@pytest.mark.parametrize(
    ("mean", "std", "printed", "two_sided"), [(90.65, 0.15, 3.72e-4, 1.33e-3), (90.51, 0.18, 0.199, 0.338)]
)
def test_the_p_values_are_one_sided(mean, std, printed, two_sided):
    """Whatever the printed means and deviations were rounded from."""
    difference, half = mean - 90.45, 0.005
    assert p_values(difference, std, 0.21)[1] == pytest.approx(two_sided, rel=1e-2)
    most, least = (p_values(difference + 2 * sign * half, std - sign * half, 0.21 - sign * half) for sign in (-1, 1))
    assert least[0] < printed < most[0]
    assert printed < least[1]


def test_seven_fold_is_the_whole_run_over_the_epochs_to_its_best():
    epochs, until_the_best = 2000, 280
    assert epochs / until_the_best == pytest.approx(7.1, abs=0.05)


def test_columns_in_few_dimensions_are_dependent_and_need_no_parallel_pair(rng):
    """|n - m + 1| dependent vectors are there by the shape alone: 500 class columns in R^10 have rank 10."""
    columns = rng.normal(size=(10, 500))
    assert np.linalg.matrix_rank(columns) == 10
    unit = columns / np.linalg.norm(columns, axis=0)
    gram = np.abs(unit.T @ unit)
    np.fill_diagonal(gram, 0)
    assert 1 - gram.max() > 1e-3
