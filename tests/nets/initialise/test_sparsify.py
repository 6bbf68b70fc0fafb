"""Models made sparse in place: the report against the model, what is left alone and why, training, and errors."""

import copy
import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError, SaoWarning
from sao_cli.data.mask import Mask
from sao_cli.measure.reach.reachability import reachability
from sao_cli.nets.initialise.matrices import drawn_seed, initialize_
from sao_cli.nets.initialise.pruned_state import load_pruned_
from sao_cli.nets.initialise.sparsify import effective_weight, put_weight_, sparsify
from sao_cli.reports.networks import SparsifiedLayer
from sao_cli.weights.build_weights import METHODS
from sao_cli.weights.orthogonal import sao_weight
from sao_cli.weights.pruned import gmp_stack

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def mlp(*widths, **options):
    torch.manual_seed(0)
    layers = [nn.Linear(n, m, **options) for n, m in itertools.pairwise(widths)]
    return nn.Sequential(*(module for layer in layers for module in (layer, nn.Tanh())))


def manual(seed):
    return torch.Generator().manual_seed(seed)


def done(report):
    return [row.name for row in report if not row.skipped]


def reasons(report):
    return {row.name: row.reason for row in report if row.skipped}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_the_weights_and_masks_that_it_reports(method):
    model = mlp(64, 48, 96, 48, 10)
    biases = [layer.bias.clone() for layer in model[::2]]
    report = sparsify(model, method, None if method == "dense" else 0.75, gain=1.3, generator=manual(1))
    assert [row.name for row in report] == ["0", "2", "4", "6"]
    assert reasons(report) == {"0": "the first nn.Linear", "6": "the last nn.Linear"}
    for row in report:
        json.dumps(row.to_dict(), allow_nan=False)
        if row.skipped:
            assert not prune.is_pruned(model[int(row.name)])
            continue
        linear = model[int(row.name)]
        assert (row.m, row.n, row.method) == (linear.out_features, linear.in_features, method)
        weight = effective_weight(linear)
        pattern = Mask.from_torch(weight)
        assert row.sparsity == pattern.sparsity
        assert row.requested_sparsity == (None if method == "dense" else 0.75)
        assert row.d == (pattern.row_degrees[0] if len(set(pattern.row_degrees.tolist())) == 1 else None)
        assert row.c == (pattern.column_degrees[0] if len(set(pattern.column_degrees.tolist())) == 1 else None)
        if method == "dense":
            assert sorted(linear.state_dict()) == ["bias", "weight"]
        else:
            assert torch.equal(linear.weight_mask, (weight != 0).float())
            assert torch.equal(linear.weight_orig, weight)
    assert all(torch.equal(layer.bias, bias) for layer, bias in zip(model[::2], biases, strict=True))


def test_the_weights_are_those_of_initialize_one_layer_after_the_other():
    model = mlp(32, 16, 32, 64)
    sparsify(model, "rg-n", degree=4, skip=(), gain=0.5, generator=manual(3))
    generator = manual(3)
    for linear in model[::2]:
        expected = initialize_(torch.empty_like(linear.weight_orig), "rg-n", degree=4, gain=0.5, generator=generator)
        assert torch.equal(effective_weight(linear), expected)


def test_torch_manual_seed_governs():
    def weights(seed):
        model = mlp(16, 16, 16, 16)
        torch.manual_seed(seed)
        sparsify(model)
        return effective_weight(model[2])

    assert torch.equal(weights(5), weights(5))
    assert not torch.equal(weights(5), weights(6))


def test_gmp_counts_over_all_layers_together_whether_or_not_they_chain():
    model = nn.ModuleList([nn.Linear(32, 32), nn.Linear(64, 16), nn.Linear(8, 8)]).double()
    report = sparsify(model, "gmp", sparsity=0.9, skip=(), gain=2.0, generator=manual(4))
    kept = round((1.0 - 0.9) * (1024 + 1024 + 64))
    expected = gmp_stack([(32, 32), (16, 64), (8, 8)], kept, seed=drawn_seed(manual(4)))
    assert sum(int(linear.weight_mask.sum()) for linear in model) == kept
    assert len({row.sparsity for row in report}) == 3
    for linear, weight in zip(model, expected, strict=True):
        np.testing.assert_array_equal(effective_weight(linear).numpy(), 2 * weight.to_dense())


def test_radix_layers_that_chain_are_one_radix_net_and_others_are_not():
    model = mlp(16, 16, 16, 16, 16, 16)
    sparsify(model, "radix", degree=4)
    # Two digits of base 4 make 16: the first two layers reach everything, each input by one path to each output.
    masks = [Mask.from_torch(linear.weight_mask) for linear in (model[2], model[4])]
    assert reachability(masks).summary.full_at == 2
    apart = nn.ModuleList([nn.Linear(16, 16), nn.Linear(32, 32), nn.Linear(16, 16)])
    sparsify(apart, "radix", degree=4, skip=())
    assert torch.equal(apart[0].weight_mask, apart[2].weight_mask)


def test_the_target_sparsity_gives_the_nearest_feasible_degree():
    [row] = sparsify(nn.Linear(256, 512), "sao", 0.98, skip=())
    assert (row.name, row.m, row.n, row.c, row.d) == ("", 512, 256, 8, 4)  # 5.12 of 1, 2, 4, 8 ... ones a row
    assert row.sparsity == 1 - 4 / 256
    assert row.requested_sparsity == 0.98


def test_skip_takes_names_and_what_is_inside_them_one_name_a_predicate_or_nothing():
    def model():
        return nn.ModuleDict({"encoder": mlp(8, 8, 8), "middle": nn.Linear(8, 8), "head": nn.Linear(8, 8)})

    everything = ["encoder.0", "encoder.2", "middle", "head"]
    assert done(sparsify(model())) == ["encoder.2", "middle"]
    assert done(sparsify(model(), skip=())) == everything
    assert done(sparsify(model(), skip=["encoder"])) == ["middle", "head"]
    assert done(sparsify(model(), skip="head")) == everything[:3]
    assert done(sparsify(model(), skip=lambda name, module: name.endswith("2"))) == ["encoder.0", "middle", "head"]
    report = sparsify(model(), skip=["encoder.0"])
    assert reasons(report) == {"encoder.0": "as `skip` says: 'encoder.0'"}


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(16, 8)
        self.twice = nn.Linear(8, 8)
        self.again = self.twice
        self.unembedding = nn.Linear(8, 16, bias=False)
        self.unembedding.weight = self.embedding.weight


def test_what_can_not_be_made_sparse_is_listed_with_its_reason_and_kept():
    model = nn.ModuleDict(
        {
            "transposed": nn.ConvTranspose2d(3, 8, 3),
            "norm": nn.LayerNorm(8),
            "tied": Tied(),
            "attention": nn.MultiheadAttention(8, 2),
            "spectral": parametrizations.spectral_norm(nn.Linear(8, 8)),
            "lazy": nn.LazyLinear(8),
            "meta": nn.Linear(8, 8, device="meta"),
            "complex": nn.Linear(8, 8, dtype=torch.complex64),
            "fine": nn.Linear(8, 8),
        }
    )
    report = sparsify(model, skip=())
    attention = [f"attention.in_proj_weight.{one}" for one in "qkv"]
    assert done(report) == ["tied.twice", *attention, "attention.out_proj", "fine"]
    told = reasons(report)
    assert told["transposed"] == "ConvTranspose2d is no nn.Linear or convolution"
    assert told["tied.embedding"] == "Embedding is no nn.Linear or convolution"
    assert told["tied.unembedding"] == "its weight is shared with 'tied.embedding'"
    assert told["spectral"] == "its weight is computed from other parameters"
    assert told["lazy"].startswith("a lazy module")
    assert told["meta"].startswith("on the meta device")
    assert "torch.complex64" in told["complex"]
    assert "norm" not in told
    assert model["tied"].unembedding.weight is model["tied"].embedding.weight
    by_name = {row.name: row for row in report}
    assert (by_name["transposed"].m, by_name["transposed"].n) == (None, None)
    assert by_name["tied.unembedding"] == SparsifiedLayer(
        name="tied.unembedding",
        kind="Linear",
        m=16,
        n=8,
        skipped=True,
        reason="its weight is shared with 'tied.embedding'",
    )


def test_of_two_layers_that_share_a_weight_neither_is_made_sparse():
    model = mlp(8, 8, 8, 8)
    model[4].weight = model[2].weight
    told = reasons(sparsify(model, skip=()))
    assert told == {"2": "its weight is shared with '4'", "4": "its weight is shared with '2'"}


def test_an_encoder_layer_is_sparse_in_training_and_in_evaluation():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    parts = [f"self_attn.in_proj_weight.{one}" for one in "qkv"]
    assert done(sparsify(layer, skip=())) == [*parts, "self_attn.out_proj", "linear1", "linear2"]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    x = torch.linspace(-1, 1, 32).reshape(1, 4, 8)
    for _ in range(2):  # a second backward fails where a mask was applied once and not by every forward
        layer(x).square().sum().backward()
        optimizer.step()
    training = layer(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(layer.eval()(x), training)
    attention = copy.deepcopy(layer).self_attn
    with torch.no_grad():
        attention.out_proj.weight_orig += 1
    attention(x, x, x)
    assert torch.equal(attention.out_proj.weight, attention.out_proj.weight_orig * attention.out_proj.weight_mask)
    assert attention.out_proj.weight_mask.mean() == 0.5


class Conv1D(nn.Module):
    """That of GPT-2: its weight has the inputs first."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.weight, self.bias = nf, nn.Parameter(torch.ones(nx, nf)), nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


@pytest.mark.parametrize(
    ("module", "parameters"),
    [
        (lambda: nn.LSTM(8, 16, 2, bidirectional=True, proj_size=8), 12),
        (lambda: nn.GRU(8, 16), 2),
        (lambda: nn.RNN(8, 16), 2),
        (lambda: nn.MultiheadAttention(8, 2, kdim=4, vdim=16), 4),
        (lambda: Conv1D(16, 8), 1),
    ],
)
def test_each_matrix_in_a_module_is_orthogonal_and_sparse_by_itself(module, parameters):
    model = module()
    rows = sparsify(model, "sao", degree=2, skip=())
    assert not [row for row in rows if row.skipped]
    masks = dict(model.named_buffers())
    assert len(masks) == parameters
    assert all("mask" in name for name in masks)
    for row in rows:
        name, _, gate = row.name.partition(".")
        owner, name = (model.out_proj, "weight") if name == "out_proj" else (model, name or "weight")
        whole = getattr(owner, name).detach()
        letters = {"LSTM": "ifgo", "GRU": "rzn"}.get(row.kind, gate)
        block = whole.chunk(len(letters))[letters.index(gate)] if gate else whole.T if row.kind == "Conv1D" else whole
        assert block.shape == (row.m, row.n)
        assert (block != 0).sum(1).tolist() == [row.d] * row.m == [2] * row.m
        torch.testing.assert_close(torch.linalg.svdvals(block), torch.ones(min(block.shape)))
    if not (isinstance(model, nn.MultiheadAttention) or getattr(model, "proj_size", 0)):  # of which torch warns
        out = model(torch.ones(3, 2, 8))
        (out[0] if isinstance(out, tuple) else out).sum().backward()
    fresh = load_pruned_(module(), model.state_dict())
    assert {name for name, _ in fresh.named_buffers()} == set(masks)


def test_an_overall_sparsity_counts_the_dense_layers_too():
    model = mlp(64, 64, 64, 64)
    rows = sparsify(model, "lmp", sparsity=0.3, overall=True)
    assert [row.skipped for row in rows] == [True, False, True]
    weights = [effective_weight(layer) for layer in model if isinstance(layer, nn.Linear)]
    assert sum(int((weight == 0).sum()) for weight in weights) == round(0.3 * sum(weight.numel() for weight in weights))
    assert rows[1].requested_sparsity == pytest.approx(0.9)
    with pytest.raises(InfeasibleError, match=r"8192 of 12288 weights stay dense, so that it is below 0.333333; skip"):
        sparsify(mlp(64, 64, 64, 64), "lmp", sparsity=0.5, overall=True)
    with pytest.raises(SaoError, match="overall is of a sparsity"):
        sparsify(model, "lmp", degree=2, overall=True)


def test_a_layer_pruned_before_gets_the_new_mask_alone():
    model = mlp(16, 16, 16, 16)
    sparsify(model, "sao", degree=4)
    parameter = model[2].weight_orig
    prune.random_unstructured(model[2], "weight", 0.3)  # on top of it: a PruningContainer
    sparsify(model, "sao", degree=8, generator=manual(0))
    assert model[2].weight_orig is parameter
    assert len(model[2]._forward_pre_hooks) == 1
    assert model[2].weight_mask.sum(1).tolist() == [8] * 16
    fresh = mlp(16, 16, 16, 16)
    sparsify(fresh, "sao", degree=8, generator=manual(0))
    assert torch.equal(effective_weight(fresh[2]), effective_weight(model[2]))
    sparsify(model, "dense", skip=())
    assert not prune.is_pruned(model)


def test_a_tied_layer_pruned_before_is_still_tied():
    model = Tied()
    prune.random_unstructured(model.unembedding, "weight", 0.5)
    assert reasons(sparsify(model, skip=()))["unembedding"] == "its weight is shared with 'embedding'"


def test_training_keeps_optimisers_masks_and_state_dicts():
    model = mlp(16, 16, 16, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.01)
    sparsify(model, "sao", degree=4)
    copied = copy.deepcopy(model)  # torch can't copy what is part of a graph
    start = effective_weight(model[2]).clone()
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(2, 16)).square().sum().backward()
        optimizer.step()
    trained = effective_weight(model[2])
    assert not torch.equal(trained, start)
    assert torch.equal(trained != 0, model[2].weight_mask.bool())
    assert {"2.weight_orig", "2.weight_mask"} <= model.state_dict().keys()
    copied.load_state_dict(model.state_dict())
    assert torch.equal(copied(torch.ones(1, 16)), model(torch.ones(1, 16)))
    prune.remove(model[2], "weight")
    assert torch.equal(model[2].weight, trained)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype):
    model = mlp(32, 32, 32, 32, dtype=dtype)
    sparsify(model, "sao", degree=4, gain=1.1, generator=manual(0))
    assert model[2].weight_mask.dtype is model[2].weight_orig.dtype is dtype
    weight = effective_weight(model[2]).double()
    eps = torch.finfo(dtype).eps
    np.testing.assert_allclose(torch.linalg.svdvals(weight).numpy(), 1.1, rtol=4 * eps + 1e-14)
    assert torch.isfinite(model(torch.ones(1, 32, dtype=dtype))).all()


def test_infeasible_sizes_are_skipped_with_the_reason_or_refused_when_strict():
    def model():
        return mlp(16, 16, 300, 784, 16)

    report = sparsify(model(), "sao", degree=4, skip=())
    assert done(report) == ["0", "2"]
    assert "no sao mask of 784 x 300 with d = 4" in reasons(report)["4"]
    untouched = model()
    before = copy.deepcopy(untouched.state_dict())
    with pytest.raises(InfeasibleError, match="layer '4': no sao mask of 784 x 300 with d = 4"):
        sparsify(untouched, "sao", degree=4, skip=(), strict=True)
    after = untouched.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_layer_that_could_only_be_all_ones_is_infeasible():
    report = sparsify(mlp(16, 16, 7, 16), "sao", sparsity=0.9, skip=())
    assert done(report) == ["0"]
    assert "the nearest to sparsity 0.9 is all ones" in reasons(report)["2"]


def test_nothing_made_sparse_is_told():
    with pytest.warns(SaoWarning, match=r"no layer .* \('0': the first nn.Linear\); skip=\(\) leaves out none"):
        report = sparsify(mlp(8, 8, 8))
    assert len(reasons(report)) == 2
    with pytest.warns(SaoWarning, match="it holds no nn.Linear"):
        assert sparsify(nn.Tanh()) == []
    with pytest.raises(SaoError, match="no layer of the model was made sparse"):
        sparsify(mlp(8, 8, 8), strict=True)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (("saos",), {}, SaoError, "did you mean 'sao'"),
        (("sao", 1.5), {}, InfeasibleError, "sparsity 1.5 is outside"),
        (("sao", 0.5, 4), {}, SaoError, "give one of them"),
        (("sao", None, 0), {}, InfeasibleError, "degree 0: a row has at least one weight"),
        (("sao", None, 2.5), {}, SaoError, "degree 2.5 is no whole number"),
        (("gmp",), {"values": "normal"}, SaoError, "method 'gmp' has values of its own"),
        (("lmp",), {"values": "normal"}, SaoError, "method 'lmp' has values of its own"),
        (("gmp",), {"gain": float("nan")}, SaoError, "gain nan is no positive finite number"),
        (("sao",), {"gain": 1e300}, FormatError, "overflows float32"),
        (("sao",), {"skip": ["2", "layer"]}, SaoError, "unknown layer 'layer'"),
    ],
)
def test_what_is_wrong_for_all_layers_is_an_error_and_leaves_the_model_as_it_was(arguments, options, error, text):
    model = mlp(8, 8, 8, 8)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=text) as caught:
        sparsify(model, *arguments, **options)
    assert "\n" not in str(caught.value)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_put_weight_replaces_values_and_mask():
    linear = nn.Linear(8, 8)
    for seed in range(2):
        weight = sao_weight(8, 8, 4, seed=seed)
        put_weight_(linear, weight)
        np.testing.assert_array_equal(effective_weight(linear).numpy(), weight.as_dtype("float32").to_dense())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gets_the_same_weights():
    models = [mlp(32, 32, 32, 32).to(device) for device in ("cpu", "cuda")]
    for model in models:
        sparsify(model, "sao", degree=4, generator=manual(0))
    assert models[1][2].weight_mask.is_cuda
    assert torch.equal(effective_weight(models[0][2]), effective_weight(models[1][2]).cpu())
