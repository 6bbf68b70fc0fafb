"""One layer's Jacobian against automatic differentiation, and a dense reference against Haar matrices themselves."""

import numpy as np
import pytest
from scipy import stats

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.catalog import PLAIN_ACTIVATIONS
from sao_cli.data.matrix import Matrix
from sao_cli.measure.layer.activations import activation_derivative
from sao_cli.measure.layer.jacobian import dense_jacobian_values, gaussian_input, layer_jacobian


def haar(m, n, rng):
    """scipy's, cut to the shape."""
    full = stats.ortho_group.rvs(max(m, n), random_state=rng)
    return full[:m, :n]


@pytest.mark.parametrize("activation", PLAIN_ACTIVATIONS)
def test_the_jacobian_is_automatic_differentiations(activation):
    torch = pytest.importorskip("torch")
    functions = {
        "linear": lambda h: h,
        "leaky-relu": torch.nn.functional.leaky_relu,
        "hard-tanh": torch.nn.functional.hardtanh,
        "erf": torch.erf,
    }
    function = functions.get(activation) or getattr(torch.nn.functional, activation)
    rng = np.random.default_rng(3)
    dense = rng.standard_normal((5, 7)) * (rng.random((5, 7)) < 0.5)
    x = rng.standard_normal(7)
    exact = torch.autograd.functional.jacobian(lambda v: function(torch.tensor(dense) @ v), torch.tensor(x))
    found = layer_jacobian(Matrix.from_dense(dense), activation, x).to_dense()
    np.testing.assert_allclose(found, exact.numpy(), rtol=1e-12, atol=1e-15)


def test_the_mask_stays_where_a_derivative_is_zero():
    weight = Matrix.from_dense(np.array([[1.0, 2.0], [3.0, 0.0]]))
    jacobian = layer_jacobian(weight, "relu", np.array([-1.0, -1.0]))
    assert jacobian.mask == weight.mask
    assert not jacobian.values.any()


@pytest.mark.parametrize(
    ("x", "said"),
    [(np.zeros(3), "shape (3,) for a layer that reads 2"), (np.array([0.0, np.nan]), "number 2 is nan")],
)
def test_an_input_that_does_not_fit_is_refused(x, said):
    with pytest.raises(FormatError) as error:
        layer_jacobian(Matrix.from_dense(np.eye(2)), "tanh", x)
    assert said in str(error.value)


@pytest.mark.parametrize("std", [-1.0, np.nan, np.inf])
def test_a_standard_deviation_is_finite_and_not_negative(std):
    with pytest.raises(SaoError, match="input_std"):
        gaussian_input(3, std, np.random.default_rng(0))


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu"])
@pytest.mark.parametrize(("m", "n"), [(30, 30), (20, 35), (35, 20)])
def test_reference_values_have_the_law_of_haar_layers(activation, m, n):
    """Pooled over 150 draws, each side; values of one draw hang together, so the level is strict and the bar low."""
    rng = np.random.default_rng(8)
    theirs, ours = [], []
    for seed in range(150):
        weight, x = 1.2 * haar(m, n, rng), 0.9 * rng.standard_normal(n)
        slopes = activation_derivative(activation, weight @ x)
        theirs.append(np.linalg.svd(slopes[:, None] * weight, compute_uv=False).round(9))
        ours.append(dense_jacobian_values(m, n, activation, gain=1.2, input_std=0.9, seed=seed).round(9))
    means = stats.ttest_ind(np.mean(ours, axis=1), np.mean(theirs, axis=1)).pvalue
    extremes = stats.ks_2samp(np.min(ours, axis=1), np.min(theirs, axis=1)).pvalue
    largest = stats.ks_2samp(np.max(ours, axis=1), np.max(theirs, axis=1)).pvalue
    assert min(means, extremes, largest) > 1e-3


def test_with_no_more_outputs_than_inputs_the_slopes_are_the_singular_values():
    rng = np.random.default_rng(5)
    weight, x = haar(12, 20, rng), rng.standard_normal(20)
    slopes = activation_derivative("silu", weight @ x)
    exact = np.linalg.svd(slopes[:, None] * weight, compute_uv=False)
    np.testing.assert_allclose(np.sort(np.abs(slopes))[::-1], exact, rtol=1e-13, atol=1e-15)


def test_only_the_norm_of_a_given_input_matters():
    x = np.arange(6.0)
    found = [dense_jacobian_values(6, 6, "tanh", x=vector, seed=2) for vector in (x, x[::-1].copy())]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("m", "n"), [(3, 5), (5, 3), (1, 1), (1, 4)])
def test_linear_references_are_the_gain(m, n):
    np.testing.assert_array_equal(dense_jacobian_values(m, n, gain=1.1), np.full(min(m, n), 1.1))


def test_a_large_reference_costs_no_matrix_where_none_is_needed():
    assert len(dense_jacobian_values(200_000, 200_000, "tanh")) == 200_000
    with pytest.raises(SaoError, match="reference would take too long"):
        dense_jacobian_values(200_000, 100_000, "tanh")
