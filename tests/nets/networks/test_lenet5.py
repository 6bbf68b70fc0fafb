"""LeNet-5: its sizes, forward by torch, its layers against the constructions, and one line for what can not be."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.nets.networks.lenet5 import LeNet5
from sao_cli.weights.kernels.build_kernels import build_kernel

WIDE = {"dtype": torch.float64}


def layers(model):
    return [part for part in model.net if list(part.parameters())]


def test_its_sizes_are_caffes():
    model = LeNet5()
    shapes = [tuple(layer.weight.shape) for layer in layers(model)]
    assert shapes == [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)]
    assert sum(parameter.numel() for parameter in model.parameters()) == 431080  # as SNIP counts it, biases too


def test_forward_is_the_definition():
    model = LeNet5(image=16, channels=2, classes=3, activation="silu", seed=3, **WIDE)
    for number, parameter in enumerate(model.parameters()):
        if parameter.ndim == 1:
            assert not parameter.any()
            torch.nn.init.constant_(parameter, 0.1 * number)
    x = torch.sin(torch.arange(2 * 2 * 16 * 16, dtype=torch.float64)).reshape(2, 2, 16, 16)
    one, two, three, four = layers(model)
    z = functional.max_pool2d(functional.silu(functional.conv2d(x, one.weight, one.bias)), 2)
    z = functional.max_pool2d(functional.silu(functional.conv2d(z, two.weight, two.bias)), 2)
    z = functional.silu(z.flatten(1) @ three.weight.T + three.bias) @ four.weight.T + four.bias
    torch.testing.assert_close(model(x), z, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(model(x[0]), z[0], rtol=1e-13, atol=1e-14)


def test_its_layers_are_those_of_the_method():
    model = LeNet5(image=16, method="rg-n", degree=10, gain=1.5, seed=4, **WIDE)
    one, two, three, four = (layer.weight.detach() for layer in layers(model))
    wanted = build_kernel(50, 20, 5, method="rg-n", d=10, gain=1.5, seed=4, layer=2)
    np.testing.assert_array_equal(two.numpy(), wanted.values)
    assert ((three != 0).sum(1) == 10).all()
    for dense in (one[:, :, 2, 2], four):
        np.testing.assert_allclose(torch.linalg.svdvals(dense).numpy(), 1.5, rtol=1e-12)
    sigma = torch.linalg.svdvals(LeNet5(image=16, method="sao", degree=10, **WIDE).net[7].weight)
    np.testing.assert_allclose(sigma.detach().numpy(), 1, rtol=1e-12)


def test_the_same_seed_gives_the_same_network_and_torchs_generator_is_left_alone():
    state = torch.get_rng_state()
    one, two, other = (LeNet5(image=16, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    x = torch.ones(1, 1, 16, 16)
    assert torch.equal(one(x), two(x))
    assert not torch.equal(one(x), other(x))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"image": 8}, InfeasibleError, "image 8: .* 16 pixels at least"),
        ({"method": "sao", "degree": 7}, InfeasibleError, "no sao mask of 50 x 20 with d = 7"),
        ({"method": "eoi"}, SaoError, "unknown method 'eoi'"),
        ({"gain": 0.0}, SaoError, "gain 0.0"),
        ({"activation": "relo"}, SaoError, "did you mean 'relu'"),
    ],
)
def test_bad_input_is_refused_in_one_line(options, error, text):
    with pytest.raises(error, match=text) as caught:
        LeNet5(**options)
    assert "\n" not in str(caught.value)
