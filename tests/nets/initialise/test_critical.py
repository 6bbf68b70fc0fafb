"""Networks of given variances: what each layer has, what stays, and that biases change no weight."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sao_cli import sparse_activation
from sao_cli.base.errors import SaoError, SaoWarning
from sao_cli.masks.sao import sao_mask
from sao_cli.nets.initialise.critical import critical_, set_variances_
from sao_cli.nets.initialise.sparsify import effective_weight, sparsify
from sao_cli.nets.layers.linear import SAOLinear
from sao_cli.nets.layers.two_stage_linear import TwoStageLinear
from sao_cli.weights.random import random_values

WIDE = {"dtype": torch.float64}


def _masked(m: int, n: int, d: int) -> nn.Linear:
    linear = nn.Linear(n, m, **WIDE)
    return prune.custom_from_mask(linear, "weight", sao_mask(m, n, d).to_torch())


def test_gaussian_weights_have_the_variance_of_their_own_fan_in():
    widths = [64, 300, 300, 10]
    model = nn.Sequential(*(nn.Linear(n, m, **WIDE) for n, m in itertools.pairwise(widths)))
    assert set_variances_(model, 2.5, 0.8, seed=3) is model
    for layer in model:
        count, fan_in = layer.weight.numel(), layer.in_features
        assert fan_in * float(layer.weight.detach().var()) == pytest.approx(6.25, rel=5 * math.sqrt(2 / count))
    biases = torch.cat([layer.bias.detach() for layer in model])
    assert float(biases.var()) == pytest.approx(0.64, rel=5 * math.sqrt(2 / 610))


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_biases_change_no_weight_and_are_no_weights(weights):
    bare, given = (nn.Sequential(nn.Linear(9, 6, **WIDE), nn.ReLU(), nn.Linear(6, 6, **WIDE)) for _ in range(2))
    set_variances_(bare, 1.0, 0.0, weights=weights, seed=4)
    set_variances_(given, 1.0, 1.0, weights=weights, seed=4)
    for one, two in ((bare[0], given[0]), (bare[2], given[2])):
        assert torch.equal(one.weight, two.weight)
        assert not one.bias.any()
        assert not np.isin(two.bias.detach().numpy(), two.weight.detach().numpy()).any()
    assert not torch.equal(given[0].bias, given[2].bias)


def test_on_a_mask_the_ones_of_a_row_share_the_variance():
    layer = _masked(60, 120, 20)
    set_variances_(layer, 3.0, 0.0, seed=1)
    wanted = 3 * random_values(sao_mask(60, 120, 20), "normal", seed=1, layer=1)  # of variance 1/20
    kept = layer.weight_mask.bool()
    np.testing.assert_allclose(layer.weight_orig.detach()[kept].numpy(), wanted, rtol=1e-15)
    assert not layer.weight.detach()[~kept].any()
    assert torch.equal(layer.weight, effective_weight(layer))


@pytest.mark.parametrize(("m", "n"), [(60, 20), (20, 60), (40, 40)])
@pytest.mark.parametrize("make", [lambda m, n: nn.Linear(n, m, **WIDE), lambda m, n: _masked(m, n, n // 10)])
def test_orthogonal_weights_give_each_output_the_variance(m, n, make):
    layer = set_variances_(make(m, n), 2.0, 0.0, weights="orthogonal")
    weight = effective_weight(layer).numpy()
    assert np.square(weight).sum() == pytest.approx(4 * m, rel=1e-13)  # unit inputs: m outputs of variance 4
    sigma = np.linalg.svd(weight, compute_uv=False)
    np.testing.assert_allclose(sigma, 2 * math.sqrt(max(m / n, 1)), rtol=1e-12)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_blocks_have_what_a_mask_has(weights):
    layer = set_variances_(SAOLinear(400, 400, 20, **WIDE), 1.5, 0.5, weights=weights)
    weight = layer.to_dense().detach().numpy()
    assert np.square(weight).sum() / 400 == pytest.approx(2.25, rel=1e-12 if weights == "orthogonal" else 0.08)
    assert (weight != 0).sum() == 8000
    assert layer.bias.detach().any()


def test_the_weights_that_are_there_keep_their_ratios():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), SAOLinear(8, 8, 4))
    before = [layer.weight.detach().clone() for layer in (model[0], model[2])]
    set_variances_(model, 2.0, 0.0, weights=None)
    for layer, old in zip((model[0], model[2]), before, strict=True):
        ratio = layer.weight.detach() / old
        torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio.mean())))
    assert float(model[0].weight.detach().square().sum()) == pytest.approx(4 * 8, rel=1e-6)


@pytest.mark.parametrize(
    ("model", "told", "why"),
    [
        (nn.Linear(4, 4), {"sigma_w": 0.0}, "0.0 is no positive finite number"),
        (nn.Linear(4, 4), {"sigma_b": -1.0}, "sigma_b -1.0: the standard deviation of biases"),
        (nn.Linear(4, 4, bias=False), {"sigma_b": 1.0}, "layer 1 has none"),
        (nn.Linear(4, 4), {"weights": "normal"}, "unknown weights 'normal'"),
        (nn.Linear(4, 4, dtype=torch.float16), {"sigma_w": 1e6}, "leave the range of float16"),
        (TwoStageLinear(16, 16, 4), {}, "a TwoStageLinear holds no weights of independent values"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), {}, "computed from other parameters"),
        (nn.Conv2d(4, 4, 3, groups=2), {"weights": "orthogonal"}, "a convolution of groups"),
    ],
)
def test_what_can_t_be_is_told_before_anything_is_changed(model, told, why):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(SaoError, match=why):
        set_variances_(model, **{"sigma_w": 1.0, "sigma_b": 0.0} | told)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_weights_of_zero_have_no_scale():
    linear = nn.Linear(2, 2)
    nn.init.zeros_(linear.weight)
    with pytest.raises(SaoError, match="layer 1: its weights are all 0"):
        set_variances_(linear, 1.0, 0.0, weights=None)


def test_a_convolution_counts_taps():
    conv = set_variances_(nn.Conv2d(50, 60, 3, **WIDE), 2.0, 0.0)
    assert 450 * float(conv.weight.detach().var()) == pytest.approx(4, rel=5 * math.sqrt(2 / 27000))
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))
    sparsify(model, "sao", degree=4)
    kept = model[1].weight_mask.bool()
    set_variances_(model, 1.0, 0.0)
    assert torch.equal(effective_weight(model[1]) != 0, kept)
    assert 36 * float(effective_weight(model[1])[kept].var()) == pytest.approx(1, rel=0.5)


def test_a_network_begins_at_the_edge_of_chaos_of_its_activation():
    """Known values: cst, s = 0.85, m = 1, q* = 1, and what all of q* = 4 scales by."""
    phi = sparse_activation("cst", activation_sparsity=0.85, clip=1.0)
    one, two = nn.Linear(300, 300, **WIDE), nn.Linear(300, 300, **WIDE)
    assert critical_(one, phi, seed=2) is one
    set_variances_(two, 2.718699753098352, 0.8361399228510996, seed=2)
    torch.testing.assert_close(one.weight, two.weight, rtol=1e-9, atol=0)
    torch.testing.assert_close(one.bias, two.bias, rtol=1e-9, atol=0)
    wide = sparse_activation("cst", activation_sparsity=0.85, clip=2.0, q_star=4.0)
    critical_(two, wide, q_star=4.0, seed=2)
    torch.testing.assert_close(one.weight, two.weight, rtol=1e-9, atol=0)
    torch.testing.assert_close(2 * one.bias, two.bias, rtol=1e-9, atol=0)
    critical_(two, "tanh", sigma_w=1.5, sigma_b=0.0)
    assert not two.bias.any()
    with pytest.raises(SaoError, match=r"sigma_b\^2 would be -5.54"):
        critical_(two, "sigmoid")
    with pytest.raises(SaoError, match="give both"):
        critical_(two, "tanh", sigma_w=1.0)


@pytest.mark.parametrize("make", [lambda d: _masked(60, 60, d), lambda d: SAOLinear(60, 60, d)])
def test_rows_of_too_few_inputs_are_told(make):
    phi = sparse_activation("cst", activation_sparsity=0.85, slope=0.7)
    with pytest.warns(SaoWarning, match="reads 10 inputs, d .1 - s. = 1.5 of which are not 0: .* d = 14 is better"):
        critical_(make(10), phi)
    critical_(make(15), phi)
    critical_(make(4), "relu")
