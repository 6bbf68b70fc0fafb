"""prune_checkpoint with a network: which tensors are weights there, and what is left by their names."""

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sao_cli import prune_checkpoint
from sao_cli.nets.tracing.pruned_network import PrunedNetwork


class Tokens(nn.Module):
    """Tokens with positions, whose shape is that of a matrix, and a head that is tied to the first layer."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.randn(3, 6))
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.head.weight = self.first.weight

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x) + self.position))))


def test_tensors_that_multiply_nothing_stay_as_they_are(tmp_path):
    torch.manual_seed(0)
    module = Tokens()
    state = {name: one.clone() for name, one in module.state_dict().items()}
    save_file(state, tmp_path / "dense.safetensors")
    asked = {"method": "gmp", "sparsity": 0.5, "skip_ends": False, "facts": False}
    network = PrunedNetwork(Tokens(), (torch.ones(2, 3, 6),))
    with_network = tmp_path / "pruned.safetensors"
    rows, summary = prune_checkpoint(tmp_path / "dense.safetensors", with_network, network=network, **asked)
    told = {row.name: row for row in rows}
    assert "no weight that ran" in told["position"].reason
    assert torch.equal(load_file(with_network)["position"], state["position"])
    assert (summary.pruned, summary.weights, summary.kept) == (2, 72, 36)
    assert summary.effective == sum(told[name].effective for name in ("first.weight", "second.weight"))
    _, alone = prune_checkpoint(tmp_path / "dense.safetensors", tmp_path / "alone.safetensors", **asked)
    assert alone.weights == 72 + 18  # a file alone does not tell
