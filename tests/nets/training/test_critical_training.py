"""Networks that begin at the edge of chaos: their inputs, their layers, what rows tell, and which of them explode."""

import math

import numpy as np
import pytest
import torch

from sao_cli.nets.layers.linear import SAOLinear
from sao_cli.nets.training.data import Batches, load_data
from sao_cli.nets.training.hidden_signals import hidden_signals
from sao_cli.nets.training.loop import DivergedError, Training
from sao_cli.nets.training.methods import build_model
from sao_cli.nets.training.settings import TrainingSettings

CST = {"activation": "cst", "activation_sparsity": 0.85, "slope": 0.7}
POSTER = {"depth": 29, "width": 300}  # 30 weight matrices: the first, 28 of 300 x 300, the last


@pytest.fixture(scope="module")
def digits():
    return load_data(TrainingSettings())


def inputs(data, settings):
    return torch.cat([x for x, _ in Batches(data, settings, torch.device("cpu")).all_train()])


def test_inputs_have_one_scale_by_which_the_first_layer_is_at_q(digits):
    settings = TrainingSettings(**CST, q_star=2.0, dtype="float64").resolved()
    x = inputs(digits, settings)
    assert float(x.mean(dim=0).abs().max()) < 1e-13
    square = float(x.square().mean())
    assert settings.sigma_w**2 * square + settings.sigma_b**2 == pytest.approx(2.0, rel=1e-12)
    pixels = torch.from_numpy(digits.train_images.reshape(len(x), 64).astype(float))
    ratio = (pixels - pixels.mean(dim=0)).square().sum(dim=1) / x.square().sum(dim=1)
    assert float(ratio.std() / ratio.mean()) < 1e-12


@pytest.mark.parametrize("more", [{}, {"init": "orthogonal"}, {"method": "rg-n", "d": 20}, {"method": "sao", "d": 20}])
def test_every_layer_has_the_variance_of_its_own_fan_in(digits, more):
    settings = TrainingSettings(**CST, depth=4, width=300, **more).resolved()
    model = build_model(settings, 1, 8, 10)
    layers = list(model.net)[::2]
    assert len(layers) == 5
    for layer, weight in zip(layers, model.layer_weights(), strict=True):
        m = weight.mask.m
        exact = "gaussian" if not more else ""
        bound = 5 * math.sqrt(2 / weight.mask.nnz) if exact else 1e-5
        assert float(np.square(weight.values, dtype=np.float64).sum()) / m == pytest.approx(
            settings.sigma_w**2, rel=bound
        )
        assert float(layer.bias.detach().square().mean()) == pytest.approx(
            settings.sigma_b**2, rel=6 * math.sqrt(2 / m)
        )
    assert isinstance(layers[1], SAOLinear) == (more.get("method") == "sao")


def test_rows_tell_the_hidden_layers(tiny):
    settings = TrainingSettings(**CST, depth=3, width=16, epochs=1, dtype="float64", jacobian_at=())
    training = Training(settings, tiny, device="cpu")
    model = build_model(training.settings, 1, 8, 2)
    first, last = training.epochs()
    x = torch.cat([x for x, _ in Batches(tiny, training.settings, torch.device("cpu")).test()])
    assert (first.signals.samples, len(first.signals.by_layer)) == (8, 3)
    zeros = []
    for row, layer, phi in zip(first.signals.by_layer, model.net[::2], model.net[1::2], strict=False):
        h = layer(x)
        q = np.sort(h.detach().square().mean(dim=1).numpy())
        assert (row.q_mean, row.q_low, row.q_median, row.q_high) == pytest.approx(
            (q.mean(), q[0], q[3], q[6]), rel=1e-12
        )
        x = phi(h)
        zeros.append(float((x == 0).double().mean()))
        assert row.activation_sparsity == zeros[-1]
    assert first.signals.activation_sparsity == pytest.approx(np.mean(zeros), rel=1e-12)
    assert last.signals != first.signals
    assert all(
        row.signals is None for row in Training(TrainingSettings(depth=2, width=8), tiny).epochs() if not row.epoch
    )


@pytest.mark.parametrize(
    ("told", "explodes", "seed"),
    [
        ({"activation": "relu-tau"}, True, 1),
        ({"activation": "relu-tau"}, True, 2),
        ({"activation": "soft-threshold"}, True, 1),
        ({"activation": "crelu", "slope": 0.5}, False, 1),
        ({"activation": "cst", "slope": 0.7}, False, 1),
    ],
)
def test_without_a_clip_signals_explode_and_with_one_they_don_t(digits, told, explodes, seed):
    """Before training, by the last hidden layer; benchmarks/bench_edge_of_chaos.py has ten seeds of each."""
    settings = TrainingSettings(**POSTER, **told, activation_sparsity=0.85, seed=seed)
    training = Training(settings, digits, device="cpu")
    last = hidden_signals(training.model.net, training._batches.all_train()).by_layer[-1]
    assert (last.q_mean > 10) == explodes
    if not explodes:
        assert 0.6 < last.q_low < last.q_high < 1.4


def test_an_explosion_ends_in_one_line(tiny):
    settings = TrainingSettings(activation="soft-threshold", activation_sparsity=0.85, depth=60, width=60, epochs=1)
    with pytest.raises(DivergedError, match=r"epoch [01]: .* or the slope, or the clip, of the activation"):
        list(Training(settings, tiny, device="cpu").epochs())
