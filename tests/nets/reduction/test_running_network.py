"""A checkpoint made smaller through its module: what is written loads into the new shapes, and runs alike."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sao_cli.base.errors import FileError, FormatError, SaoWarning
from sao_cli.io.checkpoints import Lazy, write_checkpoint
from sao_cli.models.reduce import reduce_checkpoint
from sao_cli.nets.reduction.running_network import ModuleToReduce


def reduce_through(module, inputs, model, out):
    network = ModuleToReduce(module, inputs)
    return network, *reduce_checkpoint(model, out, features=True, network=network)


def network(widths=(6, 8, 7, 3), bias=True):
    layers = [nn.Conv2d(1, widths[1], 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    layers += [nn.Linear(4 * widths[1], widths[2], bias=bias), nn.Tanh(), nn.Linear(widths[2], widths[3], bias=bias)]
    return nn.Sequential(*layers)


def pruned(net, density=0.15, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = net.state_dict()
    return {
        name: (torch.randn(one.shape, generator=generator) * (torch.rand(one.shape, generator=generator) < density))
        for name, one in state.items()
    }


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
@pytest.mark.parametrize("bias", [True, False])
def test_the_written_file_loads_into_the_new_shapes_and_gives_the_same_outputs(tmp_path, prefix, bias):
    whole = network(bias=bias)
    tensors = pruned(whole)
    whole.load_state_dict(tensors)
    x = torch.randn(3, 1, 4, 4)
    expected = whole(x)
    write_checkpoint({prefix + name: one for name, one in tensors.items()}, tmp_path / "whole.safetensors")
    module = network(bias=bias)
    through, rows, summary = reduce_through(module, [x], tmp_path / "whole.safetensors", tmp_path / "part.safetensors")
    written = load_file(tmp_path / "part.safetensors")
    assert all(name.startswith(prefix) for name in written)
    assert summary.parameters == sum(one.numel() for one in tensors.values())
    assert summary.new_parameters == sum(one.numel() for one in written.values()) < summary.parameters
    assert [tuple(written[prefix + row.name.removeprefix(prefix)].shape) for row in rows] == [
        row.new_shape for row in rows
    ]
    assert (summary.samples, summary.order) == (64, "as run")
    assert summary.output_error_max < 1e-6
    fresh = network((6, rows[0].new_shape[0], rows[1].new_shape[0], 3), bias=bias)
    fresh.load_state_dict({name.removeprefix(prefix): one for name, one in written.items()}, strict=bias)
    if bias:
        torch.testing.assert_close(fresh(x), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(through.module(x), expected, rtol=0, atol=1e-5)


def test_narrow_dtypes_and_masks_in_parts_stay_as_they_are_stored(tmp_path):
    tensors = {
        "0.weight_orig": np.ones((3, 4), np.float32),
        "0.weight_mask": np.diag([1.0, 1.0, 0.0, 1.0])[:3].astype(np.float32),
        "0.bias": Lazy((3,), "bfloat16", lambda: np.array([1.0, 2.0, 3.0])),
        "2.weight": np.ones((2, 3), np.float32),
        "2.bias": np.zeros(2, np.float32),
    }
    write_checkpoint(tensors, tmp_path / "whole.safetensors")
    plain = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.warns(SaoWarning, match="one dense tensor each"):
        reduce_through(plain, [torch.ones(1, 4)], tmp_path / "whole.safetensors", tmp_path / "part.safetensors")
    written = load_file(tmp_path / "part.safetensors")
    assert {name: tuple(one.shape) for name, one in written.items()} == {
        "0.weight": (2, 4),
        "0.bias": (2,),
        "2.weight": (2, 2),
        "2.bias": (2,),
    }
    assert written["0.bias"].dtype == torch.bfloat16
    assert written["2.bias"].tolist() == [3.0, 3.0]


def test_what_is_refused_leaves_nothing_behind(tmp_path):
    net = network()
    write_checkpoint(net.state_dict(), tmp_path / "whole.safetensors")
    with pytest.raises(FileError, match="write to another file"):
        reduce_through(net, [torch.ones(1, 1, 4, 4)], tmp_path / "whole.safetensors", tmp_path / "whole.safetensors")
    other = nn.Linear(2, 2)
    with pytest.raises(FormatError, match="the names must be those of the module"):
        reduce_through(other, [torch.ones(1, 2)], tmp_path / "whole.safetensors", tmp_path / "part.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["whole.safetensors"]
