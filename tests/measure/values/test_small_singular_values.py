"""Stacks of small matrices: against LAPACK's SVD with vectors, known spectra, and mpmath."""

import numpy as np
import pytest

from sao_cli.measure.convolution.operator_values import convolution_values
from sao_cli.measure.values import small_singular_values as small
from sao_cli.measure.values.small_singular_values import small_singular_values
from sao_cli.weights.kernels.build_kernels import build_kernel

EPS = np.finfo(np.float64).eps
BATCH = 300
SIDES = range(1, 9)


@pytest.fixture(autouse=True)
def by_qd_from_here(monkeypatch):
    """However few the matrices are."""
    monkeypatch.setattr(small, "FEWEST", 1)


@pytest.fixture
def by_lapack(monkeypatch):
    """How many matrices LAPACK was asked for."""
    counts, svd = [], np.linalg.svd

    def counting(stack, **options):
        counts.append(len(stack))
        return svd(stack, **options)

    monkeypatch.setattr(np.linalg, "svd", counting)
    return counts


def gaussian(rng, shape, number_type):
    real = rng.standard_normal(shape)
    return real + 1j * rng.standard_normal(shape) if number_type is complex else real


def of_spectrum(rng, values, number_type):
    """(BATCH, k, k) matrices with (k,) or (BATCH, k) `values`."""
    shape = (BATCH, np.shape(values)[-1], np.shape(values)[-1])
    left, right = (np.linalg.qr(gaussian(rng, shape, number_type))[0] for _ in range(2))
    return left * np.broadcast_to(values, shape[:2])[:, None] @ right


def assert_near(found, known, multiple=40):
    """LAPACK's own errors, in what it has of these and in the reference, are most of it: up to 40 eps were seen."""
    known = np.sort(np.broadcast_to(known, found.shape), axis=1)[:, ::-1]
    assert np.all(np.diff(found, axis=1) <= 0)
    assert np.all(np.abs(found - known) <= multiple * EPS * known[:, :1] + 1e-300)


def spectra(k):
    places = np.arange(k)
    return {
        "graded": 10.0 ** -np.linspace(0, 15, k),
        "of half the rank": 1.0 * (places < (k + 1) // 2),
        "orthogonal": np.ones(k),
        "nearly orthogonal": 1 + 1e-7 * np.random.default_rng(0).standard_normal((BATCH, k)),
        "repeated": np.array([2.0, 1.0])[places % 2],
        "zero": np.zeros(k),
    }


@pytest.mark.parametrize("number_type", [float, complex])
@pytest.mark.parametrize("k", SIDES)
def test_known_spectra(k, number_type):
    for number, spectrum in enumerate(spectra(k).values()):
        stack = of_spectrum(np.random.default_rng(number), spectrum, number_type)
        assert_near(small_singular_values(stack), spectrum, multiple=60)  # the product's rounding, and LAPACK's


@pytest.mark.parametrize("number_type", [float, complex])
@pytest.mark.parametrize("k", SIDES)
def test_against_lapack(k, number_type):
    rng = np.random.default_rng(k)
    stack = gaussian(rng, (BATCH, k, k), number_type)
    rows = 10.0 ** -np.linspace(0, 12, k)
    kinds = {
        "random": stack,
        "graded rows": stack * rows[:, None],
        "graded columns": stack * rows[::-1],
        "graded entries": stack * 10.0 ** rng.uniform(-160, 0, stack.shape),
        "signs": np.sign(stack.real),
        "sparse": stack * (rng.random(stack.shape) < 0.3),
        "tall": gaussian(rng, (BATCH, 2 * k, k), number_type),
        "wide": gaussian(rng, (BATCH, k, k + 3), number_type),
        "diagonal": stack * np.eye(k),
        "triangular": np.triu(stack),
        "tiny and huge": stack * 10.0 ** rng.uniform(-290, 290, (BATCH, 1, 1)),
    }
    for kind in kinds.values():
        before = kind.copy()
        assert_near(small_singular_values(kind), np.linalg.svd(kind)[1])
        np.testing.assert_array_equal(kind, before)


def test_against_fifty_digits():
    """Nearly orthogonal matrices, where LAPACK's values without vectors can be off by 40 eps and these are not."""
    mpmath = pytest.importorskip("mpmath")
    spectrum = 1 + 1e-7 * np.random.default_rng(1).standard_normal((BATCH, 4))
    stack = of_spectrum(np.random.default_rng(2), spectrum, float)
    chosen = slice(0, BATCH, 10)
    with mpmath.workdps(50):
        known = [
            [float(x) for x in mpmath.svd_r(mpmath.matrix(one.tolist()), compute_uv=False)] for one in stack[chosen]
        ]
    with np.errstate(all="ignore"):
        found, good = small._by_qd(*small._bidiagonal(stack, np.empty((3, stack.size))))
    assert good[chosen].mean() > 0.8
    assert_near(found[chosen][good[chosen]], np.array(known)[good[chosen]], multiple=8)


@pytest.mark.parametrize("number_type", [float, complex])
@pytest.mark.parametrize("k", [2, 3, 4, 6, 8])
def test_lapack_has_few_of_random_ones(k, number_type, by_lapack):
    """Without this the tests above could be LAPACK's own."""
    small_singular_values(gaussian(np.random.default_rng(0), (BATCH, k, k), number_type))
    assert sum(by_lapack) < 0.1 * BATCH


@pytest.mark.parametrize("scale", [0.0, 1e-200, 1e200])
def test_lapack_has_what_could_under_or_overflow(scale, by_lapack):
    stack = np.random.default_rng(0).standard_normal((BATCH, 4, 4))
    stack[7] *= scale
    found = small_singular_values(stack)
    assert 1 <= sum(by_lapack) < 0.1 * BATCH
    np.testing.assert_allclose(found[7], scale * small_singular_values(stack[7:8] / (scale or 1))[0], rtol=1e-13)


def test_large_batches_in_chunks(monkeypatch):
    stack = np.random.default_rng(0).standard_normal((BATCH, 3, 5))
    whole = small_singular_values(stack)
    monkeypatch.setattr(small, "CHUNK_BYTES", 77 * stack[0].nbytes)
    assert_near(small_singular_values(stack), whole)


def test_single_precision_and_empty_stacks_are_lapack_s(by_lapack):
    stack = np.random.default_rng(0).standard_normal((BATCH, 3, 3)).astype(np.float32)
    found = small_singular_values(stack)
    assert found.dtype == np.float64
    assert small_singular_values(np.empty((0, 3, 3))).shape == (0, 3)
    assert by_lapack == [BATCH, 0]


def test_the_blocks_of_a_convolution_have_their_values_from_here(by_lapack, monkeypatch):
    kernel = build_kernel(16, 16, 3, scheme="eco", d=4)
    found = convolution_values(kernel, 16).values
    assert sum(by_lapack) < 100  # of 516 blocks, half of them conjugates of others
    monkeypatch.setattr(small, "FEWEST", 2**60)
    lapack_s = convolution_values(kernel, 16).values
    np.testing.assert_allclose(found, lapack_s, rtol=0, atol=60 * EPS * lapack_s[0])
