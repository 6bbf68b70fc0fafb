"""ECO kernels: isometries as dilated circular convolutions where k meets the image, on one mask for all slices."""

import numpy as np
import pytest

from sao_cli.base.errors import InfeasibleError, MemoryLimitError, SaoError
from sao_cli.masks.sao import sao_mask
from sao_cli.weights.kernels.eco import eco_kernel

from .operators import operator, singular_values

CHANNELS = [(4, 4, None), (2, 4, None), (8, 4, None), (4, 4, 2), (2, 4, 2), (6, 4, 3)]
IMAGES = [  # axes, k, n, dilation
    (2, 3, 6, 2),
    (2, 2, 6, 3),
    (2, 3, 1, 1),
    (2, 1, 4, 1),
    (2, (3, 1), 3, 1),
    (1, 4, 12, 3),
    (1, 6, 9, 3),  # n divides k dilation, and is not it
    (3, 2, 2, 1),
]


@pytest.mark.parametrize(("c_out", "c_in", "degree"), CHANNELS)
@pytest.mark.parametrize(("axes", "size", "image", "dilation"), IMAGES)
def test_every_shape_is_an_isometry_where_the_image_divides_the_dilated_size(
    axes, size, image, dilation, c_out, c_in, degree
):
    kernel = eco_kernel(c_out, c_in, size, axes=axes, degree=degree, seed=1)
    found = singular_values(operator(kernel.values, image, dilation=dilation))
    np.testing.assert_allclose(found, 1, rtol=0, atol=1e-13)


def test_elsewhere_the_singular_values_spread():
    kernel = eco_kernel(4, 4)
    for image, dilation, circular in ((7, 2, True), (8, 3, True), (6, 2, False)):
        found = singular_values(operator(kernel.values, image, dilation=dilation, circular=circular))
        assert found[0] > 1.2
        assert found[-1] < 0.8


@pytest.mark.parametrize(("size", "axes", "count"), [(3, 2, 5), (4, 2, 10), (5, 2, 13), (3, 3, 14), (2, 3, 8)])
def test_the_slices_are_independent_but_for_the_pairs_that_make_the_kernel_real(size, axes, count):
    kernel = eco_kernel(3, 3, size, axes=axes)
    centred = np.roll(kernel.values, [-(size // 2)] * axes, axis=range(2, 2 + axes))
    slices = np.fft.fftn(centred, axes=range(2, 2 + axes))
    assert abs(slices.imag).max() < 1e-14
    slices = np.moveaxis(slices.real.reshape(3, 3, -1), -1, 0)
    np.testing.assert_allclose(slices @ slices.swapaxes(1, 2), np.broadcast_to(np.eye(3), slices.shape), atol=1e-14)
    assert len(np.unique(slices.reshape(len(slices), -1).round(9), axis=0)) == count


@pytest.mark.parametrize(("c_out", "c_in", "degree"), [(12, 12, 3), (6, 12, 4), (12, 5, 2), (12, 12, 1)])
def test_sparsity_is_exactly_what_the_degree_makes_of_the_larger_side(c_out, c_in, degree):
    kernel = eco_kernel(c_out, c_in, degree=degree, seed=2, layer=3)
    square = sao_mask(12, 12, degree, seed=2, layer=3).to_dense()
    np.testing.assert_array_equal(kernel.mask.to_dense(), square[:c_out, :c_in])
    assert kernel.mask.nnz * 12 == degree * c_out * c_in
    told = kernel.mask.provenance
    assert (told["method"], told["scheme"], told["d" if c_in >= c_out else "c"]) == ("sao", "eco", degree)


@pytest.mark.parametrize(("stride", "image", "degree"), [(2, 6, None), (2, 6, 2), (3, 9, None)])
def test_strides_read_the_image_by_space_to_depth(stride, image, degree):
    torch = pytest.importorskip("torch")
    kernel = eco_kernel(4, 2, stride=stride, degree=degree)
    side = image // stride
    dilation = side // 3
    impulses = torch.eye(2 * image**2, dtype=torch.float64).reshape(-1, 2, image, image)
    deep = torch.nn.functional.pixel_unshuffle(impulses, stride)
    padded = torch.nn.functional.pad(deep, [dilation] * 4, mode="circular")
    outputs = torch.nn.functional.conv2d(padded, kernel.to_torch(), dilation=dilation)
    found = singular_values(outputs.reshape(len(impulses), -1).numpy())
    np.testing.assert_allclose(found, 1, rtol=0, atol=1e-13)
    assert kernel.shape[:2] == (4, 2 * stride**2)
    assert kernel.mask.provenance["stride"] == stride


def test_same_seed_same_kernel_and_layers_have_their_own():
    assert eco_kernel(6, 6, degree=2, seed=1) == eco_kernel(6, 6, degree=2, seed=1)
    kernels = [eco_kernel(2, 2, seed=seed, layer=layer) for seed, layer in ((0, 1), (0, 2), (1, 1))]
    assert len({kernel.values[0, 0, 1, 1] for kernel in kernels}) == 3


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((4, 0), {}, InfeasibleError, "n = 0"),
        ((4, 4), {"stride": 0}, SaoError, "stride 0"),
        ((4, 8), {"degree": 3}, InfeasibleError, "nearest feasible"),
        ((4, 8), {"degree": 4, "arrangement": "minimal"}, SaoError, "would cut off whole groups"),
        ((4, 8), {"arrangement": "minimal"}, SaoError, "give a degree"),
        ((10**5, 10**5), {}, MemoryLimitError, "a kernel of 100000 x 100000 x 3 x 3"),
        ((1, 1, 10**6), {"axes": 1}, MemoryLimitError, "a kernel of 1 x 1 x 1000000"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(arguments, options, error, text):
    with pytest.raises(error, match=text) as told:
        eco_kernel(*arguments, **options)
    assert "\n" not in str(told.value)
