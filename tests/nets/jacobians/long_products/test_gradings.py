"""Products whose scales drift apart, against multi-precision arithmetic: nothing underflows, and errors are told."""

import math

import mpmath
import numpy as np
import pytest
import torch

from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.measure.layer.activations import activation_derivative, activation_value
from sao_cli.nets.jacobians.chain import network_jacobian
from sao_cli.nets.jacobians.long_products.graded import GradedProduct
from sao_cli.weights.build_weights import weight_stack

LAYERS, SIDE = 16, 4
DTYPES = {"float64": torch.float64, "float32": torch.float32}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def exact_log10(factors, digits):
    """Descending; -inf past the digits."""
    with mpmath.workdps(digits):
        product = mpmath.matrix(factors[0].tolist())
        for factor in factors[1:]:
            product = mpmath.matrix(factor.tolist()) * product
        values = mpmath.svd_r(product, compute_uv=False)
        least = values[0] * mpmath.mpf(10) ** (30 - digits)
        return np.array([float(mpmath.log(value, 10)) if value > least else -math.inf for value in values])


def product_of(factors, dtype="float64"):
    product = GradedProduct(factors[0].shape[1], dtype=DTYPES[dtype])
    for factor in factors:
        product.multiply(torch.from_numpy(factor))
    return product.log_singular_values(base=10)


def decades(rng, most=16.0):
    return 10.0 ** rng.uniform(-most, 0.0, SIDE)


def blocks(rng, exponents):
    whole = np.zeros((SIDE, SIDE))
    for start, exponent in zip((0, 2), exponents, strict=True):
        whole[start : start + 2, start : start + 2] = 10.0**exponent * rng.standard_normal((2, 2))
    return whole


def chains(rng):
    """Each kind's factors by its name."""
    gaussian = [rng.standard_normal((SIDE, SIDE)) for _ in range(LAYERS)]
    scales = [decades(rng) for _ in range(LAYERS)]
    basis = np.linalg.qr(rng.standard_normal((SIDE, SIDE)))[0]
    drift = rng.uniform(-16, 16, 2)
    return {
        "diagonal": [np.diag(scales[0])] * LAYERS,
        "diagonals": [np.diag(scale) for scale in scales],
        "monomial": [np.diag(scale)[rng.permutation(SIDE)] for scale in scales],
        "blocks": [blocks(rng, drift) for _ in range(LAYERS)],
        "blocks that take turns": [blocks(rng, rng.uniform(-30, 30, 2)) for _ in range(LAYERS)],
        "rows": [scale[:, None] * matrix for scale, matrix in zip(scales, gaussian, strict=True)],
        "columns": [matrix * scale for scale, matrix in zip(scales, gaussian, strict=True)],
        "rows and columns": [s[:, None] * matrix * decades(rng) for s, matrix in zip(scales, gaussian, strict=True)],
        "rows undone": [
            factor
            for scale, matrix in zip(scales[:8], gaussian, strict=False)
            for factor in (scale[:, None] * matrix, matrix.T / scale)
        ],
        "mixture": [basis @ np.diag(10.0 ** -np.linspace(0, 6, SIDE)) @ basis.T] * LAYERS,
        "mixture of far": [basis @ np.diag(10.0 ** -np.linspace(0, 12, SIDE)) @ basis.T] * LAYERS,
    }


@pytest.mark.filterwarnings("ignore::sao_cli.base.errors.SaoWarning")  # of lost digits, which `error` counts
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", chains(np.random.default_rng(0)))
def test_graded_chains_are_multi_precisions(kind, dtype, seed):
    factors = chains(np.random.default_rng(seed))[kind]
    if dtype == "float32":
        factors = [factor.astype(np.float32).astype(float) for factor in factors]
    found, expected = product_of(factors, dtype), exact_log10(factors, 1500)
    resolved = np.isfinite(found.values)
    assert (np.abs(found.values - expected)[resolved] * math.log(10) < 6 * found.error).all()
    if dtype == "float64":
        assert resolved.all()
        assert found.rank == SIDE
        assert found.error < (1e-2 if kind in {"mixture of far", "rows undone"} else 1e-5)
    else:
        assert resolved.all() or "mixture" in kind or "rows" in kind


@pytest.mark.filterwarnings("ignore::sao_cli.base.errors.SaoWarning")
def test_directions_that_overtake_each_other_in_a_dense_basis_are_told_to_be_known_no_better():
    """Each layer is right to eps, and what that is of a small direction grows when the large ones shrink."""
    worst = 0.0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        bases = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(33)]
        scales = 10.0 ** rng.uniform(-6, 0, (32, 3))
        factors = [bases[k + 1] @ np.diag(scales[k]) @ bases[k].T for k in range(32)]
        found, expected = product_of(factors), exact_log10(factors, 700)
        resolved = np.isfinite(found.values)
        wrong = np.abs(found.values - expected)[resolved].max(initial=0) * math.log(10)
        assert wrong < 30 * found.error
        worst = max(worst, wrong)
    assert worst > 1e-9  # which eps of condition numbers alone would not tell


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_example_of_two_scales(dtype):
    weight = Matrix.from_dense(np.diag([1.0, 1e-6]))
    rows = list(network_jacobian([weight] * 64, depths=[20, 64], dtype=dtype))
    for row, least in zip(rows, (-120, -384), strict=True):
        assert (row.rank, row.resolved) == (2, 1)
        assert row.log10_sigma_max == pytest.approx(0, abs=1e-6)
        assert row.log10_sigma_min == pytest.approx(least, abs=1e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize(("activation", "gain"), [("erf", 6.0), ("sigmoid", 40.0)])
def test_two_blocks_of_saturated_units_are_multi_precisions(activation, gain):
    rng = np.random.default_rng(3)
    places = np.kron(np.eye(2), np.ones((2, 2))).astype(bool)
    stack = []
    for _ in range(100):
        turns = [np.linalg.qr(rng.standard_normal((2, 2)))[0] for _ in range(2)]
        stack.append(Matrix(Mask.from_dense(places), gain * np.stack(turns).reshape(-1)))
    x = np.array([0.3, -0.7, 1.1, 0.2])
    [row] = network_jacobian(stack, activation, depths=[100], x=x)
    factors = []
    for weight in stack:
        h = weight.to_dense() @ x
        factors.append(activation_derivative(activation, h)[:, None] * weight.to_dense())
        x = activation_value(activation, h)
    expected = exact_log10(factors, 6000)
    assert expected[-1] < -400
    assert row.rank == 4
    np.testing.assert_allclose(row.log10_values[0], expected, rtol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gain", [1e-300, 1e-90, 1e90, 1e300])
@pytest.mark.parametrize("activation", ["linear", "tanh", "leaky-relu", "silu", "sigmoid"])
def test_gains_near_the_end_of_float64_are_scaled_first(activation, gain, dtype):
    [row] = network_jacobian(weight_stack([8] * 13, d=4, gain=gain), activation, depths=[12], dtype=dtype)
    if row.rank == 8:
        moved = 0 if activation in ("linear", "tanh") else 2 * 12
        assert abs(row.log10_sigma_max - 12 * math.log10(gain)) <= moved + 1e-3
    if row.rank:
        assert (row.mean, row.variance) == (None, None)
        assert "leave the range of float64" in row.reason
    else:
        assert (activation, gain > 1) in {("tanh", True), ("sigmoid", True)}  # whose slopes are no numbers
        assert "the Jacobian is zero" in row.reason


def test_a_homogeneous_network_has_the_same_values_at_every_gain():
    stacks = {gain: weight_stack([12] * 7, method="rg-n", d=4, gain=gain) for gain in (1.0, 2.0**500, 2.0**-500)}
    found = {gain: next(network_jacobian(stack, "leaky-relu", depths=[6])) for gain, stack in stacks.items()}
    for gain, row in found.items():
        shift = 6 * math.log10(gain)
        np.testing.assert_allclose(row.log10_values - shift, found[1.0].log10_values, atol=1e-9)


def test_a_variance_that_is_too_small_for_float64_is_no_zero():
    [row] = network_jacobian([Matrix.from_dense(1e-80 * np.diag([1.0, 2.0, 3.0]))] * 3, depths=[3])
    assert row.mean == pytest.approx(36e-240 / 3)
    assert row.variance is None
    assert "variance leaves the range" in row.reason


def test_values_that_are_not_known_are_null_and_counted():
    basis = np.linalg.qr(np.random.default_rng(5).standard_normal((3, 3)))[0]
    layers = [Matrix.from_dense(basis @ np.diag([1.0, 1e-8, 1e-20]) @ basis.T)] * 5
    [row] = network_jacobian(layers, depths=[5])
    assert row.log10_values.shape == (1, 3)
    assert np.isfinite(row.log10_values[0]).tolist() == [True, True, False]
    assert row.log10_values[0, 1] == pytest.approx(-40, abs=1e-5)
    assert row.log10_sigma_min is None
    assert (row.rank, row.resolved) == (2, pytest.approx(2 / 3))
    assert "1 of 3 singular values can't be told from zero" in row.reason


@pytest.mark.filterwarnings("ignore::sao_cli.base.errors.SaoWarning")
@pytest.mark.parametrize("seed", [404, 407])
def test_no_middle_value_is_dropped_while_smaller_ones_stay(seed):
    rng = np.random.default_rng(seed)
    bases = [np.linalg.qr(rng.standard_normal((6, 6)))[0] for _ in range(15)]
    factors = [bases[k + 1] @ np.diag(10.0 ** rng.uniform(-6, 0, 6)) @ bases[k].T for k in range(14)]
    factors = [factor.astype(np.float32).astype(float) for factor in factors]
    found, expected = product_of(factors, "float32"), exact_log10(factors, 400)
    known = int(np.isfinite(found.values).sum())
    assert np.isfinite(found.values[:known]).all()
    np.testing.assert_allclose(found.values[:known], expected[:known], atol=0.5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore::sao_cli.base.errors.SaoWarning")
@pytest.mark.parametrize("kind", chains(np.random.default_rng(0)))
def test_a_gpu_is_as_right(kind):
    factors = chains(np.random.default_rng(0))[kind]
    product = GradedProduct(SIDE, device="cuda")
    for factor in factors:
        product.multiply(torch.from_numpy(factor))
    found = product.log_singular_values(base=10)
    np.testing.assert_allclose(found.values, exact_log10(factors, 1500), atol=3 * found.error)
