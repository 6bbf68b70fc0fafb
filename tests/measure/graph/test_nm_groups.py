"""Which N:M pattern a mask has, against counting in dense arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli import audit_weight, expansion
from sao_cli.base.errors import SaoError
from sao_cli.data.mask import Mask
from sao_cli.data.nm_pattern import NMPattern
from sao_cli.measure.graph import nm_groups
from sao_cli.measure.graph.nm_groups import has_pattern, most_by_group, most_in_dense, most_in_groups, nm_facts


def counted(dense, of):
    """The same by windows, one group at a time."""
    return max(int(dense[:, start : start + of].sum(axis=1).max()) for start in range(0, dense.shape[1], of))


@settings(max_examples=40)
@given(
    st.integers(1, 12), st.sampled_from([1, 3, 4, 8, 12, 32]), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(0, 99)
)
def test_the_most_ones_of_a_group(m, n, density, seed):
    dense = np.random.default_rng(seed).random((m, n)) < density
    expected = {of: counted(dense, of) for of in (2, 4, 8, 16, 32) if n % of == 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nm_groups, "_PIECE", 8)
        assert most_by_group(Mask.from_dense(dense)) == expected
        assert most_in_dense(dense * -2.0) == expected
    for of in (3, 4, 12):
        assert has_pattern(Mask.from_dense(dense), NMPattern(1, of)) is (n % of == 0 and counted(dense, of) <= 1)


def test_a_kernel_s_groups_are_of_channels_at_each_tap():
    kernel = np.zeros((2, 4, 3))
    kernel[0, :2, 0] = kernel[0, 2:, 1] = 1  # four channels are live, two at each tap
    assert most_in_dense(kernel) == {2: 2, 4: 2}
    row = audit_weight(kernel, name="conv")
    assert (row.nm, row.ones_of_4) == ("2:4", 2)


def test_the_sparsest_pattern_is_told():
    assert nm_facts({2: 1, 4: 2}) == {"nm": "1:2", "ones_of_4": 2}
    assert nm_facts({2: 2, 4: 3, 8: 5}) == {"nm": "5:8", "ones_of_4": 3}
    assert nm_facts(most_by_group(Mask.from_dense(np.zeros((2, 8))))) == {"nm": None, "ones_of_4": 0}
    assert most_in_groups(Mask.from_dense(np.zeros((2, 8))), 4) == 0


def test_rows_tell_it():
    dense = np.array([[1.0, 2.0, 0, 0, 0, 3.0, 0, 4.0], [0, 0, 0, 0, 0, 0, 5.0, 0]])
    row = audit_weight(dense, name="a")
    assert (row.nm, row.ones_of_4) == ("2:4", 2)
    assert audit_weight(np.ones((2, 8)), name="full").ones_of_4 == 4
    found = expansion(dense != 0, criterion="2:4")
    assert (found.holds, found.criterion, found.nm, found.ones_of_4) == (True, "2:4", "2:4", 2)
    assert expansion(dense != 0, criterion="1:4").holds is False
    assert expansion(dense != 0, criterion="2:3").holds is False  # 3 does not divide 8
    with pytest.raises(SaoError, match="or a pattern N:M, as in 2:4"):
        expansion(dense, criterion="2-4")
