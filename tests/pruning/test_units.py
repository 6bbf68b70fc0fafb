"""What pruning compares and drops as one, and the global threshold against a plain sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, InfeasibleError
from sao_cli.pruning import units
from sao_cli.pruning.scores.magnitude import unit_magnitudes
from sao_cli.pruning.units import global_threshold, keep_units, largest_units


def kept_by_sorting(magnitudes, count):
    """Flat places, counted through all weights, of the `count` largest; of equal ones the first."""
    flat = np.concatenate([one.reshape(-1) for one in magnitudes])
    return np.sort(np.argsort(-flat, kind="stable")[:count])


def kept_by_threshold(magnitudes, count):
    found = global_threshold([lambda one=one: one for one in magnitudes], [1] * len(magnitudes), count)
    dense = [found.mask(number, one).to_dense().reshape(-1) for number, one in enumerate(magnitudes)]
    return np.flatnonzero(np.concatenate(dense))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**20),
    levels=st.sampled_from([1, 3, 10**6]),
    held=st.sampled_from([1, 20, 2**21]),
    share=st.floats(0.01, 1),
)
def test_the_global_threshold_keeps_what_a_stable_sort_keeps(seed, levels, held, share):
    rng = np.random.default_rng(seed)
    magnitudes = [rng.integers(0, levels, shape) / levels for shape in ((3, 5), (1, 1), (8, 4))]
    count = max(1, round(share * 48))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "HELD", held)
        patch.setattr(units, "SHIFTS", (52, 42, 31, 20, 10, 0))  # small histograms, so that the test is quick
        np.testing.assert_array_equal(kept_by_threshold(magnitudes, count), kept_by_sorting(magnitudes, count))


def test_the_threshold_tells_neighbouring_floats_apart_and_reads_twice():
    magnitudes = np.array([[1.0, np.nextafter(1, 2), np.nextafter(1, 0), 5e-324, 0.0]])
    calls = []
    found = global_threshold([lambda: calls.append(1) or magnitudes], [1], 1)
    assert found.magnitude == np.nextafter(1, 2)
    assert len(calls) == 2
    assert global_threshold([lambda: magnitudes], [1], 4).magnitude == 5e-324
    assert global_threshold([lambda: magnitudes], [1], 5).ties == (1,)


def test_kernels_without_a_number_left_have_magnitudes_too():
    np.testing.assert_array_equal(unit_magnitudes(np.zeros((4, 2, 3, 3))), np.zeros((4, 2)))


def test_a_kernel_counts_as_many_numbers_as_it_has_taps():
    matrix, kernel = np.array([[4.0, 3.0, 1.0]]), np.array([[3.0, 3.0, 2.0]])
    found = global_threshold([lambda: kernel, lambda: matrix], [9, 1], 11)
    assert found.magnitude == 3.0
    assert found.ties == (1, 1)  # 4 (1 number), the first kernel of 3 (9), and 3 (1): the second kernel does not fit
    assert found.mask(0, kernel).to_dense().tolist() == [[True, False, False]]
    assert found.mask(1, matrix).to_dense().tolist() == [[True, True, False]]


@pytest.mark.parametrize("count", [0, 7])
def test_more_than_all_and_less_than_one_can_not_be_kept(count):
    with pytest.raises(InfeasibleError, match=f"6 weights keeps {count}"):
        global_threshold([lambda: np.ones((2, 3))], [1], count)


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
