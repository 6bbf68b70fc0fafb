"""The table of variances, against the numbers that Lee et al. (ICLR 2020) show, and by numpy."""

import numpy as np
import pytest
import torch

from sao_cli import SaoError
from sao_cli.nets import digits_like_mnist, variance_row, variance_table
from sao_cli.nets.experiments import initial_variance
from sao_cli.nets.experiments.initial_variance import tanh_network

SLIDES = {1e-4: 2.46e-7, 1e-2: 4.49e-1}  # gamma: mean
SPARSITY = (0.97, 0.80, 0.80, 0.80, 0.80, 0.81, 0.48)  # by layer, at gamma 1e-4


def test_means_and_sparsity_by_layer_are_those_of_the_slides():
    """Medians over five fixed draws: from one draw to another the means differ by 5 %."""
    rows = variance_table(*digits_like_mnist(100), gammas=tuple(SLIDES))
    for row in rows:
        assert row.mean == pytest.approx(SLIDES[row.gamma], rel=0.06)
    assert rows[0].sparsity == pytest.approx(SPARSITY, abs=0.04)
    assert rows[0].condition_pooled == pytest.approx(4.66, rel=0.1)


def test_gaussian_inputs_are_as_good():
    """So that the table is of the weights, and not of the images."""
    drawn = torch.Generator().manual_seed(0)
    x, y = torch.randn(300, 784, generator=drawn, dtype=torch.float64), torch.randint(10, (300,), generator=drawn)
    for row in variance_table(x, y, gammas=tuple(SLIDES), jacobian_samples=50, seeds=(0, 1, 2)):
        assert row.mean == pytest.approx(SLIDES[row.gamma], rel=0.06)
        assert row.sparsity == pytest.approx(SPARSITY, abs=0.05)


def test_at_a_variance_of_a_tenth_samples_decide_what_stays_of_the_last_layers():
    """Gradients of early layers are large and differ from sample to sample, so that their mean falls with the count."""
    x, y = digits_like_mnist()
    few, many = (variance_row(x[:count], y[:count], 0.1, jacobian_samples=1) for count in (100, None))
    assert few.sparsity[-1] > many.sparsity[-1] + 0.1
    assert few.sparsity[0] < many.sparsity[0]
    assert few.mean == many.mean  # of one sample on both sides


def test_samples_are_scored_in_batches_that_change_nothing(monkeypatch):
    x, y = digits_like_mnist(50)
    whole = variance_row(x, y, 0.01)
    monkeypatch.setattr(initial_variance, "_BATCH", 7)
    assert variance_row(x, y, 0.01).sparsity == whole.sparsity


def test_a_row_by_numpy():
    """The Jacobians as products of D W, and the gradients by hand, layer by layer from the last one."""
    x, y = digits_like_mnist(30)
    row = variance_row(x, y, 0.01, seed=2)
    weights = [one.detach().numpy() for one in tanh_network(784, 10, 0.01, 6, 100, seed=2).parameters() if one.ndim > 1]
    assert len(weights) == 7
    values, scores = [], [np.zeros_like(one) for one in weights]
    for point, label in zip(x.numpy(), y.numpy(), strict=True):
        reads, jacobian = [point], np.eye(784)
        for number, weight in enumerate(weights):
            z = weight @ reads[-1]
            reads.append(np.tanh(z) if number < 6 else z)
            jacobian = weight @ jacobian * (1 - np.tanh(z) ** 2 if number < 6 else np.ones(10))[:, None]
        values.append(np.linalg.svd(jacobian, compute_uv=False))
        softmax = np.exp(reads[-1]) / np.exp(reads[-1]).sum()
        back = softmax - np.eye(10)[label]
        for number in reversed(range(7)):
            scores[number] += np.outer(back, reads[number])
            back = weights[number].T @ back * (1 - reads[number] ** 2)
    scores = [np.abs(weight * one) for weight, one in zip(weights, scores, strict=True)]
    flat = np.sort(np.concatenate([one.ravel() for one in scores]))
    threshold = flat[-round(0.1 * len(flat))]
    assert row.sparsity == pytest.approx([(one < threshold).mean() for one in scores], abs=1e-12)
    assert row.mean == pytest.approx(np.mean(values), rel=1e-10)
    assert row.std == pytest.approx(np.std(values), rel=1e-10)
    assert row.condition_pooled == pytest.approx(np.max(values) / np.min(values), rel=1e-9)


def test_what_has_no_table_is_told():
    samples = torch.ones(2, 4, dtype=torch.float64), torch.tensor([0, 1])
    with pytest.raises(SaoError, match="no seeds: a median is of one network at least"):
        variance_table(*samples, seeds=())
    with pytest.raises(SaoError, match="gamma"):
        variance_row(*samples, -1.0)
