"""Delta-orthogonal kernels: isometries by their centre alone, dense and on SAO masks; looks-linear ones are not."""

import numpy as np
import pytest

from sao_cli.base.errors import InfeasibleError, MemoryLimitError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.masks.sao import sao_mask
from sao_cli.weights.kernels.delta import delta_kernel
from sao_cli.weights.orthogonal import dense_orthogonal, sao_weight

from .operators import operator, singular_values


@pytest.mark.parametrize(("axes", "size", "image"), [(2, 3, 5), (2, 2, 4), (1, 5, 6), (3, (3, 1, 2), 3)])
@pytest.mark.parametrize(("c_out", "c_in", "degree"), [(4, 4, None), (2, 4, 2), (6, 3, 1), (3, 2, None)])
def test_every_shape_is_an_isometry_with_circular_padding(axes, size, image, c_out, c_in, degree):
    kernel = delta_kernel(c_out, c_in, size, axes=axes, degree=degree, seed=3)
    found = singular_values(operator(kernel.values, image))
    np.testing.assert_allclose(found, 1, rtol=0, atol=1e-13)
    assert kernel.mask == (sao_mask(c_out, c_in, degree, seed=3) if degree else Mask.from_dense(np.ones((c_out, c_in))))


def test_zero_padding_keeps_odd_kernels_isometric_and_shifts_an_edge_of_even_ones_out():
    odd, even = (singular_values(operator(delta_kernel(4, 4, k).values, 5, circular=False)) for k in (3, 4))
    np.testing.assert_allclose(odd, 1, rtol=0, atol=1e-13)
    np.testing.assert_allclose(even, np.repeat([1.0, 0.0], [4 * 4**2, 4 * (5**2 - 4**2)]), rtol=0, atol=1e-13)


def test_torch_multiplies_every_pixel_by_the_centre():
    torch = pytest.importorskip("torch")
    kernel = delta_kernel(4, 8, degree=4, seed=1, layer=2)
    image = torch.randn(1, 8, 5, 6, dtype=torch.float64, generator=torch.manual_seed(0))
    found = torch.nn.functional.conv2d(image, kernel.to_torch(), padding=1)[0].numpy()
    centre = sao_weight(4, 8, 4, seed=1, layer=2).to_dense()
    np.testing.assert_allclose(found, np.einsum("oi,ixy->oxy", centre, image[0].numpy()), atol=1e-14)
    np.testing.assert_array_equal(delta_kernel(5, 3, 4).values[:, :, 2, 2], dense_orthogonal(5, 3))


@pytest.mark.parametrize("degree", [None, 4])
def test_looks_linear_has_singular_values_two_and_zero(degree):
    kernel = delta_kernel(8, 16, degree=degree, looks_linear=True)
    found = singular_values(operator(kernel.values, 3, circular=False))
    np.testing.assert_allclose(found, np.repeat([2.0, 0.0], found.size // 2), atol=1e-13)
    facts = kernel.mask.provenance
    assert facts["looks_linear"]
    assert (facts["m"], facts["n"], facts["c"], facts["d"]) == ((8, 16, 8, 16) if degree is None else (8, 16, 2, 4))
    assert set(kernel.mask.row_degrees) == {degree or 16}
    half = kernel.values[:4, :8]
    rows = [np.concatenate([sign * half, -sign * half], axis=1) for sign in (1, -1)]
    np.testing.assert_array_equal(kernel.values, np.concatenate(rows))


def test_a_kernel_tells_where_it_came_from_and_repeats_from_its_seed():
    kernel = delta_kernel(8, 16, (3, 5), degree=4, seed=5, layer=2, arrangement="minimal")
    told = {"method": "sao", "m": 8, "n": 16, "c": 2, "d": 4, "seed": 5, "layer": 2}
    assert (told | {"scheme": "delta", "size": [3, 5]}).items() <= kernel.mask.provenance.items()
    assert kernel == delta_kernel(8, 16, (3, 5), degree=4, seed=5, layer=2, arrangement="minimal")
    assert kernel.mask == sao_mask(8, 16, 4, arrangement="minimal")
    assert len({delta_kernel(2, 2, seed=s, layer=n).values[0, 0, 1, 1] for s, n in [(0, 1), (0, 2), (1, 1)]}) == 3


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((0, 4), {}, InfeasibleError, "m = 0"),
        ((4, 4, 0), {}, SaoError, "size 0; a kernel has at least 1 tap"),
        ((4, 4, (3, 3)), {"axes": 1}, SaoError, r"size \(3, 3\) for 1 axes"),
        ((4, 4), {"axes": 4}, SaoError, "4 axes"),
        ((10, 10), {"degree": 4}, InfeasibleError, "nearest feasible"),
        ((10, 10), {"degree": 0}, InfeasibleError, "d = 0"),
        ((4, 6), {"looks_linear": True, "degree": 3}, SaoError, "d 3 is odd"),
        ((5, 6), {"looks_linear": True}, SaoError, "c_out 5 is odd"),
        ((4, 4), {"arrangement": "minimal"}, SaoError, "give a degree"),
        ((10**6, 10**6), {}, MemoryLimitError, "a kernel of 1000000 x 1000000 x 3 x 3 needs"),
        ((4, 4, 10**9), {}, MemoryLimitError, "fewer channels, taps"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(arguments, options, error, text):
    with pytest.raises(error, match=text) as told:
        delta_kernel(*arguments, **options)
    assert "\n" not in str(told.value)
