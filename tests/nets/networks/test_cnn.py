"""The vanilla CNN: its sizes, its kernels against build_kernel, forward by hand, blocks against masks, errors."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.masks.architectures import cnn_shapes, plan_convolutions
from sao_cli.nets.layers.activation import activation_module
from sao_cli.nets.networks.cnn import CNN
from sao_cli.weights.kernels.build_kernels import build_kernel

WIDE = {"dtype": torch.float64}
IMAGES = torch.sin(torch.arange(2 * 3 * 16 * 16, dtype=torch.float64)).reshape(2, 3, 16, 16)


@pytest.mark.parametrize("layers", ["masked", "blocks"])
@pytest.mark.parametrize(("target", "planned"), [({"degree": 4}, {"d": 4}), ({"sparsity": 0.5}, {"sparsity": 0.5})])
def test_the_network_has_the_planned_kernels(layers, target, planned):
    model = CNN(5, 16, layers=layers, **target)
    shapes = cnn_shapes(5, 16)
    rows = plan_convolutions(shapes, **planned)
    for kernel, row, shape, conv in zip(model.kernels(), rows, shapes, list(model.net)[::2], strict=True):
        assert (*kernel.shape, 9 * kernel.mask.nnz) == (row.m, row.n, 3, 3, row.parameters)
        assert conv.stride in (shape.stride, (shape.stride, shape.stride))
        assert not conv.bias.any()
    if layers == "blocks":
        held = sum(parameter.numel() for parameter in model.net.parameters() if parameter.ndim > 1)
        assert held == sum(row.parameters for row in rows)


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"degree": 4}, {"method": "sao", "d": 4}),
        ({"sparsity": 0.7, "method": "lmp"}, {"method": "lmp", "sparsity": 0.7}),
        ({"method": "dense", "gain": 1.2}, {"method": "dense", "gain": 1.2}),
        ({"method": "rg-n", "degree": 2}, {"method": "rg-n", "d": 2}),
        ({"method": "sao", "degree": 2, "scheme": "eco"}, {"method": "sao", "d": 2, "scheme": "eco"}),
        ({"activation": "relu", "degree": 4}, {"d": 4, "looks_linear": True}),
        ({"activation": "relu", "method": "rg-u"}, {"method": "rg-u"}),
        (
            {"activation": "relu", "method": "lrp", "sparsity": 0.5},
            {"method": "lrp", "sparsity": 0.5, "looks_linear": True},
        ),
    ],
)
def test_layer_l_is_build_kernels_layer_l(options, asked):
    first, *others = CNN(3, 8, seed=5, **options, **WIDE).kernels()
    for layer, kernel in enumerate(others, 2):
        assert kernel == build_kernel(8, 8, 3, seed=5, layer=layer, **asked)
    assert first.mask.nnz == 24


@pytest.mark.parametrize("form", ["cifar10", "cinic10"])
def test_forward_is_the_definition(form):
    model = CNN(4, 8, form=form, image=16, degree=2, activation="silu", **WIDE)
    for number, parameter in enumerate(model.parameters()):
        if parameter.ndim == 1:
            torch.nn.init.constant_(parameter, 0.1 * number)
    phi, x = activation_module("silu"), IMAGES
    biases = [parameter for parameter in model.net.parameters() if parameter.ndim == 1]
    strides = [1, 2, 2, 1] + ([2, 2] if form == "cinic10" else [])
    for kernel, bias, stride in zip(model.kernels(), biases, strides, strict=True):
        x = phi(functional.conv2d(x, kernel.to_torch(), bias, stride, padding=1))
    torch.testing.assert_close(model.features(IMAGES), x, rtol=1e-13, atol=1e-13)
    read = x.mean((2, 3)) if form == "cifar10" else x.reshape(2, -1)
    wanted = read @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(model(IMAGES), wanted, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(model(IMAGES[0]), wanted[0], rtol=1e-13, atol=1e-13)


def test_layers_of_stride_1_and_the_ends_are_orthogonal():
    model = CNN(6, 8, degree=4, activation="linear", gain=1.1, classes=5, **WIDE)
    point = torch.zeros(8, 4, 4, dtype=torch.float64)
    jacobian = torch.func.jacrev(model.net[6:])(point).reshape(128, 128)
    np.testing.assert_allclose(torch.linalg.svdvals(jacobian.detach()), 1.1**3, rtol=1e-13)
    ends = [model.net[0].weight.sum((2, 3)), model.classifier.weight]
    for weight, smaller in zip(ends, (3, 5), strict=True):
        np.testing.assert_allclose(torch.linalg.svdvals(weight.detach()), [1.1] * smaller, rtol=1e-13)


@pytest.mark.parametrize("form", ["cifar10", "cinic10"])
def test_a_relu_network_looks_linear_at_initialisation(form):
    model = CNN(5, 8, form=form, image=16, degree=4, activation="relu", **WIDE)
    one, two = IMAGES
    torch.testing.assert_close(model(one - 3 * two), model(one) - 3 * model(two), rtol=1e-12, atol=1e-13)
    assert model(one).abs().max() > 1e-3
    for kernel in model.kernels()[1:]:
        sigma = np.linalg.svd(kernel.values.sum(axis=(2, 3)), compute_uv=False)
        np.testing.assert_allclose(sigma, [2] * 4 + [0] * 4, atol=1e-14)
    plain = CNN(5, 8, form=form, image=16, degree=4, activation="relu", looks_linear=False, **WIDE)
    assert (plain(one - 3 * two) - plain(one) + 3 * plain(two)).abs().max() > 1e-3


@pytest.mark.parametrize("target", [{}, {"degree": 4}, {"sparsity": 0.5}], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_blocks_compute_what_masks_compute(activation, target):
    options = {"form": "cinic10", "image": 16, "activation": activation, "gain": 1.1, "seed": 2, **target, **WIDE}
    masked, blocks = (CNN(3, 8, layers=layers, **options) for layers in ("masked", "blocks"))
    for one, two in zip(masked.kernels(), blocks.kernels(), strict=True):
        assert one.mask == two.mask
        np.testing.assert_allclose(two.values, one.values, rtol=1e-15)
    torch.testing.assert_close(blocks(IMAGES), masked(IMAGES), rtol=1e-12, atol=1e-13)


def test_removed_kernels_stay_away_in_training_and_kernels_is_never_stale():
    model = CNN(3, 8, degree=2, bias=False, **WIDE)
    before = model.kernels()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-2)
    model(IMAGES).square().sum().backward()
    optimizer.step()  # no forward follows, so that torch's own `weight` attributes are those of the step before
    after = model.kernels()
    assert [kernel.mask for kernel in after] == [kernel.mask for kernel in before]
    for new, old in zip(after, before, strict=True):
        grown = (new.values != 0) & (old.values == 0)
        assert grown.any()  # taps around the centre, which were zero, are trained
    model(IMAGES)
    np.testing.assert_array_equal(after[1].values, model.net[2].weight.detach())
    with torch.no_grad():
        model.net[2].weight_orig.zero_()
    assert model.kernels()[1].mask == before[1].mask  # kept, though zero


def test_seeds_states_and_torchs_defaults():
    state = torch.get_rng_state()
    one, two, other = (CNN(3, 8, degree=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.kernels() == two.kernels()
    assert all(a != b for a, b in zip(one.kernels(), other.kernels(), strict=True))
    assert {p.dtype for p in one.parameters()} == {torch.float32}
    assert {"net.0.weight", "net.2.weight_orig", "net.2.weight_mask", "classifier.bias"} <= one.state_dict().keys()
    other.load_state_dict(one.state_dict())
    assert other.kernels() == copy.deepcopy(one).kernels() == one.kernels()
    assert {kernel.dtype for kernel in CNN(2, 8, dtype=torch.bfloat16).kernels()} == {"bfloat16"}


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((0, 8), {}, InfeasibleError, "depth 0: a CNN"),
        ((3, 8), {"classes": 0}, InfeasibleError, "m = 0"),
        ((3, 8), {"degree": 3}, InfeasibleError, "no sao mask of 8 x 8 with d = 3"),
        ((3, 8), {"degree": 3, "layers": "blocks"}, InfeasibleError, "no sao mask of 8 x 8 with d = 3"),
        ((3, 8), {"degree": 2.0}, SaoError, "degree 2.0 is no whole number"),
        ((3, 8), {"degree": 2, "sparsity": 0.5, "layers": "blocks"}, SaoError, "give one of them"),
        ((3, 8), {"method": "saos"}, SaoError, "did you mean 'sao'"),
        ((3, 8), {"scheme": "soc"}, SaoError, "unknown scheme of a CNN 'soc'"),
        ((3, 8), {"form": "mnist"}, SaoError, "unknown form 'mnist'"),
        ((3, 8), {"activation": "relo"}, SaoError, "did you mean 'relu'"),
        ((3, 8), {"layers": "block"}, SaoError, "did you mean 'blocks'"),
        ((3, 8), {"method": "lmp", "layers": "blocks"}, SaoError, "not 'lmp'; choose layers="),
        ((3, 8), {"gain": 0.0}, SaoError, "gain 0.0 is no positive finite number"),
        ((3, 8), {"looks_linear": "yes"}, SaoError, "looks_linear 'yes'; it is True, False"),
        ((3, 9), {"activation": "relu"}, InfeasibleError, "width 9 is odd"),
        ((3, 8), {"dtype": torch.int32}, SaoError, "int32"),
        ((1000, 2**16), {}, SaoError, r'masked layers needs .* is free; choose layers="blocks"'),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, options, error, text):
    with pytest.raises(error, match=text) as caught:
        CNN(*arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("layers", ["masked", "blocks"])
def test_cuda_gets_the_same_network(layers):
    here, there = (CNN(4, 8, degree=4, layers=layers, device=device, **WIDE) for device in ("cpu", "cuda"))
    assert here.kernels() == there.kernels()
    torch.testing.assert_close(there(IMAGES.cuda()).cpu(), here(IMAGES), rtol=1e-12, atol=1e-12)
