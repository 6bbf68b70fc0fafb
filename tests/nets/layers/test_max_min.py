"""MaxMin: a permutation of its input everywhere, ties included."""

import pytest
import torch
from torch import nn

from sao_cli.base.errors import SaoError
from sao_cli.nets.layers.eco_conv import ECOConv2d
from sao_cli.nets.layers.max_min import MaxMin
from sao_cli.nets.layers.soc_conv import SOCConv2d


def test_it_sorts_each_pair_of_channels():
    x = torch.randn(3, 6, 2, 5, generator=torch.Generator().manual_seed(0))
    ordered = torch.stack(x.split(3, dim=1)).sort(dim=0, descending=True).values
    assert torch.equal(MaxMin()(x), torch.cat([*ordered], dim=1))


def test_its_jacobian_is_a_permutation_at_ties_too():
    x = torch.tensor([[0.0, 1.0, -2.0, 0.0, 0.0, 3.0, -2.0, -1.0]])
    jacobian = torch.func.jacrev(MaxMin())(x).view(8, 8)
    assert set(jacobian.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(jacobian @ jacobian.T, torch.eye(8))


def test_a_network_of_it_and_orthogonal_convolutions_preserves_the_gradient():
    layers = [ECOConv2d(4, 4, 3, seed=1), MaxMin(), SOCConv2d(4, 4, 3, terms=16), MaxMin(), ECOConv2d(4, 16, 3, 2)]
    net = nn.Sequential(*layers, MaxMin()).double()
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 16, 3, 3, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(net(x), x, upstream)
    # 16 = 4 x 2^2 channels: nothing is dropped or added; terms=16 miss by 5e-14 at most, float32-born slices by more
    torch.testing.assert_close(gradient.norm(), upstream.norm(), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("shape", "said"), [((2, 3, 4), "3 channels"), ((4,), r"shape \(4,\)")])
def test_what_it_refuses(shape, said):
    with pytest.raises(SaoError, match=said):
        MaxMin()(torch.zeros(shape))
