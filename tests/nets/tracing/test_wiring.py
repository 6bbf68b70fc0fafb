"""What joins the layers of a network as it ran: by hand for small nets of every kind, and by derivatives."""

import pytest
import torch
from torch import nn

from sao_cli.nets.tracing.network import Network

from .zoo import ZOO

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch's own forward mode uses it


def stack(layers):
    return {(place, place + 1) for place in range(layers + 1)}


KNOWN = {  # a network of the zoo: what reads what, and what is joined with what came later
    "mlp": (stack(3), set()),
    "residual": (stack(3), {(1, 2)}),
    "gated": ({(0, 1), (0, 2), (2, 3), (3, 4)}, {(1, 2)}),
    "concatenated": (stack(3), {(1, 2)}),
    "tied": ({*stack(3), (2, 2)}, set()),
    "U-Net": (stack(4), {(1, 3)}),
    "excited": (stack(4), {(1, 3)}),
    "attention": ({(0, 1), (0, 2), (0, 3), (3, 4), (4, 5)}, {(1, 2), (2, 3)}),
    "fused attention": ({(0, 1), (0, 2), (0, 3), (3, 4), (4, 5)}, {(1, 2), (2, 3)}),
    "split": ({(0, 1), (1, 2), (1, 3), (3, 4)}, {(2, 3)}),
    "recurrent": ({*stack(3), (2, 2)}, {(1, 2)}),
    "batch norm": (stack(2), set()),
}


@pytest.mark.parametrize("name", KNOWN)
def test_edges_by_hand(name):
    build, shape = ZOO[name]
    edges = Network.from_module(build(), torch.ones(shape)).edges
    assert (set(edges.reads), set(edges.joins)) == KNOWN[name]


class Residuals(nn.Module):
    """Blocks with shortcuts, one past two blocks, and a head that reads no more than the first layer gave."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        first = self.layers[0](x)
        h = first + self.layers[2](torch.relu(self.layers[1](first)))
        h = h + self.layers[4](torch.relu(self.layers[3](h)))
        unused = h * self.layers[5](h)
        return self.head(first * h), unused.argmax()


def test_long_shortcuts_and_what_no_output_is_made_of():
    edges = Network.from_module(Residuals(), torch.ones(1, 4)).edges
    assert set(edges.reads) == {(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (5, 7), (7, 8)}
    assert set(edges.joins) == {(1, 3), (3, 5), (1, 5)}


def test_an_lstm_s_last_states_that_nobody_reads_join_nothing():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.lstm, self.head = nn.Embedding(9, 3), nn.LSTM(3, 4, 2), nn.Linear(4, 9)

        def forward(self, ids):
            return self.head(self.lstm(self.words(ids))[0])

    edges = Network.from_module(Words(), torch.zeros(5, 1, dtype=torch.long)).edges
    assert set(edges.reads) == {*stack(6), (3, 3), (5, 5)}
    assert set(edges.joins) == {(2, 3), (4, 5)}


@pytest.mark.parametrize("name", ["residual", "gated", "concatenated", "U-Net", "excited", "attention", "split"])
def test_layers_that_edges_link_are_those_that_derivatives_link(name):
    """The layers that a change of one layer's answer moves are those that the edges lead to."""
    build, shape = ZOO[name]
    torch.manual_seed(0)
    net = build().double()
    network = Network.from_module(net, torch.rand(shape, dtype=torch.float64))
    order = [layer.name.removesuffix(".weight") for layer in network.layers]
    x = torch.rand(shape, dtype=torch.float64)
    for place, changed in enumerate(order, 1):
        moved = {k for k, one in enumerate(order, 1) if k != place and moves(net, x, changed, one)}
        assert moved == reached(network.edges, place, len(order)), (name, changed)


def reached(edges, place, layers):
    found, todo = set(), [place]
    while todo:
        u = todo.pop()
        new = {v for start, v in (*edges.reads, *edges.joins) if start == u} - found
        found |= new
        todo += new
    read = {v for u, v in edges.reads if u in {place, *found}}  # a place where values join is not read for it
    return {v for v in read if v <= layers and v != place}


def moves(net, x, changed, watched):
    """Whether the input of the layer `watched` is another where the answer of `changed` is."""
    seen = []
    modules = dict(net.named_modules())
    for change in (0.0, 0.1):
        handles = [
            modules[changed].register_forward_hook(lambda _, __, answer, change=change: answer + change * answer.sin()),
            modules[watched].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone())),
        ]
        net(x)
        for handle in handles:
            handle.remove()
    half = len(seen) // 2
    return any(not torch.equal(*two) for two in zip(seen[:half], seen[half:], strict=True))
