"""A network's Jacobian against automatic differentiation, in every form a layer can take, and its facts."""

import math

import numpy as np
import pytest
import torch

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.rng import INPUTS, generator
from sao_cli.catalog import PLAIN_ACTIVATIONS
from sao_cli.data.matrix import Matrix
from sao_cli.measure.layer.activations import activation_value
from sao_cli.nets.devices import find_device
from sao_cli.nets.jacobians.chain import network_jacobian
from sao_cli.nets.jacobians.operators import BlockOperator, DenseOperator, SparseOperator, layer_blocks, layer_operator
from sao_cli.nets.layers.activation import activation_module
from sao_cli.weights.build_weights import METHODS, weight_stack


def by_autograd(stack, activation, x):
    """(k,) singular values of the Jacobian of the plain dense network at x."""
    phi = activation_module(activation)
    dense = [torch.from_numpy(layer.to_dense().astype(float)) for layer in stack]

    def network(h):
        for weight in dense:
            h = phi(weight @ h)
        return h

    return np.linalg.svd(torch.func.jacrev(network)(torch.from_numpy(x)).numpy(), compute_uv=False)


def drawn_input(n, seed=0, std=1.0):
    return std * generator(seed, 0, INPUTS, 0).standard_normal((1, n))[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_every_method_is_automatic_differentiations(method, activation):
    stack = weight_stack([24] * 5, method=method, d=4, gain=1.3, seed=2)
    [row] = network_jacobian(stack, activation, depths=[4], seed=2, input_std=0.7)
    exact = by_autograd(stack, activation, drawn_input(24, 2, 0.7))
    np.testing.assert_allclose(10 ** row.log10_values[0], exact, rtol=1e-7, atol=1e-13 * exact[0])


@pytest.mark.parametrize("activation", PLAIN_ACTIVATIONS)
def test_every_activation_and_unequal_widths(activation):
    stack = weight_stack([12, 24, 18, 30], method="rg-n", gain=1.1, seed=1)
    x = np.random.default_rng(0).standard_normal((3, 12))
    [row] = network_jacobian(stack, activation, depths=[3], x=x)
    assert (row.m, row.n, row.inputs) == (30, 12, 3)
    assert row.predicted_log10_mean_square is None
    for one, values in zip(x, row.log10_values, strict=True):
        exact = by_autograd(stack, activation, one)
        np.testing.assert_allclose(10**values, exact, rtol=1e-7, atol=1e-13 * exact[0])


def test_depths_come_from_one_pass_and_are_those_of_the_cut_stack():
    stack = weight_stack([16] * 31, d=4, gain=1.2)
    together = list(network_jacobian(stack, "silu", depths=[30, 1, 7]))
    assert [row.depth for row in together] == [1, 7, 30]
    for row in together:
        [alone] = network_jacobian(stack[: row.depth], "silu", depths=[row.depth])
        np.testing.assert_allclose(row.log10_values, alone.log10_values, atol=1e-9)


@pytest.mark.parametrize("method", ["sao", "dense", "eoi", "two-stage"])
def test_a_linear_orthogonal_stack_is_the_gain_to_the_depth(method):
    depths = [1, 10, 100, 1000] if method == "sao" else [1, 30]
    stack = weight_stack([32] * (max(depths) + 1), method=method, d=4, gain=1.1)
    for row in network_jacobian(stack, "linear", depths=depths):
        np.testing.assert_allclose(row.log10_values * math.log(10), row.depth * math.log(1.1), atol=1e-10)
        assert row.resolved == 1.0
        assert row.predicted_log10_mean_square == pytest.approx(2 * row.depth * math.log10(1.1), rel=1e-9)
        assert row.predicted_relative_variance == pytest.approx(0, abs=1e-9)
        assert row.reason is None


def test_what_leaves_float64_is_told_by_its_logarithm():
    [row] = network_jacobian(weight_stack([8] * 401, d=2, gain=10.0), "linear", depths=[400])
    assert (row.mean, row.variance) == (None, None)
    assert row.log10_sigma_max == pytest.approx(400, abs=1e-9)
    assert "leave the range of float64" in row.reason


def test_looks_linear_relu_stacks_have_root_two_and_zero():
    """Each hidden layer is [[H, -H], [-H, H]], the first [H; -H] and the last [H, -H], H orthogonal."""
    n = 8
    halves = [layer.to_dense() for layer in weight_stack([n] * 7, method="dense")]
    hidden = [np.block([[H, -H], [-H, H]]) for H in halves[1:]]
    stack = [Matrix.from_dense(np.vstack([halves[0], -halves[0]])), *map(Matrix.from_dense, hidden)]
    x = np.random.default_rng(1).standard_normal(n)
    [row] = network_jacobian(stack[:1], "relu", x=x)
    np.testing.assert_allclose(10**row.log10_values, 1.0, atol=1e-12)
    *_, last = network_jacobian(stack, "relu", x=x)
    np.testing.assert_allclose(10**last.log10_values, 1.0, atol=1e-10)
    squares = [Matrix.from_dense(np.block([[H, -H], [-H, H]])) for H in halves]
    *_, deep = network_jacobian(squares, "relu", x=np.concatenate([x, -x]))
    values = 10 ** deep.log10_values[0]
    np.testing.assert_allclose(values[:n], math.sqrt(2), atol=1e-10)
    assert (values[n:] == 0).all()
    assert deep.rank == n
    assert deep.resolved == 0.5


def test_layer_by_layer():
    stack = weight_stack([16, 32, 8], method="rg-n", d=None, gain=1.2)
    x = np.random.default_rng(3).standard_normal(16)
    rows = list(network_jacobian(stack, "tanh", x=x, by_layer=True))
    first = by_autograd(stack[:1], "tanh", x)
    second = by_autograd(stack[1:], "tanh", activation_value("tanh", stack[0].to_dense() @ x))
    for row, exact in zip(rows, (first, second), strict=True):
        np.testing.assert_allclose(10 ** row.log10_values[0], exact, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize(
    ("method", "kind"),
    [("sao", BlockOperator), ("xnet", SparseOperator), ("dense", BlockOperator), ("lmp", DenseOperator)],
)
def test_a_layer_multiplies_in_the_form_that_suits_it(method, kind):
    options = {"sparsity": 0.5} if method == "lmp" else {"d": 3}
    [weight] = weight_stack([60, 60], method=method, **options)
    operator = layer_operator(weight, layer_blocks(weight), torch.device("cpu"), torch.float64)
    assert type(operator) is kind
    X, places = torch.randn(2, 60, 5, dtype=torch.float64), torch.randperm(60)
    for given, order in ((X, None), (X[:, torch.argsort(places)], places)):
        product = operator.apply(given, order)
        if operator.places is not None:
            product = product[:, operator.places]
        torch.testing.assert_close(product, torch.from_numpy(weight.to_dense()) @ X)


@pytest.mark.parametrize("inputs", [1, 2])
def test_a_large_layer_of_square_blocks_overwrites_what_it_multiplies(inputs):
    """More than is gathered at a time; the rows of the product then stand where those of its operand stood."""
    rng = np.random.default_rng(inputs)
    [weight] = weight_stack([264, 264], d=4)
    operator = layer_operator(weight, layer_blocks(weight), "cpu", np.dtype("float64"))
    X, places, slopes = rng.standard_normal((inputs, 264, 264)), rng.permutation(264), rng.random((inputs, 264, 1))
    assert operator.overwritten(places, 100) is None
    placed = operator.overwritten(places, X.size)
    given = X[:, places].copy()
    product = operator.apply(X, places, slopes, overwrite=True)
    assert product is X
    expected = (weight.to_dense() @ given) * slopes[:, operator.places]
    np.testing.assert_allclose(product[:, placed[operator.places]], expected, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_chain_in_memory_of_its_own_is_automatic_differentiations(dtype):
    stack = weight_stack([264] * 6, d=4, gain=1.2)
    x = np.random.default_rng(4).standard_normal((2, 264))
    [row] = network_jacobian(stack, "tanh", depths=[5], x=x, dtype=dtype, device="cpu")
    for one, values in zip(x, row.log10_values, strict=True):
        exact = by_autograd(stack, "tanh", one)
        tolerance = {"rtol": 1e-9} if dtype == "float64" else {"rtol": 1e-2, "atol": 1e-5 * exact[0]}
        np.testing.assert_allclose(10**values, exact, **tolerance)


@pytest.mark.parametrize(("method", "told"), [("sao", {"d": 4}), ("rg-n", {"d": 4}), ("lmp", {"sparsity": 0.5})])
def test_in_torch_a_chain_is_what_it_is_in_numpy(method, told):
    """As on a GPU: a CPU that is told by its number is torch's."""
    stack = weight_stack([32] * 13, method=method, gain=1.2, **told)
    asked = {"inputs": 2, "depths": [3, 12], "sigma_b": 0.1}
    ours, theirs = (list(network_jacobian(stack, "tanh", device=name, **asked)) for name in ("cpu", "cpu:0"))
    for one, two in zip(ours, theirs, strict=True):
        assert (one.device, two.device) == ("cpu", "cpu:0")
        assert one.rank == two.rank
        np.testing.assert_allclose(one.log10_values, two.log10_values, atol=1e-7)


def test_facts_are_of_the_values():
    [row] = network_jacobian(weight_stack([20] * 4, method="rg-n", d=4), "relu", depths=[3], inputs=5)
    sigma = 10.0**row.log10_values
    assert row.log10_values.shape == (5, 20)
    assert (row.mean, row.variance) == (pytest.approx(sigma.mean()), pytest.approx(sigma.var()))
    assert row.participation == np.mean((sigma >= 0.5) & (sigma <= 2))
    assert row.rank == np.min(np.isfinite(row.log10_values).sum(axis=1))
    assert row.resolved == np.isfinite(row.log10_values).mean()
    assert row.log10_sigma_min is None
    assert "can't be told from zero" in row.reason
    resolved = row.log10_values[np.isfinite(row.log10_values)]
    assert (row.log10_mean, row.log10_std) == (pytest.approx(resolved.mean()), pytest.approx(resolved.std()))


def test_a_network_that_died_says_so():
    [row] = network_jacobian(weight_stack([8, 8], d=2), "relu", x=np.zeros(8))
    assert (row.mean, row.rank, row.log10_sigma_max) == (0.0, 0.0, None)
    assert "the Jacobian is zero" in row.reason


def test_mean_field_theory_is_near_for_wide_tanh_networks():
    """Over eight networks: within four standard errors and effects of 1/width."""
    width, means, variances = 128, [], []
    for seed in range(8):
        stack = weight_stack([width] * 11, method="dense", gain=1.1, seed=seed)
        [row] = network_jacobian(stack, "tanh", depths=[10], inputs=2, seed=seed)
        squares = 10 ** (2 * row.log10_values)
        means.append(squares.mean())
        variances.append(squares.var() / squares.mean() ** 2)
    for found, exact in (
        (means, 10**row.predicted_log10_mean_square),
        (variances, row.predicted_relative_variance),
    ):
        error = np.std(found, ddof=1) / math.sqrt(8)
        assert np.mean(found) == pytest.approx(exact, abs=4 * error + 2 * exact / width)


def test_float32_says_what_it_resolves():
    stack = weight_stack([32] * 21, d=4, gain=1.1)
    [row] = network_jacobian(stack, "tanh", depths=[20], dtype="float32")
    [exact] = network_jacobian(stack, "tanh", depths=[20])
    np.testing.assert_allclose(row.log10_values, exact.log10_values, atol=1e-2)
    assert "right to" in row.reason


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_and_the_cpu_agree():
    stack = weight_stack([64] * 101, d=4, gain=1.1)
    one, two = (next(iter(network_jacobian(stack, "tanh", depths=[100], device=name))) for name in ("cpu", "cuda"))
    np.testing.assert_allclose(one.log10_values, two.log10_values, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"activation": "tahn"}, "did you mean 'tanh'"),
        ({"depths": [0]}, "depth 0: the network has 2 layers"),
        ({"depths": [3]}, "depth 3: the network has 2 layers"),
        ({"depths": []}, "depth none"),
        ({"inputs": 0}, "0 inputs"),
        ({"input_std": -1.0}, "input_std -1"),
        ({"x": np.zeros(7)}, r"inputs of shape \(7,\)"),
        ({"x": np.array([np.nan] * 8)}, "number 1"),
        ({"dtype": "float16"}, "dtype 'float16' can't resolve"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "cuda:99"}, "is not there"),
        ({"device": "meta"}, "unknown device 'meta'"),
    ],
)
def test_bad_input_is_one_line(options, said):
    with pytest.raises(SaoError, match=said):
        network_jacobian(weight_stack([8] * 3, d=2), **options)


def test_bad_stacks_are_told_by_their_layer():
    good = weight_stack([8, 8], d=2)[0]
    with pytest.raises(FormatError, match="layer 2 reads 12 numbers, and layer 1 gives 8"):
        network_jacobian([good, weight_stack([12, 12], d=2)[0]])
    with pytest.raises(FormatError, match="layer 2 is a mask"):
        network_jacobian([good, Matrix(good.mask)])
    wrong = Matrix(good.mask, np.where(np.arange(16) == 9, np.inf, good.values))
    with pytest.raises(FormatError, match="layer 1 has inf at row 5"):
        network_jacobian([wrong])
    with pytest.raises(SaoError, match="without layers"):
        network_jacobian([])


def test_auto_is_cuda_where_there_is_one():
    assert find_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(SaoError, match="mps"):
        find_device("mps", "float64")
