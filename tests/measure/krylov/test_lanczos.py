"""The Lanczos process against dense eigenvalues, far beyond the step at which orthogonality is lost."""

import math
import operator
from fractions import Fraction

import numpy as np
import pytest

from sao_cli.base.progress import silent
from sao_cli.measure.krylov import lanczos
from sao_cli.measure.krylov.grid_lanczos import GridGram, GridLanczos
from sao_cli.measure.krylov.lanczos import (
    Gram,
    Lanczos,
    Pace,
    a_tenth_more,
    iterate,
    largest_ritz,
    perron_pair,
    random_direction,
)
from sao_cli.measure.krylov.recurrence import recurrence_of

from .. import known_graphs as known


def deflated(mask, whole=True):
    gram = GridGram(mask) if whole else Gram(mask)
    gram.uniform = True
    return gram


def run(gram, steps, seed=0):
    kind = GridLanczos if isinstance(gram, GridGram) else Lanczos
    process = kind(gram, random_direction(gram, np.random.default_rng(seed)))
    for _ in range(steps):
        process.step()
    return process


@pytest.mark.parametrize("mask", [known.random_pattern(30, 50, 0.2, 0), known.random_pattern(50, 30, 0.2, 1)])
def test_the_gram_operator_is_the_smaller_one(mask):
    dense = mask.to_dense(float)
    gram = Gram(mask)
    expected = dense @ dense.T if mask.m <= mask.n else dense.T @ dense
    assert gram.size == gram.dimension == 30
    assert np.array_equal(gram.apply(np.eye(30)), expected)
    assert gram.row_sum == expected.sum(1).max() > np.linalg.norm(expected, 2)
    gram.direction = np.full(30, math.sqrt(1 / 30))
    x = np.arange(30.0)
    gram.project_(x)
    assert x == pytest.approx(np.arange(30) - 14.5)
    assert gram.dimension == 29


def test_the_first_steps_tridiagonalise():
    mask = known.random_lift(3, 5, 20, 0)
    gram = deflated(mask)
    process = Lanczos(gram, start := random_direction(gram, np.random.default_rng(0)))
    basis = [start.copy()]
    for _ in range(8):
        process.step()
        basis.append(process.current.copy())
    basis = np.array(basis[:-1])
    dense = mask.to_dense(float)
    tridiagonal = basis @ dense @ dense.T @ basis.T
    off = np.array(process.betas[:-1])
    assert np.allclose(basis @ basis.T, np.eye(8), atol=1e-10)
    assert np.allclose(tridiagonal, np.diag(process.alphas) + np.diag(off, 1) + np.diag(off, -1), atol=1e-10)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("bits", "degree"), [(9, 16), (10, 64), (11, 256)])
def test_rounding_adds_no_more_along_an_eigenvector_than_is_allowed_for(bits, degree, whole):
    """The eigenvector is made of signs, so that the recurrence's components along it can be had exactly."""
    mask, values, vector = known.cayley(bits, degree, 0)
    eigenvalue, gram = np.sort(values)[-2] ** 2, deflated(mask, whole)
    process = run(gram, 0)
    components, drifts = [0.0, math.fsum(vector * process.current)], []
    beta = 0.0
    for _ in range(40):
        process.step()
        components.append(math.fsum(vector * process.current))
        before, here, after = components[-3:]
        drifts.append(process.betas[-1] * after - (eigenvalue - process.alphas[-1]) * here + beta * before)
        beta = process.betas[-1]
    images = np.array(process.alphas) + process.betas + np.append(0.0, process.betas[:-1])
    allowed = gram.roundoff(max(eigenvalue, images.max()), process.peak)
    assert 0 < max(map(abs, drifts)) < allowed
    assert process.peak < 6 / math.sqrt(gram.size)


@pytest.mark.parametrize("shape", [(40, 60), (3, 5000), (300, 20)])
def test_sums_on_the_grid_are_exact(shape):
    """Against Python's whole numbers: half a unit of the grid in each entry, and one rounding, are all that is off."""
    mask = known.random_pattern(*shape, 0.5, 0)
    gram = GridGram(mask)
    x = np.random.default_rng(1).standard_normal(gram.size)
    unit, passes, grid = gram.unit(np.abs(x).max()), recurrence_of(gram.matrix, gram.transposed), np.empty(len(x), int)
    assert passes.scale_(x, 1.0, grid, unit) == grid.sum()
    assert unit <= np.abs(x).max() * gram.row_sum / 2.0**60
    off = [Fraction(value) - Fraction(unit) * steps for value, steps in zip(x.tolist(), grid.tolist(), strict=True)]
    assert max(map(abs, off)) <= unit / 2
    dense = mask.to_dense(int) if mask.m <= mask.n else mask.to_dense(int).T
    exact = [sum(map(operator.mul, grid.tolist(), row)) for row in (dense @ dense.T).tolist()]
    image = np.zeros(gram.size)
    passes.image_(image, 0.0, x, grid, unit)
    assert image.tolist() == [unit * float(number) for number in exact]


def test_a_sum_of_one_sign_drifts_farther_than_its_root_and_within_the_bound():
    """300,000 times 0.1, whose roundings go one way for long: u sqrt(300000) is no bound."""
    gram = Gram(known.complete(1, 300_000))
    exact = Fraction(0.1) * 300_000
    drift = float(abs(Fraction(gram.apply(np.array([0.1]))[0]) - exact) / exact)
    assert 2.0**-53 * math.sqrt(gram.terms) < drift < 2.0**-53 * gram.terms


@pytest.mark.parametrize(("c", "d", "k"), [(4, 4, 30), (3, 7, 20), (16, 16, 8)])
def test_without_reorthogonalisation_the_largest_ritz_value_stays_put(c, d, k):
    """Eight times as many steps as dimensions: many copies, and none of them above the truth."""
    mask = known.random_lift(c, d, k, 1)
    gram = deflated(mask)
    truth = np.linalg.svd(mask.to_dense(float), compute_uv=False)[1] ** 2
    process = run(gram, 0)
    for count in range(1, 8 * gram.size):
        process.step()
        if count % 20 == 0:
            ritz = largest_ritz(process.alphas, process.betas)
            assert ritz.value <= truth + gram.roundoff(c * d, 1.0) * math.sqrt(count)
            if count >= gram.size:
                assert ritz.value == pytest.approx(truth, rel=1e-13)
                assert ritz.error < 1e-10 * truth


@pytest.mark.parametrize("seed", range(5))
def test_residual_squared_over_gap_tells_the_error(seed):
    mask = known.random_lift(4, 4, 100, seed)
    gram = deflated(mask)
    truth = np.linalg.svd(mask.to_dense(float), compute_uv=False)[1] ** 2
    process = run(gram, 0, seed)
    ritz, used_up = iterate(process, lambda pair: pair.error <= 1e-8 * pair.value, 1e-14, silent, "")
    assert not used_up
    assert -1e-12 < truth - ritz.value <= ritz.error + 1e-12


def test_the_gap_is_to_the_next_ritz_value_that_is_no_copy():
    alphas, betas = [3.0, 2.5, 2.0, 1.0, 0.5, 0.1], [0.3, 0.2, 0.1, 0.1, 0.2, 0.4]
    off = np.array(betas[:-1])
    values, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(off, 1) + np.diag(off, -1))
    ritz = largest_ritz(alphas, betas)
    residual = 0.4 * abs(vectors[-1, -1])
    assert ritz.value == pytest.approx(values[-1])
    assert ritz.residual == pytest.approx(residual)
    assert ritz.error == pytest.approx(residual**2 / (values[-1] - values[-2]))


def test_an_invariant_space_uses_the_process_up():
    """PG(2, q): the deflated operator is q times the identity, so that one step is all there is."""
    gram = deflated(known.projective_plane(5))
    process = run(gram, 0)
    ritz, used_up = iterate(process, lambda pair: False, gram.roundoff(36, 1.0), silent, "")
    assert used_up
    assert process.steps <= 2
    assert ritz.value == pytest.approx(5, abs=1e-13)


def test_a_zero_vector_ends_the_process():
    process = Lanczos(Gram(known.complete(1, 1)), np.ones(1))
    process.step()
    process.step()
    assert process.betas[0] == 0
    assert not process.current.any()


@pytest.mark.parametrize(
    "mask",
    [
        known.random_pattern(60, 80, 0.15, 0),
        known.random_pattern(80, 60, 0.15, 1),
        known.two_complete_switched(8),
        known.random_lift(3, 3, 20, 0),
    ],
)
def test_perrons_pair(mask):
    gram = Gram(mask)
    value, vector, residual = perron_pair(gram, silent)
    left, singular, right = np.linalg.svd(mask.to_dense(float))
    expected = np.abs(left[:, 0] if mask.m <= mask.n else right[0])
    assert value == pytest.approx(singular[0] ** 2, rel=1e-13)
    assert vector == pytest.approx(expected, abs=1e-9)
    assert residual <= 1e-8 * value


def test_the_step_limit_ends_it(monkeypatch):
    monkeypatch.setattr(lanczos, "STEP_LIMIT", 12)
    process = run(deflated(known.random_lift(4, 4, 50, 0)), 0)
    _, used_up = iterate(process, lambda pair: False, 1e-14, silent, "")
    assert (process.steps, used_up) == (12, False)


def test_the_start_is_a_unit_vector_off_the_trivial_direction():
    gram = deflated(known.random_lift(4, 4, 50, 0))
    start = random_direction(gram, np.random.default_rng(3))
    assert start @ start == pytest.approx(1)
    assert abs(start.sum()) < 1e-13


@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.97])
def test_what_falls_geometrically_is_looked_at_where_it_is_gone(ratio):
    """From a thousandth more on, in no more looks than every tenth step and two, and hardly later than need be."""
    pace, steps, looks, gone = Pace(), 1, 0, math.ceil(math.log(1e-12) / math.log(ratio))
    while steps < gone:
        pace.look(steps, math.log(1e12) + steps * math.log(ratio))
        assert steps < pace.due(steps) <= a_tenth_more(steps)
        steps, looks = pace.due(steps), looks + 1
    assert steps <= gone + 3
    assert looks <= 12 + 10 * math.log(max(gone, 100) / 100) + 2


def test_where_nothing_falls_the_next_look_is_a_tenth_later():
    pace = Pace()
    for missing in (math.inf, 3.0, 4.0, math.inf):
        pace.look(200, missing)
        assert pace.due(200) == 220
