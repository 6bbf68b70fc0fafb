"""N:M masks: exactly N ones in each group, at random places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli import mask_stack, weight_stack
from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.data.nm_pattern import NMPattern
from sao_cli.masks import nm
from sao_cli.masks.nm import nm_mask


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(2, 8), st.data())
def test_each_group_of_a_row_has_as_many_ones(m, groups, of, data):
    kept = data.draw(st.integers(1, of - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nm, "BLOCK", data.draw(st.sampled_from([1, 4_000_000])))
        mask = nm_mask(m, groups * of, 0, pattern=NMPattern(kept, of))
    assert (mask.to_dense().reshape(m, groups, of).sum(axis=2) == kept).all()
    assert mask.provenance["pattern"] == f"{kept}:{of}"


def test_every_choice_of_places_is_equally_likely():
    rows = nm_mask(24_000, 4, 2, pattern=NMPattern(2, 4)).to_dense()
    counts = np.unique(rows, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert np.abs(counts / 4000 - 1).max() < 5 / np.sqrt(4000)


def test_a_stack_has_the_pattern_in_every_layer():
    masks = mask_stack([8, 16, 12], method="nm", pattern="1:4")
    assert [mask.row_degrees.tolist() for mask in masks] == [[2] * 16, [4] * 12]
    assert [mask.provenance["pattern"] for mask in mask_stack([8, 16, 12], method="nm")] == ["2:4"] * 2
    assert [mask.provenance["pattern"] for mask in mask_stack([8, 16, 12], method="nm", d=4)] == ["1:2", "1:4"]
    assert nm_mask(3, 6, 6).nnz == 18
    [block] = weight_stack([16, 16], method="nm", looks_linear=True)
    assert (block.to_dense()[:8, :8].reshape(8, 2, 4) != 0).sum(axis=2).max() == 2


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"method": "nm", "pattern": "2:5"}, InfeasibleError, "5 does not divide its 8 inputs"),
        ({"method": "nm", "pattern": "2:4", "d": 2}, SaoError, "fixes the degrees of all layers; leave out d"),
        ({"method": "sao", "pattern": "2:4"}, SaoError, "is of method 'nm', and method 'sao' has none"),
        ({"method": "nm", "pattern": "4:2"}, SaoError, "is no N:M pattern"),
    ],
)
def test_what_can_t_be(asked, error, said):
    with pytest.raises(error, match=said):
        mask_stack([8, 8], **asked)
    with pytest.raises(error, match=said):
        weight_stack([8, 8], **asked)
