"""Rounds that read other samples each: by hand, by scores of one batch after another."""

import copy

import pytest
import torch
from torch import nn

from sao_cli.base.errors import SaoError
from sao_cli.nets.scores import force, iter_snip, keep, shuffled_batches, snip
from sao_cli.pruning.selection import kept_in_round

from .known_networks import batch_a, net_a

SCORES = {"itersnip": iter_snip, "force": force}


class Noting(nn.Module):
    """A network that notes the first number of each batch that it reads."""

    def __init__(self):
        super().__init__()
        self.net = net_a()

    def forward(self, x):
        SEEN.append(float(x[0, 0]))
        return self.net(x)


SEEN = []


def batches(size, seed=0):
    return shuffled_batches(*batch_a(), size, seed)


def read_in_turn(score, rounds, size, seed=0):
    SEEN.clear()
    score(Noting(), batches(size, seed), sparsity=0.5, rounds=rounds, seed=seed, fresh_batches=True)
    return SEEN[:rounds]


def test_samples_are_cut_into_batches_by_the_seed():
    x, y = batch_a()
    found = batches(3)
    assert [len(one) for _, one in found] == [3, 3, 2]
    order = [int((x == row).all(dim=1).nonzero()) for part, _ in found for row in part]
    assert sorted(order) == list(range(8)) != order
    assert torch.equal(torch.cat([one for _, one in found]), y[order])
    assert all(torch.equal(*pair) for one in zip(found, batches(3), strict=True) for pair in zip(*one, strict=True))
    assert not torch.equal(found[0][0], batches(3, seed=1)[0][0])
    with pytest.raises(SaoError, match="batches of 0 samples: a round reads one at least"):
        batches(0)


@pytest.mark.parametrize("method", SCORES)
def test_all_batches_are_read_before_one_comes_again(method):
    turns = read_in_turn(SCORES[method], 8, 2)
    assert len(set(turns[:4])) == len(set(turns[4:])) == 4
    assert turns == read_in_turn(SCORES[method], 8, 2) != read_in_turn(SCORES[method], 8, 2, seed=1)


@pytest.mark.parametrize("method", SCORES)
def test_two_rounds_by_hand(method):
    cut = batches(2)
    first, second = (next(one for one in cut if float(one[0][0, 0]) == x) for x in read_in_turn(SCORES[method], 2, 2))
    size = sum(one.numel() for one in net_a().parameters())
    masks = keep(snip(net_a(), [first]), 1 - kept_in_round(size, 0.5, 1, 2) / size)
    left = copy.deepcopy(net_a())
    with torch.no_grad():
        for parameter, mask in zip(left.parameters(), masks.values(), strict=True):
            parameter.mul_(mask)
    if method == "force":  # of all weights, by the gradient of what is left
        loss = nn.functional.cross_entropy(left(second[0]), second[1])
        parts = torch.autograd.grad(loss, list(left.parameters()))
        scores = dict(
            zip(masks, [(w * g).abs() for w, g in zip(net_a().parameters(), parts, strict=True)], strict=True)
        )
    else:
        scores = snip(left, [second])
    found = SCORES[method](net_a(), cut, sparsity=0.5, rounds=2, fresh_batches=True)
    wanted = keep({name: one.detach() for name, one in scores.items()}, 0.5)
    assert all(torch.equal(found.facts.masks[name], wanted[name]) for name in wanted)
    assert found.facts.samples == 8
