"""Pruning without labels: each way's mask by hand, on the same weights, and the errors by the networks themselves."""

import numpy as np
import pytest
import torch

from sao_cli import SaoError
from sao_cli.masks.degrees import kappa
from sao_cli.nets import Training, unsupervised_errors
from sao_cli.nets.experiments.mnist_shapes import mnist_shaped
from sao_cli.nets.experiments.unsupervised_pruning import WAYS, way_settings
from sao_cli.nets.training.data import Batches
from sao_cli.nets.training.methods import build_model, kept_places

WEIGHTS = 784 * 12 + 12 * 10
TINY = {"images": 60, "hidden": [1], "width": 8, "epochs": 1, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def digits():
    return mnist_shaped("digits", images=120)


def prepared(way, data, **given):
    training = Training(
        way_settings("digits", way, [12], epochs=0, seed=3, dtype="float64"), data, device="cpu", **given
    )
    training.prepare()
    return training


def kept(training):
    return list(kept_places(training.model, all_layers=True).values())


def dense_weights(training):
    return [one.detach().numpy() for one in build_model(training.settings, 1, 28, 10).parameters() if one.ndim > 1]


@pytest.mark.parametrize("way", [way for way in WAYS if way != "dense"])
def test_each_way_keeps_as_many_of_the_same_weights(digits, way):
    training = prepared(way, digits)
    places = kept(training)
    assert sum(one.sum() for one in places) == kappa(WEIGHTS, 0.9)
    weights = [layer.weight.detach().numpy() for layer in (training.model.net[0], training.model.net[2])]
    same = [np.array_equal(w[p], d[p]) for w, p, d in zip(weights, places, dense_weights(training), strict=True)]
    assert same == [way != "fresh weights"] * 2


@pytest.mark.parametrize(
    ("way", "pull"),
    [
        ("labels", lambda softmax, y: softmax - np.eye(10)[y]),
        ("uniform", lambda softmax, y: softmax - 0.1),
        ("sum of logits", lambda softmax, y: np.ones_like(softmax)),
        ("argmax", lambda softmax, y: softmax - np.eye(10)[softmax.argmax(1)]),
        ("entropy", lambda p, y: -p * (np.log(p) - (p * np.log(p)).sum(1, keepdims=True))),
    ],
)
def test_the_gradient_by_hand(digits, way, pull):
    training = prepared(way, digits)
    first, last = dense_weights(training)
    batches = list(Batches(digits, training.settings, torch.device("cpu")).all_train())
    x, y = (np.concatenate([pair[part].numpy() for pair in batches]) for part in (0, 1))
    h = np.tanh(x @ first.T)
    logits = np.exp(h @ last.T)
    back = pull(logits / logits.sum(1, keepdims=True), y)
    scores = np.abs(first * (((back @ last) * (1 - h**2)).T @ x)), np.abs(last * (back.T @ h))
    threshold = np.sort(np.concatenate([one.ravel() for one in scores]))[-kappa(WEIGHTS, 0.9)]
    for one, places in zip(scores, kept(training), strict=True):
        np.testing.assert_array_equal(one >= threshold, places)


def test_rows_are_of_the_seeds_and_errors_of_the_network(digits):
    rows, same = (unsupervised_errors(ways=["uniform", "dense"], seeds=[4, 0], **TINY) for _ in range(2))
    assert rows == same
    assert [(row.way, row.rates.settings.hidden) for row in rows] == [("uniform", (8,)), ("dense", (8,))]
    assert [row.rates.kept for row in rows] == [kappa(rows[0].rates.weights, 0.9), 784 * 8 + 8 * 10]
    data = mnist_shaped("digits", images=60, seed=4)
    training = Training(
        way_settings("digits", "uniform", [8], epochs=1, seed=4, learning_rate=0.05), data, device="cpu"
    )
    list(training.epochs())
    x, y = zip(*Batches(data, training.settings, torch.device("cpu")).test(), strict=True)
    wrong = training.model(torch.cat(x)).argmax(1) != torch.cat(y)
    assert rows[0].rates.test[0] == pytest.approx(100 * float(wrong.double().mean()))


def test_what_is_no_way_is_told():
    with pytest.raises(SaoError, match="no way 'labelled' of pruning; there are dense, labels"):
        unsupervised_errors(ways=["labelled"])
    with pytest.raises(SaoError, match="no seeds"):
        unsupervised_errors(ways=["labels"], seeds=[])
