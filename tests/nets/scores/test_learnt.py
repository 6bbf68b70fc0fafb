"""Scores of a network that has learnt its samples: a warning, and how far two halves of the samples agree."""

import warnings

import pytest
import torch
from torch import nn

from sao_cli.base.errors import SaoWarning
from sao_cli.nets.scores import force, grasp, iter_snip, keep, snip
from sao_cli.nets.training.data import load_data
from sao_cli.nets.training.settings import TrainingSettings


@pytest.fixture(scope="module")
def samples():
    data = load_data(TrainingSettings())
    x = torch.from_numpy(data.train_images).double().flatten(1)
    return (x - x.mean()) / x.std(), torch.from_numpy(data.train_labels)


@pytest.fixture(scope="module")
def networks(samples):
    """One before it has learnt the digits, and after."""
    made = []
    for steps in (0, 150):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).double()
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        x, y = samples
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        made.append(net)
    return made


def agreement(net, samples):
    """The share of the union of two masks, by halves of the samples, that both keep."""
    halves = [[(one[part::2]) for one in samples] for part in (0, 1)]
    one, two = (torch.cat([mask.flatten() for mask in keep(snip(net, tuple(half)), 0.9).values()]) for half in halves)
    return float((one & two).sum() / (one | two).sum())


def test_scores_of_what_is_learnt_are_noise_and_say_so(networks, samples):
    fresh, learnt = networks
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = agreement(fresh, samples)
        grasp(learnt, samples)  # whose temperature keeps the loss near a guess's
    with pytest.warns(SaoWarning, match="the network has learnt them, so that snip's scores are mostly noise"):
        after = agreement(learnt, samples)
    assert after < before - 0.15


@pytest.mark.parametrize(
    ("score", "given"), [(grasp, {"temperature": 1.0}), (iter_snip, {"sparsity": 0.9, "rounds": 2})]
)
def test_other_scores_of_what_is_learnt_say_so(networks, samples, score, given):
    with pytest.warns(SaoWarning, match="score the network as it was before training"):
        score(networks[1], samples, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(networks[0], samples, **given)


def test_labels_that_nothing_has_learnt_do_not(networks, samples):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        snip(networks[1], samples, labels="uniform")
        snip(networks[1], samples, labels="logits")
        force(networks[1], samples, labels="random", sparsity=0.9, rounds=2)
    assert not told
