"""SOC kernels: the series of a skew convolution, all singular values within its bound of 1."""

import math

import numpy as np
import pytest

from sao_cli.base.errors import InfeasibleError, MemoryLimitError, SaoError
from sao_cli.masks.sao import sao_mask
from sao_cli.weights.kernels.soc import skew_norm, soc_error_bound, soc_kernel

from .operators import operator, singular_values


def series(matrix, terms):
    powers = [np.eye(len(matrix))]
    for j in range(1, terms):
        powers.append(powers[-1] @ matrix / j)
    return sum(powers)


def skew_part(*arguments, **options):
    """L itself: two terms of the series less the identity."""
    kernel = soc_kernel(*arguments, terms=2, **options)
    values = kernel.values.copy()
    channels = range(len(values))
    values[(channels, channels, *(k // 2 for k in kernel.size))] -= 1
    return values


@pytest.mark.parametrize(
    ("c_out", "c_in", "degree"), [(4, 4, None), (2, 4, None), (4, 2, None), (6, 6, 3), (6, 2, 2), (3, 6, 1)]
)
@pytest.mark.parametrize(("axes", "size", "image", "terms", "scale"), [(2, 3, 6, 3, 1.0), (1, 5, 7, 6, 2.0)])
def test_singular_values_are_within_the_bound_of_one(axes, size, image, terms, scale, c_out, c_in, degree):
    kernel = soc_kernel(c_out, c_in, size, axes=axes, degree=degree, terms=terms, scale=scale)
    error = abs(singular_values(operator(kernel.values, image)) - 1).max()
    bound = soc_error_bound(scale, terms)
    assert bound == pytest.approx(scale**terms / math.factorial(terms))
    assert kernel.mask.provenance["error_bound"] == bound
    assert 0 < error <= bound


def test_twelve_terms_are_orthogonal_to_nine_digits():
    kernel = soc_kernel(3, 3, (1, 3, 1), axes=3)
    assert kernel.size == (1, 23, 1)
    np.testing.assert_allclose(singular_values(operator(kernel.values, 3)), 1, rtol=0, atol=2.1e-9)


@pytest.mark.parametrize(("axes", "size", "image", "terms"), [(2, 3, 4, 6), (1, 5, 20, 4), (2, (1, 3), 5, 1)])
def test_the_kernel_is_the_series_of_its_skew_convolution(axes, size, image, terms):
    skew = operator(skew_part(3, 3, size, axes=axes), image)
    np.testing.assert_allclose(skew, -skew.T, atol=1e-15)
    kernel = soc_kernel(3, 3, size, axes=axes, terms=terms)
    np.testing.assert_allclose(operator(kernel.values, image), series(skew, terms), atol=1e-14)


def test_repeated_with_zero_padding_the_series_is_within_the_bound_too():
    skew = operator(skew_part(4, 4, scale=1.2), 6, circular=False)
    assert abs(singular_values(series(skew, 4)) - 1).max() <= soc_error_bound(1.2, 4)
    once = operator(soc_kernel(4, 4, scale=1.2, terms=4).values, 6, circular=False)
    assert abs(singular_values(once) - 1).max() > 0.1  # as one kernel it looks past the border


@pytest.mark.parametrize(("axes", "size", "image"), [(1, 3, 101), (1, 7, 60), (2, 3, 12)])
def test_the_norm_is_bounded_and_the_bound_tight(axes, size, image):
    rng = np.random.default_rng(5)
    for _ in range(10):
        drawn = rng.standard_normal((*(size,) * axes, 2, 2))
        skew = drawn - np.flip(drawn, axis=tuple(range(axes))).swapaxes(-1, -2)
        norm = singular_values(operator(np.moveaxis(skew, (-2, -1), (0, 1)), image))[0]
        [bound] = skew_norm(skew[..., None, :, :])
        coarse = np.cos(np.pi / 12) * np.cos(np.pi * (size // 2) / image)  # the grid's own, and this image's
        assert norm <= bound <= norm / coarse**axes


@pytest.mark.parametrize("phase", np.linspace(0, np.pi / 12, 7))
def test_a_largest_value_between_the_points_of_the_grid_is_counted(phase):
    """L(t) has the singular values 2 |cos(2 t +- phase)|, of which a grid that begins at 0 may miss the 2."""
    turn, one = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(2)
    skew = np.zeros((5, 1, 2, 2))
    skew[4, 0], skew[0, 0] = (np.cos(phase) * turn + sign * np.sin(phase) * one for sign in (1, -1))
    assert 2 - 1e-12 <= skew_norm(skew)[0] <= 2 / np.cos(np.pi / 12) + 1e-12


@pytest.mark.parametrize(("c_out", "c_in"), [(12, 12), (6, 12), (12, 4)])
def test_a_degree_couples_cliques_on_the_sao_mask(c_out, c_in):
    kernel = soc_kernel(c_out, c_in, degree=3, terms=3, seed=4, layer=2)
    square = sao_mask(12, 12, 3, seed=4, layer=2).to_dense()
    np.testing.assert_array_equal(kernel.mask.to_dense(), square[:c_out, :c_in])
    assert kernel.mask.nnz * 12 == 3 * c_out * c_in
    told = {"method": "sao", "scheme": "soc", "size": [5, 5], "skew_size": [3, 3], "terms": 3, "scale": 1.0}
    assert told.items() <= kernel.mask.provenance.items()


def test_same_seed_same_kernel_and_cliques_have_their_own_numbers():
    kernel = soc_kernel(8, 8, degree=2, terms=3, seed=1)
    assert kernel == soc_kernel(8, 8, degree=2, terms=3, seed=1)
    corner = kernel.values[kernel.mask.to_dense()][:, 0, 0]
    assert len(np.unique(corner)) == 16
    assert not np.array_equal(kernel.values, soc_kernel(8, 8, degree=2, terms=3, seed=1, layer=2).values)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((4, 4, 2), {}, SaoError, "size 2 is even"),
        ((4, 4), {"terms": 0}, SaoError, "terms 0"),
        ((4, 4), {"scale": 0.0}, SaoError, "scale 0.0"),
        ((4, 4), {"scale": math.nan}, SaoError, "scale nan"),
        ((4, 4), {"scale": 11.0}, SaoError, "above 10"),
        ((4, 4), {"scale": 5.0, "terms": 4}, SaoError, "error bound 26; take 23 terms"),
        ((4, 6), {"degree": 4}, InfeasibleError, "nearest feasible"),
        ((4, -6), {}, InfeasibleError, "n = -6"),
        ((64, 64), {"terms": 10**6}, MemoryLimitError, "or terms"),
        ((10**5, 8), {}, MemoryLimitError, "a kernel of 100000 x 8 x 23 x 23"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(arguments, options, error, text):
    with pytest.raises(error, match=text) as told:
        soc_kernel(*arguments, **options)
    assert "\n" not in str(told.value)
