"""prune_ of what lies on a path alone: chains against a boolean pass, shortcuts and kernels against the network."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sao_cli import Network
from sao_cli.base.errors import SaoError
from sao_cli.measure.reach.effective import effective_weights
from sao_cli.nets import prune_
from sao_cli.nets.scores import keep, synflow

from .known_networks import cnn, net_a


class Shortcut(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 6), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(x + self.second(torch.relu(self.first(x))))


def test_what_lies_on_no_path_goes_too_where_only_effective_weights_are_asked_for():
    chain = net_a()
    done = prune_(chain, "synflow", 0.8, effective=True)
    assert list(done.kept.values()) == [3, 3, 5]  # of 4, 3, 5
    masks = {name: one.numpy() for name, one in keep(synflow(net_a(), sparsity=0.8), 0.8).items()}
    wanted = effective_weights(list(masks.values()))
    for layer, one in zip((0, 2, 4), wanted, strict=True):
        np.testing.assert_array_equal(chain[layer].weight_mask.numpy() != 0, one)

    plain, x = Shortcut(), torch.ones(1, 8)
    state = {name: one.clone() for name, one in plain.state_dict().items()}
    pruned = Shortcut()
    pruned.load_state_dict(state)
    kept = prune_(plain, "random", 0.85)
    network = Network.from_module(plain, x)
    batches = iter([(torch.ones(4, 8), torch.tensor([0, 1, 2, 0]))])
    prune_(pruned, "random", 0.85, batches=batches, effective=True)
    for name in kept.kept:
        found = pruned.get_submodule(name.removesuffix(".weight")).weight_mask.numpy() != 0
        np.testing.assert_array_equal(found, network.effective(name))
        assert torch.equal(pruned.state_dict()[f"{name}_orig"], state[name])
    assert 0 < sum(row.effective for row in network.layers) < sum(kept.kept.values())
    again = Shortcut()
    again.load_state_dict(state)
    with pytest.raises(SaoError, match="no kept weight lies on a path"):
        prune_(again, {"first.weight": torch.rand(6, 8), "second.weight": -torch.rand(8, 6)}, 0.6, effective=True)
    assert {name: one.tolist() for name, one in again.state_dict().items()} == {
        name: one.tolist() for name, one in state.items()
    }


def test_kernels_are_effective_on_inputs_that_are_told():
    with pytest.raises(SaoError, match="give inputs="):
        prune_(cnn(), "magnitude", 0.8, effective=True)
    net = cnn()
    done = prune_(net, "magnitude", 0.8, effective=True, inputs=torch.ones(1, 1, 6, 6, dtype=torch.float64))
    found = Network.from_module(net, torch.ones(1, 1, 6, 6, dtype=torch.float64))
    assert [row.effective for row in found.layers] == [row.nnz for row in found.layers] == list(done.kept.values())
    assert sum(done.kept.values()) <= done.kappa


def test_an_earlier_mask_stays_and_the_module_is_as_it_was_after_an_error():
    net = net_a()
    prune.random_unstructured(net[0], "weight", amount=0.5)
    excluded, state = net[0].weight_mask == 0, {name: one.clone() for name, one in net.state_dict().items()}
    weight = net[0].weight.detach().clone()
    scores = {"0.weight": torch.rand(5, 6), "4.weight": -torch.rand(3, 4), "2.weight": -torch.rand(4, 5)}
    with pytest.raises(SaoError, match="no kept weight lies on a path"):
        prune_(net, scores, 0.8, effective=True)
    assert all(torch.equal(one, state[name]) for name, one in net.state_dict().items())
    assert torch.equal(net[0].weight, weight)
    prune_(net, "magnitude", 0.6, effective=True)
    assert not net[0].weight_mask[excluded].any()
    network = Network.from_module(net, torch.ones(1, 6, dtype=torch.float64))
    assert [row.effective for row in network.layers] == [row.nnz for row in network.layers]
