"""The loss RaRe beside autograd's way to it, and what a fusion does to a network and to its optimizer."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sao_cli.base.errors import SaoError
from sao_cli.nets.layers.rare_linear import RareLinear
from sao_cli.nets.training.loop import Training
from sao_cli.nets.training.rare_training import make_rare_, rare_backward_, rare_layers, rare_loss, rare_step_
from sao_cli.nets.training.resume import final_tensors
from sao_cli.nets.training.settings import TrainingSettings


def one_layer(weight, **told):
    """A model of a layer with this weight, in float64, any of whose vectors may be fused."""
    layer = RareLinear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64, **told)
    with torch.no_grad():
        layer.weight.copy_(weight)
    layer._set_norm()
    return nn.Sequential(layer), layer


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned(degrees):
    angle = math.radians(degrees)
    return torch.tensor([[1.0, math.cos(angle)], [0.0, math.sin(angle)]], dtype=torch.float64) * torch.tensor(
        [2.0, 5.0]
    )


@pytest.mark.parametrize(("degrees", "loss"), [(0, 0.0), (180, 0.0), (5, 1.448e-5), (175, 1.448e-5), (90, 1.0)])
def test_the_loss_of_two_columns(degrees, loss):
    model, _ = one_layer(turned(degrees))
    assert float(rare_loss(model, 2.0, 0.0).detach()) == pytest.approx(loss, abs=1e-8)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_the_gradient_is_that_through_the_minimum_over_all_pairs(shape):
    weight = drawn(*shape)
    model, layer = one_layer(weight)
    rare_loss(model, 20.0, 0.0).backward()
    full = weight.clone().requires_grad_()
    vectors = nn.functional.normalize(full if layer.axis == 0 else full.t(), dim=1)
    i, j = torch.triu_indices(len(vectors), len(vectors), 1)
    losses = (1 - (vectors @ vectors.t())[i, j].abs()).square()
    (10.0 * losses.min()).backward()  # the mean over the layers, and half of it
    torch.testing.assert_close(layer.weight.grad, full.grad, rtol=0, atol=1e-14)
    own = layer.weight.grad if layer.axis == 0 else layer.weight.grad.t()
    touched = own.abs().sum(dim=1) > 0
    assert int(touched.sum()) == 2
    along = (own * (weight if layer.axis == 0 else weight.t())).sum(dim=1)
    assert float(along.abs().max()) < 1e-15


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_weighs_layers_by_their_sizes_and_its_gradient_needs_no_graph(dtype):
    model = make_rare_(nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 3)).to(dtype))
    weights = [layer.weight.detach().double() for layer in rare_layers(model).values()]
    total = sum(weight.numel() for weight in weights)
    expected = sum(0.3 / 3 * float(weight.square().sum()) for weight in weights)
    for weight, axis in zip(weights, (0, 1, 1), strict=True):  # no columns of the inputs, and no rows of the classes
        units = nn.functional.normalize(weight if axis == 0 else weight.t(), dim=1)
        cosine = float((units @ units.t()).abs().triu(1).max())
        expected += 7 * weight.numel() / (2 * total) * (1 - cosine) ** 2
    loss = rare_loss(model, 7.0, 0.3)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5 if dtype == torch.float32 else 1e-13)
    other = copy.deepcopy(model)
    loss.backward()
    rare_backward_(other, 7.0, 0.3)
    for one, two in zip(rare_layers(model).values(), rare_layers(other).values(), strict=True):
        torch.testing.assert_close(one.weight.grad, two.weight.grad)


@pytest.mark.parametrize("frobenius", [False, True])
def test_a_backward_that_takes_the_squared_norms_along_gives_the_same_gradients(frobenius):
    shared = nn.Linear(9, 9)  # its weight meets two products, and its squared norm counts once
    model = nn.Sequential(nn.Linear(5, 9), nn.Tanh(), shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(9, 3, bias=False))
    model = make_rare_(model.double(), frobenius=frobenius)
    unread = nn.ModuleList([model, RareLinear(4, 4, dtype=torch.float64, frobenius=frobenius)])
    other, x = copy.deepcopy(unread), drawn(2, 7, 5)
    (model(x).square().mean() + rare_loss(unread, 7.0, 0.3)).backward()
    rare_backward_(other, 7.0, 0.3, loss=other[0](x).square().mean())
    for (name, one), two in zip(unread.named_parameters(), other.parameters(), strict=True):
        if one.grad is None:
            assert two.grad is None, name
        else:
            torch.testing.assert_close(two.grad, one.grad, rtol=1e-12, atol=1e-14)
    for layer in rare_layers(other).values():
        assert layer.take_decay() == 0


def test_a_backward_that_fails_leaves_no_decay_behind():
    model, layer = one_layer(drawn(4, 5), frobenius=True)
    with pytest.raises(RuntimeError, match="scalar"):
        rare_backward_(model, loss=model(drawn(3, 5)))
    assert layer.take_decay() == 0


def parallel(seed=3):
    """A 4 x 4 layer: column 1 is twice column 3, nearly; then row 0 is minus row 2, nearly."""
    weight = drawn(4, 4, seed=seed)
    weight[:, 1] = 2 * weight[:, 3] + 1e-4 * drawn(4, seed=9)
    weight[0] = -0.5 * weight[2]
    return weight


@pytest.mark.parametrize("frobenius", [False, True])
def test_columns_and_then_rows_are_fused_and_the_error_is_told(frobenius):
    model, layer = one_layer(parallel(), frobenius=frobenius)
    x, before = drawn(50, 4), layer.to_dense().detach()
    outputs = layer(x).detach()
    found = rare_step_(model, every=1, inputs=x)
    assert [(one.axis, one.kept, one.dropped, math.copysign(1, one.cosine)) for one in found] == [
        ("columns", 3, 1, 1.0),
        ("rows", 0, 2, -1.0),
    ]
    assert layer.shape == (3, 3)
    after = layer.to_dense().detach()
    change = float((after - before).norm() / before.norm())
    first, second = found
    assert change == pytest.approx(math.hypot(first.error, second.error), rel=0.1)
    assert 1e-6 < first.error < 1e-3
    assert second.error < 1e-7
    assert first.energy == pytest.approx(float(before[:, [1, 3]].square().sum() / before.square().sum()), rel=1e-12)
    moved = float((layer(x).detach() - outputs).norm() / outputs.norm())
    assert moved == pytest.approx(first.output_change, rel=0.01)
    for index, size in ((layer.row_scale, 4), (layer.col_scale, 4)):
        assert int((index != 0).sum()) == size
    assert float(layer.to_fused().weight.std()) > 0
    assert layer.weight.norm().item() == pytest.approx(float(before.norm()), rel=1e-3)


def test_one_pair_an_axis_every_so_many_steps_and_thresholds_that_decide():
    weight = torch.cat((drawn(5, 4), drawn(5, 4)), dim=1)
    weight[:, 4:] = weight[:, :4]
    model, layer = one_layer(weight)
    assert [len(rare_step_(model, every=3)) for _ in range(7)] == [0, 0, 1, 0, 0, 1, 0]
    assert layer.shape == (5, 6)
    assert rare_step_(model, every=1, tau_cos=0.0) == []
    assert rare_step_(model, every=1, tau_euc=0.0) == []
    with pytest.raises(SaoError, match="every 0: it is a whole number"):
        rare_step_(model, every=0)
    with pytest.raises(SaoError, match="a Linear holds no RareLinear; make_rare_"):
        rare_step_(nn.Linear(2, 2))


def test_vectors_that_are_nearly_zero_are_neither_fused_nor_pulled():
    weight = drawn(3, 5)
    weight[:, 0] = weight[:, 1] * 1e-4
    weight[:, 2] = 0
    model, layer = one_layer(weight)
    assert rare_step_(model, every=1) == []
    rare_backward_(model)
    assert {0, 2} & set(layer.pairs[1]) == set()
    model, _ = one_layer(torch.zeros(3, 5))
    assert float(rare_loss(model).detach()) == 0
    rare_backward_(model)


@pytest.mark.parametrize("kind", ["adam", "amsgrad", "sgd"])
def test_the_optimizer_loses_the_dropped_vector_and_keeps_the_rest(kind):
    model, layer = one_layer(parallel())
    made = {
        "adam": lambda own: torch.optim.Adam(own),
        "amsgrad": lambda own: torch.optim.Adam(own, amsgrad=True),
        "sgd": lambda own: torch.optim.SGD(own, lr=1e-6, momentum=0.9),
    }
    optimizer = made[kind](model.parameters())
    loss = layer(drawn(8, 4)).square().sum() * 1e-9
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        layer.weight.copy_(parallel())
    held = {name: one for name, one in optimizer.state[layer.weight].items() if one.ndim}
    assert held
    old = layer.weight
    found = rare_step_(model, optimizer, every=1)
    assert len(found) == 2
    assert optimizer.param_groups[0]["params"][0] is layer.weight
    assert old not in optimizer.state
    for name, one in held.items():
        left = one[[0, 1, 3]][:, [0, 2, 3]]
        assert torch.equal(optimizer.state[layer.weight][name], left)
    again = layer(drawn(8, 4)).square().sum()  # `loss` still holds the graph of the larger weight
    optimizer.zero_grad()
    again.backward()
    optimizer.step()
    assert layer.weight.grad.shape == (3, 3)


def test_rare_of_a_model_keeps_its_ends_and_shared_layers():
    shared = nn.Linear(6, 6)
    model = nn.Sequential(nn.Linear(4, 6), shared, nn.ReLU(), shared, nn.Linear(6, 3))
    make_rare_(model, frobenius=False, dropout=0.25)
    assert model[1] is model[3]
    told = [(layer.fuse_rows, layer.fuse_columns) for layer in (model[0], model[1], model[4])]
    assert told == [(True, False), (True, True), (False, True)]
    assert all(layer.dropout == 0.25 for layer in rare_layers(model).values())
    with pytest.raises(SaoError, match="a ReLU holds no torch"):
        make_rare_(nn.ReLU())


def fusing(**more):
    """Settings of which a network of a few neurons fuses within some epochs."""
    told = {"widths": (12, 12), "activation": "relu", "rare": 200.0, "tau_cos": 0.1, "tau_euc": 5.0, "check_every": 7}
    return TrainingSettings(**told | {"epochs": 4, "batch_size": 4, "jacobian_at": (), "dropout": 0.1} | more)


@pytest.mark.parametrize("more", [{}, {"optimizer": "sgd", "learning_rate": 0.01, "frobenius": False}])
def test_a_run_goes_on_to_the_same_bits_with_smaller_shapes(tiny, more):
    whole = Training(fusing(**more), tiny, device="cpu")
    rows = list(whole.epochs())
    halves = Training(fusing(**more), tiny, device="cpu")
    first = halves.epochs()
    for _ in range(3):
        next(first)
    state = halves.state()
    assert 0 < state.rows[-1]["rare"]["fusions"] < rows[-1].rare.fusions
    tensors = {name: np.array(tensor.detach().numpy()) for name, tensor in state.tensors.items()}
    again = Training(fusing(**more), tiny, device="cpu")
    again.restore(tensors, json.loads(json.dumps(state.rows)))
    list(again.epochs())
    ours, theirs = again.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [one["rare"]["fused"] for one in again.rows] == [one["rare"]["fused"] for one in whole.rows]
    last = again.rows[-1]["rare"]
    assert last == whole.rows[-1]["rare"]
    errors = [one["error"] for row in whole.rows for one in row["rare"]["fused"]]
    assert (last["error_median"], last["error_max"]) == (float(np.median(errors)), max(errors))
    assert last["fusions"] == len(errors) == sum(layer["fusions"] for layer in last["cores"])
    assert last["parameters"] == sum(parameter.numel() for parameter in whole.model.parameters())


def test_what_is_written_at_the_end_is_the_network(tiny):
    training = Training(fusing(epochs=2), tiny, device="cpu")
    list(training.epochs())
    made = {name: one.make() for name, one in final_tensors(training.model).items()}
    assert all(tuple(made[name].shape) == one.shape for name, one in final_tensors(training.model).items())
    for name, layer in rare_layers(training.model).items():
        again = RareLinear(layer.in_features, layer.out_features)
        again.load_state_dict({one: made[f"{name}.{one}"] for one in again.state_dict() if one != "_extra_state"})
        assert torch.equal(again.to_dense(), layer.to_dense())
        for scale, size in ((layer.row_scale, layer.out_features), (layer.col_scale, layer.in_features)):
            assert int((scale != 0).sum()) == size
    first, *_, last = rare_layers(training.model).values()
    assert first.shape[1] == first.in_features
    assert last.shape[0] == last.out_features


def test_a_plain_loop_of_ones_own(tiny):
    torch.manual_seed(0)
    x = torch.from_numpy(tiny.train_images.reshape(40, 64)).float() / 255
    labels = torch.from_numpy(tiny.train_labels)
    model = make_rare_(nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    fused = []
    for _ in range(40):
        loss = cross_entropy(model(x), labels) + rare_loss(model, 200.0, 0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        fused += rare_step_(model, optimizer, tau_cos=0.1, tau_euc=5.0, inputs=x)
    assert fused
    assert all(0 <= one.output_change < 1 for one in fused)
    assert float(cross_entropy(model(x), labels).detach()) < 0.5


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"rare": -1.0}, "rare -1.0: it is from 0, finite"),
        ({"rare": 20.0, "tau_cos": 2.0}, "tau_cos 2.0: it is from 0 to 1"),
        ({"rare": 20.0, "dropout": 1.0}, "dropout 1.0: it is a rate, from 0 to below 1"),
        ({"rare": 20.0, "check_every": 0}, "check_every 0: it is a whole number of steps, from 1"),
        ({"rare": 20.0, "method": "sao"}, "rare 20: method 'sao' makes masks, and fused rows have none; choose dense"),
        (
            {"rare": 20.0, "arch": "cnn"},
            "rare 20: a cnn has kernels, and rows of matrices fuse; choose fnn",
        ),
        ({"l2": 0.1}, "l2 0.1: it is of training that fuses rows and columns; ask for rare too, as 20"),
        ({"frobenius": False}, "frobenius False: it is of training that fuses"),
        ({"optimizer": "adam", "momentum": 0.5}, "momentum 0.5 is of sgd, and the optimizer is adam; leave it out"),
    ],
)
def test_settings_that_are_refused(asked, said):
    with pytest.raises(SaoError, match=f"^{said}".replace("(", r"\(")):
        TrainingSettings(**asked).resolved()


def test_what_rare_chooses_and_chooses_again():
    settings = TrainingSettings(rare=20.0, activation="relu").resolved()
    told = settings.method, settings.optimizer, settings.init, settings.gain, settings.learning_rate
    assert told == ("dense", "adam", "vs-h", 1.0, 1e-3)
    assert (settings.l2, settings.tau_cos, settings.tau_euc, settings.check_every) == (0.1, 1e-4, 0.1, 10)
    assert (settings.frobenius, settings.dropout, settings.weight_decay) == (True, 0.0, 0.0)
    assert settings.resolved() == settings
    plain = TrainingSettings().resolved()
    assert (plain.optimizer, plain.weight_decay, plain.rare) == ("sgd", 1e-4, None)
