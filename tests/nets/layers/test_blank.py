"""Layers whose weights torch does not draw."""

import pickle

import pytest
import torch
from torch import nn

from sao_cli.nets.layers.blank import blank


@pytest.mark.parametrize(("kind", "sizes"), [(nn.Linear, (3, 2)), (nn.Conv2d, (3, 2, (3, 3)))])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_torchs_own_layer_and_draws_nothing(kind, sizes, bias):
    before = torch.random.get_rng_state()
    layer = blank(kind, *sizes, bias=bias, dtype=torch.float64)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert type(layer) is kind
    assert {name: one.shape for name, one in layer.named_parameters()} == {
        name: one.shape for name, one in kind(*sizes, bias=bias).named_parameters()
    }
    assert layer.weight.dtype == torch.float64
    layer.reset_parameters()  # and this one draws
    assert not torch.equal(torch.random.get_rng_state(), before)
    pickle.loads(pickle.dumps(layer))
