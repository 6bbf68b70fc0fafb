"""Masks of other data than those that are trained on: whose they are, on the same weights."""

from dataclasses import replace

import numpy as np
import pytest

from sao_cli.nets import Training, transfer_errors, unsupervised_errors
from sao_cli.nets.experiments.mnist_shapes import mnist_shaped
from sao_cli.nets.experiments.unsupervised_pruning import way_settings
from sao_cli.nets.training.methods import kept_places


def prepared(data, prune_data=None):
    """The network, its masks and its dense weights on those."""
    other = {} if prune_data is None else {"prune_data": "mnist"}
    settings = way_settings("digits", "uniform", [12], epochs=0, seed=3, dtype="float64", **other)
    training = Training(settings, data, prune_data=prune_data, device="cpu")
    dense = [one.detach().numpy().copy() for one in training.model.parameters() if one.ndim > 1]
    training.prepare()
    return dense, list(kept_places(training.model, all_layers=True).values()), training.model


def test_a_transferred_mask_is_the_other_data_s_on_the_same_weights():
    digits = mnist_shaped("digits", images=120)
    other = replace(digits, train_images=digits.train_images[:, :, ::-1].copy())  # upside down
    (dense, kept, model), (same, own, _), (_, there, _) = prepared(digits, other), prepared(digits), prepared(other)
    for before, alike, places, mine, theirs, layer in zip(dense, same, kept, own, there, model.net[::2], strict=True):
        np.testing.assert_array_equal(before, alike)
        np.testing.assert_array_equal(places, theirs)
        assert (places != mine).any()
        np.testing.assert_array_equal(layer.weight.detach().numpy(), np.where(places, before, 0))
    assert sum(places.sum() for places in kept) == sum(places.sum() for places in own)


def test_a_mask_of_the_data_itself_is_that_without_transfer():
    given = {"ways": ["uniform"], "hidden": [1], "seeds": [1], "width": 8, "epochs": 1, "learning_rate": 0.02}
    [moved], [own] = transfer_errors("digits", ["digits"], **given), unsupervised_errors("digits", **given)
    assert moved.rates.settings == replace(own.rates.settings, prune_data="digits")
    assert (moved.rates.test, moved.rates.train) == (own.rates.test, own.rates.train)


def test_rows_are_by_depth_data_and_way(monkeypatch):
    """Of both data the one that has a folder is read there, and as many images of it as are asked for."""
    asked, digits = [], mnist_shaped("digits", images=40, seed=2)
    other = replace(digits, train_images=digits.train_images[:, :, ::-1].copy(), test_images=digits.test_images[:1])

    def shaped(name, folder=None, *, images=None, seed=0):
        asked.append((name, folder, images, seed))
        return {"digits": digits, "mnist": other}[name]

    monkeypatch.setattr("sao_cli.nets.experiments.transfer.mnist_shaped", shaped)
    given = {"hidden": [1, 2], "width": 4, "seeds": [2], "epochs": 0, "images": 30}
    rows = transfer_errors("digits", ["mnist"], "there", **given)
    told = [(row.way, len(row.rates.settings.hidden), row.rates.settings.prune_data) for row in rows]
    assert told == [(way, depth, "mnist") for depth in (1, 2) for way in ("labels", "uniform")]
    assert asked == [("digits", None, None, 2), ("mnist", "there", 30, 2)] * 4
    for row in rows:
        [begun] = Training(row.rates.settings, digits, prune_data=other, device="cpu").epochs()
        assert row.rates.test == pytest.approx((100 * (1 - begun.test_accuracy),))
