"""Networks whose weights are of one law: layer by layer what the law gives, and the slides' signals."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from sao_cli.base.errors import SaoError
from sao_cli.nets.initialise.laws import initialise_by_
from sao_cli.nets.training.jacobian_row import input_output_jacobian
from sao_cli.weights.dense_laws import dense_values


def test_every_layer_is_drawn_and_nothing_else_is_touched():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3, dtype=torch.float64))
    norm = [parameter.clone() for parameter in model[1].parameters()]
    state = torch.get_rng_state()
    assert initialise_by_(model, "vs-g", gain=1.5, seed=7) is model
    assert torch.equal(torch.get_rng_state(), state)
    for layer, number in ((model[0], 1), (model[3], 2)):
        wanted = 1.5 * dense_values(tuple(layer.weight.shape), "vs-g", seed=7, layer=number)
        np.testing.assert_array_equal(layer.weight.detach().numpy(), wanted.astype(layer.weight.detach().numpy().dtype))
        assert not layer.bias.any()
    assert all(torch.equal(one, two) for one, two in zip(norm, model[1].parameters(), strict=True))


def test_an_error_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(SaoError, match="layer 1: weights of this size leave the range of float32"):
        initialise_by_(model, "normal", gamma=1e80)
    with pytest.raises(SaoError, match="gain 0"):
        initialise_by_(model, "vs-l", gain=0)
    assert all(torch.equal(one, two) for one, two in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(("gamma", "mean"), [(1e-4, 2.46e-7), (1e-2, 0.449)])
def test_the_slides_signals(gamma, mean):
    """A tanh network of 784, six times 100 and 10: Lee et al.'s table has these means, of MNIST's standardised pixels.

    Other standardised inputs give the same within a few per cent; networks differ by less than 15 per cent.
    """
    widths = [784, *[100] * 6, 10]
    layers = [nn.Linear(n, m, dtype=torch.float64) for n, m in itertools.pairwise(widths)]
    model = nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))[:-1]
    initialise_by_(model, "normal", gamma=gamma, seed=0)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((8, 784)))
    assert input_output_jacobian(model, x).mean == pytest.approx(mean, rel=0.15)
