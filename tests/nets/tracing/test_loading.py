"""A user's module by name, and a checkpoint's weights in it: what fits is loaded, what does not is told."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

from sao_cli.base.errors import FileError, FormatError, SaoError
from sao_cli.io.checkpoints import open_checkpoint
from sao_cli.nets.tracing.loading import example_input, load_checkpoint_, load_module

NETS = """
import torch
from dataclasses import dataclass
from torch import nn
from sizes import WIDTH

@dataclass
class Config:
    width: int = WIDTH

def small():
    return nn.Sequential(nn.Linear(4, Config().width), nn.ReLU(), nn.Linear(Config().width, 2))

made = small()
number = 3

def failing():
    raise ValueError("no\\nway")

class Wants(nn.Module):
    def __init__(self, width):
        super().__init__()
"""


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "own_nets.py").write_text(NETS)
    (tmp_path / "sizes.py").write_text("WIDTH = 3\n")
    return str(tmp_path / "own_nets.py")


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def stored(tensors, folder, how="safetensors"):
    path = str(folder / f"model.{how}")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path) if how == "safetensors" else (
        torch.save(tensors, path)
    )
    return path


def loaded(path, module):
    with open_checkpoint(path) as checkpoint:
        return load_checkpoint_(module, checkpoint)


@pytest.mark.parametrize("name", ["small", "made"])
def test_a_file_s_module_or_what_makes_it(nets, name):
    assert load_module(f"{nets}:{name}")[0].out_features == 3


def test_an_installed_module():
    assert isinstance(load_module("torch.nn:Identity"), nn.Identity)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("smal", "has no 'smal'; did you mean 'small'"),
        ("number", "is a int; name a torch.nn.Module"),
        ("failing", r"failing\(\) fails: ValueError: no$"),
        ("Wants", r"Wants\(\) fails: TypeError: .*'width'$"),
    ],
)
def test_what_names_no_module_is_told_in_a_line(nets, name, said):
    with pytest.raises(SaoError, match=said) as told:
        load_module(f"{nets}:{name}")
    assert "\n" not in str(told.value)


def test_what_cannot_be_imported_is_told(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        load_module(str(tmp_path / "none.py:net"))
    with pytest.raises(SaoError, match="can't be imported: ModuleNotFoundError"):
        load_module("no_such_package.nets:net")
    with pytest.raises(SaoError, match=r"it is named as FILE\.py:NAME"):
        load_module("nets.py")
    (tmp_path / "broken.py").write_text("def net(:\n")
    with pytest.raises(SaoError, match="fails: SyntaxError"):
        load_module(str(tmp_path / "broken.py:net"))


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.model."])
@pytest.mark.parametrize("how", ["safetensors", "pt"])
def test_names_with_a_prefix_that_all_share(tmp_path, prefix, how):
    state = {prefix + name: tensor for name, tensor in net().state_dict().items()}
    path = stored(state, tmp_path, how)
    filled = loaded(path, nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    assert all(torch.equal(one, other) for one, other in zip(filled.parameters(), net().parameters(), strict=True))


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_wrapped_state(tmp_path, key):
    path = stored({key: net().state_dict(), "epoch": 3}, tmp_path, "pt")
    assert torch.equal(loaded(path, nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))[2].bias, net()[2].bias)


def test_masks_are_multiplied_in(tmp_path):
    pruned = net()
    prune.l1_unstructured(pruned[0], "weight", 0.5)
    plain = loaded(stored(pruned.state_dict(), tmp_path), net())
    assert torch.equal(plain[0].weight, pruned[0].weight)
    beside = net().state_dict() | {"0.weight_mask": pruned[0].weight_mask}
    assert torch.equal(loaded(stored(beside, tmp_path), net())[0].weight, pruned[0].weight)
    again = net()
    prune.l1_unstructured(again[0], "weight", 0.25)
    loaded(stored(pruned.state_dict(), tmp_path), again)
    assert torch.equal(again[0].weight_mask, pruned[0].weight_mask)


def test_a_tied_weight_needs_one_name(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            self.out.weight = self.words.weight

    first = Tied()
    state = {"words.weight": first.words.weight.detach()}
    assert torch.equal(loaded(stored(state, tmp_path), Tied()).out.weight, first.words.weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {"more": torch.ones(2), **state}, "has beside the module's names more;"),
        (lambda state: {name: one for name, one in state.items() if "0" not in name}, "has no 0.weight, 0.bias;"),
        (lambda state: state | {"0.weight": torch.ones(2, 4)}, "0.weight is 2x4 there and 3x4 in the module"),
        (lambda state: {f"x{k}": torch.ones(2, 2) for k in range(5)}, "has no 0.weight, 0.bias, 2.weight and 1 more;"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_loaded(tmp_path, change, said):
    module = net()
    before = [parameter.clone() for parameter in module.parameters()]
    with pytest.raises(FormatError) as told:
        loaded(stored(change(net().state_dict()), tmp_path), module)
    assert said in str(told.value)
    assert all(torch.equal(one, other) for one, other in zip(before, module.parameters(), strict=True))


def test_examples():
    assert example_input("1x3x4", net()).shape == (1, 3, 4)
    assert torch.equal(example_input("2x4", net()), example_input("2x4", net()))
    assert example_input("1x4", net().double()).dtype == torch.float64
    assert example_input("ids:1x6", nn.Embedding(2, 3)).tolist() == [[1] * 6]


@pytest.mark.parametrize("text", ["", "1x", "x3", "3,4", "0x3", "-1x2", "ids:", "1x2x", "1e3"])
def test_other_examples_are_refused(text):
    with pytest.raises(SaoError, match="give the sizes of an input"):
        example_input(text, net())
