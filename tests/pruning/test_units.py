"""What pruning compares and drops as one."""

import numpy as np
import pytest

from sao_cli.base.errors import FormatError
from sao_cli.pruning.scores.magnitude import unit_magnitudes
from sao_cli.pruning.units import keep_units, largest_units


def test_kernels_without_a_number_left_have_magnitudes_too():
    np.testing.assert_array_equal(unit_magnitudes(np.zeros((4, 2, 3, 3))), np.zeros((4, 2)))


def test_magnitudes_neither_overflow_nor_vanish():
    kernel = np.zeros((1, 3, 2, 2))
    kernel[0, 0], kernel[0, 1, 0, 0] = 1e300, 1e-200
    np.testing.assert_allclose(unit_magnitudes(kernel)[0, :1], [1e300], rtol=1e-15)
    np.testing.assert_allclose(unit_magnitudes(kernel[:, 1:])[0], [5e-201, 0], rtol=1e-15)


def test_what_is_kept_keeps_its_dtype_and_whole_kernels():
    kernel = np.arange(1, 17, dtype=np.float16).reshape(2, 2, 2, 2)
    pruned = keep_units(kernel, largest_units(unit_magnitudes(kernel), 1))
    assert pruned.dtype == np.float16
    np.testing.assert_array_equal(pruned[1, 1], kernel[1, 1])
    assert np.count_nonzero(pruned) == 4


@pytest.mark.parametrize("weight", [np.ones(3), np.ones((2, 0)), np.ones((2, 2), bool), np.array([[1.0, np.nan]])])
def test_no_weight_is_refused_in_one_line(weight):
    with pytest.raises(FormatError, match="shape"):
        unit_magnitudes(weight)
