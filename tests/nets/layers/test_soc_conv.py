"""SOCConv2d against the matrix exponential of the operator that its skew kernel makes on an image."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn.functional import conv2d
from torch.nn.functional import pad as padded

from sao_cli.base.errors import InfeasibleError, MemoryLimitError, SaoError
from sao_cli.masks.sao import sao_mask
from sao_cli.nets.layers.soc_conv import SOCConv2d, exponential_error, norm_bound

DOUBLE = torch.float64
EPS = torch.finfo(DOUBLE).eps
CASES = [  # c_in, c_out, kernel size, stride, sides, degree
    (4, 4, 3, 1, (5, 6), None),
    (2, 5, 3, 1, (4, 4), None),
    (5, 2, (3, 5), 1, (4, 3), None),
    (1, 3, 3, 2, (8, 6), None),
    (1, 4, 3, 3, (6, 6), 3),
    (6, 6, 3, 1, (4, 3), 2),
    (3, 6, 1, 1, (2, 2), 3),
    (4, 4, 5, 1, (1, 2), 2),
]


def jacobian(function, *shape):
    x = torch.zeros(shape, dtype=DOUBLE)
    return torch.func.jacrev(function)(x).detach().reshape(-1, x.numel())


def skew_operator(layer, sides, mode="zeros"):
    """The matrix of L on images of all channels, group by group, by torch's own convolution."""
    kernel = layer.skew_kernel().detach().flatten(0, 1)
    k_1, k_2 = layer.kernel_size
    around = (k_2 // 2, k_2 // 2, k_1 // 2, k_1 // 2)

    def function(x):
        image = padded(x[None], around, mode="constant" if mode == "zeros" else mode)
        return conv2d(image, kernel, groups=layer.groups)[0]

    return jacobian(function, len(kernel), *sides)


def moved(layer, size, seed=0):
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=rng, dtype=DOUBLE))
    return layer


@pytest.mark.parametrize("terms", [3, 12])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_its_singular_values_are_within_the_bound_of_one(case, terms):
    c_in, c_out, size, stride, sides, degree = case
    layer = SOCConv2d(c_in, c_out, size, stride, terms=terms, degree=degree, dtype=DOUBLE)
    found = torch.linalg.svdvals(jacobian(layer, c_in, *sides))
    assert layer.error_bound == pytest.approx(1 / math.factorial(terms))
    assert float((found - 1).abs().max()) <= layer.error_bound + 64 * EPS


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_its_generator_is_skew_symmetric_and_bounded_on_every_image(scale, mode):
    layer = SOCConv2d(3, 3, 3, scale=scale, terms=16, dtype=DOUBLE)
    operator = skew_operator(layer, (6, 5), mode)
    assert float((operator + operator.T).abs().max()) < EPS * scale
    assert 0.3 * scale < float(torch.linalg.matrix_norm(operator, 2)) <= scale


def test_it_is_the_exponential_of_that_operator_within_the_bound():
    layer = SOCConv2d(4, 4, 3, scale=2.0, terms=6, dtype=DOUBLE)
    operator = skew_operator(layer, (4, 5))
    ours = jacobian(layer, 4, 4, 5)
    terms = sum(torch.linalg.matrix_power(operator, j) / math.factorial(j) for j in range(6))
    torch.testing.assert_close(ours, terms, rtol=0, atol=64 * EPS)
    error = float(torch.linalg.matrix_norm(ours - torch.linalg.matrix_exp(operator), 2))
    assert 1e-4 * layer.error_bound < error < layer.error_bound


@pytest.mark.parametrize("degree", [None, 2])
def test_it_stays_within_the_bound_however_fast_it_learns(degree):
    layer = SOCConv2d(1, 4, 3, 2, degree=degree, terms=16, dtype=DOUBLE)
    before = layer.skew_kernel().detach()
    optimizer = torch.optim.SGD(layer.parameters(), lr=20.0, momentum=0.9)
    rng = torch.Generator().manual_seed(1)
    x, target = (torch.randn(shape, generator=rng, dtype=DOUBLE) for shape in ((4, 1, 6, 6), (4, 4, 3, 3)))
    for _ in range(5):
        optimizer.zero_grad()
        (layer(x) - target).square().mean().backward()
        optimizer.step()
    assert (layer.skew_kernel() - before).norm() > 0.1
    found = torch.linalg.svdvals(jacobian(layer, 1, 6, 6))
    assert float((found - 1).abs().max()) <= layer.error_bound + 64 * EPS


@pytest.mark.parametrize(("c_in", "c_out"), [(6, 6), (4, 6), (6, 4)])
def test_with_a_degree_channels_meet_within_the_groups_of_an_sao_mask(c_in, c_out):
    layer = SOCConv2d(c_in, c_out, 3, degree=2, seed=4, layer=3, dtype=DOUBLE)
    blocks = jacobian(layer, c_in, 2, 2).view(c_out, 4, c_in, 4)
    reads = (blocks != 0).any(dim=3).any(dim=1).numpy()
    assert (reads == sao_mask(6, 6, 2, seed=4, layer=3).to_dense()[:c_out, :c_in]).all()
    assert 1 - reads.mean() == pytest.approx(1 - 2 / 6, abs=1e-15)


@pytest.mark.parametrize("size", [1e-3, 1.0])
@pytest.mark.parametrize(("arguments", "degree"), [((2, 3, 3), None), ((1, 2, 3, 2), 2)])
def test_its_gradients_are_right_below_the_scale_and_above_it(arguments, degree, size):
    layer = moved(SOCConv2d(*arguments, degree=degree, terms=5, dtype=DOUBLE), size)
    names = [name for name, _ in layer.named_parameters()]

    def function(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    rng = torch.Generator().manual_seed(2)
    x = torch.randn(1, arguments[0], 2, 4, generator=rng, dtype=DOUBLE).requires_grad_()
    assert gradcheck(function, (x, *layer.parameters()), fast_mode=True)


def test_kernels_below_the_scale_are_left_as_they_are_and_zero_is_the_identity():
    layer = moved(SOCConv2d(2, 2, 3, bias=False, dtype=DOUBLE), 1e-3)
    skew = layer.weight - layer.weight.transpose(1, 2).flip(3, 4)
    assert torch.equal(layer.skew_kernel(), skew)
    layer = moved(layer, 0.0)
    x = torch.randn(1, 2, 3, 3, dtype=DOUBLE)
    assert torch.equal(layer(x), x)
    layer(x).sum().backward()
    assert torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_the_bound_is_above_the_norm_and_close(size, dtype):
    rng = torch.Generator().manual_seed(0)
    matrices = torch.randn(4, 16, 40, generator=rng, dtype=DOUBLE)
    matrices[1] = matrices[1, :, :1] * matrices[1, :1]  # of rank 1
    matrices[2, :, :16] = torch.linalg.qr(matrices[2])[0][:, :16]  # the most that the bound can miss
    matrices[2, :, 16:] = 0
    norms = torch.linalg.matrix_norm(matrices, 2)
    ratio = norm_bound((size * matrices).to(dtype)).double() / size / norms
    slack = 64 * torch.finfo(dtype).eps
    assert (ratio >= 1 - slack).all()
    assert (ratio <= 16 ** (1 / 128) + slack).all()
    assert ratio[2] == pytest.approx(16 ** (1 / 128), rel=1e-5)


def test_it_is_saved_and_loaded_whole():
    layer, other = (SOCConv2d(4, 2, 3, degree=2, seed=seed) for seed in (0, 5))
    x = torch.randn(2, 4, 4, 4)
    assert not torch.equal(other(x), layer(x))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    other.reset_parameters()
    assert torch.equal(other.weight, SOCConv2d(4, 2, 3, degree=2, seed=5).weight)
    with torch.device("meta"):
        assert SOCConv2d(2, 4, 3)(torch.empty(1, 2, 3, 3)).shape == (1, 4, 3, 3)


def test_it_says_what_it_is():
    sizes = "4, 4, kernel_size=(3, 3), stride=1, degree=2, groups=2, bias=False, terms=6, scale=0.5"
    assert repr(SOCConv2d(4, 4, 3, terms=6, scale=0.5, degree=2, bias=False)) == f"SOCConv2d({sizes})"
    assert exponential_error(0.5, 6) == pytest.approx(0.5**6 / 720)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((4, 4, 2), {}, r"size \(2, 2\)"),
        ((4, 4, 3), {"terms": 0}, "0 terms"),
        ((4, 4, 3), {"scale": 0.0}, "scale 0.0"),
        ((4, 4, 3), {"scale": math.nan}, "scale nan"),
        ((4, 4, 3), {"scale": 1e300}, "12 terms at scale 1e"),
        ((4, 4, 3), {"scale": 10.0}, "more terms"),
        ((4, 4, 3), {"degree": 3}, "no sao mask of 4 x 4 with d = 3"),
        ((4, 0, 3), {}, "out_channels 0"),
    ],
)
def test_what_it_refuses_to_be(arguments, options, said):
    with pytest.raises(SaoError, match=said) as caught:
        SOCConv2d(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, InfeasibleError) == said.startswith("no sao")


def test_what_would_not_fit():
    with pytest.raises(MemoryLimitError):
        SOCConv2d(10**6, 1, 3)
