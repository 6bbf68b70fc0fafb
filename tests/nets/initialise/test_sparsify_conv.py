"""Convolutions in a given model made sparse in place: kernels and masks against the report, and what is left alone."""

import copy
import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from sao_cli.base.errors import FormatError, InfeasibleError, SaoWarning
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.nets.initialise.kernels import kernel_, random_taps
from sao_cli.nets.initialise.matrices import drawn_seed, initialize_
from sao_cli.nets.initialise.sparsify import effective_weight, put_weight_, sparsify
from sao_cli.nets.layers.sao_conv import SAOConv2d
from sao_cli.weights.build_weights import METHODS, weight_stack
from sao_cli.weights.givens import eoi_weight
from sao_cli.weights.kernels.build_kernels import METHODS as KERNEL_METHODS
from sao_cli.weights.kernels.build_kernels import build_kernel
from sao_cli.weights.pruned import gmp_stack


def cnn(*channels, size=3, **options):
    layers = [nn.Conv2d(n, m, size, padding=1, **options) for n, m in itertools.pairwise(channels)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * 4, 8, **options))


def manual(seed):
    return torch.Generator().manual_seed(seed)


def done(report):
    return [row.name for row in report if not row.skipped]


def reasons(report):
    return {row.name: row.reason for row in report if row.skipped}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_the_kernels_and_masks_that_it_reports(method):
    model = cnn(3, 16, 24, 8)
    report = sparsify(model, method, None if method == "dense" else 0.5, gain=1.3, generator=manual(1))
    assert reasons(report) == {"0": "the first nn.Conv2d", "4": "the last nn.Linear"}
    assert [(row.name, row.kind, row.m, row.n, row.kernel) for row in report] == [
        ("0", "Conv2d", 16, 3, (3, 3)),
        ("1", "Conv2d", 24, 16, (3, 3)),
        ("2", "Conv2d", 8, 24, (3, 3)),
        ("4", "Linear", 8, 32, None),
    ]
    for row in report[1:3]:
        json.dumps(row.to_dict(), allow_nan=False)
        conv = model[int(row.name)]
        if method == "dense":
            assert sorted(conv.state_dict()) == ["bias", "weight"]
            continue
        assert conv.weight_mask.shape == conv.weight_orig.shape
        pattern = Mask.from_torch(conv.weight_mask.flatten(2).all(2))
        assert torch.equal(conv.weight_mask.flatten(2).any(2), conv.weight_mask.flatten(2).all(2))
        assert pattern == Kernel.of(effective_weight(conv)).mask
        assert row.sparsity == pattern.sparsity
        assert row.d == (pattern.row_degrees[0] if len(set(pattern.row_degrees.tolist())) == 1 else None)
        assert (row.method, row.requested_sparsity) == (method, 0.5)


@pytest.mark.parametrize("method", [method for method in KERNEL_METHODS if method != "dense"])
def test_the_kernels_are_those_of_kernel_one_layer_after_the_other(method):
    model = nn.Sequential(nn.Conv1d(8, 12, 3), nn.Linear(8, 8), nn.Conv3d(8, 4, (1, 2, 3))).double()
    sparsify(model, method, degree=4, skip=(), gain=0.5, generator=manual(3))
    generator = manual(3)
    for module in model:
        empty = torch.empty_like(module.weight_orig)
        fill = initialize_ if isinstance(module, nn.Linear) else kernel_
        expected = fill(empty, method=method, degree=4, gain=0.5, generator=generator)
        assert torch.equal(effective_weight(module), expected)


def test_orthogonal_layers_of_any_method_stand_in_the_centre():
    conv = nn.Conv2d(12, 8, (3, 2), dtype=torch.float64)
    sparsify(conv, "eoi", degree=6, skip=(), generator=manual(2))
    expected = eoi_weight(8, 12, 0.5, seed=drawn_seed(manual(2)))
    weight = effective_weight(conv)
    np.testing.assert_array_equal(weight[:, :, 1, 1].numpy(), expected.to_dense())
    assert int((weight != 0).sum()) == expected.mask.nnz


def test_random_values_are_on_all_taps():
    conv = nn.Conv2d(16, 16, 3, dtype=torch.float64)
    sparsify(conv, "biregular", degree=4, values="he-uniform", skip=(), gain=2.0, generator=manual(2))
    [weight] = weight_stack([16, 16], method="biregular", values="he-uniform", d=4, seed=drawn_seed(manual(2)))
    taps = 2 * random_taps(weight.mask, (3, 3), "he-uniform", seed=drawn_seed(manual(2)))
    kept = effective_weight(conv).flatten(2).numpy()[weight.mask.entry_rows, weight.mask.indices]
    np.testing.assert_array_equal(kept, taps)


def test_gmp_counts_kernels_and_weights_together():
    model = nn.ModuleList([nn.Conv2d(32, 32, 3), nn.Linear(64, 16), nn.Conv1d(8, 8, 2)]).double()
    sparsify(model, "gmp", sparsity=0.9, skip=(), gain=2.0, generator=manual(4))
    kept = round((1.0 - 0.9) * (1024 + 1024 + 64))
    expected = gmp_stack([(32, 32), (16, 64), (8, 8)], kept, seed=drawn_seed(manual(4)))
    centres = (effective_weight(model[0])[..., 1, 1], effective_weight(model[1]), effective_weight(model[2])[..., 1])
    for centre, weight in zip(centres, expected, strict=True):
        np.testing.assert_array_equal(centre.numpy(), 2 * weight.to_dense())


def test_radix_does_not_chain_through_convolutions():
    model = nn.ModuleList([nn.Linear(16, 16), nn.Conv2d(16, 16, 3), nn.Linear(16, 16)])
    sparsify(model, "radix", degree=4, skip=())
    assert torch.equal(model[0].weight_mask, model[2].weight_mask)
    assert torch.equal(model[0].weight_mask, model[1].weight_mask[:, :, 0, 0])


def test_what_can_not_be_made_sparse_is_listed_with_its_reason():
    tied = nn.ModuleList([nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)])
    tied[1].weight = tied[0].weight
    model = nn.ModuleDict(
        {
            "grouped": nn.Conv2d(8, 8, 3, groups=2),
            "transposed": nn.ConvTranspose2d(8, 8, 3),
            "normed": parametrizations.weight_norm(nn.Conv2d(8, 8, 3)),
            "lazy": nn.LazyConv2d(8, 3),
            "meta": nn.Conv2d(8, 8, 3, device="meta"),
            "complex": nn.Conv1d(8, 8, 3, dtype=torch.complex64),
            "own": SAOConv2d(8, 8, 3, degree=4),
            "tied": tied,
            "fine": nn.Conv2d(8, 8, 3),
        }
    )
    report = sparsify(model, skip=())
    assert done(report) == ["fine"]
    told = reasons(report)
    assert told["grouped"] == "a convolution of 2 groups; those with groups=1 are made sparse"
    assert told["transposed"] == "ConvTranspose2d is no nn.Linear or convolution"
    assert told["own"] == "SAOConv2d is no nn.Linear or convolution"
    assert told["normed"] == "its weight is computed from other parameters"
    assert told["lazy"].startswith("a lazy module")
    assert told["meta"].startswith("on the meta device")
    assert "torch.complex64" in told["complex"]
    assert told["tied.0"] == "its weight is shared with 'tied.1'"
    by_name = {row.name: row for row in report}
    assert (by_name["grouped"].kind, by_name["grouped"].kernel) == ("Conv2d", (3, 3))
    assert (by_name["transposed"].kind, by_name["transposed"].m) == (None, None)


def test_the_first_and_last_are_of_all_layers_together():
    assert reasons(sparsify(nn.ModuleList([nn.Linear(8, 8), nn.Conv1d(8, 8, 3), nn.Conv3d(8, 8, 3)]))) == {
        "0": "the first nn.Linear",
        "2": "the last nn.Conv3d",
    }
    with pytest.warns(SaoWarning, match="'': the first nn.Conv2d"):
        sparsify(nn.Conv2d(8, 8, 3))
    with pytest.warns(SaoWarning, match="it holds no nn.Linear and no convolution"):
        sparsify(nn.BatchNorm2d(8))
    assert done(sparsify(cnn(8, 8, 8), skip=lambda name, module: isinstance(module, nn.Linear))) == ["0", "1"]


def test_training_keeps_masks_and_lets_the_taps_of_kept_kernels_grow():
    model = cnn(3, 16, 16, 8)
    x = torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    sparsify(model, "sao", degree=4)
    again = copy.deepcopy(model)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
    trained = effective_weight(model[1])
    assert torch.equal(trained != 0, model[1].weight_mask.bool())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(x), model(x))
    torch.testing.assert_close(
        SAOConv2d.from_conv2d(model[1])(torch.ones(1, 16, 4, 4)), model[1](torch.ones(1, 16, 4, 4))
    )
    report = sparsify(model, "sao", degree=8)  # the new mask in place of the old
    assert [row.d for row in report if not row.skipped] == [8, 8]
    assert int(model[1].weight_mask.sum()) == 16 * 8 * 9


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_put_weight_takes_a_kernel_of_any_dtype(dtype):
    conv = nn.Conv2d(8, 8, 3, dtype=dtype)
    for scheme in ("normal", "delta"):
        kernel = build_kernel(8, 8, scheme=scheme, d=4)
        put_weight_(conv, kernel)
        assert torch.equal(effective_weight(conv), kernel.as_dtype(str(dtype).removeprefix("torch.")).to_torch())
        assert int(conv.weight_mask.sum()) == 8 * 4 * 9


def test_infeasible_channels_are_skipped_or_refused_and_errors_leave_the_model_as_it_was():
    model = cnn(6, 10, 15, 10)
    report = sparsify(model, "sao", sparsity=0.9, skip=())
    assert done(report) == ["0", "1", "2", "4"]
    assert "no sao mask of 10 x 6 with d = 5" in reasons(sparsify(model, "sao", degree=5, skip=()))["0"]
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InfeasibleError, match="layer '0': no sao mask of 10 x 6 with d = 5"):
        sparsify(model, "sao", degree=5, skip=(), strict=True)
    with pytest.raises(FormatError, match="overflows float32"):
        sparsify(model, "sao", gain=1e300)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert prune.is_pruned(model)
