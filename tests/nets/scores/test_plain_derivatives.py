"""Derivatives of convolutions and batch norms that are as few passes as they can be, against torch's own."""

import pytest
import torch
from torch import nn

from sao_cli.nets.scores import grasp, snip

from .known_networks import filled


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normed(layer):
    """With statistics and factors that are no 0 and 1."""
    with torch.no_grad():
        layer.running_mean.copy_(drawn(layer.num_features))
        layer.running_var.copy_(drawn(layer.num_features, seed=1).square() + 0.5)
        for one in layer.parameters():
            one.copy_(drawn(layer.num_features, seed=2))
    return layer


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # two would only wait for each other where the machine is busy
    yield
    torch.set_num_threads(before)


class Mapped(nn.Module):
    """A convolution of each image by torch.func.vmap, which takes no autograd Function."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)

    def forward(self, x):
        return torch.func.vmap(lambda one: self.conv(one[None])[0])(x)


CONVOLUTIONS = {
    "strided, dilated, in groups": (nn.Conv2d(4, 6, 3, 2, 2, 2, groups=2), (4, 7, 6)),
    "signals": (nn.Conv1d(3, 2, 3, padding=1, bias=False), (3, 5)),
    "volumes": (nn.Conv3d(1, 2, (1, 2, 2), stride=(1, 2, 1)), (1, 2, 4, 3)),
    "same": (nn.Conv2d(2, 3, 3, padding="same"), (2, 4, 4)),
    "reflected": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 4, 4)),
    "transposed": (nn.ConvTranspose2d(2, 3, 3, 2), (2, 3, 3)),
    "mapped": (Mapped(), (2, 4, 4)),
    "normed": (nn.Sequential(nn.Conv2d(2, 3, 2), normed(nn.BatchNorm2d(3)), nn.Conv2d(3, 2, 2)), (2, 5, 4)),
    "normed without factors": (nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3, affine=False)), (2, 4, 4)),
    "normed by the batch": (nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3, track_running_stats=False)), (2, 4, 4)),
}


def scored(name):
    layer, shape = CONVOLUTIONS[name]
    x = drawn(5, *shape)
    layer = filled(layer.double())
    outputs = layer.eval()(x).flatten(1).shape[1]
    return nn.Sequential(layer, nn.Tanh(), nn.Flatten(), filled(nn.Linear(outputs, 3).double())).eval(), x


def hessian_gradient(model, x, y, names):
    """w * Hg by torch alone."""
    weights = [model.get_parameter(name) for name in names]
    loss = nn.functional.cross_entropy(model(x), y)
    parts = torch.autograd.grad(loss, weights, create_graph=True)
    curved = torch.autograd.grad(parts, weights, [one.detach() for one in parts])
    return [(w * h).detach() for w, h in zip(weights, curved, strict=True)]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_scores_are_those_of_torchs_own_derivatives(name):
    model, x = scored(name)
    y, biases = torch.arange(len(x)) % 3, name not in ("signals", "mapped")
    parted = [(x[:2], y[:2]), (x[2:], y[2:])]
    for batches in ([(x, y)], *([] if name == "normed by the batch" else [parted])):
        found = grasp(model, batches, temperature=1.0, biases=biases)
        for one, known in zip(found.values(), hessian_gradient(model, x, y, found), strict=True):
            torch.testing.assert_close(one, known, rtol=1e-12, atol=1e-15)
    found = snip(model, [(x, y)], biases=biases)
    weights = [model.get_parameter(name) for name in found]
    parts = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), weights)
    for one, w, g in zip(found.values(), weights, parts, strict=True):
        torch.testing.assert_close(one, (w * g).abs().detach(), rtol=1e-12, atol=1e-15)
