"""Pruned states in fresh modules: by torch.nn.utils.prune's names, by masks beside, and by zeros."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sao_cli import prune_checkpoint
from sao_cli.base.errors import FormatError, SaoError
from sao_cli.nets import load_pruned_, sparsify


def net():
    return nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.LSTM(16, 8))


def pruned_net():
    torch.manual_seed(0)
    model = net()
    sparsify(model, "sao", degree=4, skip=())
    prune.random_unstructured(model[0], "bias", 0.25)
    return model


def trained(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(2, 16))[0].square().sum().backward()
        optimizer.step()
    model(torch.ones(2, 16))
    return model


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", None])
def test_masks_come_back_and_hold_in_training(tmp_path, suffix):
    model = pruned_net()
    state = model.state_dict()
    if suffix == ".pt":
        torch.save(state, state := tmp_path / "a.pt")
    elif suffix:
        from safetensors.torch import save_file

        save_file(state, state := tmp_path / "a.safetensors")
    fresh, weights = net(), None
    weights = fresh[0].weight
    assert load_pruned_(fresh, state) is fresh
    assert fresh[0].weight_orig is weights
    for name, one in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], one), name
    assert {name for name, _ in fresh.named_buffers() if "mask" in name} == {
        *("0.weight_mask", "2.weight_mask", "0.bias_mask", "3.weight_hh_l0_mask", "3.weight_ih_l0_mask")
    }
    x = torch.randn(3, 16)
    assert torch.equal(fresh(x)[0], model(x)[0])
    trained(fresh)
    for layer, name in ((fresh[0], "weight"), (fresh[3], "weight_hh_l0"), (fresh[0], "bias")):
        assert (getattr(layer, name)[getattr(layer, f"{name}_mask") == 0] == 0).all()
        assert getattr(layer, name).count_nonzero() > 0


def test_what_sao_prune_leaves_is_masked_by_its_zeros(tmp_path):
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    torch.save(dense.state_dict(), tmp_path / "a.pt")
    prune_checkpoint(tmp_path / "a.pt", tmp_path / "b.safetensors", sparsity=0.75, skip_ends=False, facts=False)
    found = load_pruned_(nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)), tmp_path / "b.safetensors")
    assert [int(found[place].weight_mask.sum()) for place in (0, 2)] == [64, 16]
    assert torch.equal(found[0].weight_orig == 0, found[0].weight_mask == 0)
    plain = load_pruned_(nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)), dense.state_dict())
    assert not list(plain.buffers())


def test_a_mask_beside_its_weight_counts():
    state = nn.Linear(4, 4).state_dict() | {"weight_mask": torch.eye(4)}
    found = load_pruned_(nn.Linear(4, 4), state)
    assert torch.equal(found.weight, state["weight"] * torch.eye(4))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("0.bias"), r"the state lacks the module's names 0\.bias"),
        (lambda state: state.update({"x": torch.ones(1)}), "has beside the module's names x;"),
        (lambda state: state.update({"0.bias": torch.ones(3)}), r"another shape than the module's: 0\.bias"),
        (lambda state: state.update({"0.weight_mask": torch.ones(3, 3)}), r"another shape .*: 0\.weight_mask"),
    ],
)
def test_what_does_not_fit_leaves_the_module_as_it_was(change, said):
    model = pruned_net()
    prune.remove(model[0], "bias")
    state = dict(model.state_dict())
    change(state)
    fresh = net()
    before = {name: one.clone() for name, one in fresh.state_dict().items()}
    with pytest.raises(FormatError, match=said):
        load_pruned_(fresh, state)
    assert all(torch.equal(fresh.state_dict()[name], one) for name, one in before.items())


def test_a_pruned_module_is_no_fresh_one():
    model = pruned_net()
    with pytest.raises(SaoError, match="pruned already; load into a fresh one"):
        load_pruned_(model, model.state_dict())
