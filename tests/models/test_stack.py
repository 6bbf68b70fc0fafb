"""A checkpoint's weights as a stack: which, in which order, and how each is laid out."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

from sao_cli import Kernel, Matrix, audit_checkpoint, read_stack, weight_stack
from sao_cli.base.errors import FormatError, SaoError
from sao_cli.io import write_matrices
from sao_cli.nets import SAOLinear

RNG = np.random.default_rng(0)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))


@pytest.fixture
def model(tmp_path):
    state = net().state_dict()
    save_file(state, tmp_path / "m.safetensors")
    return state, tmp_path / "m.safetensors"


def same(stack, arrays):
    assert len(stack) == len(arrays)
    for weight, array in zip(stack, arrays, strict=True):
        np.testing.assert_array_equal(weight.to_dense(), array)


def test_the_stack_of_a_checkpoint_is_the_audit_s_chain(tmp_path):
    state = nn.Sequential(*(nn.Linear(4, 4) for _ in range(12))).state_dict()
    save_file(dict(reversed(state.items())), tmp_path / "m.safetensors")
    stack = read_stack(tmp_path / "m.safetensors")
    [chain] = audit_checkpoint(tmp_path / "m.safetensors").chains
    assert stack.names == chain.layer_names == tuple(f"{place}.weight" for place in range(12))  # 10 behind 9
    assert (stack.order, stack.assumed, stack.reason) == (chain.order, chain.assumed, None)
    assert stack.left_out == {"bias": 12}
    same(stack, [state[name].numpy() for name in stack.names])
    assert all(isinstance(weight, Matrix) and weight.dtype == "float32" for weight in stack)


def test_every_container_gives_the_same_stack(model, tmp_path):
    state, path = model
    arrays = [state[name].numpy() for name in ("0.weight", "2.weight", "4.weight")]
    torch.save(
        {"state_dict": {f"module.{name}": one for name, one in state.items()}, "optimizer": {}}, tmp_path / "m.pt"
    )
    np.savez(tmp_path / "m.npz", **{name: one.numpy() for name, one in state.items()})
    (tmp_path / "shards").mkdir()
    shutil.copy(path, tmp_path / "shards" / "model-1.safetensors")
    index = tmp_path / "shards" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(state, "model-1.safetensors")}))
    for place in (path, tmp_path / "m.pt", tmp_path / "m.npz", tmp_path / "shards", index):
        stack = read_stack(place)
        same(stack, arrays)
        assert stack.names == ("0.weight", "2.weight", "4.weight")
        assert (stack.order, stack.left_out) == ("numbered names", {"bias": 4, "1-D": 1}), place
        assert read_stack(place, tensors=["4.weight", "0.weight"]).names == ("4.weight", "0.weight")
        same(read_stack(place, include="2.*"), arrays[1:2])


def test_a_weight_has_its_outputs_first(tmp_path):
    by_inputs, conv = RNG.normal(size=(6, 9)), RNG.normal(size=(8, 4, 3, 3))
    np.savez(
        tmp_path / "m.npz",
        **{"fc.weight": by_inputs, "fc.bias": np.ones(9), "conv.weight": conv, "conv.bias": np.ones(8)},
    )
    stack = read_stack(tmp_path / "m.npz")
    assert stack.names == ("conv.weight", "fc.weight")
    assert isinstance(stack[0], Kernel)
    np.testing.assert_array_equal(stack[0].values, conv)
    np.testing.assert_array_equal(stack[1].to_dense(), by_inputs.T)


def test_masks_are_multiplied_in_and_blocks_put_together(tmp_path):
    pruned = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    prune.l1_unstructured(pruned[0], "weight", 0.5)
    torch.save(pruned.state_dict(), tmp_path / "pruned.pt")
    same(read_stack(tmp_path / "pruned.pt"), [layer.weight.detach().numpy() for layer in pruned])
    blocks = nn.Sequential(SAOLinear(16, 16, degree=4), SAOLinear(16, 16, degree=4))
    torch.save(blocks.state_dict(), tmp_path / "blocks.pt")
    stack = read_stack(tmp_path / "blocks.pt")
    same(stack, [layer(torch.eye(16)).detach().numpy().T - layer.bias.detach().numpy()[:, None] for layer in blocks])
    assert stack.order == "numbered names"


def test_what_was_read_before_is_read_as_before(tmp_path):
    weights = weight_stack([8, 8, 8], d=4)
    for name in ("s.mtx", "s.safetensors", "s.pt"):
        write_matrices(weights, tmp_path / name)
        stack = read_stack(tmp_path / name)
        assert (stack.names, stack.order, stack.reason) == ((), None, None)
        assert [weight.mask.provenance for weight in stack] == [weight.mask.provenance for weight in weights]
        assert stack.chained_masks() == stack.masks() == [weight.mask for weight in weights]
    by_inputs = RNG.normal(size=(6, 9))
    np.savez(tmp_path / "one.npz", **{"fc.weight": by_inputs, "fc.bias": np.ones(9)})
    same(read_stack(tmp_path / "one.npz"), [by_inputs])  # the only one: as it is stored


def test_names_that_number_no_stack(tmp_path):
    named = {f"{name}.weight": torch.eye(4) for name in ("conv1", "fc2", "q_proj")}
    save_file(named, tmp_path / "n.safetensors")
    with pytest.raises(FormatError, match=r"its 3 weights are no plain stack: the names do not tell .*; say so"):
        read_stack(tmp_path / "n.safetensors").require_order("say so")
    numbered = {f"net.{place}.weight": torch.eye(4) for place in range(4)} | {"head.weight": torch.eye(4)}
    save_file(numbered, tmp_path / "h.safetensors")
    assert read_stack(tmp_path / "h.safetensors", exclude="head.*").order == "numbered names"
    assert read_stack(tmp_path / "h.safetensors", include="net.[12].*").order == "numbered names"
    gap = read_stack(tmp_path / "h.safetensors", include=["net.0.*", "net.3.*"])
    assert gap.reason == "net.1.weight runs between them, and is left out"
    assert read_stack(tmp_path / "h.safetensors", include="head.*").reason is None


def test_a_kernel_before_a_matrix_has_a_row_for_each_pixel(tmp_path):
    conv, matrix = np.zeros((2, 3, 3, 3)), np.zeros((2, 8))
    conv[0, 0, 1, 1] = conv[1, 2, 0, 0] = 1
    matrix[0, 3] = matrix[1, 4] = 1  # the last pixel of channel 0, the first of channel 1
    state = {"net.0.weight": conv, "net.0.bias": np.ones(2), "net.2.weight": matrix, "net.2.bias": np.ones(2)}
    np.savez(tmp_path / "m.npz", **state)
    stack = read_stack(tmp_path / "m.npz")
    first, second = stack.chained_masks()
    assert first.shape == (8, 3)
    np.testing.assert_array_equal(second.to_dense() @ first.to_dense(), [[1, 0, 0], [0, 0, 1]])
    assert [mask.shape for mask in stack.masks()] == [(2, 3), (2, 8)]


def test_the_groups_of_a_kernel_are_kept_apart(tmp_path):
    conv = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    torch.save(conv.state_dict(), tmp_path / "m.pt")
    masks = read_stack(tmp_path / "m.pt", tensors=["1.weight", "3.weight"]).masks()
    np.testing.assert_array_equal(masks[0].to_dense(), np.eye(4))
    wide = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2, bias=False), nn.Conv2d(4, 4, 3, groups=2, bias=False))
    torch.save(wide.state_dict(), tmp_path / "w.pt")
    with pytest.raises(FormatError, match=r"1\.weight: the file does not tell its groups of channels"):
        read_stack(tmp_path / "w.pt", tensors=["1.weight", "0.weight"]).masks()


@pytest.mark.parametrize(
    ("picked", "said"),
    [
        ({"tensors": ["0.weight", "4.weight"]}, "4.weight reads 8 inputs, and 0.weight before it gives 6"),
        ({"tensors": "0.wieght"}, "no tensor 0.wieght; did you mean 0.weight"),
        ({"tensors": ["0.weight", "0.wieght"]}, "no tensor 0.wieght; did you mean 0.weight"),
        ({"tensors": ["0.weight", "1.weight"]}, "tensor 1.weight has shape"),
        ({"include": "encoder.*"}, "matches none of"),
        ({"include": "*.bias"}, "no matrix and no kernel is among the 4 tensors"),
        ({"tensors": "0.weight", "include": "0.*"}, "give one of them"),
    ],
)
def test_what_is_no_stack_is_refused(tmp_path, picked, said):
    state = net().state_dict() | {"0.weight": torch.ones(6, 6), "0.bias": torch.ones(6)}
    save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(SaoError, match=said):
        read_stack(tmp_path / "m.safetensors", **picked).chained_masks()


def test_a_weight_that_can_t_be_read_is_no_layer_less(tmp_path):
    state = {"net.0.weight": torch.eye(4), "net.1.weight": torch.eye(4).to(torch.int8), "net.2.weight": torch.eye(4)}
    save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(FormatError, match=r"net\.1\.weight can't be read: quantised .*--exclude leaves it out"):
        read_stack(tmp_path / "m.safetensors")
    assert len(read_stack(tmp_path / "m.safetensors", exclude="net.1.*")) == 2
