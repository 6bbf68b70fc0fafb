"""Modules without needless units: the same outputs, smaller tensors, and by name what stays as wide as it is."""

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from sao_cli.base.errors import SaoError
from sao_cli.catalog import PLAIN_ACTIVATIONS
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.nets.layers.activation import activation_module
from sao_cli.nets.reduction.reduce_module import reduce_

FUNCTIONS = [
    *map(ActivationFunction, PLAIN_ACTIVATIONS),
    ActivationFunction("relu-tau", tau=0.5),
    ActivationFunction("soft-threshold", tau=0.5),
    ActivationFunction("crelu", tau=0.5, clip=1.0),
    ActivationFunction("cst", tau=0.5, clip=1.0),
]


def pruned_(module, density, seed=0, dtype=torch.float64):
    """The module in float64 with weights and biases of which a share `density` is not 0, and planted multiples."""
    generator = torch.Generator().manual_seed(seed)
    module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=dtype)
            parameter.copy_(drawn * (torch.rand(parameter.shape, generator=generator) < density))
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and len(layer.weight) > 3:
                for place, factor in ((1, 2.0), (2, -1.0), (3, 1.0)):
                    layer.weight[place] = factor * layer.weight[0]
                    if layer.bias is not None:
                        layer.bias[place] = factor * layer.bias[0]
    return module


def assert_smaller_and_same(module, x, atol=1e-12):
    """The reduction, after a look at fresh inputs."""
    size = sum(one.numel() for one in module.parameters())
    fresh = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        expected = module.eval()(fresh)
        found = reduce_(module, x)
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(module(fresh), expected, rtol=0, atol=atol * scale)
    assert found.parameters == size
    assert found.new_parameters == sum(one.numel() for one in module.parameters())
    assert found.output_error_max <= 1e-12 or x.dtype != torch.float64
    for row in found.layers:
        if (layer := row.name.removesuffix(".weight")) != row.name:
            assert tuple(module.get_submodule(layer).weight.shape) == row.new_shape
    return found


def linears(activation, bias=True):
    return nn.Sequential(
        nn.Linear(6, 12, bias=bias),
        activation_module(activation),
        nn.Linear(12, 10, bias=bias),
        activation_module(activation),
        nn.Linear(10, 4, bias=bias),
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_perceptrons_of_every_activation(function, bias):
    for seed, density in enumerate((0.1, 0.3, 1.0)):
        module = pruned_(linears(function, bias), density, seed)
        found = assert_smaller_and_same(module, torch.randn(5, 6, dtype=torch.float64))
        assert found.new_parameters < found.parameters
        assert [row.reason for row in found.layers] == [None, None, "its units are outputs of the network"]
        assert found.layers[2].shape[0] == found.layers[2].new_shape[0]
    assert found.layers[0].merged == found.layers[1].merged == 1 + function.passes(2.0) + function.passes(-1.0)


class Convolutions(nn.Module):
    def __init__(self, padding=1, bias=True, pool=None, flat=None):
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=padding, bias=bias)
        self.second = nn.Conv2d(8, 8, 3, padding=padding, stride=2, bias=bias)
        self.pool = pool or nn.MaxPool2d(2)
        self.flat = flat or nn.Flatten()
        size = self.flat(self.pool(self.second(self.first(torch.zeros(1, 2, 12, 12))))).shape[1]
        self.head, self.last = nn.Linear(size, 9, bias=bias), nn.Linear(9, 3, bias=bias)

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.last(torch.tanh(self.head(self.flat(self.pool(x)))))


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "pool",
    [nn.MaxPool2d(2), nn.AvgPool2d(2, padding=1), nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(2), nn.Identity()],
    ids=str,
)
def test_convolutions_with_borders_and_pooling(padding, bias, pool):
    for seed in range(3):
        module = pruned_(Convolutions(padding, bias, pool), 0.15, seed)
        found = assert_smaller_and_same(module, torch.randn(2, 2, 12, 12, dtype=torch.float64))
        assert found.new_parameters < found.parameters
        assert [row.reason for row in found.layers[:-1]] == [None] * 3


def test_a_mean_over_images():
    module = pruned_(Convolutions(flat=Mean(), pool=nn.Identity()), 0.15)
    assert_smaller_and_same(module, torch.randn(2, 2, 12, 12, dtype=torch.float64))


def test_a_constant_channel_stays_before_a_border_and_goes_where_there_is_none():
    for padding, expected in ((1, 1), (0, 2)):
        module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=padding)).double()
        with torch.no_grad():
            module[0].weight[:2] = 0
            module[0].bias[:2] = torch.tensor([1.0, -1.0])
        found = assert_smaller_and_same(module, torch.randn(1, 1, 9, 9, dtype=torch.float64))
        assert found.layers[0].constant == expected


def test_a_pooling_with_a_border_shows_a_constant_channel_in_each_pixel():
    module = pruned_(Convolutions(1, True, nn.AvgPool2d(3, 2, 1)), 0.9)
    with torch.no_grad():
        module.second.weight[0] = 0
        module.second.bias[0] = 2.0
    found = assert_smaller_and_same(module, torch.randn(2, 2, 12, 12, dtype=torch.float64))
    assert found.layers[1].constant >= 1


def test_a_border_that_a_mean_hides_depends_on_the_size_of_the_image():
    layers = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    for pooled, expected in ((layers, 0), ((*layers[:2], *layers[3:]), 1)):
        module = nn.Sequential(*pooled, nn.Linear(3, 2)).double()
        with torch.no_grad():
            module[0].weight[0], module[0].bias[0] = 0, 1.0
            x = torch.randn(2, 1, 16, 17, dtype=torch.float64)
            before = module(x)
            found = reduce_(module, torch.randn(1, 1, 9, 9, dtype=torch.float64))
            torch.testing.assert_close(module(x), before, rtol=0, atol=1e-12)
        assert found.layers[0].constant == expected


def test_inputs_of_three_axes_and_a_bias_that_is_made():
    module = pruned_(nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 4, bias=False)), 0.3)
    with torch.no_grad():
        module[0].weight[4], module[0].bias[4] = 0, 1.0
        module[2].weight[:, 4] = 1.0
    found = assert_smaller_and_same(module, torch.randn(2, 3, 5, dtype=torch.float64))
    assert found.layers[1].makes_bias
    assert module[2].bias is not None


def test_a_single_sample_and_larger_images():
    assert_smaller_and_same(pruned_(linears("relu"), 0.3), torch.randn(6, dtype=torch.float64))
    layers = nn.Conv2d(2, 6, 3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Tanh(), nn.Conv2d(6, 2, 3)
    found = assert_smaller_and_same(pruned_(nn.Sequential(*layers), 0.5), torch.randn(1, 2, 7, 7, dtype=torch.float64))
    assert found.layers[0].merged == 2


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.inner, self.outer = (
            nn.Conv2d(2, 6, 3, padding=1),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.Conv2d(6, 6, 1),
        )
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.outer(torch.relu(self.inner(x))))
        return self.last(x)


def test_a_shortcut_keeps_the_units_on_both_sides_of_its_sum():
    module = pruned_(Residual(), 0.2)
    found = assert_smaller_and_same(module, torch.randn(2, 2, 8, 8, dtype=torch.float64))
    reasons = {row.name: row.reason for row in found.layers}
    assert reasons["stem.weight"].startswith("stem.weight's units are read by ")
    assert reasons["outer.weight"].startswith("add reads outer.weight's units")
    assert reasons["inner.weight"] is None
    assert module.inner.out_channels == module.outer.in_channels < 6
    assert module.stem.out_channels == module.inner.in_channels == module.last.in_channels == 6


def test_norms_are_refused_by_their_tensors_names():
    module = nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 2)
    )
    found = assert_smaller_and_same(pruned_(module, 0.3), torch.randn(3, 4, dtype=torch.float64))
    first, second, _ = found.layers
    assert "1.weight" in first.reason
    assert "1.running_mean" in first.reason
    assert "4.weight" in second.reason
    assert found.new_parameters == found.parameters
    sloped = nn.Sequential(nn.Linear(4, 6), nn.PReLU(6), nn.Linear(6, 2))
    found = assert_smaller_and_same(pruned_(sloped, 0.3), torch.randn(3, 4, dtype=torch.float64))
    assert found.layers[0].reason == "1: _prelu_kernel with 1.weight reads 0.weight's units"


def test_shared_tensors_and_modules_are_refused_by_name():
    tied = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    tied[2].weight = tied[0].weight
    found = assert_smaller_and_same(pruned_(tied, 0.2), torch.randn(3, 4, dtype=torch.float64))
    assert found.layers[0].reason == "0.weight is used 2 times"
    biased = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    biased[2].bias = biased[0].bias
    found = assert_smaller_and_same(pruned_(biased, 0.2), torch.randn(3, 4, dtype=torch.float64))
    assert [row.reason for row in found.layers[:2]] == [
        "0.bias is one tensor with 2.bias",
        "2.bias is one tensor with 0.bias",
    ]


def test_several_readers_and_groups_and_parametrizations_are_refused_by_name():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 2)

        def forward(self, x):
            x = torch.relu(self.body(x))
            return self.a(x), self.b(x)

    found = reduce_(pruned_(Two(), 0.2), torch.randn(3, 4, dtype=torch.float64))
    assert found.layers[0].reason == "body.weight's units are read by a: addmm, b: addmm"
    grouped = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 2, 1))
    found = assert_smaller_and_same(pruned_(grouped, 0.2), torch.randn(1, 2, 9, 9, dtype=torch.float64))
    assert [row.reason for row in found.layers[:2]] == ["2.weight has 2 groups of channels"] * 2
    normed = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(5, 2)))
    found = assert_smaller_and_same(normed.double(), torch.randn(3, 4, dtype=torch.float64))
    assert found.layers[0].reason == "2.weight: weight is computed by a parametrization"


def test_a_module_with_sizes_of_its_own_is_left_whole():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4 * 25, 3)

        def forward(self, x):
            return self.last(torch.relu(self.second(torch.relu(self.first(x)))).view(-1, 100))

    module = pruned_(Fixed(), 0.1)
    found = assert_smaller_and_same(module, torch.randn(2, 1, 9, 9, dtype=torch.float64))
    assert "reshapes to a size of its own" in found.layers[1].reason
    assert module.first.out_channels < 4

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            x = self.first(x)
            return self.last(x / x.shape[1])

    module = pruned_(Counting(), 0.2)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(SaoError, match="gives other outputs when it is smaller, and is as it was"):
        reduce_(module, torch.randn(3, 4, dtype=torch.float64))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert (module.first.out_features, module.last.in_features) == (6, 6)


def test_masks_shrink_with_the_weights_and_parameters_stay_themselves():
    torch.manual_seed(3)
    module = linears("relu").double()
    prune.global_unstructured([(module[place], "weight") for place in (0, 2, 4)], prune.L1Unstructured, amount=0.5)
    prune.random_unstructured(module[2], "bias", 0.5)
    module[0].bias.requires_grad_(False)
    with torch.no_grad():
        module[0].weight_orig[3] = module[0].weight_orig[2] * 2
        module[0].weight_mask[3] = module[0].weight_mask[2]
        module[0].bias[3] = module[0].bias[2] * 2
    identities = {name: id(one) for name, one in module.named_parameters()}
    found = assert_smaller_and_same(module, torch.randn(5, 6, dtype=torch.float64))
    assert found.layers[0].merged >= 1
    assert {name: id(one) for name, one in module.named_parameters()} == identities
    assert not module[0].bias.requires_grad
    for place in (0, 2, 4):
        assert module[place].weight_mask.shape == module[place].weight_orig.shape
        torch.testing.assert_close(module[place].weight, module[place].weight_orig * module[place].weight_mask)
    module(torch.randn(5, 6, dtype=torch.float64)).sum().backward()
    assert module[2].weight_orig.grad.shape == module[2].weight_orig.shape
    for place in (0, 2, 4):
        prune.remove(module[place], "weight")
    assert_smaller_and_same(module, torch.randn(5, 6, dtype=torch.float64))


def test_it_is_a_fixed_point_and_float32_stays():
    module = pruned_(linears("relu"), 0.15, dtype=torch.float32)
    assert_smaller_and_same(module, torch.randn(5, 6), atol=1e-5)
    again = assert_smaller_and_same(module, torch.randn(5, 6), atol=1e-5)
    assert again.new_parameters == again.parameters
    assert {one.dtype for one in module.parameters()} == {torch.float32}


def test_a_wrapped_module_without_examples_is_refused():
    with pytest.raises(SaoError, match=r"reduce_\(module, x\)"):
        reduce_(nn.Linear(2, 2))


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 7), min_size=3, max_size=5),
    st.floats(0.0, 0.6),
    st.sampled_from(FUNCTIONS),
    st.integers(0, 99),
)
def test_random_chains(widths, density, function, seed):
    layers = []
    for n, m in pairwise(widths):
        layers += [nn.Linear(n, m), activation_module(function)]
    module = pruned_(nn.Sequential(*layers[:-1]), density, seed)
    assert_smaller_and_same(module, torch.randn(4, widths[0], dtype=torch.float64))
