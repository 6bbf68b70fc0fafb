"""Networks by their methods' names: pruning against the networks that are pruned when they are made, and the zeros."""

import warnings

import numpy as np
import pytest
import torch

from sao_cli.base.errors import InfeasibleError, SaoWarning
from sao_cli.base.names import load
from sao_cli.catalog import ARCHITECTURES, TRAIN_METHODS
from sao_cli.nets.networks.cnn import CNN
from sao_cli.nets.networks.fnn import FNN
from sao_cli.nets.training.methods import build_model, kept_places, prunable, prune_, require_zeros
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.weights.dense_laws import dense_values

SIZES = {"channels": 1, "side": 8, "classes": 10}


def settings(**given):
    return TrainingSettings(**{"depth": 4, "width": 16, "dtype": "float64", "seed": 2, **given}).resolved()


@pytest.mark.parametrize("method", ["lmp-s", "gmp-t", "lrp-s"])
def test_pruning_a_dense_fnn_is_what_fnn_makes(method):
    told = settings(method=method, sparsity=0.8)
    model = build_model(told, **SIZES)
    prune_(model, told)
    expected = FNN(4, (64, 16, 10), method=method[:3], sparsity=0.8, seed=2, dtype=torch.float64)
    for found, wanted in zip(model.layer_weights(), expected.layer_weights(), strict=True):
        np.testing.assert_array_equal(found.to_dense(), wanted.to_dense())


@pytest.mark.parametrize("method", ["lmp-t", "lrp-s"])
def test_pruning_a_dense_cnn_is_what_cnn_makes(method):
    told = settings(method=method, sparsity=0.75, arch="cnn")
    model = build_model(told, **SIZES)
    prune_(model, told)
    options = {"image": 8, "channels": 1, "seed": 2, "dtype": torch.float64}
    expected = CNN(4, 16, method=method[:3], sparsity=0.75, **options)
    kept = [kernel.mask.nnz for kernel in model.kernels()]
    assert kept == [16, 64, 64, 64]
    if method == "lmp-t":  # CNN numbers its random places from the first layer, which is dense, and we from the next
        for found, wanted in zip(model.kernels(), expected.kernels(), strict=True):
            np.testing.assert_array_equal(found.values, wanted.values)


def test_global_pruning_of_kernels_by_their_norms():
    told = settings(method="gmp-s", sparsity=0.9, arch="cnn")
    model = build_model(told, **SIZES)
    with torch.no_grad():
        for layer in prunable(model):  # as training makes them: delta kernels have one tap
            layer.weight.add_(0.1 * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0)))
    norms = [layer.weight.detach().square().sum((2, 3)) for layer in prunable(model)]
    prune_(model, told)
    least = torch.cat([one.flatten() for one in norms]).sort(descending=True).values[round((1.0 - 0.9) * (3 * 256)) - 1]
    for layer, before in zip(prunable(model), norms, strict=True):
        np.testing.assert_array_equal(layer.weight_mask.any(-1).any(-1), before >= least)


def test_a_collapsed_layer_is_told():
    told = settings(method="gmp-t", sparsity=0.99)
    model = build_model(told, **SIZES)
    with torch.no_grad():
        prunable(model)[1].weight.mul_(1e-3)
    with pytest.warns(SaoWarning, match="nothing is left of layer 3:"):
        prune_(model, told)


@pytest.mark.parametrize(
    ("arch", "method"),
    [(arch, method) for method, row in TRAIN_METHODS.items() for arch in row.trains if not row.scored],
)
def test_every_method_builds_and_keeps_its_places(arch, method):
    depth, degree = 5 if arch == "lipconvnet" else 3, {}
    if ARCHITECTURES[arch].widths:
        depth, degree = None, {"d": 6} if method == "ramanujan" else {}  # by 4 no mask of 100 x 300 is connected
    told = settings(arch=arch, method=method, depth=depth, width=depth and 8, dtype="float32", **degree)
    side = 28 if arch == "lenet5" else 24 if ARCHITECTURES[arch].enlarges else 8
    model = build_model(told, **(SIZES | {"side": side}))
    if TRAIN_METHODS[method].rule:
        with warnings.catch_warnings():  # the one tap of LeNet-5's kernels is small beside the weights of its matrices
            warnings.simplefilter("ignore" if arch == "lenet5" else "error", SaoWarning)
            prune_(model, told)
    kept = kept_places(model)
    require_zeros(model, kept)
    shares = [places.mean() for places in kept.values()]
    assert len(shares) == {"lipconvnet": 0, "lenet300": 1}.get(arch, 2)
    assert all(share == 1 if method == "dense" else share < 0.7 for share in shares)
    assert isinstance(model, load(ARCHITECTURES[arch].home))


def test_groups_that_do_not_divide_the_inputs_are_refused():
    told = settings(arch="lenet5", method="nm-s", depth=None, width=None)
    with pytest.raises(InfeasibleError, match="no 2:4 mask: 4 does not divide its 450 inputs"):
        prune_(build_model(told, **(SIZES | {"side": 24})), told)


@pytest.mark.parametrize(
    ("arch", "layers"), [("fnn", "masked"), ("fnn", "blocks"), ("cnn", "masked"), ("cnn", "blocks")]
)
def test_a_weight_off_its_mask_is_a_bug(arch, layers):
    model = build_model(settings(arch=arch, layers=layers), **SIZES)
    kept = kept_places(model)
    name = next(iter(kept))
    assert kept[name].mean() == 0.25
    flat = kept[name].reshape(16, 16, -1)
    flat &= (np.arange(16) != np.flatnonzero(flat[0].any(1))[0])[:, None]  # the first weight of row 0 is off this mask
    with pytest.raises(RuntimeError, match=f"layer '{name}' that its mask excludes are not zero"):
        require_zeros(model, kept)


def test_listed_widths_are_those_between_inputs_and_classes():
    told = settings(widths=(16, 8, 8), depth=None, width=None, method="rg-n", d=4)
    model = build_model(told, **SIZES)
    assert model.widths == [64, 16, 8, 8, 10]
    assert [kept.sum(1).tolist() for kept in kept_places(model).values()] == [[4] * 8] * 2
    told = settings(arch="lenet300", depth=None, width=None, method="lmp-s", sparsity=0.9)
    model = build_model(told, channels=1, side=28, classes=10)
    prune_(model, told)
    assert model.widths == [784, 300, 100, 10]
    assert [kept.sum() for kept in kept_places(model).values()] == [3000]
    told = settings(widths=(9,), depth=None, width=None, method="dense")
    assert [weight.shape for weight in build_model(told, **SIZES).layer_weights()] == [(9, 64), (10, 9)]


@pytest.mark.parametrize(("arch", "layers"), [("fnn", 5), ("cnn", 5), ("lenet300", 3), ("lenet5", 4)])
def test_all_layers_are_pruned_where_that_is_asked_for(arch, layers):
    sizes = {"depth": None, "width": None} if ARCHITECTURES[arch].widths else {}
    told = settings(arch=arch, method="lmp-s", sparsity=0.75, all_layers=True, **sizes)
    model = build_model(told, channels=1, side=16, classes=10)
    prune_(model, told)
    kept = kept_places(model, all_layers=True)
    assert len(kept) == layers
    assert all(abs(places.mean() - 0.25) < 0.02 for places in kept.values())


def test_kernels_and_weights_compete_by_their_numbers():
    told = settings(arch="lenet5", depth=None, width=None, method="gmp-s", sparsity=0.9)
    model = build_model(told, channels=1, side=16, classes=10)
    layers = prunable(model)
    assert [tuple(layer.weight.shape) for layer in layers] == [(50, 20, 5, 5), (500, 50)]
    sizes = [layer.weight.square().mean((2, 3)) for layer in layers[:1]] + [layers[1].weight.square()]
    prune_(model, told)
    kept = [places.sum() for places in kept_places(model).values()]
    assert 0 <= 5000 - sum(kept) < 25  # a tenth of 50,000 numbers, a kernel of 25 being kept or not
    assert kept[0] % 25 == 0
    gone = [one[~torch.from_numpy(places.reshape(*one.shape, -1)[..., 0])].max() for one, places in zip(
        sizes, kept_places(model).values(), strict=True)]  # fmt: skip
    left = [one[torch.from_numpy(places.reshape(*one.shape, -1)[..., 0])].min() for one, places in zip(
        sizes, kept_places(model).values(), strict=True)]  # fmt: skip
    assert max(gone) <= min(left) * (1 + 1e-12)


@pytest.mark.parametrize(("arch", "layers"), [("fnn", 5), ("cnn", 5), ("lenet5", 4)])
def test_initial_weights_of_another_law(arch, layers):
    sizes = {"depth": None, "width": None} if arch == "lenet5" else {}
    options = {"arch": arch, "init": "vs-h", "gain": 1.5, "activation": "relu", **sizes}
    told = settings(method="lmp-s", **options)
    model = build_model(told, channels=1, side=16, classes=10)
    found = [parameter.detach() for parameter in model.parameters() if parameter.ndim > 1]
    assert len(found) == layers
    for number, weight in enumerate(found, 1):
        wanted = 1.5 * dense_values(tuple(weight.shape), "vs-h", seed=2, layer=number)
        np.testing.assert_array_equal(weight.numpy(), wanted)
    prune_(model, told)
    assert all(0 < places.mean() < 0.6 for places in kept_places(model).values())


def test_networks_for_other_data_narrow_as_table_1():
    told = TrainingSettings(data="mnist", method="dense", depth=2, width=8).resolved()
    assert build_model(told, 1, 32, 10).widths == [1024, 16, 8, 8, 10]
    told = TrainingSettings(data="cinic10", arch="cnn", depth=2, width=8).resolved()
    assert build_model(told, 3, 32, 10).classifier.in_features == 8 * 4 * 4
