"""The rows of a largest matching, beside a search of all matchings."""

from functools import cache

import numpy as np
import pytest

from sao_cli.data.mask import Mask
from sao_cli.measure.graph.matching import matched_rows


def largest_matching(dense):
    """The size of the largest matching, by trying every column for every row."""

    @cache
    def most(row, free):
        if row == len(dense):
            return 0
        tries = [1 + most(row + 1, free - {column}) for column in np.flatnonzero(dense[row]).tolist() if column in free]
        return max([most(row + 1, free), *tries])

    return most(0, frozenset(range(dense.shape[1])))


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (5, 3), (6, 6), (7, 6)])
@pytest.mark.parametrize("density", [0.1, 0.3, 0.6])
def test_as_many_rows_as_the_largest_matching_has(shape, density):
    rng = np.random.default_rng(0)
    for dense in rng.random((5, *shape)) < density:
        mask = Mask.from_dense(dense)
        matched = matched_rows(mask.to_scipy())  # whose arrays are read-only
        assert matched.sum() == largest_matching(dense)
        assert not matched[mask.row_degrees == 0].any()
        assert largest_matching(dense[matched]) == matched.sum()
