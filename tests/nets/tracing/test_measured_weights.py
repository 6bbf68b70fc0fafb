"""Each weight of a module as its run used it: against torch's own layers on unit images, and masks written by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from sao_cli import SaoError, module_expansions, module_spectra, weights_as_used
from sao_cli.measure.layer.spectrum import Comparison


class Mixed(nn.Module):
    """Convolutions that differ in all that a run decides, a matrix with its inputs first, and what is no one map."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
        self.wide = nn.Conv2d(4, 4, 2, dilation=2, groups=2, bias=False)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2, groups=2, bias=False)
        self.uneven = nn.Conv2d(2, 2, 3, padding=(1, 0), bias=False)
        self.turned = nn.Parameter(torch.randn(2, 3))
        self.blocks = nn.Parameter(torch.randn(3, 2, 2))

    def forward(self, x):
        y = self.uneven(self.up(self.wide(self.down(x)))).mean((2, 3)) @ self.turned
        return y.T[:, :, None].expand(3, -1, 2) @ self.blocks


@pytest.fixture
def mixed():
    torch.manual_seed(0)
    net = Mixed()
    with torch.no_grad():
        net.up.weight[2] = 0  # channel 2 is read by nothing
        net.wide.weight[3, 1] = 0
    return net


INPUT = torch.ones(1, 2, 12, 10)


def of_units(layer, shape):
    """The singular values of a layer of torch, from its answers to unit images."""
    units = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    return torch.linalg.svdvals(layer.double()(units).flatten(1).detach()).numpy()


def test_singular_values_are_those_of_torch_s_own_layers(mixed):
    found = module_spectra(mixed, INPUT)
    images = {"down": (2, 12, 10), "wide": (4, 6, 5), "up": (4, 4, 3)}
    assert [row.name for row in found.rows] == ["down.weight", "wide.weight", "up.weight", "turned"]
    assert [row.layer for row in found.rows] == [1, 2, 3, 5]
    for row in found.rows[:3]:
        name = row.name.removesuffix(".weight")
        expected = of_units(getattr(mixed, name), images[name])
        assert row.singular_values == pytest.approx(expected, abs=1e-6)
        assert row.image == images[name][1:]
        assert min(row.m, row.n) == len(expected)
    turned = torch.linalg.svdvals(mixed.turned.detach().double()).numpy()
    assert found.rows[3].singular_values == pytest.approx(turned, abs=1e-6)
    assert (found.rows[3].m, found.rows[3].n) == (3, 2)


def test_a_transposed_kernel_leads_from_small_images_to_large(mixed):
    up = module_spectra(mixed, INPUT).rows[2]
    assert (up.image, up.output_image, up.m, up.n) == ((4, 3), (8, 6), 2 * 48, 4 * 12)
    assert (up.c, up.d, up.nnz) == (3 / 4, 3 / 2, 3)


def test_what_is_no_one_map_is_named_with_its_reason(mixed):
    skipped = module_spectra(mixed, INPUT).skipped
    assert list(skipped) == ["uneven.weight", "blocks"]
    assert "padding differs" in skipped["uneven.weight"]
    assert "product of blocks" in skipped["blocks"]
    assert list(module_expansions(mixed, INPUT).skipped) == ["blocks"]


def test_masks_are_outputs_by_inputs_of_all_channels(mixed):
    found = module_expansions(mixed, INPUT, criterion="standard")
    assert [(row.name, row.m, row.n, row.nnz) for row in found.rows] == [
        ("down.weight", 4, 2, 8),
        ("wide.weight", 4, 4, 7),
        ("up.weight", 2, 4, 3),
        ("uneven.weight", 2, 2, 4),
        ("turned", 3, 2, 6),
    ]
    masks = {one.name: one.mask().to_dense().astype(int).tolist() for one in found.weights}
    assert masks["wide.weight"] == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0]]
    assert masks["up.weight"] == [[1, 1, 0, 0], [0, 0, 0, 1]]
    assert {row.criterion for row in found.rows} == {"standard"}


def test_repeats_and_activations_are_of_matrices_and_holm_s_correction_of_all_rows(mixed):
    rows = module_spectra(mixed, INPUT, activations=["tanh", "relu"], repeats=3).rows
    assert [(row.name, row.activation) for row in rows[2:]] == [
        ("up.weight", "linear"),
        ("turned", "tanh"),
        ("turned", "relu"),
    ]
    assert [row.repeats is not None for row in rows] == [False, False, False, True, True]
    assert all(row.ks.pvalue_holm >= row.ks.pvalue for row in rows)
    assert rows[0].ks.pvalue_holm == pytest.approx(min(1.0, 5 * rows[0].ks.pvalue))  # the least of five


def test_a_reference_has_a_weight_for_each(mixed):
    own = [weight.map() for weight in weights_as_used(mixed, INPUT)[:3]]
    kernels = [one.kernel for one in own]
    with pytest.raises(SaoError, match="has 2 layers, and the stack 6"):
        module_spectra(mixed, INPUT, comparison=Comparison(reference=kernels[:2], name="other.pt"))
    found = module_spectra(mixed, INPUT, comparison=Comparison(reference=kernels[:1], name="other.pt"))
    assert found.rows[0].ks.statistic == 0
    assert "convolution kernel" in found.skipped["turned"]


def test_weights_that_are_not_finite_or_are_absent(mixed):
    with torch.no_grad():
        mixed.turned[0, 0] = float("inf")
    assert "inf" in module_spectra(mixed, INPUT).skipped["turned"]
    assert "NaN or infinite" in module_expansions(mixed, INPUT).skipped["turned"]
    with pytest.raises(SaoError, match="no weight of the module"):
        module_spectra(nn.ReLU(), torch.ones(1, 3))
    with pytest.raises(SaoError, match="example input"):
        weights_as_used(mixed)


def test_a_half_precision_weight_keeps_its_dtype():
    net = nn.Linear(3, 2, bias=False).bfloat16()
    weight = weights_as_used(net, torch.ones(1, 3, dtype=torch.bfloat16))[0]
    assert (weight.dtype, weight.map().dtype, weight.map("float32").dtype) == ("bfloat16", "bfloat16", "float32")
    assert weight.map().to_dense() == pytest.approx(net.weight.detach().float().numpy())


def test_a_wrapped_module_is_the_one_that_it_holds():
    net = nn.Linear(3, 2, bias=False)
    wrapped = nn.DataParallel(net)
    assert [one.name for one in weights_as_used(wrapped, torch.ones(1, 3))] == ["weight"]
