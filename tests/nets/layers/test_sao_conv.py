"""Convolutions of kept kernels against the masked dense ones that they stand for: outputs, gradients, conversions."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.utils import prune

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.masks.degrees import feasible_degrees
from sao_cli.masks.ramanujan import ramanujan_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.nets.layers.sao_conv import SAOConv2d, merged_groups
from sao_cli.nets.layers.sparse_conv import SparseConv2d
from sao_cli.weights.kernels.build_kernels import build_kernel

DOUBLE = torch.float64
DTYPES = [torch.float16, torch.bfloat16, torch.float32, DOUBLE]


def inputs(*shape, dtype=DOUBLE, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(dtype)


def trained(layer, seed=0):
    """The layer with values on all of its taps and in its bias, as training leaves it."""
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.add_(inputs(*parameter.shape, dtype=parameter.dtype, seed=seed + number) / 2)
    return layer


def sao(c_in=8, c_out=12, size=3, *, degree=4, dtype=DOUBLE, **options):
    return trained(SAOConv2d(c_in, c_out, size, degree=degree, dtype=dtype, **options))


def sparse(c_in=8, c_out=12, size=3, *, degree=4, dtype=DOUBLE, **options):
    mask = Mask.from_dense(np.random.default_rng(0).random((c_out, c_in)) < degree / c_in)
    return trained(SparseConv2d(mask, size, dtype=dtype, **options))


KINDS = [sao, sparse]


def dense(layer, kernel=None):
    """nn.Conv2d's own answer: `kernel`, or the layer's dense one, with every option read off the layer."""
    conv = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
        dtype=layer.weight.dtype,
    )
    with torch.no_grad():
        conv.weight.copy_(layer.to_dense() if kernel is None else kernel)
        if layer.bias is not None:
            conv.bias.copy_(layer.bias)
    return conv


def close(ours, theirs, factor=64):
    """Equal to rounding: `factor` units in the last place of the largest number."""
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    scale = max(float(theirs.detach().abs().max()), 1.0)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=factor * torch.finfo(theirs.dtype).eps * scale)


OPTIONS = [
    {},
    {"padding": 1, "bias": False},
    {"stride": (2, 1), "padding": (2, 0), "dilation": (1, 2)},
    {"size": (3, 2), "padding": "same", "dilation": 2},
    {"size": (2, 3), "padding": "valid", "stride": 2},
    {"padding": 1, "padding_mode": "circular"},
    {"size": (5, 4), "padding": "same", "padding_mode": "reflect"},
    {"padding": (2, 1), "padding_mode": "replicate", "stride": 3},
    {"padding": "valid", "padding_mode": "circular"},
    {"size": 1},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_of_conv2d(kind, options):
    layer = kind(**options)
    conv = dense(layer)
    ours, theirs = (inputs(2, 8, 7, 9).requires_grad_() for _ in range(2))
    out = layer(ours)
    close(out, conv(theirs))
    upstream = inputs(*out.shape, seed=2)
    out.backward(upstream)
    conv(theirs).backward(upstream)
    close(ours.grad, theirs.grad)
    of_kernels = copy.deepcopy(layer)
    with torch.no_grad():
        of_kernels.weight.copy_(layer.weight.grad)
    close(of_kernels.to_dense().detach(), conv.weight.grad * layer.to_conv2d().weight_mask)
    if layer.bias is not None:
        close(layer.bias.grad, conv.bias.grad)
    close(layer(inputs(8, 7, 9)), conv(inputs(8, 7, 9)))  # one image without a batch
    close(layer.to_conv2d()(inputs(2, 8, 7, 9)), conv(inputs(2, 8, 7, 9)))


@pytest.mark.parametrize("kind", KINDS)
def test_first_and_second_derivatives(kind):
    layer = kind(4, 4, 2, degree=2, padding=1)
    names = [name for name, _ in layer.named_parameters()]
    parameters = [parameter.detach().clone().requires_grad_() for parameter in layer.parameters()]

    def squared(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,)) ** 2

    x = inputs(1, 4, 3, 3).requires_grad_()
    assert gradcheck(squared, (x, *parameters), fast_mode=True)
    assert gradgradcheck(squared, (x, *parameters), fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_through_to_dense(kind):
    layer = kind(padding=1)
    x = inputs(2, 8, 4, 4)
    (by_blocks,) = torch.autograd.grad((layer(x) ** 2).sum(), layer.weight)
    out = torch.nn.functional.conv2d(x, layer.to_dense(), layer.bias, padding=1)
    (by_dense,) = torch.autograd.grad((out**2).sum(), layer.weight)
    close(by_blocks, by_dense)


@st.composite
def sizes(draw):
    """(c_out, c_in, d) of a feasible SAO layer."""
    groups = draw(st.integers(1, 9))
    c_out, c_in = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 4))
    return c_out, c_in, draw(st.sampled_from(feasible_degrees(c_out, c_in)))


@settings(max_examples=15)
@given(sizes(), st.sampled_from(["random", "minimal"]), st.integers(0, 3), st.sampled_from(DTYPES[1:]))
def test_any_channels_in_any_grouping(shape, arrangement, seed, dtype):
    c_out, c_in, d = shape
    options = {"arrangement": arrangement, "seed": seed, "layer": 2}
    layer = SAOConv2d(c_in, c_out, (3, 2), padding=1, degree=d, dtype=DOUBLE, **options)
    assert layer.to_kernel() == build_kernel(c_out, c_in, (3, 2), d=d, **options)
    layer = trained(layer.to(dtype))
    conv = dense(layer, layer.to_dense()).double()
    x = inputs(2, c_in, 3, 3, dtype=dtype)
    close(layer(x), conv(x.double()).to(dtype))
    with torch.no_grad():
        close(layer(x), conv(x.double()).to(dtype))


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("delta", {"looks_linear": True}),
        ("eco", {"arrangement": "minimal"}),
        ("eco", {"looks_linear": True}),
        ("normal", {}),
        ("uniform", {"gain": 0.5}),
        ("delta", {"gain": 1.5}),
    ],
)
def test_every_scheme_is_the_kernel_of_its_seed(scheme, options):
    options = {"scheme": scheme, "seed": 3, "layer": 2} | options
    layer = SAOConv2d(16, 16, 3, degree=4, dtype=DOUBLE, **options)
    kernel = build_kernel(16, 16, 3, d=4, **options)
    assert layer.to_kernel() == kernel
    assert layer.groups == 4
    x = inputs(2, 16, 5, 5)
    close(layer(x), torch.nn.functional.conv2d(x, kernel.to_torch()))
    narrow = SAOConv2d(16, 16, 3, degree=4, dtype=torch.float16, **options)
    assert narrow.to_kernel() == kernel.as_dtype("float16")
    other = SAOConv2d(16, 16, 3, degree=4, dtype=DOUBLE, **options | {"seed": 4})
    other.load_state_dict(trained(layer).state_dict())
    assert other.to_kernel() == layer.to_kernel()
    other.reset_parameters()  # on groups of its own seed again, where the values need them
    assert not other.bias.any()
    if scheme != "delta" or "looks_linear" in options:
        assert other.to_kernel() == build_kernel(16, 16, 3, d=4, **options | {"seed": 4})
    layer.reset_parameters()
    assert layer.to_kernel() == kernel


def test_the_operator_is_orthogonal_and_training_fills_the_taps_around_the_centre():
    layer = SAOConv2d(4, 4, 3, padding=1, degree=2, dtype=DOUBLE)
    assert not layer.weight.flatten(3)[..., [0, 1, 2, 3, 5, 6, 7, 8]].any()
    jacobian = torch.func.jacrev(layer)(inputs(4, 5, 5)).view(100, 100)
    close(torch.linalg.svdvals(jacobian), torch.ones(100, dtype=DOUBLE))
    layer(inputs(2, 4, 5, 5)).square().sum().backward()
    assert layer.weight.grad.all()
    assert layer.weight.numel() == 4 * 2 * 9


def test_kernels_of_any_mask_are_normal_with_the_variance_of_their_row():
    mask = Mask.from_dense(np.tril(np.ones((80, 80))))
    layer = SparseConv2d(mask, 3, dtype=DOUBLE, seed=5)
    assert layer.weight.shape == (mask.nnz, 3, 3)
    unit = (
        layer.weight.detach().flatten(1) * torch.from_numpy(np.sqrt(9.0 * mask.row_degrees[mask.entry_rows]))[:, None]
    )
    bound = 5 / unit.numel() ** 0.5  # standard errors of the mean, and of the variance over the root of 2
    assert abs(unit.mean()) < bound
    assert abs(unit.var() - 1) < 2**0.5 * bound
    on_sao = SparseConv2d(sao_mask(8, 8, 2, seed=1), 3, dtype=DOUBLE, seed=1)
    assert on_sao.to_kernel() == build_kernel(8, 8, 3, scheme="normal", d=2, seed=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_precision_runs_trains_and_converts(kind, dtype):
    layer = kind(padding=1, dtype=dtype)
    x = inputs(2, 8, 4, 4, dtype=dtype)
    wide = copy.deepcopy(layer).double()
    close(layer(x), wide(x.double()).to(dtype))
    for model in (layer, wide):
        model(x.to(model.weight.dtype)).sum().backward()
    for ours, theirs in zip(layer.parameters(), wide.parameters(), strict=True):
        close(ours.grad, theirs.grad.to(dtype))
    kernel = layer.to_kernel()
    assert kernel.dtype == str(dtype).removeprefix("torch.")
    back = type(layer).from_kernel(kernel, padding=1)
    assert back.weight.dtype == dtype
    assert torch.equal(back.to_dense(), layer.to_dense())
    assert not back.bias.any()


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_computes_as_for_a_dense_layer(kind):
    layer = kind(padding=1, dtype=torch.float32)
    x = inputs(2, 8, 4, 4, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, theirs = layer(x), dense(layer)(x)
    close(out, theirs)
    out.float().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_carries_the_kept_kernels_too(kind):
    saved = kind(16, 8, padding=1, degree=4, dtype=torch.float32)
    other = sao(16, 8, padding=1, degree=4, seed=7) if kind is sao else sparse(16, 8, padding=1, degree=4)
    if kind is sparse:  # as many kernels in other places
        other = SparseConv2d(saved.to_kernel().mask.T, 3, padding=1)
        other = SparseConv2d(Mask.from_dense(other.to_kernel().mask.to_dense().reshape(8, 16)), 3, padding=1)
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    other = other.float()
    assert not torch.equal(saved.to_dense() != 0, other.to_dense() != 0)
    other.load_state_dict(torch.load(file, weights_only=True))
    x = inputs(3, 16, 4, 4, dtype=torch.float32)
    assert torch.equal(saved(x), other(x))
    assert torch.equal(copy.deepcopy(saved)(x), saved(x))
    assert torch.equal(pickle.loads(pickle.dumps(saved))(x), saved(x))


@pytest.mark.parametrize("kind", KINDS)
def test_reset_gives_the_first_values_again(kind):
    layer = kind()
    layer.reset_parameters()
    first = layer.to_dense().detach().clone()
    trained(layer).reset_parameters()
    assert torch.equal(layer.to_dense(), first)
    assert not layer.bias.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_conv2d_trains_along(kind):
    layer = kind(padding=1, stride=2)
    masked, x = layer.to_conv2d(), inputs(2, 8, 5, 5)
    for model in (layer, masked):
        step = torch.optim.SGD(model.parameters(), lr=0.1)
        model(x).square().sum().backward()
        step.step()
    close(masked(x), layer(x))
    # its `weight` holds the values before the step, until the next forward
    again = type(layer).from_conv2d(masked)
    assert torch.equal(again.to_dense(), masked.weight_orig * masked.weight_mask)
    assert (again.frame, again.to_kernel().mask) == (layer.frame, layer.to_kernel().mask)
    prune.remove(masked, "weight")
    assert torch.equal(type(layer).from_conv2d(masked).to_dense(), masked.weight)


def test_from_conv2d_keeps_whole_kernels():
    conv = nn.Conv2d(6, 6, 3, dtype=DOUBLE)
    taps = torch.zeros(6, 6, 3, 3, dtype=torch.bool)
    taps[:3, :3, 0, 0] = taps[3:, 3:, 2, 1] = True
    prune.custom_from_mask(conv, "weight", taps)
    layer = SAOConv2d.from_conv2d(conv)
    assert (layer.groups, layer.degree, layer.weight.numel()) == (2, 3, 2 * 9 * 9)
    close(layer(inputs(1, 6, 4, 4)), conv(inputs(1, 6, 4, 4)))
    assert SAOConv2d.from_conv2d(nn.Conv2d(4, 6, 1, bias=False)).groups == 1
    layer.reset_parameters()
    close(layer.to_dense()[..., 1, 1] @ layer.to_dense()[..., 1, 1].T, torch.eye(6, dtype=DOUBLE))


def test_from_mask_takes_any_order_of_rows_and_columns():
    rng = np.random.default_rng(0)
    mask = Mask.from_dense(sao_mask(8, 12, 3).to_dense()[rng.permutation(8)][:, rng.permutation(12)])
    layer = SAOConv2d.from_mask(mask, (2, 3), seed=5, dtype=DOUBLE)
    assert layer.to_kernel().mask == mask
    centre = layer.to_dense()[:, :, 1, 1]
    close(centre @ centre.T, torch.eye(8, dtype=DOUBLE))


def test_a_kept_kernel_that_became_zero_stays_kept():
    layer = sao()
    with torch.no_grad():
        layer.weight[0, 0, 0] = 0
    assert layer.to_kernel().mask == sao_mask(12, 8, 4)
    assert int(layer.to_conv2d().weight_mask.sum()) == 12 * 4 * 9
    assert SAOConv2d.from_conv2d(layer.to_conv2d()).to_kernel() == layer.to_kernel()


def test_groups_are_merged_to_the_width_of_vectors():
    narrow = torch.empty(1)
    found = [merged_groups(16, width, narrow) for width in (1, 2, 4, 8, 16)]
    assert found == [8, 4, 2, 1, 1]
    assert [merged_groups(groups, 4, narrow) for groups in (1, 3, 9, 6)] == [1, 3, 3, 2]
    assert merged_groups(16, 4, narrow.to(torch.bfloat16)) == 4
    assert merged_groups(16, 4, narrow.double()) == merged_groups(16, 4, narrow.to("meta")) == 1


def test_a_layer_on_the_meta_device_has_sizes_alone():
    for layer in (
        SAOConv2d(8, 8, 3, degree=4, scheme="eco", device="meta"),
        SAOConv2d(8, 8, 3, degree=4, device="meta"),
    ):
        assert (layer.weight.shape, layer.weight.is_meta, layer.inputs.is_meta) == ((2, 4, 4, 3, 3), True, True)
        assert "degree=4" in repr(layer)
    assert SparseConv2d(sao_mask(4, 4, 2), 3, device="meta").weight.is_meta


def test_print_shows_the_sizes():
    layer = SAOConv2d(8, 4, (3, 1), 2, (1, 0), (2, 1), degree=4, bias=False, padding_mode="circular", scheme="normal")
    assert repr(layer) == (
        "SAOConv2d(8, 4, kernel_size=(3, 1), stride=(2, 2), padding=(1, 0), dilation=(2, 1), padding_mode=circular, "
        "degree=4, groups=2, scheme=normal, bias=False)"
    )


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: SAOConv2d(784, 300, 3, degree=4), InfeasibleError, "no sao mask of 300 x 784 with d = 4: .*nearest"),
        (lambda: SAOConv2d(8, 8, 3, degree=3, scheme="eco"), InfeasibleError, "no sao mask of 8 x 8 with d = 3"),
        (lambda: SAOConv2d(8, 8, 3, degree=2.5), SaoError, "degree 2.5 is no whole number"),
        (lambda: SAOConv2d(8, 8, 3, degree=None), InfeasibleError, "d = 0: a row has 8 places"),
        (lambda: SAOConv2d(8, 8, 3, degree=4, scheme="delt"), SaoError, "unknown scheme 'delt'; did you mean 'delta'"),
        (lambda: SAOConv2d(8, 8, 3, degree=4, scheme="soc"), SaoError, "SOCConv2d"),
        (lambda: SAOConv2d(8, 16, 3, degree=4, scheme="eco"), SaoError, "8 and 16; ECOConv2d takes any"),
        (lambda: SAOConv2d(8, 8, 3, degree=4, gain=0), SaoError, "gain 0 is no positive"),
        (lambda: SAOConv2d(8, 8, 3, degree=4, gain=1e300), FormatError, "overflows float32"),
        (lambda: SAOConv2d(6, 8, 3, degree=3, looks_linear=True), SaoError, "d 3 is odd"),
        (lambda: SAOConv2d(8, 8, 3, degree=4, arrangement="best"), SaoError, "unknown arrangement 'best'"),
        (lambda: SAOConv2d(8, 8, 3, degree=4, seed=-1), SaoError, "seed -1 is negative"),
        (lambda: SAOConv2d(8, 8, 0, degree=4), SaoError, "kernel_size 0; it is a whole number from 1, or two"),
        (lambda: SAOConv2d(8, 8, (3, 3, 3), degree=4), SaoError, r"kernel_size \(3, 3, 3\)"),
        (lambda: SAOConv2d(8, 8, 3, 0, degree=4), SaoError, "stride 0"),
        (lambda: SAOConv2d(8, 8, 3, padding=-1, degree=4), SaoError, "padding -1; it is a whole number from 0"),
        (lambda: SAOConv2d(8, 8, 3, padding=0.5, degree=4), SaoError, "padding 0.5"),
        (lambda: SAOConv2d(8, 8, 3, padding="full", degree=4), SaoError, "unknown padding 'full'; .*whole numbers"),
        (lambda: SAOConv2d(8, 8, 3, 2, "same", degree=4), SaoError, r"'same' at stride \(2, 2\)"),
        (lambda: SAOConv2d(8, 8, 3, degree=4, padding_mode="circle"), SaoError, "did you mean 'circular'"),
        (lambda: SAOConv2d(8, 8, 3, degree=4)(torch.zeros(2, 9, 4, 4)), SaoError, "for a convolution of 8 channels"),
        (lambda: sparse()(torch.zeros(8, 4)), SaoError, r"inputs of shape \(8, 4\)"),
        (lambda: SAOConv2d.from_mask(ramanujan_mask(16, 16, 4), 3), SaoError, "component that is not complete"),
        (lambda: SAOConv2d.from_conv2d(nn.Linear(2, 2)), SaoError, "Linear is no torch.nn.Conv2d"),
        (lambda: SAOConv2d.from_conv2d(nn.Conv2d(4, 4, 3, groups=2)), SaoError, "of 2 groups can't be converted"),
        (lambda: SparseConv2d.from_kernel(build_kernel(4, 4, axes=1)), SaoError, r"a kernel of shape \(4, 4, 3\)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(call, error, said):
    with pytest.raises(error, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)
