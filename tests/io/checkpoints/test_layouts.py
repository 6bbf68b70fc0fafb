"""Which axes are outputs and how channels are grouped: small networks of torch, told from names and shapes."""

import numpy as np
import pytest

from sao_cli.base.errors import SaoError
from sao_cli.data.kernel import swapped_channels
from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint
from sao_cli.io.checkpoints.layouts import Layout, Said, layouts_of


def of_module(tmp_path, module, *, sort=False, said=None):
    """Layouts by the state of a torch module, as torch.save or, sorted, as safetensors' own writer keeps it."""
    import torch

    state = module.state_dict()
    if sort:
        write_checkpoint({name: state[name] for name in sorted(state)}, path := tmp_path / "a.safetensors")
    else:
        torch.save(state, path := tmp_path / "a.pt")
    with open_checkpoint(path) as checkpoint:
        return layouts_of(checkpoint.entries, said=said, as_registered=not sort)


def of_shapes(tmp_path, said=None, **shapes):
    arrays = {name.replace("__", "."): np.ones(shape) for name, shape in shapes.items()}
    write_checkpoint(arrays, tmp_path / "b.safetensors")
    with open_checkpoint(tmp_path / "b.safetensors") as checkpoint:
        return layouts_of(checkpoint.entries, said=said)


def test_the_bias_tells_the_outputs_and_squares_follow(tmp_path):
    gpt = {"h__c_fc__weight": (8, 32), "h__c_fc__bias": 32, "h__c_proj__weight": (8, 8), "h__c_proj__bias": 8}
    found = of_shapes(tmp_path, **gpt, lm_head__weight=(50, 8))
    assert [found[name].transposed for name in ("h.c_fc.weight", "h.c_proj.weight", "lm_head.weight")] == [
        True,
        True,
        0,
    ]
    assert [layout.assumed for layout in found.values()] == [(), (), ("(out, in)",)]
    bert = {"a__weight": (32, 8), "a__bias": 32, "b__weight": (8, 8), "b__bias": 8}
    assert not any(layout.transposed or layout.assumed for layout in of_shapes(tmp_path, **bert).values())
    both = of_shapes(tmp_path, **gpt, **bert)
    assert both["b.weight"] == Layout(assumed=("(out, in)",))
    alone = of_shapes(tmp_path, a__weight=(8, 8), a__bias=8)
    assert alone["a.weight"] == Layout(assumed=("(out, in)",))


def test_what_is_said_goes_before(tmp_path):
    found = of_shapes(tmp_path, Said(transposed=("a*",)), a__weight=(8, 4), b__weight=(8, 4))
    assert found == {"a.weight": Layout(True), "b.weight": Layout(assumed=("(out, in)",))}
    assert found["a.weight"].sides((8, 4)) == (4, 8)
    for said, told in (
        (Said(transposed=("c*",)), "no name matches 'c\\*'"),
        (Said(groups=(("a*", 2),)), "there are no kernels"),
    ):
        with pytest.raises(SaoError, match=told):
            of_shapes(tmp_path, said, a__weight=(8, 4))
    with pytest.raises(SaoError, match=r"3 groups for 8 channels of k.weight; divisors: 1, 2, 4, 8"):
        of_shapes(tmp_path, Said(groups=(("k*", 3),)), k__weight=(8, 4, 3))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("channels", "outputs"), [(8, 4), (4, 8), (16, 12)])
def test_the_bias_tells_transposed_kernels_and_their_groups(tmp_path, groups, channels, outputs):
    from torch import nn

    layer = nn.ConvTranspose2d(channels, outputs, 3, groups=groups)
    found = of_module(tmp_path, nn.ModuleDict({"up": layer}))["up.weight"]
    assert found == Layout(True, groups)
    assert found.sides(layer.weight.shape) == (outputs, channels)


def mobile():
    from torch import nn

    def block(a, b):
        depthwise = nn.Sequential(nn.Conv2d(a, a, 3, padding=1, groups=a, bias=False), nn.BatchNorm2d(a), nn.ReLU6())
        return nn.Sequential(depthwise, nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b))

    stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
    return nn.ModuleDict({"features": nn.Sequential(stem, block(8, 16), block(16, 16)), "fc": nn.Linear(16, 10)})


def timm():
    """Names whose natural order puts the stem last."""
    from torch import nn

    def block(a):
        return nn.ModuleDict(
            {
                "conv_dw": nn.Conv2d(a, a, 5, groups=a, bias=False),
                "bn1": nn.BatchNorm2d(a),
                "conv_pw": nn.Conv2d(a, a, 1),
            }
        )

    blocks = nn.Sequential(block(12), block(12))
    return nn.ModuleDict({"conv_stem": nn.Conv2d(3, 12, 3, bias=False), "blocks": blocks, "head": nn.Linear(12, 5)})


def grey():
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(32 * 9, 10))


def vgg():
    from torch import nn

    features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3))
    return nn.ModuleDict({"features": features, "classifier": nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 10))})


def residual():
    from torch import nn

    def block(a, b):
        parts = {"conv1": nn.Conv2d(a, b, 3, bias=False), "bn1": nn.BatchNorm2d(b), "conv2": nn.Conv2d(b, b, 3)}
        return nn.ModuleDict(parts | {"downsample": nn.Sequential(nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b))})

    stem = {"conv1": nn.Conv2d(3, 8, 7, bias=False), "bn1": nn.BatchNorm2d(8)}
    return nn.ModuleDict(stem | {"layer1": block(8, 8), "layer2": block(8, 16), "fc": nn.Linear(16, 10)})


def separable():
    """Depthwise and pointwise kernels under names that differ by their numbers alone."""
    from torch import nn

    sizes = [(3, 8, 3, 1), (8, 8, 3, 8), (8, 16, 1, 1), (16, 16, 3, 16), (16, 32, 1, 1)]
    return nn.Sequential(*(nn.Conv2d(a, b, k, groups=g) for a, b, k, g in sizes), nn.Flatten(), nn.Linear(32 * 4, 10))


@pytest.mark.parametrize("make", [mobile, timm, grey, vgg, residual, separable])
@pytest.mark.parametrize("sort", [False, True])
def test_small_networks_are_read_as_they_are(tmp_path, make, sort):
    module = make()
    found = of_module(tmp_path, module, sort=sort)
    layers = {f"{name}.weight": layer for name, layer in module.named_modules() if f"{name}.weight" in found}
    assert len(layers) == len(found)
    assert not any(layout.transposed for layout in found.values())
    wrong = {name for name, layer in layers.items() if found[name].groups != getattr(layer, "groups", 1)}
    assert wrong == ({"conv_stem.weight"} if sort and make is timm else set())
    assert all(found[name].groups is None for name in wrong)


@pytest.mark.parametrize("sort", [False, True])
def test_kernels_that_a_norm_shows_to_be_transposed_are_not_claimed(tmp_path, sort):
    """A generator's, without biases: what follows has as many numbers as the second axis."""
    from torch import nn

    def up(a, b):
        return [nn.ConvTranspose2d(a, b, 4, bias=False), nn.BatchNorm2d(b), nn.ReLU()]

    net = nn.Sequential(*up(16, 32), *up(32, 8), nn.ConvTranspose2d(8, 3, 4, bias=False))
    assert {layout.groups for layout in of_module(tmp_path, net, sort=sort).values()} == {None}
    said = of_module(tmp_path, net, sort=sort, said=Said(transposed=("*",)))
    assert said == dict.fromkeys(said, Layout(True, 1, ("1 group",)))
    grouped = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3, groups=4), nn.Flatten(), nn.Linear(32, 4))
    assert of_module(tmp_path, grouped, sort=sort)["1.weight"].groups is None  # a matrix gives no channels


def test_groups_that_nothing_tells_are_null_with_the_way_out(tmp_path):
    from torch import nn

    layers = [(3, 8, 1), (8, 8, 1), (8, 8, 4), (8, 6, 2)]
    net = nn.Sequential(*(nn.Conv2d(a, b, 3, groups=groups) for a, b, groups in layers))
    found = of_module(tmp_path, net)
    assert [layout.groups for layout in found.values()] == [1, 1, None, None]
    assert "--groups '2.weight=G' tells" in found["2.weight"].reason
    found = of_module(tmp_path, net, said=Said(groups=(("2.*", 4), ("3.*", 2))))
    assert [layout.groups for layout in found.values()] == [1, 1, 4, 2]
    apart = {"a__weight": (8, 1, 3, 3), "b__weight": (8, 3, 3, 3), "c__weight": (8, 6, 3, 3)}
    assert {layout.groups for layout in of_shapes(tmp_path, **apart).values()} == {None}
    assert of_shapes(tmp_path, a__weight=(8, 3, 3, 3))["a.weight"].groups == 1


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_outputs_come_first_and_go_back(groups):
    import torch

    layer = torch.nn.ConvTranspose2d(6, 12, 3, padding=1, groups=groups, bias=False).double()
    stored = layer.weight.detach().numpy()
    layout = Layout(True, groups)
    weight = layout.outputs_first(stored)
    assert weight.shape == layout.shape(stored.shape) == (12, 6 // groups, 3, 3)
    np.testing.assert_array_equal(swapped_channels(weight, groups), stored)
    plain = torch.nn.Conv2d(6, 12, 3, padding=1, groups=groups, bias=False).double()
    plain.weight.data = torch.from_numpy(weight.copy()).flip(2, 3)
    images = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(plain(images), layer(images))
