"""What the first layer keeps, pixel by pixel and class by class, against gradients and a sorting by hand."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from sao_cli import SaoError
from sao_cli.io.datasets.samples import load_samples
from sao_cli.nets import FNN, first_layer_counts, initialise_by_


@pytest.mark.parametrize("label", [None, 3])
def test_counts_are_those_of_the_filtered_batch_by_hand(label):
    rows = first_layer_counts("digits", sparsity=0.8, widths=(12, 6), samples=200, seed=1)
    (row,) = [one for one in rows if one.label == label]
    samples = load_samples("digits", count=200, seed=1)
    chosen = samples.y == label if label is not None else np.ones(200, dtype=bool)
    model = FNN(1, [64, 12, 6, 10], method="dense", dense_ends=False, activation="relu", dtype=torch.float64)
    initialise_by_(model, "vs-l", seed=1)
    scored = model(torch.from_numpy(samples.flat[chosen]))
    cross_entropy(scored, torch.from_numpy(samples.y[chosen])).backward()
    weights = [one for one in model.parameters() if one.ndim == 2]
    scores = np.concatenate([(one * one.grad).abs().detach().numpy().ravel() for one in weights])
    largest = np.argsort(-scores, kind="stable")[: round(0.2 * scores.size)]
    counts = np.bincount(largest[largest < 12 * 64] % 64, minlength=64).reshape(8, 8)
    np.testing.assert_array_equal(row.counts, counts)
    assert (row.samples, row.outputs, row.total) == (chosen.sum(), 12, len(largest))
    assert row.kept == counts.sum()


def test_every_class_has_a_row_and_its_own_mask():
    everything, *classes = first_layer_counts("digits", sparsity=0.9, samples=150, method="grasp", widths=(20,))
    assert everything.label is None
    assert [one.label for one in classes] == list(range(10))
    assert sum(one.samples for one in classes) == everything.samples == 150
    assert {one.total for one in (everything, *classes)} == {round(0.1 * 74 * 20)}
    assert len({one.counts.tobytes() for one in (everything, *classes)}) == 11


def test_scores_without_samples_have_no_classes():
    with pytest.raises(SaoError, match="unknown method 'synflow'"):
        first_layer_counts("digits", method="synflow")
