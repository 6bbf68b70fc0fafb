"""Effective weights of stacks: against every path, one by one, and against torch's own run."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from sao_cli import Network, effective_weights
from sao_cli.base.errors import FormatError
from sao_cli.models.audit.chains import effective_counts
from sao_cli.models.audit.connections import Pattern
from sao_cli.models.audit.row import audit_weight

SIZES = [(4, 3, 5, 2), (3, 3, 3), (2, 6, 1, 4), (5, 2)]


def draws():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sizes = SIZES[seed % len(SIZES)]
        yield [rng.random((m, n)) < rng.uniform(0.1, 0.7) for n, m in itertools.pairwise(sizes)]


def by_paths(masks):
    """Each weight that some path, of all sequences of units, goes through."""
    found = [np.zeros_like(mask) for mask in masks]
    for units in itertools.product(*(range(mask.shape[1]) for mask in masks), range(len(masks[-1]))):
        steps = list(itertools.pairwise(units))
        if all(mask[after, before] for mask, (before, after) in zip(masks, steps, strict=True)):
            for layer, (before, after) in zip(found, steps, strict=True):
                layer[after, before] = True
    return found


def test_a_weight_is_effective_where_some_path_goes_through_it():
    for masks in draws():
        for found, expected in zip(effective_weights(masks), by_paths(masks), strict=True):
            assert found.dtype == bool
            assert np.array_equal(found, expected)


def test_the_network_as_it_ran_says_the_same():
    for masks in itertools.islice(draws(), 12):
        layers = [nn.Linear(*mask.shape[::-1], bias=False) for mask in masks]
        with torch.no_grad():
            for layer, mask in zip(layers, masks, strict=True):
                layer.weight.copy_(torch.from_numpy(mask.astype(np.float32)))
        net = nn.Sequential(*itertools.chain.from_iterable((layer, nn.Tanh()) for layer in layers))
        network = Network.from_module(net, torch.ones(1, masks[0].shape[1]))
        for number, found in enumerate(effective_weights(masks)):
            assert np.array_equal(network.effective(f"{2 * number}.weight"), found)


def test_the_hand_made_case():
    masks = [[[1, 0, 0], [0, 1, 0], [0, 0, 0]], [[1, 0, 1], [0, 0, 0]], [[1, 0], [0, 1]]]
    assert [int(layer.sum()) for layer in effective_weights(masks)] == [1, 1, 1]


def test_no_layer_is_empty_and_nothing_is_effective():
    """Net A, 6-5-4-3, of which SNIP keeps two weights of each layer at 90 %."""
    places, masks, start = {13, 15, 39, 49, 60, 61}, [], 0
    for m, n in ((5, 6), (4, 5), (3, 4)):
        masks.append(np.isin(np.arange(start, start + m * n), list(places)).reshape(m, n))
        start += m * n
    assert [int(mask.sum()) for mask in masks] == [2, 2, 2]
    assert [int(layer.sum()) for layer in effective_weights(masks)] == [0, 0, 0]


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_a_pattern_counts_as_its_mask_does(density):
    rng = np.random.default_rng(3)
    dense = rng.random((40, 56)) < density
    pattern = Pattern.of_dense(dense)
    reads, writes = rng.random(56) < 0.1, rng.random(40) < 0.5
    assert np.array_equal(pattern.written(reads), (dense & reads).any(1))
    assert np.array_equal(pattern.read(writes), (dense & writes[:, None]).any(0))
    assert pattern.between(reads, writes) == (dense & reads & writes[:, None]).sum()


def test_kernels_have_no_count_since_taps_may_read_padding_alone():
    rows = [audit_weight(np.ones((2, 2, 3, 3)), name="conv"), audit_weight(np.ones((3, 2)), name="fc")]
    assert effective_counts(rows) is None
    assert effective_counts(rows[1:]) == [6]


def test_widths_that_do_not_chain():
    with pytest.raises(FormatError, match="layer 2 reads 2 inputs"):
        effective_weights([np.ones((3, 3)), np.ones((2, 2))])
