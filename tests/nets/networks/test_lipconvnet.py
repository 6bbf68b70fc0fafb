"""LipConvNet: its layers against the plan, singular values and norms of gradients, before and after steps."""

import numpy as np
import pytest
import torch

from sao_cli.base.errors import InfeasibleError
from sao_cli.masks.architectures import lipconvnet_shapes, plan_convolutions
from sao_cli.nets.layers.eco_conv import ECOConv2d
from sao_cli.nets.layers.max_min import MaxMin
from sao_cli.nets.layers.soc_conv import SOCConv2d
from sao_cli.nets.networks.lipconvnet import LipConvNet

WIDE = {"dtype": torch.float64}
IMAGE = torch.sin(torch.arange(3 * 24 * 24, dtype=torch.float64) ** 2).reshape(3, 24, 24)


def singular_values(function, point):
    outputs = function(point)
    jacobian = torch.func.jacrev(function)(point).detach().reshape(outputs.numel(), point.numel())
    return torch.linalg.svdvals(jacobian).numpy()


def step(model, images, lr=1.0):
    model.zero_grad()
    loss = model(images).square().sum() + model.features(images).sin().sum()
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= lr * parameter.grad


def test_the_layers_are_the_planned_ones():
    model = LipConvNet(10, base=4, sparsity=0.75, **WIDE)
    shapes = lipconvnet_shapes(10, base=4)
    rows = plan_convolutions(shapes, sparsity=0.75)
    layers = [module for block in model.blocks for module in block]
    assert [len(block) for block in model.blocks] == [4] * 5
    assert all(isinstance(layer, MaxMin) for layer in layers[1::2])
    assert [conv.layer for conv in [*layers[::2], model.head]] == list(range(1, 12))  # streams of their own
    for conv, row, shape in zip(layers[::2], rows, shapes, strict=True):
        assert (type(conv), conv.in_channels, conv.out_channels) == (
            SOCConv2d if shape.scheme == "soc" else ECOConv2d,
            shape.c_in,
            shape.c_out,
        )
        if shape.scheme == "eco":
            kernel = conv.kernel()
            assert (kernel.mask.shape, kernel.mask.nnz * shape.size**2) == ((row.m, row.n), row.parameters)
    assert model.features(IMAGE[None]).shape == (1, 128, 1, 1)
    assert model(IMAGE[None]).shape == (1, 10)


@pytest.mark.parametrize("options", [{}, {"sparsity": 0.75}], ids=str)
def test_no_singular_value_exceeds_1_before_and_after_training_steps(options):
    model = LipConvNet(5, base=2, **options, **WIDE)
    for _ in range(2):
        for function, rank in ((model.features, 64), (model, 10)):
            sigma = singular_values(function, IMAGE)
            assert len(sigma) == rank
            assert sigma[0] <= 1 + 1e-7  # the SOC layers' errors, 2e-9 each
            assert sigma[0] >= 0.1
        step(model, IMAGE[None])


@pytest.mark.parametrize("options", [{}, {"degree": 4}], ids=str)
def test_gradient_norms_are_kept_by_all_layers_but_the_widening_ones(options):
    model = LipConvNet(5, base=4, channels=1, **options, **WIDE)
    image = IMAGE[None, :1]
    step(model, image)
    x = model.blocks[0](image).detach()
    outputs, back = torch.func.vjp(model.blocks[1:4], x)
    gradient = torch.cos(torch.arange(outputs.numel(), dtype=torch.float64)).reshape(outputs.shape)
    np.testing.assert_allclose(back(gradient)[0].norm().item(), gradient.norm().item(), rtol=1e-8)
    for block, point in ((model.blocks[0], image), (model.blocks[4], outputs.detach())):
        tangent = torch.cos(torch.arange(point.numel(), dtype=torch.float64)).reshape(point.shape)
        _, forth = torch.autograd.functional.jvp(block, point, tangent)
        np.testing.assert_allclose(forth.norm().item(), tangent.norm().item(), rtol=1e-8)


def test_the_heads_rows_stay_orthonormal():
    model = LipConvNet(5, base=2, classes=7, image=72, channels=1, **WIDE)
    step_image = torch.sin(torch.arange(72.0 * 72, dtype=torch.float64)).reshape(1, 1, 72, 72)
    assert model.features(step_image).shape == (1, 64, 3, 3)
    assert model.head.in_channels == 64 * 9
    model(step_image).square().sum().backward()
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter -= parameter.grad
    weight = model.head.kernel().values[:, :, 0, 0]
    np.testing.assert_allclose(weight @ weight.T, np.eye(7), atol=1e-12)


def test_the_same_seed_gives_the_same_network_and_torchs_generator_is_left_alone():
    state = torch.get_rng_state()
    one, two, other = (LipConvNet(5, base=2, seed=seed, **WIDE) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    batch = torch.stack([IMAGE, -IMAGE])
    assert torch.equal(one(batch), two(batch))
    assert not torch.allclose(one(batch), other(batch))
    torch.testing.assert_close(one(batch)[1], one(-IMAGE), rtol=1e-12, atol=1e-13)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(batch), other(batch))


@pytest.mark.parametrize(
    ("depth", "options", "text"),
    [
        (7, {}, "depth 7: .* nearest depth is 5"),
        (5, {"image": 32}, "image 32: .* a multiple of 72"),
        (5, {"base": 3}, "base 3 is odd"),
        (5, {"classes": 0}, "m = 0"),
        (5, {"degree": 5}, "no sao mask of 256 x 256 with d = 5"),
        (5, {"sparsity": 1.0}, "sparsity 1.0 is outside"),
    ],
)
def test_bad_input_is_refused_in_one_line(depth, options, text):
    with pytest.raises(InfeasibleError, match=text) as caught:
        LipConvNet(depth, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gets_the_same_network():
    here, there = (LipConvNet(5, base=4, degree=4, device=device, **WIDE) for device in ("cpu", "cuda"))
    torch.testing.assert_close(there(IMAGE[None].cuda()).cpu(), here(IMAGE[None]), rtol=1e-12, atol=1e-12)
