"""CSRLinear against the masked nn.Linear that it is of: outputs, gradients, state."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sao_cli.base.errors import SaoError
from sao_cli.nets import CSRLinear


@pytest.fixture
def masked():
    torch.manual_seed(0)
    layer = nn.Linear(7, 5).double()
    mask = torch.rand(5, 7) < 0.4
    mask[2] = False
    return prune.custom_from_mask(layer, "weight", mask)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (0,)])
def test_it_gives_what_the_masked_layer_gives(masked, lead):
    x = torch.randn(*lead, 7, dtype=torch.float64)
    torch.testing.assert_close(CSRLinear.from_linear(masked)(x), masked(x), rtol=1e-14, atol=1e-14)


def test_gradients_are_those_of_the_masked_layer(masked):
    layer = CSRLinear.from_linear(masked)
    x = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    masked(x).square().sum().backward()
    layer(other).square().sum().backward()
    torch.testing.assert_close(other.grad, x.grad)
    torch.testing.assert_close(layer.bias.grad, masked.bias.grad)
    kept = masked.weight_mask.bool()
    torch.testing.assert_close(layer.weight.grad, masked.weight_orig.grad[kept])


def test_it_can_be_measured_and_loaded(masked):
    layer = CSRLinear.from_linear(masked)
    dense = masked.weight.detach()
    assert torch.equal(layer.to_dense(), dense)
    assert torch.equal(torch.from_numpy(layer.to_matrix().to_dense()), dense)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.weight.zero_()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.to_dense(), dense)


def test_what_it_can_t_be():
    with pytest.raises(SaoError, match=r"a Conv2d is no torch\.nn\.Linear"):
        CSRLinear.from_linear(nn.Conv2d(2, 2, 1))
    with pytest.raises(SaoError, match="inputs of width 3 for a layer of 2 inputs"):
        CSRLinear.from_linear(nn.Linear(2, 2))(torch.ones(1, 3))
