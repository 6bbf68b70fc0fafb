"""Facts of networks as they ran: known values, and an oracle that shares no rule, bit for bit."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from sao_cli import Mask, reachability
from sao_cli.nets.tracing import stand_ins
from sao_cli.nets.tracing.network import Network

from .positive_run import facts
from .zoo import (
    ZOO,
    Concatenated,
    Depthwise,
    Excited,
    Gated,
    Images,
    InputsFirst,
    OnePixel,
    Shuffled,
    Strided,
    Tied,
    UNet,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch's own forward mode uses it
DENSITIES = (0.6, 0.35, 0.2, 0.1)


def pruned(build, seed):
    """A network of which a random part of the weights, and half of the biases, are left."""
    torch.manual_seed(seed)
    net, rng = build(), np.random.default_rng(seed)
    density = DENSITIES[seed % len(DENSITIES)]
    with torch.no_grad():
        for parameter in net.parameters():
            share = density if parameter.ndim > 1 else 0.5
            parameter *= torch.from_numpy(rng.random(tuple(parameter.shape)) < share)
    return net


@pytest.mark.parametrize(("name", "seed"), [*itertools.product(ZOO, range(20))])
def test_the_facts_are_those_of_a_positive_run(name, seed):
    build, shape = ZOO[name]
    net, example = pruned(build, seed), torch.ones(shape)
    network, oracle = Network.from_module(net, example), facts(net, example, seed)
    jacobian = oracle.jacobian.numpy()
    axes = jacobian.ndim - len(shape)
    of_input = 1 if len(shape) > 3 or name == "sequences" else len(shape) - 1
    of_output = 1 if axes > 3 or name == "sequences" else axes - 1
    moved = np.moveaxis(jacobian, (axes + of_input, of_output), (0, 1))
    pairs = moved.reshape(*moved.shape[:2], -1).any(2)
    np.testing.assert_array_equal(network.pairs(), pairs)
    assert network.summary.lost_inputs == tuple(np.flatnonzero(~pairs.any(1)))
    assert network.summary.unreached_outputs == tuple(np.flatnonzero(~pairs.any(0)))
    assert {layer.name for layer in network.layers} == set(oracle.effective)
    for weight, bits in oracle.effective.items():
        np.testing.assert_array_equal(network.effective(weight), bits.numpy(), weight)
    for weight, bits in oracle.influence.items():
        np.testing.assert_array_equal(network.influence(weight), bits.numpy(), weight)
    assert network.summary.unknown == ()


def keeps(number, parameter, per_mille):
    """Whether a number of a parameter is left: a hash of its place, the same everywhere."""
    mixed = (number + 1009 * parameter + 1) * 2654435761 % 2**32
    mixed = (mixed ^ mixed >> 15) * 2246822519 % 2**32
    return (mixed ^ mixed >> 13) % 1000 < per_mille


def filled(net, per_mille):
    """The network with the known values' weights: 1 + sin(k)/2 where a number is left, every second bias 0.1."""
    count = itertools.count()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            flat = parameter.view(-1)
            if parameter.ndim > 1:
                number = next(count)
                numbers = [1 + math.sin(k) / 2 if keeps(k, number, per_mille) else 0 for k in range(len(flat))]
                flat.copy_(torch.tensor(numbers))
            elif "weight" not in name:
                flat.copy_(torch.tensor([0.1 * (k % 2 == 0) for k in range(len(flat))]))
    return net


class Normed(nn.Module):
    def __init__(self, norm, *layers):
        super().__init__()
        self.a, self.n, self.b = layers[0], norm, layers[1]

    def forward(self, x):
        h = self.n(self.a(x))
        return self.b(torch.relu(h) if h.ndim == 4 else h)


def scaled_norm():
    net = Normed(nn.BatchNorm2d(9), nn.Conv2d(3, 9, 1, bias=False), nn.Conv2d(9, 4, 1, bias=False))
    net.n.weight.data[::3] = 0
    return net


def mlp(bias, activation):
    return nn.Sequential(
        nn.Linear(8, 10, bias), activation(), nn.Linear(10, 10, bias), activation(), nn.Linear(10, 4, bias)
    )


# Network, shape, weights left of a thousand; effective weights and the sum of their places; lost, unreached, pairs.
KNOWN = [
    ("mlp", lambda: mlp(True, nn.ReLU), (1, 8), 250, [(16, 648), (19, 1075), (12, 236)], (4,), (), 25),
    ("no biases", lambda: mlp(False, nn.Tanh), (1, 8), 250, [(16, 648), (19, 1075), (12, 236)], (4,), (), 25),
    ("concatenated", Concatenated, (1, 6), 250, [(11, 141), (2, 10), (9, 126)], (), (), 18),
    ("gated", lambda: Gated(False), (1, 6), 220, [(6, 164), (3, 76), (5, 86)], (), (), 15),
    ("images", Images, (1, 2, 4, 4), 80, [(4, 108), (4, 448), (2, 22)], (), (1, 2), 2),
    ("depthwise", Depthwise, (1, 3, 4, 4), 250, [(10, 122), (11, 349), (8, 108)], (), (), 9),
    ("U-Net", UNet, (1, 2, 4, 4), 70, [(1, 14), (0, 0), (0, 0), (1, 10)], (0,), (0,), 1),
    ("one pixel", OnePixel, (1, 3, 1, 1), 260, [(1, 85), (2, 10)], (1, 2), (), 2),
    ("inputs first", InputsFirst, (1, 6), 220, [(6, 132), (3, 41)], (5,), (3,), 6),
    ("tied", Tied, (1, 6), 180, [(4, 118), (9, 306), (8, 98)], (1, 4), (), 9),
    ("shuffled", Shuffled, (1, 2, 2, 2), 250, [(5, 26), (10, 232)], (), (), 8),
    (
        "layer norm",
        lambda: Normed(nn.LayerNorm(8), nn.Linear(6, 8), nn.Linear(8, 4)),
        (1, 6),
        220,
        [(5, 137), (4, 67)],
        (1, 5),
        (),
        7,
    ),
    ("batch norm", scaled_norm, (1, 3, 2, 2), 300, [(4, 80), (3, 45)], (), (3,), 7),
    ("excited", Excited, (1, 2, 2, 2), 260, [(6, 40), (2, 20), (6, 66), (8, 105)], (), (), 8),
    ("strided", Strided, (1, 1, 4, 4), 400, [(3, 5), (20, 482)], (), (), 3),
]


@pytest.mark.parametrize(
    ("build", "shape", "per_mille", "effective", "lost", "unreached", "pairs"),
    [row[1:] for row in KNOWN],
    ids=[row[0] for row in KNOWN],
)
def test_known_values(build, shape, per_mille, effective, lost, unreached, pairs):
    network = Network.from_module(filled(build(), per_mille), torch.ones(shape))
    found = [network.effective(layer.name).ravel().nonzero()[0] for layer in network.layers]
    assert [(len(places), places.sum()) for places in found] == effective
    assert [layer.effective for layer in network.layers] == [count for count, _ in effective]
    assert network.summary.lost_inputs == lost
    assert network.summary.unreached_outputs == unreached
    assert network.pairs().sum() == pairs


BROKEN = {  # a rule of the first route, what stands for it, and a network that notices
    "a product is a sum": ("mul", lambda call: call.tensor("self") + call.tensor("other"), "gated"),
    "softmax reads itself alone": ("_softmax", lambda call: call["self"] + 1, "mixed"),
    "a sigmoid has f(0) = 0": ("sigmoid", lambda call: call["self"], "excited"),
    "a mean reads nothing": ("mean", stand_ins.statistic, "excited"),
    "maxima take the first": ("max_pool2d_with_indices", lambda call: call["self"][..., ::2, ::2], "U-Net"),
    "a norm has no offset": (
        "native_layer_norm",
        lambda call, strict: (call["input"] * call["weight"],) * 3,
        "layer norm",
    ),
    "a scale does not count": ("native_batch_norm", lambda call, strict: (call["input"] + 1,) * 3, "batch norm"),
    "flips are forgotten": ("flip", lambda call: call["self"], "shuffled"),
    "concatenation mixes": ("cat", stand_ins.unknown, "concatenated"),
    "a sum is its first": ("add", lambda call: call.tensor("self") + 0 * call.tensor("other"), "residual"),
}


@pytest.mark.parametrize(("name", "stand", "net"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_rule_is_noticed(name, stand, net, monkeypatch):
    table = stand_ins.NORM_STANDS if name in stand_ins.NORM_STANDS else stand_ins.STANDS
    monkeypatch.setitem(table, name, stand)
    build, shape = ZOO[net]
    noticed = (differs(pruned(build, seed), torch.ones(shape), seed) for seed in range(20))
    assert any(noticed)


def differs(module, example, seed):
    network, oracle = Network.from_module(module, example), facts(module, example, seed)
    both = ((network.effective, oracle.effective), (network.influence, oracle.influence))
    return any(not np.array_equal(bits(key), right[key]) for bits, right in both for key in right)


@pytest.mark.parametrize("seed", range(5))
def test_a_plain_stack_reaches_as_its_masks_do(seed):
    net = pruned(lambda: mlp(False, nn.ReLU), seed)
    masks = [Mask.from_torch(layer.weight) for layer in net if isinstance(layer, nn.Linear)]
    rows = Network.from_module(net, torch.ones(1, 8)).reach()
    told = ("layer", "inputs", "outputs", "reachable", "unreached_outputs", "lost_inputs", "full")
    for row, depth in zip(rows, reachability(masks).depths, strict=True):
        assert [getattr(row, key) for key in told] == pytest.approx([getattr(depth, key) for key in told])
        assert row.odd_paths is None
    assert [row.name for row in rows] == ["0.weight", "2.weight", "4.weight"]


class Restrided(nn.Module):
    def forward(self, x):
        return torch.as_strided(1 * x, (2, 2), (1, 2))


def test_a_view_of_strides_is_known_where_every_number_stays():
    pooled = nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        pooled[0].weight[1] = 0
    network = Network.from_module(pooled, torch.ones(1, 2, 2, 2))  # of one pixel, whose layout pooling names
    assert network.summary.unknown == ()
    assert network.effective("3.weight").tolist() == [[True, False, True]] * 2
    turned = Network.from_module(nn.Sequential(nn.Linear(2, 2), Restrided()), torch.ones(2, 2))
    assert turned.summary.unknown == ("1: as_strided",)


def test_the_summary_as_a_line_of_a_report():
    summary = Network.from_module(filled(OnePixel(), 260), torch.ones(1, 3, 1, 1)).summary
    row = summary.facts.to_dict()
    assert row["record"] == "network"
    assert (row["inputs"], row["outputs"], row["lost_inputs"], row["unreached_outputs"]) == (3, 2, 2, 0)
    assert row["effective_sparsity"] == summary.effective_sparsity == 1 - 3 / 116
    assert row["reachable"] == 2 / 6
