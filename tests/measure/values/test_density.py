"""Spectral densities against exact laws, against chosen spectra, and against their own singular values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.masks.biregular import biregular_mask
from sao_cli.masks.lrp import lrp_mask
from sao_cli.measure.values import density as module
from sao_cli.measure.values.density import PRODUCTS, spectral_density
from sao_cli.measure.values.singular_values import singular_values
from sao_cli.weights.orthogonal import sao_weight

from .. import known_graphs as known

SLACK = 1e-7  # between two routes' places of one jump, relative to sigma_max


def diagonal(values):
    """A weight with these singular values: all of its components are single ones, together as good as any."""
    size = len(values)
    return Matrix(Mask(np.arange(size + 1), np.arange(size), (size, size)), np.asarray(values, dtype=float))


def gaussian(mask, seed=0):
    return Matrix(mask, np.random.default_rng(seed).standard_normal(mask.nnz))


def forced(weight, **options):
    """All of it by quadrature."""
    return spectral_density(weight, exact_side=0, **options)


def distance_to_sample(density, values):
    """sup |cdf - empirical distribution of `values`|, jumps within SLACK counted as one."""
    values = np.sort(values)
    points = np.union1d(values, density.exact if density.rest is None else density.rest.points)
    slack = SLACK * values[-1]
    below, upto = (np.searchsorted(values, points, side) / len(values) for side in ("left", "right"))
    return max((upto - density.cdf(points + slack)).max(), (density.cdf(points - slack) - below).max())


def biregular_law(c, d):
    """The distribution of the singular values of large random (c, d)-biregular masks (Godsil and Mohar 1988).

    Density proportional to sqrt((b^2 - s^2)(s^2 - a^2)) / (s (c d - s^2)) between a and b = |sqrt(c-1) -+ sqrt(d-1)|.
    """
    low, high = ((math.sqrt(c - 1) + sign * math.sqrt(d - 1)) ** 2 for sign in (-1, 1))
    angle = (np.arange(200_000) + 0.5) * math.pi / 200_000
    squares = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    shares = np.cumsum(np.sin(angle) ** 2 / (squares * (c * d - squares)))
    return lambda x: np.interp(np.square(x), squares, shares / shares[-1], left=0.0, right=1.0)


@pytest.mark.parametrize(("m", "n", "d"), [(20_000, 20_000, 4), (10_000, 20_000, 8), (20_000, 10_000, 3)])
def test_random_biregular_masks_have_the_law_of_godsil_and_mohar(m, n, d):
    mask = biregular_mask(m, n, d, seed=0)
    density = spectral_density(Matrix(mask))
    law = biregular_law(mask.nnz // n, d)
    x = np.linspace(0, density.sigma_max, 5001)
    assert np.abs(density.cdf(x) - law(x)).max() <= density.error < 0.012
    assert density.products <= PRODUCTS
    assert density.size == min(m, n)
    sample = density.quantiles(density.size)
    assert np.abs(law(sample) - (np.arange(density.size, 0, -1) - 0.5) / density.size).max() <= density.error
    assert density.sigma_max == pytest.approx(math.sqrt(mask.nnz // n * d), rel=1e-9)


@pytest.mark.parametrize(("m", "n"), [(600, 600), (400, 700), (700, 400)])
def test_dense_gaussians_against_their_own_values(m, n):
    weight = gaussian(known.complete(m, n))
    density = forced(weight)
    assert distance_to_sample(density, singular_values(weight)) <= density.error < 0.08


RANDOM = np.random.default_rng(0)
SMOOTH = {
    "uniform": RANDOM.random(4000),
    "gapped": np.where(RANDOM.random(4000) < 0.5, 0.3, 0.7) + 0.1 * RANDOM.random(4000),
    "tanh": 1 / np.cosh(RANDOM.standard_normal(4000)) ** 2,
    "outliers": np.append(RANDOM.uniform(0.5, 1.5, 3995), np.arange(10, 15)),
    "near 1": 1 + 1e-5 * RANDOM.standard_normal(4000),
}
ATOMS = {
    "one": np.full(4000, 0.7),
    "three": np.repeat([1.0, 2.0, 3.0], [400, 1600, 2000]),
    "twenty": np.repeat(np.arange(1, 21) / 20, 200),
}
SMALL = {"six": np.arange(1.0, 7.0)}
HARD = {  # much that is too near zero, or in a cluster, for the steps to tell: the error must own up to it
    "leaky": np.where(RANDOM.random(4000) < 0.5, 1, 0.01) * RANDOM.uniform(0.2, 1.2, 4000),
    "log-uniform": 10 ** RANDOM.uniform(-6, 0, 4000),
    "eighth powers": RANDOM.random(4000) ** 8,
    "an atom in a band": np.where(RANDOM.random(4000) < 0.3, 0.6, RANDOM.random(4000)),
}


@pytest.mark.parametrize("name", [*SMOOTH, *ATOMS, *HARD])
def test_the_stated_error_covers_the_error(name):
    values = (SMOOTH | ATOMS | HARD)[name]
    densities = [forced(diagonal(values), seed=seed) for seed in range(4)]
    covered = [distance_to_sample(density, values) <= density.error for density in densities]
    assert sum(covered) >= 4 * 0.95 - 3 * math.sqrt(4 * 0.95 * 0.05)  # three of four seeds, and most of them by far
    if name not in HARD:
        assert max(density.error for density in densities) < 0.04
    assert all(density.products <= PRODUCTS and density.error <= 1 for density in densities)


@pytest.mark.parametrize(("name", "middle"), [("uniform", 0.5), ("three", 2.5), ("six", 3.5)])
def test_the_standard_error_is_the_spread_over_seeds(name, middle):
    """Of 60 seeds the spread has a relative standard error of 1/sqrt(118); three of them are allowed."""
    weight = diagonal((SMOOTH | ATOMS | SMALL)[name])
    densities = [forced(weight, seed=seed, products=128) for seed in range(60)]
    spread = np.std([density.cdf(middle) for density in densities], ddof=1)
    stated = np.sqrt(np.mean([density.standard_error**2 for density in densities]))
    assert spread == pytest.approx(stated, rel=3 / math.sqrt(118))


@pytest.mark.parametrize("name", ATOMS)
def test_atoms_are_jumps_at_their_places(name):
    values = ATOMS[name]
    density = forced(diagonal(values))
    places, masses = np.unique(values, return_counts=True)
    jumps = density.cdf(places + 1e-9) - density.cdf(places - 1e-9)
    assert jumps == pytest.approx(masses / len(values), abs=density.error)
    assert jumps.sum() == pytest.approx(1, abs=1e-12)
    near = np.abs(density.quantiles(1000)[:, None] - places).min(axis=1)
    assert near.max() < 1e-9


def test_an_orthogonal_weight_takes_one_probe_of_one_step():
    density = forced(sao_weight(96, 64, 4))
    assert (density.probes, density.steps, density.products, density.error) == (1, 1, 2, 0)
    assert density.quantiles(64) == pytest.approx(np.ones(64), abs=1e-14)


def test_a_pattern_of_complete_components_has_its_closed_form_at_any_size():
    density = spectral_density(Matrix(sao_weight(64, 64, 4).mask), exact_side=2)
    assert density.rest is None
    assert density.exact.tolist() == [0] * 48 + [4] * 16


def test_a_matrix_of_low_rank_has_its_zeros():
    rng = np.random.default_rng(0)
    weight = Matrix.from_dense(rng.standard_normal((300, 40)) @ rng.standard_normal((40, 350)))
    density = forced(weight)
    assert density.cdf(0) == pytest.approx(260 / 300, abs=density.error)
    assert distance_to_sample(density, singular_values(weight)) <= density.error < 0.05


def test_zeros_that_the_pattern_forces_are_counted_and_not_guessed():
    """A sparse random layer: some zeros without a gap above them, which no number of steps would make an atom."""
    weight = gaussian(lrp_mask(900, 900, 2700))
    values = singular_values(weight)
    zeros = np.count_nonzero(values < 1e-10 * values[0]) / 900
    density = spectral_density(weight, exact_side=100)
    assert zeros > 0.05
    assert density.cdf(0) == pytest.approx(zeros, abs=0.005)
    assert distance_to_sample(density, values) <= density.error < 0.15


def test_a_mixture_of_tall_wide_small_and_dead():
    """The two large components turn to their shorter sides, and the small ones and the dead nodes are exact."""
    parts = [known.complete(300, 150), known.complete(3, 5), known.complete(150, 280), *[known.cycle(4)] * 40]
    weight = gaussian(known.shuffled(known.padded(known.union(*parts), 20, 30), 0))
    density = spectral_density(weight, exact_side=100)
    values = singular_values(weight)
    assert density.size == len(values) == min(weight.shape)
    assert len(density.exact) == density.size - 300
    small = singular_values(gaussian(known.union(*parts[1:2], *parts[3:])))
    assert np.count_nonzero(density.exact) == len(small)
    whole = forced(weight)
    for found in (density, whole):
        assert distance_to_sample(found, values) <= found.error < 0.08
    assert density.error < whole.error
    assert 0 < density.standard_error < 300 / density.size * math.sqrt(0.5 / (302 * density.probes)) * 1.001


def test_the_largest_value_may_be_a_small_component_s():
    dense = np.zeros((61, 61))
    dense[:60, :60] = np.random.default_rng(0).standard_normal((60, 60))
    dense[60, 60] = 1000
    density = spectral_density(Matrix.from_dense(dense), exact_side=50)
    assert density.rest is not None
    assert density.sigma_max == density.quantiles(61)[0] == 1000


def test_the_turned_components_are_the_ones_chosen():
    parts = [known.random_pattern(12, 7, 0.5, 0), known.cycle(3), known.random_pattern(6, 9, 0.6, 1)]
    weight = gaussian(known.shuffled(known.padded(known.union(*parts), 1, 2), 0))
    found = module.WeightComponents.of(weight)
    large = found.too_large(4)
    mask, values = module._together(found, large)
    assert mask.m <= mask.n
    assert mask == Mask.from_dense(mask.to_dense())
    expected = np.sort(found.values(large))[::-1]
    together = np.linalg.svd(Matrix(mask, values).to_dense(), compute_uv=False)
    assert together == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("exponent", [-600, 600])
def test_scaling_by_a_power_of_two_is_exact(exponent):
    weight = gaussian(known.random_lift(3, 5, 60, 0))
    scaled = Matrix(weight.mask, np.ldexp(weight.values, exponent))
    expected, found = forced(weight), forced(scaled)
    assert np.array_equal(found.quantiles(50), np.ldexp(expected.quantiles(50), exponent))
    assert (found.error, found.sigma_max) == (expected.error, math.ldexp(expected.sigma_max, exponent))


@pytest.mark.parametrize("value", [1.7e308, 2.0**-1074])
def test_the_largest_and_the_least_float_are_within_reach(value):
    density = forced(Matrix.from_dense(np.array([[-value]])))
    assert density.quantiles(1).tolist() == [pytest.approx(value, rel=1e-15, abs=0)]


def test_the_seed_and_the_layer_name_the_probes():
    weight = gaussian(known.random_lift(4, 4, 100, 0))
    first, again = (forced(weight, seed=5, layer=2).quantiles(400) for _ in range(2))
    assert np.array_equal(first, again)
    for other in (forced(weight, seed=6, layer=2), forced(weight, seed=5, layer=3)):
        assert not np.array_equal(first, other.quantiles(400))


def chosen_spectrum(values, m, n):
    """A dense (m, n) weight with these min(m, n) singular values."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((side, len(values))))[0] for side in (m, n))
    return Matrix.from_dense(left * values @ right.T)


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_small_weights_use_their_space_up(values, wider, tall, seed):
    """All that is left to chance is the weight of each value: the nodes are the values, and all probes are taken."""
    size = len(values)
    weight = chosen_spectrum(np.array(values, dtype=float), *(size, size + wider)[:: -1 if tall else 1])
    density, distinct = forced(weight, seed=seed), np.unique(values)
    assert density.rest.heights.max() == 0
    assert density.rest.masses.sum() == pytest.approx(1, abs=1e-12)
    places = density.rest.places[density.rest.masses > 0]
    gaps = np.abs(places[:, None] ** 2 - distinct**2)
    assert max(gaps.min(axis=0).max(), gaps.min(axis=1).max()) <= 1e-11 * distinct[-1] ** 2
    assert density.sigma_max == pytest.approx(distinct[-1], rel=1e-12)
    assert density.steps <= size
    assert density.products > PRODUCTS - 2 * size or (len(distinct), density.probes) == (1, 1)
    assert density.error == pytest.approx(2.72 * density.standard_error, abs=1e-12)


def test_a_weight_of_zeros_is_a_jump_at_zero():
    assert forced(Matrix.from_dense(np.zeros((2, 3)))).cdf([-1e-300, 0]).tolist() == [0, 1]


@pytest.mark.parametrize("size", [30, 100, 160])
def test_copies_that_rounding_makes_do_not_use_the_space_up(size):
    """Outliers converge at once: copies of them in place of other values would leave most of these out."""
    values = np.append(np.random.default_rng(0).uniform(0.1, 1, size - 3), [10, 20, 30])
    density = forced(diagonal(values))
    assert (density.steps, density.probes) == (size, PRODUCTS // 2 // size)
    places = density.rest.places[density.rest.masses > 0].reshape(size, density.probes)
    assert places == pytest.approx(np.tile(np.sort(values)[:, None], density.probes), abs=1e-9)


@pytest.mark.parametrize("side", [3, 6])
def test_the_stated_error_covers_the_error_of_small_weights(side):
    """In 95 % of 100 fixed seeds, less three standard errors of that share."""
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        weight = Matrix.from_dense(rng.standard_normal((side, side)) * (rng.random((side, side)) < 0.8))
        density = forced(weight, seed=seed, products=128)
        covered += distance_to_sample(density, singular_values(weight)) <= density.error + 1e-12
    assert covered >= 100 * 0.95 - 3 * math.sqrt(100 * 0.95 * 0.05)


def test_quantiles_invert_the_distribution():
    weight = gaussian(known.union(known.complete(200, 200), known.complete(1, 4), known.complete(2, 2)))
    density = spectral_density(weight, exact_side=10)
    for count in (1, 2, 203, 1000):
        quantiles, shares = density.quantiles(count), (np.arange(count, 0, -1) - 0.5) / count
        slack = 1e-9 * density.sigma_max
        assert quantiles.shape == (count,)
        assert (np.diff(quantiles) <= 0).all()
        assert (density.cdf(quantiles + slack) >= shares - 1e-9).all()
        assert (density.cdf(quantiles - slack) <= shares + 1e-9).all()


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.5]), min_size=1, max_size=12))
def test_quantiles_of_exact_values_are_these(values):
    density = spectral_density(diagonal(values))
    assert density.rest is None
    assert density.quantiles(len(values)).tolist() == sorted(values, reverse=True)
    assert (density.error, density.products) == (0, 0)
    assert density.cdf(values).tolist() == [sum(other <= value for other in values) / len(values) for value in values]


@pytest.mark.parametrize("products", [128, 200, 1000])
def test_no_more_products_than_allowed(products):
    density = forced(gaussian(known.random_lift(4, 4, 100, 0)), products=products)
    assert products / 2 < density.products <= products
    with pytest.raises(SaoError, match="127 products are too few for a density; give 128 or more"):
        forced(gaussian(known.complete(2, 2)), products=127)


def test_bad_input_is_refused(monkeypatch):
    weight = gaussian(known.complete(30, 30))
    with pytest.raises(SaoError, match="0 quantiles; ask for 1 or more"):
        forced(weight).quantiles(0)
    with pytest.raises(FormatError, match="every value must be a finite number"):
        forced(Matrix(weight.mask, np.full(900, np.inf)))
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryLimitError, match="spectral density of 900 weights"):
        forced(weight)


def test_progress_counts_the_steps():
    told = []
    forced(gaussian(known.random_lift(4, 4, 100, 0)), progress=lambda *args: told.append(args))
    done = [count for _, count, _ in told]
    assert {(what, total) for what, _, total in told} == {("spectral density", PRODUCTS // 2)}
    assert done[0] == 0
    assert done == sorted(done)
