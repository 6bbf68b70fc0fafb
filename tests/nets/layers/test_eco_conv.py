"""ECOConv2d against its own kernel as a dilated circular convolution, and the singular values of its Jacobian."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.nn.functional import conv2d, pixel_unshuffle

from sao_cli.base.errors import InfeasibleError, MemoryLimitError, SaoError
from sao_cli.nets.layers.eco_conv import ECOConv2d, orthonormal_moved
from sao_cli.weights.kernels.eco import eco_kernel

DOUBLE = torch.float64
EPS = torch.finfo(DOUBLE).eps
CASES = [  # c_in, c_out, kernel size, stride, sides, degree
    (3, 3, 3, 1, (3, 3), None),
    (2, 3, 3, 1, (6, 9), None),
    (3, 2, 2, 1, (4, 2), None),
    (2, 3, 5, 1, (1, 1), None),
    (2, 2, 4, 1, (2, 8), None),
    (1, 3, 3, 2, (6, 12), None),
    (2, 5, 3, 3, (9, 9), None),
    (3, 4, 1, 1, (2, 3), None),
    (6, 6, 3, 1, (3, 3), 2),
    (3, 6, 3, 1, (6, 3), 3),
    (8, 5, (3, 2), 1, (3, 4), 2),
    (2, 3, 3, 2, (6, 6), 4),
    (1, 4, 3, 3, (3, 3), 3),
]


def inputs(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def moved(layer, seed=0, size=1.0):
    """The layer with its slices far from where they began, and a bias."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=rng, dtype=DOUBLE))
    return layer


def circular(layer, x):
    """The layer's kernel, applied to pixels that are looked up one tap at a time."""
    images = pixel_unshuffle(x, layer.stride)
    kernel = layer.kernel().to_torch().to(x)
    sides = images.shape[2:]
    out = 0
    for tap in np.ndindex(*layer.kernel_size):
        shift = [-max(n // k, 1) * (a - k // 2) for n, k, a in zip(sides, layer.kernel_size, tap, strict=True)]
        out = out + torch.einsum("oi,bixy->boxy", kernel[:, :, tap[0], tap[1]], images.roll(shift, dims=(2, 3)))
    return out + layer.bias[:, None, None]


def singular_values(layer, sides):
    x = torch.zeros(layer.in_channels, *sides, dtype=DOUBLE)
    jacobian = torch.func.jacrev(layer)(x).detach()
    return torch.linalg.svdvals(jacobian.reshape(-1, x.numel()))


def all_ones(values, factor=64):
    return float((values - 1).abs().max()) < factor * EPS * math.sqrt(len(values))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_its_kernel_and_all_its_singular_values_are_one(case):
    c_in, c_out, size, stride, sides, degree = case
    layer = moved(ECOConv2d(c_in, c_out, size, stride, degree=degree, dtype=DOUBLE))
    x = inputs(2, c_in, *sides)
    torch.testing.assert_close(layer(x), circular(layer, x), rtol=0, atol=64 * EPS * float(x.norm()))
    assert all_ones(singular_values(layer, sides))


def test_with_padding_it_is_torchs_own_convolution():
    layer = moved(ECOConv2d(2, 4, 3, degree=2, dtype=DOUBLE))
    theirs = torch.nn.Conv2d(2, 4, 3, padding=2, dilation=2, padding_mode="circular", dtype=DOUBLE)
    with torch.no_grad():
        theirs.weight.copy_(layer.to_dense())
        theirs.bias.copy_(layer.bias)
    x = inputs(3, 2, 6, 6)
    torch.testing.assert_close(layer(x), theirs(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("degree", [None, 2])
def test_it_stays_orthogonal_however_fast_it_learns(degree):
    layer = ECOConv2d(2, 4, 3, 2, degree=degree, dtype=DOUBLE)
    before = layer.to_dense().detach()
    optimizer = torch.optim.SGD(layer.parameters(), lr=5.0, momentum=0.9, weight_decay=1e-2)
    target = inputs(4, 4, 3, 3, seed=2)
    for _ in range(5):
        optimizer.zero_grad()
        (layer(inputs(4, 2, 6, 6)) - target).square().mean().backward()
        optimizer.step()
    assert (layer.to_dense() - before).norm() > 0.1
    assert all_ones(singular_values(layer, (6, 6)))


@pytest.mark.parametrize("shape", [(4, 4), (7, 3), (4, 3), (5, 1)])
def test_the_slices_move_by_the_cayley_transform_along_the_tangent(shape):
    n, _ = shape
    base = torch.linalg.qr(inputs(2, *shape))[0]
    weight = inputs(2, *shape, seed=2)
    along = base.mT @ weight
    across = weight - base @ along
    skew = across @ base.mT - base @ across.mT + base @ (along - along.mT) @ base.mT / 2
    unit = torch.eye(n, dtype=DOUBLE)
    theirs = torch.linalg.solve(unit - skew / 2, (unit + skew / 2) @ base)
    torch.testing.assert_close(orthonormal_moved(base, weight), theirs, rtol=0, atol=1e-13)
    step = 1e-6
    tangent = weight - base @ (along + along.mT) / 2  # the nearest tangent vector to `weight`
    torch.testing.assert_close((orthonormal_moved(base, step * weight) - base) / step, tangent, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("c_in", "c_out", "stride", "degree"), [(6, 6, 1, 2), (2, 5, 2, 4), (3, 12, 1, 3), (9, 4, 1, 3)]
)
def test_its_sparsity_is_that_of_sao_eco(c_in, c_out, stride, degree):
    layer = moved(ECOConv2d(c_in, c_out, 3, stride, degree=degree, dtype=DOUBLE))
    kernel = layer.kernel()
    expected = eco_kernel(c_out, c_in, 3, degree=degree, stride=stride).mask
    assert kernel.mask == expected
    assert kernel.mask.sparsity == pytest.approx(1 - degree / max(c_in * stride**2, c_out), abs=1e-15)
    assert np.array_equal(kernel.values.any(axis=(2, 3)), expected.to_dense())


@pytest.mark.parametrize(
    ("c_in", "c_out", "size", "degree"), [(4, 6, 3, None), (5, 2, 4, None), (6, 6, 3, 2), (4, 4, 2, 2)]
)
def test_it_begins_as_the_kernel_of_its_seed(c_in, c_out, size, degree):
    kernel = ECOConv2d(c_in, c_out, size, degree=degree, seed=3, layer=2, dtype=DOUBLE).kernel()
    expected = eco_kernel(c_out, c_in, size, degree=degree, seed=3, layer=2)
    np.testing.assert_allclose(kernel.values, expected.values, rtol=0, atol=8 * EPS)
    assert kernel.mask == expected.mask
    facts = dict(expected.mask.provenance)
    facts.pop("arrangement", None)
    assert kernel.mask.provenance == facts


@pytest.mark.parametrize(
    ("case", "sides"), [((2, 3, 3), (6, 3)), ((3, 1, 2, 2), (4, 4)), ((2, 4, 3, 1, 2), (3, 3)), ((2, 2, 3), (1, 1))]
)
def test_its_gradients_are_right(case, sides):
    *sizes, degree = case if len(case) == 5 else (*case, None)
    layer = moved(ECOConv2d(*sizes, degree=degree, dtype=DOUBLE), size=0.5)
    names = [name for name, _ in layer.named_parameters()]

    def function(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    x = inputs(1, sizes[0], *sides).requires_grad_()
    assert gradcheck(function, (x, *layer.parameters()), fast_mode=True)


def test_gradients_flow_through_the_dense_kernel():
    layer = moved(ECOConv2d(2, 4, 3, degree=2, bias=False, dtype=DOUBLE))
    x = inputs(2, 2, 3, 3)
    by_slices = torch.autograd.grad(layer(x).pow(3).sum(), layer.weight)[0]
    wrapped = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="circular")
    by_kernel = torch.autograd.grad(conv2d(wrapped, layer.to_dense()).pow(3).sum(), layer.weight)[0]
    torch.testing.assert_close(by_slices, by_kernel, rtol=0, atol=1e-12)


def test_it_is_saved_and_loaded_whole():
    layer = moved(ECOConv2d(4, 4, 3, degree=2, dtype=DOUBLE))
    other = ECOConv2d(4, 4, 3, degree=2, seed=5, dtype=DOUBLE)
    x = inputs(2, 4, 3, 3)
    assert not torch.equal(other(x), layer(x))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    other.reset_parameters()
    assert torch.equal(other.slices(), ECOConv2d(4, 4, 3, degree=2, seed=5, dtype=DOUBLE).slices())


def test_evaluation_sees_new_parameters_at_once():
    layer = ECOConv2d(2, 2, 3, dtype=DOUBLE).eval()
    x = inputs(1, 2, 3, 3)
    with torch.no_grad():
        before = layer(x)
        moved(layer)
        assert not torch.allclose(layer(x), before)


def test_single_images_empty_batches_and_the_meta_device():
    layer = ECOConv2d(2, 4, 3, 2)
    assert repr(layer) == "ECOConv2d(2, 4, kernel_size=(3, 3), stride=2, bias=True)"
    x = torch.randn(2, 6, 6)
    assert layer(x).dtype == torch.float32
    torch.testing.assert_close(layer(x), layer(x[None])[0])
    assert layer(x.new_empty(0, 2, 6, 6)).shape == (0, 4, 3, 3)
    with torch.device("meta"):
        assert ECOConv2d(2, 4, 3, degree=2)(torch.empty(1, 2, 3, 3)).shape == (1, 4, 3, 3)


def test_autocast_leaves_the_slices_exact():
    layer = moved(ECOConv2d(2, 4, 3, 2, dtype=torch.float32))
    x = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        slices, out = layer.slices(), layer(x)
    assert slices.dtype == torch.float32
    assert float((slices[:, 0] @ slices[:, 0].mT - torch.eye(4)).abs().max()) < 1e-5
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer(x), rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((0, 4, 3), {}, "in_channels 0"),
        ((4, 4, 0), {}, "size 0"),
        ((4, 4, 3, 0), {}, "stride 0"),
        ((4, 6, 3), {"degree": 4}, "no sao mask of 6 x 6 with d = 4"),
        ((4, 4, 3), {"degree": 1.5}, "degree 1.5"),
        ((4, 4, 3), {"dtype": torch.float16}, "float16"),
        ((4, 4, 3), {"seed": -1}, "seed -1"),
    ],
)
def test_what_it_refuses_to_be(arguments, options, said):
    with pytest.raises(SaoError, match=said) as caught:
        ECOConv2d(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, InfeasibleError) == said.startswith("no sao")


@pytest.mark.parametrize("arguments", [(10**6, 10**6, 3), (1, 1, 10**6)])
def test_what_would_not_fit(arguments):
    with pytest.raises(MemoryLimitError):
        ECOConv2d(*arguments)


@pytest.mark.parametrize(
    ("shape", "stride", "said"),
    [
        ((1, 2, 7, 6), 1, "a side of 7 .* resize to 6 or 9"),
        ((1, 2, 6, 2), 1, "a side of 2 .* resize to 1 or 3"),
        ((1, 2, 6, 9), 2, "6 x 9 for stride 2"),
        ((1, 3, 6, 6), 1, r"\(1, 3, 6, 6\); this convolution reads \(B, 2,"),
        ((2, 6), 1, r"\(2, 6\)"),
        ((1, 2, 0, 6), 1, "0 x 6"),
    ],
)
def test_images_that_it_refuses(shape, stride, said):
    with pytest.raises(SaoError, match=said):
        ECOConv2d(2, 2, 3, stride)(torch.zeros(shape))
