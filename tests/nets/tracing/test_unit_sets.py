"""Sets of bits that go through a network side by side: those that are equal go on once, and none is lost."""

import torch

from sao_cli.nets.tracing.unit_sets import Sets


def test_equal_sets_go_on_once():
    rows = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 0, 1], [1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    other = torch.ones(6, 2, 2, dtype=torch.bool)
    sets = Sets({3: rows, 5: other})
    sets.merge()
    assert sets.count == 3
    assert sets.bits[5].shape == (3, 2, 2)
    assert torch.equal(sets.of_all(sets.bits[3]), rows)
    sets.bits[3] = torch.zeros_like(sets.bits[3])
    sets.merge()
    assert sets.count == 1
    assert torch.equal(sets.of_all(sets.bits[5]), other)


def test_sets_that_differ_in_one_value_stay_apart():
    same, apart = torch.ones(4, 3, dtype=torch.bool), torch.eye(4, dtype=torch.bool)
    sets = Sets({0: same, 1: apart})
    sets.merge()
    assert sets.count == 4
    assert torch.equal(sets.of_all(sets.bits[1]), apart)
