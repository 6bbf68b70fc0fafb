"""Masked layers that are repaired in a model: towards isometries on their masks, and nothing else is touched."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sao_cli.base.errors import SaoWarning
from sao_cli.nets.initialise.masked_isometry import repair_masked_
from sao_cli.nets.initialise.sparsify import effective_weight


def model(dtype=torch.float64):
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 8, 3, dtype=dtype), nn.Flatten(), nn.Linear(8, 12, dtype=dtype), nn.Linear(12, 4, dtype=dtype)
    for layer, density in ((parts[0], 0.5), (parts[2], 0.4)):
        prune.custom_from_mask(layer, "weight", torch.rand(layer.weight.shape) < density)
    return nn.Sequential(*parts)


def residual(matrix):
    values = np.linalg.svd(matrix, compute_uv=False)
    return np.linalg.norm(values**2 - 1)


@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_masked_layers_come_near_to_isometries(gain):
    network = model()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    rows = repair_masked_(network, gain=gain)
    assert [row.name for row in rows] == ["0", "2"]
    for row, layer in zip(rows, (network[0], network[2]), strict=True):
        matrix = effective_weight(layer).flatten(1).numpy() / gain
        assert row.after.residual == pytest.approx(residual(matrix), rel=1e-10)
        assert row.after.residual < 0.8 * row.before.residual
        assert not matrix.reshape(layer.weight.shape)[layer.weight_mask.numpy() == 0].any()
        assert torch.equal(layer.weight, effective_weight(layer))
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"0.weight_orig", "2.weight_orig"}


def test_a_layer_without_weights_is_left_and_told():
    network = model(torch.float32)
    with torch.no_grad():
        network[2].weight_mask.zero_()
    before = network[2].weight_orig.clone()
    with pytest.warns(SaoWarning, match="layer '2' is left as it is: all zeros"):
        rows = repair_masked_(network)
    assert [row.name for row in rows] == ["0"]
    assert torch.equal(network[2].weight_orig, before)
