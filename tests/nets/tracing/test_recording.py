"""What a record is of: the run, whatever torch calls it, and a module that stays as it was."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.nn.utils import parametrizations, prune

from sao_cli import nets, sao_mask
from sao_cli.base.errors import FormatError, SaoError
from sao_cli.nets.tracing.network import Network

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch's own forward mode uses it


def thinned(net, seed=0, density=0.4):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= torch.rand_like(parameter) < density
    return net


class ByHand(nn.Module):
    """torch's recurrent layers, step by step."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.kind = layer, type(layer).__name__

    def forward(self, x):
        w, u, b, c = (getattr(self.layer, name) for name in self.layer._flat_weights_names)
        state, cell, answers = x.new_zeros(1, u.shape[1]), x.new_zeros(1, u.shape[1]), []
        for step in x.unbind(1):
            read, kept = F.linear(step, w, b), F.linear(state, u, c)
            if self.kind == "RNN":
                state = torch.tanh(read + kept)
            elif self.kind == "GRU":
                (r, z, n), (s, y, o) = read.chunk(3, -1), kept.chunk(3, -1)
                new = torch.tanh(n + torch.sigmoid(r + s) * o)
                gate = torch.sigmoid(z + y)
                state = (state - new) * gate + new
            else:
                i, f, g, o = (read + kept).chunk(4, -1)
                cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
                state = torch.sigmoid(o) * torch.tanh(cell)
            answers.append(state)
        return torch.stack(answers, 1), state[None], cell


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("seed", range(3))
def test_recurrent_layers_are_what_they_are_step_by_step(kind, seed):
    layer = thinned(kind(4, 5, batch_first=True), seed)
    x = torch.randn(1, 3, 4)
    one, other = Network.from_module(layer, x), Network.from_module(ByHand(layer), x)
    assert torch.allclose(layer(x)[0], ByHand(layer)(x)[0], atol=1e-6)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        np.testing.assert_array_equal(one.effective(name), other.effective(f"layer.{name}"))
    np.testing.assert_array_equal(one.pairs()[:, :5], other.pairs()[:, :5])
    assert one.summary.unknown == ()


class HeadsByHand(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        layer = self.layer
        qkv = F.linear(x, layer.in_proj_weight, layer.in_proj_bias).unflatten(-1, (3, layer.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        return layer.out_proj(mixed.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("seed", range(3))
def test_multihead_attention_is_what_it_is_by_hand(seed):
    layer = thinned(nn.MultiheadAttention(8, 2, batch_first=True), seed)

    class SelfAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x, x, x, need_weights=False)[0]

    x = torch.randn(1, 3, 8)
    one, other = Network.from_module(SelfAttention(), x), Network.from_module(HeadsByHand(layer), x)
    for name in ("layer.in_proj_weight", "layer.out_proj.weight"):
        np.testing.assert_array_equal(one.effective(name), other.effective(name))
    np.testing.assert_array_equal(one.pairs(), other.pairs())


def test_a_causal_mask_is_none_of_the_paths():
    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            self.v = nn.Linear(1, 1)

        def forward(self, x):
            h = self.v(x.unsqueeze(-1))[:, None]
            return F.scaled_dot_product_attention(h, h, h, is_causal=True)[:, 0].flatten(1)

    np.testing.assert_array_equal(Network.from_module(Causal(), torch.randn(1, 4)).pairs(), np.triu(np.ones((4, 4))))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda layer: prune.random_unstructured(layer, "weight", 0.5),
        lambda layer: parametrizations.weight_norm(layer),
        lambda layer: parametrizations.spectral_norm(layer),
        lambda layer: nn.utils.weight_norm(layer),
    ],
    ids=["prune", "weight_norm", "spectral_norm", "old weight_norm"],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_a_computed_weight_is_the_weight_that_ran(wrapped):
    layer = nn.Linear(6, 4)
    with torch.no_grad():
        layer.weight[:, ::2] = 0
    layer = wrapped(layer)
    network = Network.from_module(nn.Sequential(layer, nn.ReLU(), nn.Linear(4, 2)), torch.randn(1, 6))
    assert [one.name for one in network.layers] == ["0.weight", "2.weight"]
    np.testing.assert_array_equal(network.effective("0.weight"), (layer.weight != 0).numpy())


def test_our_own_layers_are_their_masks():
    mask = sao_mask(12, 8, 2)
    layer = nets.SAOLinear.from_mask(mask)
    network = Network.from_module(layer, torch.randn(1, 8))
    np.testing.assert_array_equal(network.pairs().T, mask.to_dense() != 0)
    assert network.layers[0].effective == mask.nnz
    assert network.summary.unknown == ()


def test_the_module_stays_as_it_was():
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))
    prune.l1_unstructured(net[0], "weight", 0.5)
    net.train()
    net[2].eval()
    calls = []
    handle = net.register_forward_hook(lambda *_: calls.append(1))
    before, random_state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    parameters = list(net.parameters())
    x = torch.randn(3, 4)
    kept, state_after = x.clone(), torch.get_rng_state()
    Network.from_module(net, x)
    assert torch.equal(torch.get_rng_state(), state_after)
    assert not torch.equal(random_state, state_after)
    assert [one.training for one in net.modules()] == [True, True, True, False, True]
    assert all(one is other for one, other in zip(parameters, net.parameters(), strict=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(x, kept)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.backends.mkldnn.enabled
    assert torch.backends.mha.get_fastpath_enabled()
    assert len(net._forward_hooks) == 1
    handle.remove()
    assert not torch.nn.modules.module._global_forward_pre_hooks


def test_what_is_not_known_is_listed_and_bounds_the_facts():
    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x):
            return torch.linalg.solve(torch.eye(4) + self.a(x).T @ x, x.T).T

    summary = Network.from_module(Waves(), torch.randn(1, 4)).summary
    assert summary.unknown
    assert summary.reachable == 1


class Routed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = self.a(x)
        return self.b(h.gather(-1, h.topk(2, -1).indices).repeat(1, 2))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x):
        return self.a(x) if x.sum() > 0 else self.b(x)


def test_choices_by_the_input_are_listed():
    assert Network.from_module(Routed(), torch.randn(1, 4)).summary.discrete == ("topk",)
    network = Network.from_module(Branching(), torch.ones(1, 4))
    assert network.summary.discrete
    assert [one.name for one in network.layers] == ["a.weight"]
    assert [one.name for one in Network.from_module(Branching(), -torch.ones(1, 4)).layers] == ["b.weight"]


def test_the_larger_of_two_reads_both_and_chooses_nothing():
    network = Network.from_module(nets.MaxMin(), torch.tensor([[1.0, 2, 3, 4]]))
    np.testing.assert_array_equal(network.pairs(), np.tile(np.eye(2), (2, 2)))
    assert network.summary.discrete == ()


@pytest.mark.parametrize("norm", [nn.LayerNorm(6), nn.RMSNorm(6), nn.GroupNorm(2, 6), nn.InstanceNorm1d(6)])
def test_strict_norms_read_their_group(norm):
    x = torch.randn(1, 6, 6) if isinstance(norm, nn.InstanceNorm1d) else torch.randn(1, 6)
    np.testing.assert_array_equal(Network.from_module(norm, x).pairs(), np.eye(6))
    strict = Network.from_module(norm, x, norms="strict").pairs()
    groups = {"GroupNorm": np.kron(np.eye(2), np.ones((3, 3))), "InstanceNorm1d": np.ones((6, 6))}
    np.testing.assert_array_equal(strict, groups.get(type(norm).__name__, np.ones((6, 6))))


class HandNorm(nn.Module):
    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return centred * torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-5)


def test_a_norm_by_hand_is_one_by_rule():
    x = torch.randn(1, 5)
    np.testing.assert_array_equal(Network.from_module(HandNorm(), x).pairs(), np.eye(5))
    np.testing.assert_array_equal(Network.from_module(HandNorm(), x, norms="strict").pairs(), np.ones((5, 5)))


def test_embeddings_read_the_rows_that_are_named():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places, self.out = nn.Embedding(7, 4), nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, ids):
            return self.out(self.words(ids) + self.places(torch.arange(ids.shape[1])))

    network = Network.from_module(Words(), torch.randint(0, 7, (1, 3)))
    assert [one.name for one in network.layers] == ["words.weight", "out.weight"]
    assert network.effective("words.weight").all()
    rows = network.influence("places.weight").any(1)
    np.testing.assert_array_equal(rows, [True] * 3 + [False] * 6)


def test_what_is_written_in_place_is_read_where_it_was_written():
    class Written(nn.Module):
        def forward(self, x):
            h = x * 1
            h[:, 1] = h[:, 0]
            h[:, 2:].mul_(0)
            return h

    pairs = Network.from_module(Written(), torch.randn(1, 4)).pairs()
    np.testing.assert_array_equal(pairs[:2], [[1, 1, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("net", "example", "said"),
    [
        (nn.Linear(4, 2), torch.randn(1, 3), r"the module fails on an example of shape 1x3 \("),
        (nn.Sequential(nn.Linear(2, 2)), torch.tensor([[torch.nan, 1]]), None),
    ],
)
def test_what_the_module_cannot_take_is_told_in_a_line(net, example, said):
    if said is None:
        Network.from_module(net, example)  # the example's numbers do not matter
        return
    with pytest.raises(SaoError, match=said) as told:
        Network.from_module(net, example)
    assert "\n" not in str(told.value)


def test_weights_that_are_not_finite_are_refused():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    net[1].weight.data[0, 0] = torch.nan
    with pytest.raises(FormatError, match=r"^1 reads a constant that is not finite"):
        Network.from_module(net, torch.randn(1, 3))


def test_random_modules_are_refused():
    class Random(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    with pytest.raises(SaoError, match="draws random numbers"):
        Network.from_module(Random(), torch.randn(1, 3))


def test_unknown_norms_and_names_are_refused_with_the_nearest():
    with pytest.raises(SaoError, match="did you mean 'unit'"):
        Network.from_module(nn.Linear(2, 2), torch.randn(1, 2), norms="units")
    network = Network.from_module(nn.Linear(2, 2), torch.randn(1, 2))
    with pytest.raises(SaoError, match="did you mean 'weight'"):
        network.effective("weigth")
