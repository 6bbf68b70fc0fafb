"""Error rates of small networks on digits: counted by hand, with equal kept counts, and of labels learnt by heart."""

from dataclasses import replace

import pytest
import torch

from sao_cli import SaoError
from sao_cli.nets import (
    Training,
    TrainingSettings,
    error_rates,
    lenet_errors,
    memorisation_errors,
    sculpted_errors,
)
from sao_cli.nets.training.data import load_data


def test_errors_are_counted_after_the_last_epoch():
    settings = TrainingSettings(widths=(10, 10), method="snip", sparsity=0.5, epochs=2, random_labels=True)
    rates = error_rates(settings, images=120, test_images=50, seeds=(3, 4))
    for place, seed in enumerate((3, 4)):
        own = replace(settings, seed=seed)
        data = load_data(own)
        first = replace(data, train_images=data.train_images[:120], train_labels=data.train_labels[:120])
        first = replace(first, test_images=data.test_images[:50], test_labels=data.test_labels[:50])
        training = Training(own, first, device="cpu")
        rows = list(training.epochs())
        assert rates.test[place] == pytest.approx(100 * (1 - rows[-1].test_accuracy))
        drawn = Training(own, first, device="cpu")._batches.all_train()  # with the labels that were learnt
        with torch.no_grad():
            wrong = [int((training.model(x).argmax(1) != y).sum()) for x, y in drawn]
        assert rates.train[place] == pytest.approx(100 * sum(wrong) / 120)
    assert (rates.weights, rates.kept, rates.biases) == (640 + 100 + 100, 420, 30)
    assert rates.settings.seed == 3


def test_without_seeds_there_is_no_rate():
    with pytest.raises(SaoError, match="no seeds"):
        error_rates(TrainingSettings(), seeds=())


@pytest.mark.parametrize(
    ("biases", "sum_of"), [(False, lambda row: row.kept), (True, lambda row: row.kept + row.biases)]
)
def test_sculpted_networks_are_of_one_size(biases, sum_of):
    told = {"data": "digits", "images": 50, "epochs": 0, "seeds": (0,), "biases": biases}
    rows = sculpted_errors((7, 5), [(30, 30), (7, 7, 7), (61,)], **told)
    assert [row.settings.hidden for row in rows] == [(7, 5), (30, 30), (7, 7, 7), (61,)]
    assert rows[0].kept == rows[0].weights == 64 * 7 + 7 * 5 + 5 * 10
    assert {sum_of(row) for row in rows} == {rows[0].kept + (rows[0].biases if biases else 0)}
    assert [row.biases for row in rows] == [22, 70, 31, 71]


@pytest.mark.parametrize(("grown", "biases"), [((6, 5), False), ((7, 5), False), ((600,), True)])
def test_networks_that_are_not_larger_are_refused(grown, biases):
    with pytest.raises(SaoError, match="can't be pruned to the size of 7x5"):
        sculpted_errors((7, 5), [grown], data="digits", biases=biases)


def test_a_dense_network_learns_random_labels_by_heart_and_a_thin_one_does_not():
    told = {"data": "digits", "images": 60, "epochs": 40, "learning_rate": 0.1, "seeds": (0,)}
    rows = memorisation_errors((0.0, 0.98), **told)
    assert [(row.settings.random_labels, row.kept) for row in rows] == [
        *[(True, 50200), (False, 50200)],
        *[(True, 1004), (False, 1004)],
    ]
    dense, dense_true, thin, thin_true = (row.train[0] for row in rows)
    assert dense == dense_true == 0
    assert thin > thin_true + 10


def test_lenets_are_scored_by_a_batch():
    dense, sparse = lenet_errors("lenet300", (0.0, 0.98), data="digits", epochs=0, seeds=(0,))
    assert (dense.kept, sparse.kept) == (dense.weights, round(0.02 * sparse.weights))
    assert (dense.settings.method, sparse.settings.prune_samples) == ("dense", 100)
    assert all(80 < one < 100 for one in (*dense.test, *sparse.train))
