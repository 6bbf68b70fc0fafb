"""Jacobian spectra of modules: against torch's own Jacobians, against the chain of layers, and by products alone."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from sao_cli.base.errors import MemoryLimitError, SaoError
from sao_cli.nets.jacobians import module as module_jacobian
from sao_cli.nets.jacobians.chain import network_jacobian
from sao_cli.nets.jacobians.module import jacobian_spectrum
from sao_cli.nets.jacobians.products import JacobianProducts
from sao_cli.nets.layers.linear import SAOLinear
from sao_cli.nets.networks.fnn import FNN

EPS = 2.0**-52


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # two would only wait for each other where the machine is busy
    yield
    torch.set_num_threads(before)


def mlp(*widths, phi=nn.Tanh, scale=1.0):
    torch.manual_seed(0)
    pairs = itertools.pairwise(widths)
    made = nn.Sequential(*[layer for n, m in pairs for layer in (nn.Linear(n, m), phi())])
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made


def conv_net():
    torch.manual_seed(1)
    return nn.Sequential(
        *(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 4, 3, stride=2), nn.GELU(), nn.Flatten(), nn.Linear(16, 5)),
    ).eval()


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linear(matrix):
    """A module whose Jacobian is `matrix`."""
    weight = torch.as_tensor(matrix)
    made = nn.utils.skip_init(nn.Linear, *reversed(weight.shape), bias=False, dtype=weight.dtype)
    with torch.no_grad():
        made.weight.copy_(weight)
    return made


def by_autograd(module, x):
    """Descending singular values of the Jacobian that torch.autograd.functional makes of a copy in float64."""
    jacobian = torch.autograd.functional.jacobian(copy.deepcopy(module).double(), x.double())
    return np.linalg.svd(jacobian.reshape(-1, x.numel()).numpy(), compute_uv=False)


def distance(sample, values):
    """sup |F - G| between two samples' distributions."""
    points = np.union1d(sample, values)
    shares = [np.searchsorted(np.sort(one), points, "right") / len(one) for one in (sample, values)]
    return np.abs(shares[0] - shares[1]).max()


MODULES = {
    "wide": (mlp(20, 30, 8), (20,)),
    "tall": (mlp(6, 30, 25), (6,)),
    "a batch as one input": (mlp(5, 7, 4), (3, 5)),
    "batch statistics": (nn.BatchNorm1d(4), (6, 4)),
    "convolutions": (conv_net(), (1, 2, 10, 10)),
    "upwards": (nn.ConvTranspose2d(2, 3, 4, stride=2), (1, 2, 4, 4)),
    "attention": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), (1, 5, 8)),
    "no parameters": (nn.Softmax(-1), (2, 4)),
    "in place": (nn.ReLU(inplace=True), (5,)),
    "blocks": (SAOLinear(12, 24, 3), (12,)),
}


@pytest.mark.parametrize("name", MODULES)
def test_small_modules_are_as_torch_has_them(name):
    module, shape = MODULES[name]
    x = drawn(*shape)
    found = jacobian_spectrum(module, x)
    assert torch.equal(x, drawn(*shape))
    exact = by_autograd(module, x) if name != "in place" else np.sort((x > 0).double().numpy())[::-1]
    np.testing.assert_allclose(found.singular_values, exact[None], rtol=0, atol=50 * EPS * exact[0])
    assert (found.sigma_max, found.sigma_min) == (found.singular_values[0, 0], found.singular_values[0, -1])
    assert (found.m, found.n) == (module(x).numel(), x.numel())
    assert (found.module, found.inputs, found.dtype) == (type(module).__name__, 1, "float64")
    assert found.exact


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_facts_are_numpys(m, n, seed):
    matrix = np.random.default_rng(seed).integers(-1, 2, (m, n)) * 0.75
    found = jacobian_spectrum(linear(matrix), np.zeros(n))
    values = np.linalg.svd(matrix, compute_uv=False)
    full = np.linalg.matrix_rank(matrix) == min(m, n)
    np.testing.assert_allclose(found.singular_values[0], values, rtol=1e-14, atol=1e-14)
    assert found.rank == np.linalg.matrix_rank(matrix)
    assert found.mean == pytest.approx(values.mean(), rel=1e-14)
    assert found.variance == pytest.approx(values.var(), abs=1e-13)
    assert found.participation == ((values >= 0.5) & (values <= 2)).mean()
    assert found.std == pytest.approx(values.std(), abs=1e-13)
    assert found.condition == (pytest.approx(np.linalg.cond(matrix), rel=1e-10) if full else None)
    assert found.condition_pooled == found.condition  # there is one input
    assert (found.reason is None) == full


def test_the_rank_goes_by_the_longer_side():
    matrix = np.zeros((2, 50))
    matrix[0, 0], matrix[1, 1] = 1.0, 10 * EPS
    assert jacobian_spectrum(linear(matrix), np.zeros(50)).rank == 1
    assert jacobian_spectrum(linear(matrix[:, :2]), np.zeros(2)).rank == 2


def test_a_batch_is_its_inputs_one_by_one():
    module, x = conv_net(), drawn(4, 2, 10, 10)
    together = jacobian_spectrum(module, x, batched=True)
    alone = [jacobian_spectrum(module, x[i : i + 1]) for i in range(4)]
    assert together.inputs == 4
    np.testing.assert_array_equal(together.singular_values, np.concatenate([one.singular_values for one in alone]))
    assert together.sigma_max == max(one.sigma_max for one in alone)
    assert together.condition == max(one.condition for one in alone)
    least = min(one.sigma_min for one in alone)
    assert together.condition_pooled == together.sigma_max / least > together.condition
    assert together.std == pytest.approx(together.singular_values.std(), rel=1e-13)
    assert together.rank == np.mean([one.rank for one in alone])
    assert together.mean == pytest.approx(np.mean([one.mean for one in alone]), rel=1e-14)
    assert together.variance == pytest.approx(together.singular_values.var(), rel=1e-13)


@pytest.mark.parametrize(("layers", "method"), [("blocks", "sao"), ("masked", "rg-n"), ("masked", "lmp")])
def test_networks_are_as_the_chain_of_their_layers(layers, method):
    model = FNN(4, (32, 16, 8), method=method, degree=4, layers=layers, gain=1.3, bias=False, dense_ends=False)
    x = drawn(3, 32).double()
    [row] = network_jacobian(model.layer_weights(), "tanh", depths=[5], x=x.numpy())
    found = jacobian_spectrum(nn.Sequential(model, nn.Tanh()), x, batched=True)
    np.testing.assert_allclose(found.singular_values, 10**row.log10_values, rtol=1e-10, atol=0)


@pytest.mark.parametrize("widths", [(300, 350, 420), (420, 350, 300), (300, 300)])
def test_products_alone_give_the_distribution(widths):
    module, x = mlp(*widths, scale=2.0), drawn(widths[0])
    exact = jacobian_spectrum(module, x)
    found = jacobian_spectrum(module, x, max_dense=0)
    assert not found.exact
    assert distance(found.singular_values[0], exact.singular_values[0]) <= found.error + 1 / 300
    assert found.error < 0.15
    assert abs(found.sigma_max - exact.sigma_max) <= found.sigma_max_error + 100 * EPS * exact.sigma_max
    assert found.sigma_max_error < 1e-6 * exact.sigma_max
    assert found.mean == pytest.approx(exact.mean, abs=found.error * exact.sigma_max)
    assert 128 <= found.products <= 1280
    assert (found.rank, found.sigma_min, found.condition) == (None, None, None)
    assert "stochastic density" in found.reason


def test_few_products_say_so():
    module, x = mlp(300, 300), drawn(300)
    exact = jacobian_spectrum(module, x).sigma_max
    found = jacobian_spectrum(module, x, max_dense=299, products=128)
    assert found.products <= 128
    assert found.sigma_max <= exact * (1 + 1e-12)
    assert exact - found.sigma_max <= 2 * found.sigma_max_error


@pytest.mark.parametrize("gain", [1.1, 1e-100, 1e100])
def test_products_find_an_orthogonal_stack_exactly(gain):
    layers = [SAOLinear(64, 64, 4, layer=layer, dtype=torch.float64) for layer in (1, 2, 3)]
    with torch.no_grad():
        layers[0].weight.mul_(gain)
    found = jacobian_spectrum(nn.Sequential(*layers), drawn(64), max_dense=10)
    np.testing.assert_allclose(found.singular_values, gain, rtol=1e-12)
    assert found.sigma_max == pytest.approx(gain, rel=1e-12)
    assert found.error < 1e-6


def test_products_of_convolutions_and_several_inputs():
    torch.manual_seed(2)
    module = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ELU(), nn.Conv2d(3, 2, 3, padding=1))
    x = drawn(2, 1, 14, 14)
    exact, found = (jacobian_spectrum(module, x, batched=True, max_dense=most) for most in (4096, 100))
    for one, other in zip(found.singular_values, exact.singular_values, strict=True):
        assert distance(one, other) <= found.error + 1 / 196
    assert found.sigma_max == pytest.approx(exact.sigma_max, abs=found.sigma_max_error + 1e-13)
    assert (found.error_kind, exact.error_kind) == ("estimate", None)


def test_the_largest_value_is_no_quantile():
    """One value of 300 is a hundred times as large as the others; it leads the row of each input."""
    matrix = torch.diag(torch.linspace(1, 2, 300))
    matrix[7, 11] = 200
    exact, found = (jacobian_spectrum(linear(matrix), drawn(300), max_dense=most) for most in (4096, 0))
    assert found.sigma_max == found.singular_values[0, 0] == pytest.approx(exact.sigma_max, rel=1e-10)


def test_products_with_attention():
    module, x = MODULES["attention"][0], drawn(1, 5, 8)
    found = jacobian_spectrum(module, x, max_dense=0)
    assert found.sigma_max == pytest.approx(by_autograd(module, x)[0], rel=1e-10)


def test_same_seed_same_bytes():
    first, second, other = (
        jacobian_spectrum(mlp(200, 200), drawn(200), max_dense=0, products=128, seed=seed) for seed in (3, 3, 4)
    )
    assert first.singular_values.tobytes() == second.singular_values.tobytes() != other.singular_values.tobytes()


@pytest.mark.parametrize("widths", [(9, 20, 7), (7, 20, 9)])
def test_pieces_make_the_same_jacobian(widths, monkeypatch):
    module, x = mlp(*widths), drawn(widths[0])
    whole = jacobian_spectrum(module, x)
    monkeypatch.setattr(module_jacobian, "BUDGET", 2 * 4 * 8 * 20)  # two rows of the widest gradient
    seen = []
    pieces = jacobian_spectrum(module, x, progress=lambda what, done, total: seen.append((done, total)))
    np.testing.assert_allclose(pieces.singular_values, whole.singular_values, rtol=1e-12)
    assert seen == [(0, 7), (2, 7), (4, 7), (6, 7)]


def test_the_widest_gradient_is_found():
    assert JacobianProducts(mlp(3, 50, 4).requires_grad_(False), drawn(3)).widest == 50
    assert JacobianProducts(nn.Flatten(), drawn(1, 3, 4)).widest == 12


def test_a_weight_that_is_copied_for_each_row_is_counted():
    """As a batched product of each image with the kernels of all frequencies: pieces of many rows took 20 GB of it."""
    weight, x = torch.ones(64, 5, 5, dtype=torch.float64), torch.ones(64, 5, dtype=torch.float64)
    copied = JacobianProducts(lambda x: torch.einsum("fij,fj->fi", weight, x), x)
    assert copied.row_bytes() >= 8 * weight.numel() > 8 * copied.widest
    plain = JacobianProducts(torch.tanh, x)
    assert plain.row_bytes() == 8 * plain.widest


def test_what_has_no_room_is_refused(monkeypatch):
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 30_000)
    module = nn.Flatten(0)
    assert jacobian_spectrum(module, drawn(10)).rank == 10
    with pytest.raises(MemoryLimitError, match=r"a Jacobian of 60 x 60 needs .* smaller max_dense"):
        jacobian_spectrum(module, drawn(60))


def test_the_module_is_left_as_it_was():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 4))
    prune.random_unstructured(module[0], "weight", 0.5)
    module[2].requires_grad_(False)
    weight, random = module[0].weight, torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.no_grad():
        found = jacobian_spectrum(module, x := drawn(5, 6))
    assert module[0].weight is weight
    assert weight.dtype == torch.float32
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert [parameter.requires_grad for parameter in module.parameters()] == [True] * 4 + [False] * 2
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(random, torch.get_rng_state())
    assert module.training
    assert not x.requires_grad
    prune.remove(module[0], "weight")  # which deepcopy can copy
    np.testing.assert_allclose(found.singular_values[0], by_autograd(module, x), atol=1e-14)


@pytest.mark.parametrize(
    "mode",
    [torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)],
    ids=["no", "inference", "auto"],
)
def test_the_callers_modes_change_nothing(mode):
    module = mlp(6, 6)
    usual = jacobian_spectrum(module, drawn(6), dtype="float32")
    with mode:
        again = jacobian_spectrum(module, drawn(6), dtype="float32")
    np.testing.assert_array_equal(again.singular_values, usual.singular_values)


def test_random_modules_are_refused_and_evaluated_ones_not():
    module = nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5))
    state = torch.get_rng_state()
    with pytest.raises(SaoError, match=r"draws random numbers .* module.eval\(\)"):
        jacobian_spectrum(module, drawn(5))
    assert torch.equal(state, torch.get_rng_state())
    assert jacobian_spectrum(module.eval(), drawn(5)).rank == 5
    assert jacobian_spectrum(nn.Dropout(0.0).train(), drawn(5)).condition == 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_cast_and_said(dtype):
    module = linear(torch.diag(torch.tensor([1.0, 0.5, 0.001], dtype=dtype)))
    found = jacobian_spectrum(module, drawn(3).to(dtype))
    name = str(dtype).removeprefix("torch.")
    assert found.reason.endswith(f"{name} cast to float64")
    assert found.rank == 2  # 0.001 is less than 3 eps
    assert found.condition is None
    exact = [float(value) for value in module.weight.detach().diagonal()]
    np.testing.assert_allclose(found.singular_values[0], exact, rtol=1e-15)
    only_input = jacobian_spectrum(module.double(), drawn(3).to(dtype))
    assert (only_input.rank, only_input.reason) == (3, f"{name} cast to float64")


def test_float32_is_measured_in_float64_unless_told():
    module = mlp(30, 30, 30, 30)
    x = drawn(30)
    double, single = (jacobian_spectrum(module, x, dtype=dtype) for dtype in ("float64", "float32"))
    assert (double.dtype, single.dtype) == ("float64", "float32")
    errors = np.abs(single.singular_values - double.singular_values).max()
    assert EPS < errors / double.sigma_max < 30 * 2.0**-23
    product = jacobian_spectrum(module, x, dtype="float32", max_dense=0)
    assert product.sigma_max == pytest.approx(double.sigma_max, rel=1e-5)


def test_zero_jacobians_say_why():
    cut = jacobian_spectrum(lambda x: 2 * x.detach(), drawn(4))
    assert "a detach or rounding cuts the gradient" in cut.reason
    dead = jacobian_spectrum(nn.ReLU(), -torch.ones(4))
    assert dead.reason == "the Jacobian is zero: the output does not change with the input near it"
    rounded = jacobian_spectrum(lambda x: torch.round(1e6 * x), drawn(4))
    assert rounded.reason == cut.reason
    constant = jacobian_spectrum(lambda x: torch.ones(2, dtype=x.dtype), drawn(4))
    for found in (cut, dead, rounded, constant):
        assert (found.sigma_max, found.rank, found.condition, found.exact) == (0.0, 0.0, None, True)
    assert jacobian_spectrum(nn.ReLU(), -torch.ones(200), max_dense=0).reason == dead.reason


class StraightThrough(torch.autograd.Function):
    """Of the older kind, which torch.func refuses."""

    @staticmethod
    def forward(context, x):
        return torch.sign(x)

    @staticmethod
    def backward(context, upstream):
        return 0.5 * upstream


class Branching(StraightThrough):
    """Its backward can't be batched."""

    @staticmethod
    def backward(context, upstream):
        return upstream / (2 if upstream.sum() > 0 else 2.0)


class Clipped(StraightThrough):
    """Its backward is not linear."""

    @staticmethod
    def backward(context, upstream):
        return upstream.clamp(-0.1, 0.1)


@pytest.mark.parametrize("operation", [StraightThrough, Branching])
@pytest.mark.parametrize("max_dense", [4096, 0])
def test_old_autograd_functions(operation, max_dense):
    matrix = np.diag(np.arange(1.0, 41.0))
    found = jacobian_spectrum(nn.Sequential(linear(matrix), Applied(operation)), drawn(40), max_dense=max_dense)
    np.testing.assert_allclose(found.sigma_max, 20, rtol=1e-12)
    if found.exact:
        np.testing.assert_allclose(found.singular_values[0], 0.5 * np.arange(40, 0, -1), rtol=1e-12)


def test_a_backward_that_is_not_linear_has_no_density():
    module = Applied(Clipped)
    np.testing.assert_allclose(jacobian_spectrum(module, drawn(8)).singular_values, 0.1)
    with pytest.raises(SaoError, match=r"disagree .* raise max_dense to 8"):
        jacobian_spectrum(module, drawn(8), max_dense=0)


class Applied(nn.Module):
    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def forward(self, x):
        return self.operation.apply(x)


def test_jacobians_past_the_range_of_squares():
    found = jacobian_spectrum(linear(np.diag([1e200, 1e100])), np.ones(2))
    assert (found.sigma_max, found.variance) == (pytest.approx(1e200, rel=1e-14), math.inf)
    assert "variance leaves the range" in found.reason
    assert found.to_dict()["variance"] is None


def test_the_report_is_plain():
    row = jacobian_spectrum(mlp(4, 3), np.ones(4)).to_dict()
    assert "singular_values" not in row
    assert all(isinstance(value, str | int | float | bool | None) for value in row.values())


@pytest.mark.parametrize(
    ("module", "x", "options", "message"),
    [
        (nn.Linear(3, 3), [1, 2, 3], {}, "input of int64.*embeddings"),
        (nn.Linear(3, 3), np.ones(3, complex), {}, "input of complex128"),
        (nn.Linear(3, 3), np.ones(3, "U1"), {}, "input of numpy's <U1"),
        (nn.Linear(3, 3), [1.0, math.nan, 2.0], {}, r"the input is nan at \(1,\).*finite"),
        (nn.Linear(3, 3), [], {}, r"shape \(0,\).*one number"),
        (nn.Linear(3, 3), 1.0, {"batched": True}, "first axis"),
        (nn.Linear(3, 3), [1.0] * 4, {}, r"can't take a float64 input of shape \(4,\) \("),
        (nn.BatchNorm1d(3), np.ones((2, 3)), {"batched": True}, "more than 1 value per channel"),
        (lambda x: mlp(3, 3)(x), [1.0] * 3, {}, "only the parameters and buffers of an nn.Module are cast"),
        (lambda x: x.argmax(), [1.0] * 3, {}, "output is int64"),
        (lambda x: x[:0], [1.0] * 3, {}, r"output is float64 of shape \(0,\)"),
        (lambda x: {"y": x}, [1.0] * 3, {}, "returns a dict"),
        (lambda x: x.abs().sqrt(), [1.0, 0.0], {}, "Jacobian is (inf|nan) at output [01], input 1"),
        (lambda x: x.abs().sqrt(), np.zeros(200), {"max_dense": 0}, "product with the Jacobian is (inf|nan)"),
        (lambda x: x[x > 0], [[1.0, -1.0], [1.0, 1.0]], {"batched": True}, "outputs of one input and"),
        (nn.Linear(3, 3, device="meta"), [1.0] * 3, {"device": "cpu"}, "'weight' is on the meta device"),
        (nn.LazyLinear(3), [1.0] * 3, {}, "'weight' has no size yet"),
        (nn.Linear(3, 3), [1.0] * 3, {"dtype": "float16"}, "dtype 'float16' can't resolve"),
        (nn.Linear(3, 3), [1.0] * 3, {"device": "abacus"}, "unknown device 'abacus'"),
        (nn.Linear(3, 3), [1.0] * 3, {"max_dense": -1}, "max_dense -1"),
        (nn.Linear(3, 3), [1.0] * 3, {"products": 100}, "100 products are too few"),
        (nn.Linear(3, 3), [1.0] * 3, {"seed": -1}, "seed -1 is negative"),
    ],
)
def test_bad_input_is_one_line(module, x, options, message):
    with pytest.raises(SaoError, match=message) as caught:
        jacobian_spectrum(module, x, **options)
    assert "\n" not in str(caught.value)


def test_whole_numbers_as_parameters_are_refused():
    module = nn.Module()
    module.weight = nn.Parameter(torch.ones(3, dtype=torch.int8), requires_grad=False)
    with pytest.raises(SaoError, match=r"'weight' is int8.*dequantise"):
        jacobian_spectrum(module, [1.0] * 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("max_dense", [4096, 0])
def test_cuda_agrees(max_dense):
    module, x = mlp(200, 200, scale=2.0), drawn(200)
    here = jacobian_spectrum(module, x, max_dense=max_dense)
    there = jacobian_spectrum(module, x, max_dense=max_dense, device="cuda")
    np.testing.assert_allclose(there.sigma_max, here.sigma_max, rtol=1e-10)
    assert there.device == "cuda"
    assert torch.cuda.is_available()
