"""Singular values of weights against a dense SVD, chosen spectra and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.measure.graph.components import find_components
from sao_cli.measure.graph.expansion import mask_singular_values
from sao_cli.measure.krylov.lanczos import Gram
from sao_cli.measure.values import by_component as component_values
from sao_cli.measure.values.by_component import GRAM_SIDE, block_singular_values, labelled, without_zeros
from sao_cli.measure.values.density import spectral_density
from sao_cli.measure.values.singular_values import is_affordable, measured_singular_values, singular_values
from sao_cli.weights.orthogonal import sao_weight

from .. import known_graphs as known

EPSILON = 2.0**-52


def dense_values(weight):
    return np.linalg.svd(weight.to_dense().astype(float), compute_uv=False)


def rounding(weight):
    """What separates two backward stable routes: a modest multiple of eps sigma_max."""
    return 4 * max(weight.shape) * EPSILON * max(1e-300, float(np.linalg.norm(weight.to_dense().astype(float), 2)))


def gaussian(mask, seed=0):
    return Matrix(mask, np.random.default_rng(seed).standard_normal(mask.nnz))


def of_spectrum(values, m, n, seed=0):
    """A dense (m, n) array with these singular values."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((size, len(values))))[0] for size in (m, n))
    return (left * values) @ right.T


@st.composite
def weights(draw):
    """Sparse ones of all shapes: dead rows and columns, explicit zeros, tiny and huge values, many components."""
    m, n = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    mask = Mask.from_dense(rng.random((m, n)) < draw(st.sampled_from([0.0, 0.05, 0.15, 0.3, 1.0])))
    values = rng.standard_normal(mask.nnz) * draw(st.sampled_from([1.0, 1e-9, 1e9]))
    return Matrix(mask, np.where(rng.random(mask.nnz) < draw(st.sampled_from([0.0, 0.3, 1.0])), 0.0, values))


@given(weights())
def test_any_small_weight_matches_a_dense_svd(weight):
    values = singular_values(weight)
    assert values.shape == (min(weight.shape),)
    assert values.dtype == np.float64
    assert (np.diff(values) <= 0).all()
    assert values == pytest.approx(dense_values(weight), rel=0, abs=rounding(weight))


@pytest.mark.parametrize(
    "mask",
    [
        known.random_pattern(300, 200, 0.006, 0),
        known.random_pattern(150, 260, 0.01, 1),
        known.shuffled(known.padded(known.union(known.complete(3, 5), known.complete(5, 3), known.cycle(9)), 4, 2), 2),
        known.complete(90, 130),
    ],
)
def test_larger_weights_and_their_permutations_and_transposes(mask):
    weight = gaussian(mask)
    values, slack = singular_values(weight), rounding(weight)
    assert values == pytest.approx(dense_values(weight), rel=0, abs=slack)
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(mask.m), rng.permutation(mask.n)
    for same in (weight.to_dense()[rows][:, columns], weight.to_dense().T):
        assert singular_values(Matrix.from_dense(same)) == pytest.approx(values, rel=0, abs=slack)


@pytest.mark.parametrize(("m", "n", "d"), [(64, 64, 4), (60, 40, 8), (40, 60, 6)])
@pytest.mark.parametrize("silenced", [0.0, 0.4])
def test_sao_weights_under_an_activation(m, n, d, silenced):
    """With rows silenced, groups of many heights are left; none of them is lost or taken for another."""
    weight = sao_weight(m, n, d)
    rng = np.random.default_rng(0)
    slopes = np.where(rng.random(m) < silenced, 0.0, rng.random(m))
    jacobian = Matrix(weight.mask, weight.values * slopes[weight.mask.entry_rows])
    assert singular_values(weight) == pytest.approx(np.ones(min(m, n)), abs=1e-14)
    assert singular_values(jacobian) == pytest.approx(dense_values(jacobian), rel=0, abs=1e-14)
    if m <= n:
        assert singular_values(jacobian) == pytest.approx(np.sort(slopes)[::-1], rel=0, abs=1e-14)


@pytest.mark.parametrize(
    ("dense", "expected"),
    [
        ([[-3.0]], [3.0]),
        ([[0.0]], [0.0]),
        ([[3.0, 0.0, -4.0]], [5.0]),
        ([[3.0], [4.0]], [5.0]),
        ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [0.0, 0.0]),
        ([[1e200, 1e200]], [math.sqrt(2) * 1e200]),
        ([[3e-200, 4e-200]], [5e-200]),
        ([[3e300, 4e300, 0, 0], [0, 0, 3e-300, 4e-300]], [5e300, 5e-300]),
        (np.kron(np.diag([1e200, 1e-200]), [[1.0, 2.0], [2.0, 1.0]]), [3e200, 1e200, 3e-200, 1e-200]),
    ],
)
def test_known_values_each_component_to_its_own_precision(dense, expected):
    assert singular_values(Matrix.from_dense(np.array(dense))) == pytest.approx(expected, rel=4 * EPSILON, abs=0)


def test_scaling_by_a_power_of_two_is_exact():
    weight = gaussian(known.random_pattern(60, 60, 0.03, 3))
    scaled = Matrix(weight.mask, np.ldexp(weight.values, 40))
    assert np.array_equal(singular_values(scaled), np.ldexp(singular_values(weight), 40))


@pytest.mark.parametrize(("m", "n"), [(600, 700), (700, 600), (600, 600)])
@pytest.mark.parametrize(("smallest", "by_gram"), [(0.3, True), (0.01, False)])
def test_large_blocks_of_a_chosen_spectrum_by_either_route(m, n, smallest, by_gram):
    values = np.linspace(1, smallest, min(m, n))
    block = of_spectrum(values, m, n)
    assert (component_values._by_gram_matrix(block if m >= n else block.T) is not None) == by_gram
    assert singular_values(Matrix.from_dense(block)) == pytest.approx(values, rel=0, abs=40 * EPSILON)


def test_a_gram_matrix_is_given_up_where_its_own_result_shows_too_much_spread():
    """A condition number just above what is allowed, whose ends ten Lanczos steps don't reach."""
    values = np.linspace(1, 0.24, GRAM_SIDE)
    block = of_spectrum(values, 600, GRAM_SIDE)
    assert component_values._spread(block) < component_values.GRAM_CONDITION**2
    assert component_values._by_gram_matrix(block) is None
    assert block_singular_values(block[None])[0] == pytest.approx(values, rel=0, abs=40 * EPSILON)


@pytest.mark.parametrize("exponent", [-300, 300])
def test_a_gram_matrix_is_not_formed_where_squares_would_overflow_or_vanish(exponent):
    values = np.ldexp(np.linspace(1, 0.5, GRAM_SIDE), 3 * exponent)
    block = of_spectrum(values, GRAM_SIDE, GRAM_SIDE)
    assert component_values._by_gram_matrix(block) is None
    assert singular_values(Matrix.from_dense(block)) == pytest.approx(values, rel=100 * EPSILON, abs=0)


def test_patterns_have_the_closed_forms_of_masks():
    mask = known.union(known.cycle(7), known.complete(3, 4), known.projective_plane(2), known.complete(1, 3))
    assert np.array_equal(singular_values(Matrix(mask)), mask_singular_values(mask))
    assert singular_values(Matrix(mask)) == pytest.approx(dense_values(Matrix(mask)), abs=1e-14)


def ring(length, seed=0):
    """A shuffled cycle of 2 length nodes, without a dense matrix."""
    rows = np.repeat(np.arange(length), 2)
    columns = (rows + np.tile([0, 1], length)) % length
    return Mask.from_entries(np.random.default_rng(seed).permutation(length)[rows], columns, (length, length))


def test_sides_beyond_an_svd_are_refused_before_any_work():
    mask = ring(4097)
    assert not is_affordable(mask)
    with pytest.raises(SaoError, match=r"4097 x 4097 would take too long: .* up to 4096 .*; spectral_density gives"):
        singular_values(gaussian(mask))
    assert is_affordable(ring(4096))
    assert is_affordable(sao_weight(8192, 8192, 4).mask)


def test_a_pattern_of_closed_form_is_exact_at_any_size():
    mask = known.union(ring(5000), known.complete(2, 3))
    found = measured_singular_values(Matrix(mask))
    expected = np.abs(2 * np.cos(np.pi / 5000 * np.arange(5000)))
    assert found.exact
    assert found.values == pytest.approx(np.sort([*expected, math.sqrt(6), 0])[::-1], abs=1e-13)


def test_blocks_of_too_many_entries_are_refused(monkeypatch):
    weight = gaussian(known.complete(20, 60))
    assert is_affordable(weight.mask)
    monkeypatch.setattr(component_values, "EXACT_ENTRIES", 1000)
    assert not is_affordable(weight.mask)
    with pytest.raises(SaoError, match="20 x 60 would take too long"):
        singular_values(weight)


def test_memory_is_asked_for_first(monkeypatch):
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryLimitError, match="dense SVD of a connected component of 20 x 60"):
        singular_values(gaussian(known.complete(20, 60)))


@pytest.mark.parametrize("wrong", [math.inf, math.nan])
def test_values_must_be_finite(wrong):
    with pytest.raises(FormatError, match=f"holds {wrong}; every value must be a finite number"):
        singular_values(Matrix(known.complete(1, 2), np.array([1.0, wrong])))


def test_measured_values_are_exact_where_they_can_be():
    weight = gaussian(known.random_pattern(50, 40, 0.1, 5))
    found = measured_singular_values(weight)
    assert (found.exact, found.error, found.reason) == (True, None, None)
    assert found.norm == pytest.approx(np.linalg.norm(weight.values), rel=1e-15)
    assert np.array_equal(found.values, singular_values(weight))


def test_measured_values_are_quantiles_beyond_and_say_so():
    weight = gaussian(ring(4100))
    found = measured_singular_values(weight, seed=3, layer=2)
    density = spectral_density(weight, seed=3, layer=2)
    assert not found.exact
    assert np.array_equal(found.values[1:], np.minimum(density.quantiles(4100)[1:], density.sigma_max))
    assert found.values[0] == density.sigma_max
    assert found.norm == pytest.approx(np.linalg.norm(weight.values), rel=1e-15)
    assert found.error == density.error < 0.1
    assert density.error_kind == "estimate"
    assert found.reason == (
        f"stochastic density: {density.probes} probes of {density.steps} Lanczos steps, CDF error about "
        f"{density.error:.1g}, sigma_max a lower bound; the dense SVD of a connected component of 4100 x 4100 is "
        "left out"
    )


def test_explicit_zeros_take_a_component_apart():
    """Too large as a mask, but not once the zeros are gone."""
    mask = ring(5000)
    values = np.where(np.arange(mask.nnz) % 50 == 0, 0.0, 1.0)
    weight = Matrix(mask, values)
    assert not is_affordable(mask)
    assert singular_values(weight) == pytest.approx(singular_values(Matrix(without_zeros(weight).mask)), abs=1e-13)
    assert measured_singular_values(weight).exact


@given(weights())
def test_dropping_zeros_changes_the_mask_alone(weight):
    dropped = without_zeros(weight)
    assert np.array_equal(dropped.to_dense(), weight.to_dense())
    assert dropped.mask == Mask.from_dense(weight.to_dense())
    assert dropped.dtype == weight.dtype


@given(weights())
def test_batches_carry_the_values_in_place(weight):
    dense, mask = weight.to_dense(), weight.mask
    for components in (find_components(mask), labelled(mask)):
        seen = 0
        for batch, matrices in components.batches(np.arange(components.count)[::-1], weight.values):
            for number, block in zip(batch, matrices, strict=True):
                assert np.array_equal(block, dense[np.ix_(components.rows == number, components.columns == number)])
                seen += 1
        assert seen == components.count


def test_components_alone_keep_their_nodes_and_lose_the_others():
    components = find_components(known.union(known.cycle(3), known.complete(2, 4), known.cycle(5)))
    alone = components.only(np.array([2, 0]))
    assert alone.count == 2
    assert alone.heights.tolist() == [5, 3]
    assert alone.dead == 6
    assert [mask.nnz for mask in alone.masks(np.array([1, 0]))] == [6, 10]


@pytest.mark.parametrize("mask", [known.random_pattern(30, 50, 0.2, 0), known.random_pattern(50, 30, 0.2, 1)])
def test_the_gram_operator_of_a_weight(mask):
    weight = gaussian(mask)
    dense = weight.to_dense()
    expected = dense @ dense.T if mask.m <= mask.n else dense.T @ dense
    gram = Gram(mask, weight.values)
    assert gram.apply(np.eye(30)) == pytest.approx(expected, abs=1e-13)
    absolute = np.abs(dense) @ np.abs(dense).T if mask.m <= mask.n else np.abs(dense).T @ np.abs(dense)
    assert gram.row_sum == pytest.approx(absolute.sum(1).max())
    assert gram.row_sum >= np.linalg.norm(expected, 2)
