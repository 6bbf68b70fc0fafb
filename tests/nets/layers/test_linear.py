"""Layers of blocks against the masked dense layers that they stand for: outputs, gradients, conversions, merging."""

import copy
import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import linear as dense_linear
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.masks.degrees import feasible_degrees
from sao_cli.masks.ramanujan import ramanujan_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.masks.two_stage import two_stage_mask
from sao_cli.nets import SAOLinear, SAOSequential, TwoStageLinear
from sao_cli.nets.layers import linear
from sao_cli.weights.orthogonal import sao_weight
from sao_cli.weights.two_stage_weight import two_stage_weight

DOUBLE = torch.float64
KINDS = [SAOLinear, TwoStageLinear]


@st.composite
def sizes(draw):
    """(m, n, d) of a feasible SAO layer."""
    groups = draw(st.integers(1, 6))
    m, n = groups * draw(st.integers(1, 6)), groups * draw(st.integers(1, 6))
    return m, n, draw(st.sampled_from(feasible_degrees(m, n)))


def close(ours, theirs, factor=16):
    """Equal to rounding: `factor` units in the last place of the largest number, times the root of the size."""
    assert ours.dtype == theirs.dtype
    scale = max(float(theirs.detach().abs().max()), 1.0) if theirs.numel() else 1.0
    torch.testing.assert_close(ours, theirs, rtol=0, atol=factor * torch.finfo(theirs.dtype).eps * scale)


def noisy(layer, seed=0):
    """The layer with a bias that is not 0, which would hide where it goes."""
    rng = torch.Generator().manual_seed(seed)
    if layer.bias is not None:
        with torch.no_grad():
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=rng, dtype=layer.bias.dtype))
    return layer


def inputs(*shape, dtype=DOUBLE, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(dtype)


@settings(max_examples=25)
@given(sizes(), st.sampled_from(["random", "minimal"]), st.integers(0, 3), st.booleans())
def test_it_is_the_sparse_orthogonal_layer_of_its_seed(shape, arrangement, seed, bias):
    m, n, d = shape
    layer = SAOLinear(n, m, d, bias, arrangement=arrangement, seed=seed, layer=2, dtype=DOUBLE)
    weight = sao_weight(m, n, d, seed=seed, layer=2, arrangement=arrangement)
    np.testing.assert_array_equal(layer.to_dense().detach().numpy(), weight.to_dense())
    assert layer.to_matrix() == weight
    assert (layer.bias is not None) == bias
    x = inputs(5, n)
    dense = torch.from_numpy(weight.to_dense())
    close(noisy(layer)(x), dense_linear(x, dense, layer.bias))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(12,), (0, 12), (1, 12), (7, 12), (2, 3, 12)])
def test_any_leading_axes_are_kept(kind, shape):
    layer = noisy(kind(12, 18, 6 if kind is TwoStageLinear else 4, dtype=DOUBLE))
    close(layer(inputs(*shape)), dense_linear(inputs(*shape), layer.to_dense(), layer.bias))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(8, 8, 4), (8, 16, 8), (16, 8, 4)])
def test_first_and_second_derivatives(kind, bias, shape):
    m, n, d = shape
    layer = noisy(kind(n, m, d, bias, dtype=DOUBLE))
    names = [name for name, _ in layer.named_parameters()]
    parameters = [parameter.detach().clone().requires_grad_() for parameter in layer.parameters()]

    def squared(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,)) ** 2

    x = inputs(2, n).requires_grad_()
    assert gradcheck(squared, (x, *parameters), fast_mode=True)
    assert gradgradcheck(squared, (x, *parameters), fast_mode=True)


def test_gradients_are_those_of_the_masked_dense_layer():
    layer = noisy(SAOLinear(12, 18, 4, dtype=DOUBLE))
    masked = layer.to_linear()
    ours, theirs = inputs(7, 12).requires_grad_(), inputs(7, 12).requires_grad_()
    upstream = inputs(7, 18, seed=2)
    layer(ours).backward(upstream)
    masked(theirs).backward(upstream)
    close(ours.grad, theirs.grad)
    close(layer.bias.grad, masked.bias.grad)
    of_blocks = copy.deepcopy(layer)
    with torch.no_grad():
        of_blocks.weight.copy_(layer.weight.grad)
    close(of_blocks.to_dense().detach(), masked.weight_orig.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_through_to_dense(kind):
    layer = kind(8, 16, 4, dtype=DOUBLE)
    x = inputs(3, 8)
    by_blocks = torch.autograd.grad((layer(x) ** 3).sum(), [p for p in layer.parameters() if p.ndim == 3])
    by_dense = torch.autograd.grad(
        (x @ layer.to_dense().T).pow(3).sum(), [p for p in layer.parameters() if p.ndim == 3]
    )
    for ours, theirs in zip(by_blocks, by_dense, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, DOUBLE])
def test_every_precision_runs_and_trains(kind, dtype):
    layer = noisy(kind(64, 32, 8, dtype=dtype))
    x = inputs(9, 64, dtype=dtype).requires_grad_()
    wide = dense_linear(x.to(DOUBLE), layer.to_dense().to(DOUBLE), layer.bias.to(DOUBLE))
    close(layer(x), wide.to(dtype))
    layer(x).sum().backward()
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in (x, *layer.parameters()))
    assert layer.to_linear().weight.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_weights_are_the_double_ones_rounded(dtype):
    name = str(dtype).removeprefix("torch.")
    assert SAOLinear(16, 8, 4, dtype=dtype).to_matrix() == sao_weight(8, 16, 4).as_dtype(name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_autocast_computes_as_for_a_dense_layer(kind, bias):
    layer = noisy(kind(16, 16, 4, bias))
    x = inputs(5, 16, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x)
        dense = dense_linear(x, layer.to_dense(), layer.bias)
    close(out, dense)
    out.float().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in layer.parameters())


def test_it_is_traced_whole_by_torch_compile():
    model = SAOSequential(noisy(SAOLinear(16, 8, 4)), nn.Tanh(), TwoStageLinear(8, 8, 4), nn.LayerNorm(8))
    with warnings.catch_warnings():  # torch's own, of its own parts
        warnings.simplefilter("ignore")
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        ours, theirs = (inputs(5, 16, dtype=torch.float32).requires_grad_() for _ in range(2))
        out = compiled(ours)
        out.square().sum().backward()
    model(theirs).square().sum().backward()
    close(out, model(theirs))
    close(ours.grad, theirs.grad)


class LargestMade(TorchDispatchMode):
    """The elements of the largest floating array made, views and in-place results left out."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        held = {tensor.data_ptr() for tensor in args if isinstance(tensor, torch.Tensor)}
        if isinstance(out, torch.Tensor) and out.is_floating_point() and out.data_ptr() not in held:
            self.elements = max(self.elements, out.numel() if func is not torch.ops.aten.new_empty.default else 0)
        return out


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(12, 6), (6, 12)])
def test_without_gradients_groups_take_turns_where_a_batch_is_large(monkeypatch, shape, bias):
    """As in whole batches, to rounding, and nothing but the result is as large as a batch."""
    layer = noisy(SAOLinear(*shape, 2, bias, dtype=DOUBLE))
    x = inputs(2, 5, shape[0])
    whole = layer(x)
    a_group = max(layer.weight.shape[1:]) * 10
    monkeypatch.setattr(linear, "PART_BYTES", 8 * 2 * a_group)
    with torch.no_grad(), LargestMade() as made:
        out = layer(x)
    close(out, whole)
    assert made.elements <= 2 * a_group < max(shape) * 10
    monkeypatch.setattr(linear, "PART_BYTES", 1)
    with torch.no_grad():
        close(torch.func.vmap(layer)(x), whole)
        close(layer(x.transpose(0, 1).contiguous()).transpose(0, 1), whole)
        with torch.autocast("cpu", torch.bfloat16):
            assert layer.float()(x.float()).dtype == torch.bfloat16


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch's own forward mode uses it; the kind is its version's
def test_functional_jacobians():
    layer = noisy(SAOLinear(12, 6, 4, dtype=DOUBLE))
    close(torch.func.jacrev(layer)(inputs(12)), layer.to_dense().detach())
    close(torch.func.jacfwd(layer)(inputs(12)), layer.to_dense().detach())
    close(torch.func.vmap(layer)(inputs(4, 12)), layer(inputs(4, 12)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_carries_the_groups_too(kind):
    saved, other = noisy(kind(32, 16, 8, seed=1)), kind(32, 16, 8, seed=2)
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    x = inputs(3, 32, dtype=torch.float32)
    assert not torch.equal(saved.to_dense(), other.to_dense())
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(saved(x), other(x))
    assert torch.equal(copy.deepcopy(saved)(x), saved(x))


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_the_blocks_and_a_bias(kind):
    layer = kind(64, 64, 16)
    numbers = 64 * 16 if kind is SAOLinear else 2 * 64 * 4
    assert sum(parameter.numel() for parameter in layer.parameters()) == numbers + 64
    assert {p.dtype for p in layer.parameters()} == {torch.float32}
    assert layer.degree == 16
    assert not layer.bias.any()


@pytest.mark.parametrize("kind", KINDS)
def test_reset_gives_the_first_values_again(kind):
    layer = kind(16, 16, 4, seed=3)
    first = layer.to_dense().detach().clone()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(1)
    for module in layer.modules():  # as scripts do for a whole model
        module.reset_parameters()
    assert torch.equal(layer.to_dense(), first)
    assert not layer.bias.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_linear_trains_along(kind):
    layer = noisy(kind(16, 16, 4, dtype=DOUBLE))
    masked, x = layer.to_linear(), inputs(5, 16)
    close(masked(x), layer(x))
    assert torch.equal(masked.weight_mask != 0, layer.to_dense() != 0)
    if kind is SAOLinear:
        for model in (layer, masked):
            step = torch.optim.SGD(model.parameters(), lr=0.1)
            model(x).square().sum().backward()
            step.step()
        close(masked(x), layer(x))
        # its `weight` still holds the values before the step, until the next forward
        close(SAOLinear.from_linear(masked)(x), layer(x))


def test_a_zero_patterned_linear_is_recognised():
    weight = torch.zeros(4, 6)
    weight[:2, [0, 2, 5]] = torch.arange(1.0, 7).view(2, 3)
    weight[2:, [1, 3, 4]] = -torch.arange(1.0, 7).view(2, 3)
    dense = nn.Linear(6, 4)
    with torch.no_grad():
        dense.weight.copy_(weight)
    layer = SAOLinear.from_linear(dense)
    assert (layer.groups, layer.degree, layer.weight.shape) == (2, 3, (2, 2, 3))
    assert torch.equal(layer.to_dense(), weight)
    assert torch.equal(layer.bias, dense.bias)
    assert SAOLinear.from_linear(nn.Linear(6, 4, bias=False)).groups == 1
    pruned = prune.custom_from_mask(nn.Linear(6, 4, dtype=DOUBLE), "weight", weight != 0)
    with torch.no_grad():
        pruned.weight_orig[0, 0] = 0  # a zero value is no zero of the mask
    assert torch.equal(SAOLinear.from_linear(pruned).to_dense(), pruned.weight_orig * pruned.weight_mask)


def test_from_mask_takes_any_order_of_rows_and_columns():
    rng = np.random.default_rng(0)
    mask = Mask.from_dense(sao_mask(8, 12, 3).to_dense()[rng.permutation(8)][:, rng.permutation(12)])
    layer = SAOLinear.from_mask(mask, seed=5, dtype=DOUBLE)
    assert layer.to_matrix().mask == mask
    close(layer.to_dense() @ layer.to_dense().T, torch.eye(8, dtype=DOUBLE))
    stages = Mask.from_dense(two_stage_mask(8, 16, 8).to_dense()[rng.permutation(8)][:, rng.permutation(16)])
    assert TwoStageLinear.from_mask(stages).to_matrix().mask == stages


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: SAOLinear(784, 300, 4), r"no sao mask of 300 x 784 with d = 4: .*nearest feasible"),
        (lambda: SAOLinear(8, 8, 9, pad=True), r"d = 9: a row has 8 places"),
        (lambda: SAOLinear(8, 8, 4, arrangement="best"), "unknown arrangement 'best'"),
        (lambda: SAOLinear(8, 8, 4, seed=-1), "seed -1 is negative"),
        (lambda: SAOLinear.from_mask(ramanujan_mask(16, 16, 4)), "16 x 16 has a component that is not complete"),
        (lambda: SAOLinear.from_mask(Mask.from_dense([[1, 0, 0], [0, 1, 1]])), "from 1 to 2 columns"),
        (lambda: SAOLinear.from_mask(Mask.from_dense([[1, 0], [1, 0], [0, 1]])), "from 1 to 2 rows"),
        (lambda: SAOLinear.from_mask(Mask.from_dense([[1, 0], [1, 0]])), "column 1 of this mask of 2 x 2 is empty"),
        (lambda: SAOLinear.from_mask(Mask.from_dense([[1, 1], [0, 0]])), "row 1 of this mask of 2 x 2 is empty"),
        (lambda: SAOLinear.from_linear(nn.Conv1d(2, 2, 1)), "Conv1d is no torch.nn.Linear"),
        (lambda: SAOLinear(8, 8, 4)(torch.zeros(3, 9)), "inputs of width 9 for a layer of 8 inputs"),
        (lambda: SAOLinear(8, 8, 4)(torch.tensor(1.0)), "inputs without an axis"),
        (lambda: TwoStageLinear(8, 8, 5), "no two-stage mask of 8 x 8 with d = 5"),
        (lambda: TwoStageLinear.from_mask(sao_mask(8, 8, 2)), "8 x 8 is no product of two SAO masks"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(call, said):
    with pytest.raises(SaoError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_infeasible_sizes_raise_the_error_of_every_construction():
    with pytest.raises(InfeasibleError, match="nearest feasible"):
        SAOLinear(10, 10, 4)


@settings(max_examples=25)
@given(st.integers(1, 20), st.integers(1, 20), st.data())
def test_a_padded_layer_is_a_part_of_an_orthogonal_one(m, n, data):
    d = data.draw(st.integers(1, n))
    groups = -(-n // d)
    wide_m, wide_n = groups * -(-m // groups), groups * d
    layer = noisy(SAOLinear(n, m, d, dtype=DOUBLE, pad=True))
    weight = sao_weight(wide_m, wide_n, d).to_dense()[:m, :n]
    np.testing.assert_array_equal(layer.to_dense().detach().numpy(), weight)
    np.testing.assert_array_equal(layer.to_matrix().to_dense(), weight)
    values = np.linalg.svd(weight, compute_uv=False)
    assert values.max() <= 1 + 1e-14 * max(m, n)
    assert (abs(values - 1) > 1e-12).sum() <= wide_m - m + wide_n - n
    x = inputs(3, n).requires_grad_()
    close(layer(x), dense_linear(x, layer.to_dense(), layer.bias))
    close(layer.to_linear()(x), layer(x))
    assert ("padded" in repr(layer)) == ((wide_m, wide_n) != (m, n))


def test_padding_gets_no_gradient():
    layer = SAOLinear(10, 7, 4, dtype=DOUBLE, pad=True)
    assert gradcheck(layer, (inputs(2, 10).requires_grad_(),))
    layer(inputs(3, 10)).square().sum().backward()
    assert int((layer.weight.grad != 0).sum()) == layer.to_matrix().mask.nnz < layer.weight.numel()


@pytest.mark.parametrize("shape", [(8, 8, 4), (8, 16, 8), (24, 16, 8)])
def test_a_two_stage_layer_is_the_two_stage_weight(shape):
    m, n, d = shape
    layer = noisy(TwoStageLinear(n, m, d, seed=2, layer=3, dtype=DOUBLE))
    weight = two_stage_weight(m, n, d, seed=2, layer=3)
    assert layer.to_matrix() == weight
    np.testing.assert_array_equal(layer.to_dense().detach().numpy(), weight.to_dense())
    x = inputs(5, n)
    close(layer(x), dense_linear(x, torch.from_numpy(weight.to_dense()), layer.bias))


def stack(dtype=DOUBLE):
    return [
        noisy(SAOLinear(12, 18, 4, dtype=dtype, layer=1)),
        nn.Tanh(),
        noisy(SAOLinear(18, 16, 9, dtype=dtype, layer=2)),
        nn.GELU(),
        noisy(TwoStageLinear(16, 16, 4, dtype=dtype, layer=3)),
        nn.ReLU(inplace=True),
        noisy(SAOLinear(16, 10, 3, dtype=dtype, layer=4, pad=True)),
        noisy(SAOLinear(10, 10, 5, dtype=dtype, layer=5)),
        nn.LayerNorm(10, dtype=dtype),
        nn.Sigmoid(),
        noisy(SAOLinear(10, 14, 4, dtype=dtype, layer=6, pad=True)),
        nn.Softplus(),
    ]


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 3, 12)])
def test_merged_permutations_change_nothing(shape):
    modules = stack()
    plain, merged = nn.Sequential(*modules), SAOSequential(*modules)
    assert plain.state_dict().keys() == merged.state_dict().keys()
    results = []
    for model in (merged, plain):
        x = inputs(*shape).requires_grad_()
        out = model(x)
        results.append([out, *torch.autograd.grad(out.pow(2).sum(), [x, *model.parameters()])])
    for ours, theirs in zip(*results, strict=True):
        close(ours, theirs)


class GatherCount(TorchDispatchMode):
    """How many gathers of features (not of their numbers) are made."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten.index_select.default and args[0].is_floating_point()
        return func(*args, **(kwargs or {}))


def gathers(model, x):
    with torch.no_grad(), GatherCount() as counted:
        model(x)
    return counted.count


def test_one_gather_between_layers():
    modules = [SAOLinear(8, 8, 4, layer=1), nn.ReLU(), SAOLinear(8, 8, 4, layer=2), TwoStageLinear(8, 8, 4)]
    x = torch.ones(3, 8)
    assert gathers(modules[0], x) == 2
    assert gathers(nn.Sequential(*modules), x) == 2 + 2 + 3
    assert gathers(SAOSequential(*modules), x) == 5
    assert gathers(SAOSequential(*modules[:2], nn.LayerNorm(8), *modules[2:]), x) == 6


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_hook_sees_features_in_their_own_order(place):
    modules = [SAOLinear(8, 8, 4, layer=1), nn.ReLU(), TwoStageLinear(8, 8, 4, layer=2), SAOLinear(8, 8, 2, layer=3)]
    seen = []
    modules[place].register_forward_hook(lambda module, args, out: seen.append((args[0].clone(), out.clone())))
    x = inputs(3, 8, dtype=torch.float32)
    close(SAOSequential(*modules)(x), nn.Sequential(*modules)(x))
    (ours_in, ours_out), (theirs_in, theirs_out) = seen
    close(ours_in, theirs_in)
    close(ours_out, theirs_out)


def test_a_layer_with_a_forward_of_its_own_keeps_it():
    class Doubled(SAOLinear):
        def forward(self, x):
            return 2 * super().forward(x)

    modules = [SAOLinear(8, 8, 4, layer=1), Doubled(8, 8, 4, layer=2)]
    x = inputs(3, 8, dtype=torch.float32)
    close(SAOSequential(*modules)(x), nn.Sequential(*modules)(x))


def test_a_chain_that_does_not_fit_is_refused():
    with pytest.raises(SaoError, match="inputs of width 8 for a layer of 16 inputs"):
        SAOSequential(SAOLinear(8, 8, 4), nn.ReLU(), SAOLinear(16, 8, 4))(torch.ones(1, 8))


def test_results_lie_feature_by_feature_and_are_read_so():
    layer = noisy(SAOLinear(8, 8, 4, dtype=DOUBLE))
    out = layer(inputs(2, 3, 8))
    assert out.reshape(6, 8).t().is_contiguous()
    close(layer(out), layer(out.contiguous()))
    close(out.view(6, 2, 4), out.contiguous().view(6, 2, 4))


def test_a_meta_layer_holds_nothing():
    layer = SAOLinear(64, 64, 4, device="meta")
    assert layer.weight.is_meta
    assert layer.inputs.is_meta
    assert layer(torch.ones(2, 64, device="meta")).shape == (2, 64)


def test_the_room_is_lazy():
    told = "import sys, sao_cli.nets; sys.exit('torch' in sys.modules or 'SAOLinear' not in dir(sao_cli.nets))"
    subprocess.run([sys.executable, "-c", told], check=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_cuda_agrees_with_the_cpu(kind, dtype):
    here = noisy(kind(64, 64, 16, dtype=dtype))
    there = kind(64, 64, 16, dtype=dtype, device="cuda")
    there.load_state_dict(here.state_dict())
    ours, theirs = inputs(9, 64, dtype=dtype).requires_grad_(), inputs(9, 64, dtype=dtype).requires_grad_()
    here(ours).square().sum().backward()
    out = there(theirs.cuda())
    out.square().sum().backward()
    close(out.cpu(), here(ours), factor=64)
    close(theirs.grad, ours.grad, factor=64)
    assert there.to_linear().weight.is_cuda
    assert there.to_matrix() == here.to_matrix()


@pytest.mark.parametrize("way", ["cayley", "householder"])
def test_parametrizations_hold_the_blocks_orthogonal_in_training(way):
    layer = torch.nn.utils.parametrizations.orthogonal(SAOLinear(16, 16, 4), orthogonal_map=way)
    start = layer.weight.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    for _ in range(20):
        optimizer.zero_grad()
        (layer(x) - x.flip(1)).square().mean().backward()
        optimizer.step()
    assert (layer.weight - start).abs().max() > 0.01
    assert (torch.linalg.svdvals(layer.weight.detach().double()) - 1).abs().max() < 4e-7
