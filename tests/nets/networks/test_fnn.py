"""The paper's network: its sizes, its weights against weight_stack, forward by hand, blocks against masks, errors."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError
from sao_cli.catalog import PLAIN_ACTIVATIONS
from sao_cli.nets.layers.activation import activation_module
from sao_cli.nets.networks.fnn import FNN, fnn_widths
from sao_cli.weights.build_weights import METHODS, weight_stack

SMALL = (64, 32, 32, 10)
WIDE = {"dtype": torch.float64}


def test_the_papers_table():
    widths = fnn_widths(50)
    shapes = list(itertools.pairwise(widths))
    assert shapes == [(1024, 512), (512, 256), *[(256, 256)] * 49, (256, 10)]
    model = FNN(2)
    assert model.widths == [1024, 512, 256, 256, 10]
    weights = model.layer_weights()
    assert [weight.shape for weight in weights] == [(m, n) for n, m in itertools.pairwise(model.widths)]
    assert [weight.mask.nnz for weight in weights] == [512 * 1024, 256 * 4, 256 * 4, 2560]
    for weight in weights:
        sigma = np.linalg.svd(weight.to_dense().astype(float), compute_uv=False)
        np.testing.assert_allclose(sigma, 1.1, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_layers_between_the_ends_are_weight_stacks(method):
    degree = {"dense": None, "two-stage": 8, "radix": 4}.get(method, 4)
    model = FNN(3, SMALL, method=method, degree=degree, seed=5, **WIDE)
    expected = weight_stack([32, 32, 32, 32], method=method, d=degree, gain=1.1, seed=5)
    inner = model.layer_weights()[1:-1]
    assert len(inner) == 3
    for weight, wanted in zip(inner, expected, strict=True):
        np.testing.assert_array_equal(weight.to_dense(), wanted.to_dense())


def test_without_dense_ends_all_layers_are_weight_stacks():
    model = FNN(2, (32, 16, 8), method="lmp", sparsity=0.75, gain=1.0, dense_ends=False, **WIDE)
    expected = weight_stack([32, 16, 16, 8], method="lmp", sparsity=0.75)
    assert [w.mask for w in model.layer_weights()] == [w.mask for w in expected]


def test_the_dense_ends_differ_from_the_layers_and_from_each_other():
    model = FNN(1, (16, 16, 16, 16), method="dense", gain=1.0, **WIDE)
    first, middle, last = (weight.to_dense() for weight in model.layer_weights())
    for one, two in itertools.combinations([first, middle, last], 2):
        # Entries of a Haar matrix times another's transpose: the trace has variance 1, and n = 16 if they are equal.
        assert abs(np.trace(one @ two.T)) < 6


@pytest.mark.parametrize("activation", PLAIN_ACTIVATIONS)
def test_forward_is_the_definition(activation):
    model = FNN(2, SMALL, activation=activation, **WIDE)
    for number, parameter in enumerate(model.parameters()):
        if parameter.ndim == 1:
            assert not parameter.any()
            torch.nn.init.constant_(parameter, 0.1 * number)
    biases = [parameter.detach() for parameter in model.parameters() if parameter.ndim == 1]
    x = torch.linspace(-1, 1, 3 * 64, dtype=torch.float64).reshape(3, 64)
    expected = x
    weights = [torch.from_numpy(weight.to_dense()) for weight in model.layer_weights()]
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True), 1):
        expected = expected @ weight.T + bias
        expected = activation_module(activation)(expected) if number < len(weights) else expected
    torch.testing.assert_close(model(x), expected, rtol=1e-13, atol=1e-13)


def test_sparse_layers_stay_sparse_in_training_and_layer_weights_are_never_stale():
    torch.manual_seed(0)
    model = FNN(3, SMALL, bias=False)
    masks = [weight.mask for weight in model.layer_weights()]
    before = [weight.values for weight in model.layer_weights()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-2)
    model(torch.randn(8, 64)).square().sum().backward()
    optimizer.step()  # no forward follows, so that torch's own `weight` attributes are those of the step before
    after = model.layer_weights()
    assert [weight.mask for weight in after] == masks
    assert all((new.values != old).any() for new, old in zip(after, before, strict=True))
    model(torch.zeros(1, 64))
    for weight, linear in zip(after, list(model.net)[::2], strict=True):
        np.testing.assert_array_equal(weight.to_dense(), linear.weight.detach().numpy())


def test_blocks_compute_what_masks_compute():
    options = {"degree": 4, "activation": "silu", "seed": 2, **WIDE}
    masked, blocks = (FNN(4, SMALL, layers=layers, **options) for layers in ("masked", "blocks"))
    for one, two in zip(masked.layer_weights(), blocks.layer_weights(), strict=True):
        assert one.mask == two.mask
        np.testing.assert_allclose(two.values, one.values, rtol=1e-15)
    x = torch.linspace(-1, 1, 2 * 64, dtype=torch.float64).reshape(2, 64)
    torch.testing.assert_close(blocks(x), masked(x), rtol=1e-12, atol=1e-12)
    assert sum(p.numel() for p in blocks.parameters()) == 64 * 32 + 4 * 32 * 4 + 320 + 5 * 32 + 10


def test_the_state_dict_goes_from_one_network_to_another_of_its_kind():
    one, two = FNN(2, SMALL, seed=1), FNN(2, SMALL, seed=2)
    state = one.state_dict()
    assert {"net.0.weight", "net.2.weight_orig", "net.2.weight_mask", "net.6.bias"} <= state.keys()
    two.load_state_dict(state)
    x = torch.ones(1, 64)
    assert torch.equal(two(x), one(x))
    assert torch.equal(copy.deepcopy(FNN(2, SMALL, seed=1))(x), one(x))


def test_the_same_seed_gives_the_same_network_and_torchs_generator_is_left_alone():
    state = torch.get_rng_state()
    one, two, three = (FNN(1, SMALL, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.layer_weights() == two.layer_weights()
    assert all(a != b for a, b in zip(one.layer_weights(), three.layer_weights(), strict=True))


def test_device_and_dtype_are_torchs_defaults_unless_told():
    assert {p.dtype for p in FNN(1, SMALL).parameters()} == {torch.float32}
    model = FNN(1, SMALL, dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert {weight.dtype for weight in model.layer_weights()} == {"bfloat16"}


@pytest.mark.parametrize("depth", [1, 20])
def test_a_linear_network_of_orthogonal_layers_has_gain_to_the_depth_as_its_singular_values(depth):
    model = FNN(depth, (32, 32, 32), activation="linear", dense_ends=False, **WIDE)
    jacobian = torch.func.jacrev(model)(torch.zeros(32, dtype=torch.float64))
    sigma = torch.linalg.svdvals(jacobian.detach()).numpy()
    np.testing.assert_allclose(sigma, math.pow(1.1, depth + 1), rtol=1e-13 * (depth + 1))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((0,), {}, InfeasibleError, "depth 0: the network has at least"),
        ((1, (5,)), {}, InfeasibleError, "describe no layer"),
        ((1, (32, 16, 10)), {}, InfeasibleError, "no layer between the two dense ends"),
        ((1, SMALL), {"degree": 5}, InfeasibleError, r"no sao mask of 32 x 32 with d = 5"),
        ((1, SMALL), {"method": "saos"}, SaoError, "did you mean 'sao'"),
        ((1, SMALL), {"method": "saos", "layers": "blocks"}, SaoError, "did you mean 'sao'"),
        ((1, SMALL), {"activation": "relo"}, SaoError, "did you mean 'relu'"),
        ((1, SMALL), {"layers": "block"}, SaoError, "did you mean 'blocks'"),
        ((1, SMALL), {"method": "rg-n", "layers": "blocks"}, SaoError, "not 'rg-n' with its own; choose layers="),
        ((1, SMALL), {"gain": -1.0, "layers": "blocks"}, SaoError, "gain -1.0 is no positive finite number"),
        ((1, SMALL), {"dtype": torch.int32}, FormatError, "dtype torch.int32; weights are one of"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, options, error, text):
    with pytest.raises(error, match=text) as caught:
        FNN(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_too_large_a_network_is_refused_before_it_is_built():
    with pytest.raises(SaoError, match=r'masked layers needs .* is free; choose layers="blocks"'):
        FNN(1000, (2**20, 2**20, 2**20), dense_ends=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("layers", ["masked", "blocks"])
def test_cuda_gets_the_same_network(layers):
    here, there = (FNN(2, SMALL, layers=layers, device=device, **WIDE) for device in ("cpu", "cuda"))
    assert here.layer_weights() == there.layer_weights()
    x = torch.ones(2, 64, dtype=torch.float64)
    torch.testing.assert_close(there(x.cuda()).cpu(), here(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "told", [{}, {"layers": "blocks"}, {"method": "dense", "values": "normal", "dense_ends": False}]
)
def test_biases_are_normal_and_change_no_weight(told):
    shape = {"depth": 20, "widths": (64, 80, 80, 10), "gain": 2.0, "seed": 2, **WIDE}
    bare, given = FNN(**shape, **told), FNN(**shape, **told, sigma_b=0.5)
    for one, two in zip(bare.layer_weights(), given.layer_weights(), strict=True):
        np.testing.assert_array_equal(one.to_dense(), two.to_dense())
    biases = torch.cat([layer.bias.detach() for layer in given.net[::2]])
    assert len(biases) == 21 * 80 + 10
    assert float(biases.var()) == pytest.approx(0.25, rel=5 * math.sqrt(2 / len(biases)))
    assert len(biases.unique()) == len(biases)
    with pytest.raises(SaoError, match="with bias=False there are none"):
        FNN(**shape, **told, sigma_b=0.5, bias=False)
