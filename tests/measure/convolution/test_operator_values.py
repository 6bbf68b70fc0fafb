"""Every route to a convolution's singular values against the SVD of its explicit matrix, and what is known of them."""

import math

import numpy as np
import pytest

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.measure.convolution.geometry import Geometry
from sao_cli.measure.convolution.operator import ConvolutionGram, PartOperator
from sao_cli.measure.convolution.operator_values import convolution_values, largest_value
from sao_cli.measure.convolution.parts import channel_parts
from sao_cli.measure.convolution.patterns import patterns
from sao_cli.weights.kernels.build_kernels import build_kernel

from .explicit import explicit_operator, explicit_values

PADDINGS = ("circular", "zeros", "same", "valid", "reflect", 2)


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_values_are_those_of_the_explicit_operator(padding, stride, dilation):
    options = {"padding": padding, "stride": stride, "dilation": dilation}
    for weights, image, groups in (
        (gaussian(3, 2, 3, 2), (7, 6), 1),
        (gaussian(2, 3, 4), (12,), 1),
        (gaussian(4, 2, 3), (9,), 2),
        (gaussian(1, 2, 1, 2, 3), (2, 4, 7), 1),
    ):
        expected = explicit_values(weights, image, groups=groups, **options)
        found = convolution_values(weights, image, groups=groups, **options)
        assert found.exact
        np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-12)
        assert found.norm == pytest.approx(np.linalg.norm(expected), rel=1e-13)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 2), (1, 3)])
def test_the_matrix_free_products_are_the_operator_and_its_transpose(padding, stride, dilation):
    weights = gaussian(3, 2, 2, 3)
    image, options = (6, 9), {"stride": stride, "dilation": dilation}
    (part,) = channel_parts(Kernel.from_dense(weights))
    convolution = PartOperator(part, Geometry(image, (2, 3), padding, **options))
    x, y = gaussian(*convolution.inputs, seed=1), gaussian(*convolution.outputs, seed=2)
    matrix = explicit_operator(weights, image, padding, **options)
    if padding != "circular":  # torch shifts its input there, which permutes columns
        np.testing.assert_allclose(convolution.apply(x).reshape(-1), matrix @ x.reshape(-1), atol=1e-13)
    np.testing.assert_allclose((convolution.apply(x) * y).sum(), (x * convolution.transposed(y)).sum(), rtol=1e-12)
    top = largest_value(ConvolutionGram([convolution]), np.random.default_rng(0))
    assert top.value == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-12)
    assert convolution.norm_bound >= top.value


def test_one_live_tap_has_the_channel_matrix_times_how_often_places_are_read():
    channels = gaussian(4, 6)
    weights = np.zeros((4, 6, 3, 2))
    weights[:, :, 2, 1] = channels
    values = np.linalg.svd(channels, compute_uv=False)
    for padding in PADDINGS:
        for stride in (1, 2, 3):
            found = convolution_values(weights, (7, 6), padding=padding, stride=stride)
            np.testing.assert_allclose(
                found.values, explicit_values(weights, (7, 6), padding, stride), rtol=0, atol=1e-13
            )
    mirrored = convolution_values(weights, (7, 6), padding="reflect").values
    assert mirrored[0] == pytest.approx(2 * values[0])  # twice along both axes


@pytest.mark.parametrize("padding", ["circular", "zeros", "same", 1])
def test_delta_kernels_of_odd_size_are_isometries_at_the_cost_of_their_channels(padding, monkeypatch):
    kernel = build_kernel(24, 16, 3, d=4)
    monkeypatch.setattr(np.linalg, "svd", small_svd(24, 16))
    found = convolution_values(kernel, 64, padding=padding)
    assert found.exact
    assert np.abs(found.values - 1).max() < 1e-14
    assert len(found.values) == 16 * 64**2


def small_svd(height, width, svd=np.linalg.svd):
    """numpy's SVD, which refuses what is larger than the channels."""

    def checked(blocks, **options):
        assert len(blocks) * blocks.shape[-2] * blocks.shape[-1] <= height * width
        return svd(blocks, **options)

    return checked


def test_components_and_dead_channels_are_found_whatever_their_order():
    rng = np.random.default_rng(3)
    weights = np.zeros((7, 9, 3))
    weights[:2, :3] = gaussian(2, 3, 3)
    weights[2:4, 3:6] = gaussian(2, 3, 3, seed=1)
    weights[4, 6, 1] = 2.0  # one tap alone; two outputs and two inputs are dead
    weights = weights[rng.permutation(7)][:, rng.permutation(9)]
    shapes = sorted(
        (part.count, *part.channels, len(part.places)) for part in channel_parts(Kernel.from_dense(weights))
    )
    assert shapes == [(1, 1, 1, 1), (2, 2, 3, 3)]
    for padding in ("circular", "zeros"):
        found = convolution_values(weights, 8, padding=padding)
        np.testing.assert_allclose(found.values, explicit_values(weights, (8,), padding), atol=1e-13)
        assert (found.values[-16:] == 0).all()


def test_a_stride_class_without_a_live_tap_is_a_zero():
    weights = np.zeros((1, 1, 3, 3))
    weights[0, 0, 0, 0], weights[0, 0, 1, 1] = 1, 2
    found = convolution_values(weights, 8, padding="valid", stride=2)
    np.testing.assert_allclose(found.values, explicit_values(weights, (8, 8), "valid", 2), atol=1e-14)


@pytest.mark.parametrize("seed", range(120))
def test_kernels_with_few_live_taps_under_any_geometry(seed):
    """Strides beyond the kernel, images below it, dilation, groups, 1 to 3 axes; torch decides what fits."""
    rng = np.random.default_rng(seed)
    axes, groups = rng.integers(1, 4), rng.integers(1, 3)
    taps, image = rng.integers(1, 5, axes), tuple(rng.integers(1, (10, 6, 4)[axes - 1], axes).tolist())
    weights = rng.standard_normal((groups * rng.integers(1, 4), rng.integers(1, 4), *taps))
    weights *= rng.permutation(np.arange(taps.prod()) < rng.integers(0, 4)).reshape(taps)  # none live, too
    padding = (*PADDINGS, 0, 1, 3)[rng.integers(9)]
    options = {"padding": padding, "stride": int(rng.integers(1, 6)), "dilation": int(rng.integers(1, 4))}
    try:
        expected = explicit_values(weights, image, groups=groups, **options)
    except RuntimeError:  # torch's, of a kernel that the padded image does not hold
        with pytest.raises(FormatError, match="larger than an image"):
            convolution_values(weights, image, groups=groups, **options)
        return
    found = convolution_values(weights, image, groups=groups, **options)
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-12)
    estimate = convolution_values(weights, image, groups=groups, exact_side=0, **options)
    assert estimate.values[0] == pytest.approx(expected[0], abs=1e-6)


@pytest.mark.parametrize("padding", ["circular", "reflect"])
def test_taps_that_cancel_on_a_small_image_leave_zero_on_both_routes(padding):
    weights = np.zeros((3, 3, 3))
    weights[:, :, 0] = gaussian(3, 3)
    weights[:, :, 2] = -weights[:, :, 0]  # the places on either side are one
    for exact_side in (4096, 0):
        assert not convolution_values(weights, 2, padding=padding, exact_side=exact_side).values.any()


def test_depthwise_kernels_have_the_absolute_values_of_their_transforms():
    weights = gaussian(5, 1, 3, 3)
    expected = np.abs(np.fft.fft2(weights[:, 0], (10, 8)))
    found = convolution_values(weights, (10, 8), groups=5)
    np.testing.assert_allclose(found.values, np.sort(expected.reshape(-1))[::-1], atol=1e-13)


@pytest.mark.parametrize(
    ("padding", "side", "size", "stride", "dilation", "parts", "block"),
    [
        ("circular", 9, 3, 1, 3, 3, (1, 1)),  # ECO's: k frequencies for n
        ("circular", 10, 3, 1, 3, 10, (1, 1)),
        ("circular", 12, 3, 2, 1, 6, (1, 2)),
        ("circular", 12, 3, 3, 1, 1, (1, 3)),  # no overlap: all outputs alike
        ("valid", 224, 16, 16, 1, 1, (1, 16)),
        ("zeros", 12, 3, 1, 2, 1, (6, 6)),  # even and odd places
        ("circular", 9, 3, 2, 1, 1, (5, 9)),
    ],
)
def test_axes_fall_apart_as_far_as_they_can(padding, side, size, stride, dilation, parts, block):
    (axis,) = Geometry(side, (size,), padding, stride, dilation).axes
    (found,) = patterns(axis, range(size))
    assert (found.parts, (found.outputs, found.inputs)) == (parts, block)
    assert found.counts.sum() * found.outputs == axis.outputs


def test_eco_is_an_isometry_exactly_where_the_side_divides_dilation_times_size():
    for c_out, c_in in ((8, 8), (8, 12), (12, 8)):
        kernel = build_kernel(c_out, c_in, 3, scheme="eco", d=4)
        assert np.abs(convolution_values(kernel, 9, dilation=3).values - 1).max() < 1e-13
        wrong = convolution_values(kernel, 10, dilation=3).values
        assert wrong[0] > 1.5
        assert wrong[-1] < 0.5


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_no_square_overflows(scale):
    weights = gaussian(3, 3, 3)
    for padding in ("circular", "zeros"):
        expected = convolution_values(weights, 12, padding=padding).values
        for side in (4096, 1):
            found = convolution_values(scale * weights, 12, padding=padding, exact_side=side)
            assert found.values[0] == pytest.approx(scale * expected[0], rel=1e-10)


@pytest.mark.parametrize(
    ("shape", "image", "options"),
    [
        ((8, 8, 3, 3), 10, {"padding": "zeros"}),
        ((8, 4, 3, 3), 14, {"padding": "valid", "stride": 2}),  # whose second value looked like the first for a while
        ((16, 8, 3), 128, {"padding": "circular"}),
        ((6, 6, 2, 2), 9, {"padding": "reflect", "dilation": 2}),
    ],
)
def test_the_density_is_the_exact_distribution_within_its_error(shape, image, options):
    weights = gaussian(*shape)
    exact = convolution_values(weights, image, **options).values[::-1]
    found = convolution_values(weights, image, exact_side=1, seed=1, **options)
    assert not found.exact
    assert found.values[0] == pytest.approx(exact[-1], rel=1e-9)
    points = np.concatenate((exact, found.values))
    mine, theirs = (np.searchsorted(np.sort(one), points, "right") for one in (found.values, exact))
    assert np.abs(mine - theirs).max() / len(exact) < found.error < 0.12
    assert "Lanczos" in found.reason


def test_a_single_large_value_is_not_lost_among_quantiles():
    weights = 1 + 0.1 * gaussian(4, 4, 3)
    exact = convolution_values(weights, 64).values
    for seed in range(4):
        found = convolution_values(weights, 64, exact_side=1, seed=seed).values
        assert found[0] == pytest.approx(exact[0], rel=1e-12)
        assert found[0] >= found[1]


def test_what_is_known_exactly_stays_so_beside_a_density():
    weights = np.zeros((9, 9, 3))
    weights[:4, :4] = gaussian(4, 4, 3)
    weights[4:8, 4:8, 1] = 100 * np.linalg.qr(gaussian(4, 4))[0]
    found = convolution_values(weights, 32, padding="zeros", exact_cost=100.0)
    expected = explicit_values(weights, (32,), "zeros")
    assert not found.exact
    assert found.values[0] == pytest.approx(100)
    assert abs(int((found.values > 50).sum()) - 4 * 32) <= 1
    assert abs(int((found.values == 0).sum()) - int((expected < 1e-12).sum())) <= found.error * len(expected)


def test_the_same_seed_gives_the_same_estimate_and_another_does_not():
    weights = gaussian(8, 8, 3)
    one, same, other = (
        convolution_values(weights, 64, padding="zeros", exact_side=1, seed=seed).values for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_progress_is_told_up_to_the_end():
    told = []
    convolution_values(gaussian(2, 2, 3, 3), 8, progress=lambda what, done, total: told.append((what, done, total)))
    assert told[-1] == ("singular values", 128, 128)


def test_a_kernel_of_one_place_takes_any_padding_that_leaves_something_to_read():
    weights = gaussian(4, 4, 3, 3)
    folded = np.linalg.svd(weights.sum(axis=(2, 3)), compute_uv=False)
    np.testing.assert_allclose(convolution_values(weights, 1).values, folded)
    centre = np.linalg.svd(weights[:, :, 1, 1], compute_uv=False)
    np.testing.assert_allclose(convolution_values(weights, 1, padding="zeros").values, centre)


@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        (2, {"padding": "valid"}, "a kernel of 3 taps is larger than an image of 2 .* 3 or more"),
        (8, {"padding": "valid", "dilation": 4}, r"taps \(dilation 4\) is larger than an image of 8 .* 9 or more"),
        (4, {"padding": 2, "dilation": 4}, r"larger than an image of 4 with padding 2; choose an image of 5 or more"),
        (2, {"padding": "reflect", "dilation": 2}, "larger than an image of 2 with padding reflect; .* 3 or more"),
        (1, {"padding": "valid"}, "larger than an image of 1"),
        (1, {"padding": "reflect"}, "larger than an image of 1"),
        (8, {"padding": "zero"}, "did you mean 'zeros'"),
        (8, {"padding": -1}, "padding -1; it is a whole number"),
        (8, {"groups": 3}, "3 groups for 4 output channels; they are a divisor: 1, 2, 4"),
        (8, {"groups": 0}, "0 groups"),
        (0, {}, "image 0; it is a whole number from 1"),
        ((8, 8, 8), {}, r"image \(8, 8, 8\) for a kernel with 2 axes"),
        (8, {"stride": 0}, "stride 0"),
        (8, {"stride": (1, 2, 1)}, "2 axes"),
        (8, {"dilation": 1.5}, "dilation 1.5"),
    ],
)
def test_bad_geometries_are_refused(image, options, said):
    with pytest.raises(SaoError, match=said) as caught:
        convolution_values(gaussian(4, 2, 3, 3), image, **options)
    assert "\n" not in str(caught.value)


def test_memory_is_asked_for_before_it_is_taken():
    with pytest.raises(MemoryLimitError, match="singular values of a convolution needs"):
        convolution_values(gaussian(4, 2, 3, 3), 10**8)


def test_values_that_are_not_finite_are_refused():
    weights = gaussian(2, 2, 3)
    weights[1, 0, 2] = math.nan
    kernel = Kernel(weights, Mask.from_dense(np.ones((2, 2))))
    with pytest.raises(FormatError, match="the kernel holds nan"):
        convolution_values(kernel, 8)
