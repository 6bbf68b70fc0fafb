"""RareLinear: what its factors compute, beside their dense product, and what loads into it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sao_cli.base.errors import SaoError
from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint
from sao_cli.measure.redundancy.fusing import Fused
from sao_cli.nets.layers.rare_linear import RareLinear

ROWS = {"row_index": torch.tensor([1, 0, 1, 2]), "row_scale": torch.tensor([2.0, 1.0, -0.5, 1.0])}
COLUMNS = {"col_index": torch.tensor([0, 1, 1, 0, 2]), "col_scale": torch.tensor([1.0, 3.0, 0.25, -1.0, 1.0])}


def fused(**told):
    """A layer of 4 x 5 whose W' is 3 x 3, in float64, and its weight by the definition."""
    layer = RareLinear(5, 4, dtype=torch.float64, **told)
    core = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layer.replace_(Fused(core.numpy(), *[one.numpy() for one in (ROWS | COLUMNS).values()]))
    whole = torch.empty(4, 5, dtype=torch.float64)
    for a in range(4):
        for b in range(5):
            at = ROWS["row_index"][a], COLUMNS["col_index"][b]
            whole[a, b] = ROWS["row_scale"][a] * core[at] * COLUMNS["col_scale"][b]
    return layer, whole


def test_forward_is_that_of_the_product():
    layer, whole = fused()
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(layer.to_dense(), whole, rtol=1e-14, atol=0)
    torch.testing.assert_close(layer(x), x @ whole.T + layer.bias, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(layer.to_linear()(x), layer(x), rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(layer.to_matrix().to_dense(), layer.to_dense().detach().numpy())
    assert layer.shape == (3, 3)


@pytest.mark.parametrize("frobenius", [False, True])
def test_gradients_are_those_through_the_dense_product(frobenius):
    layer, _ = fused(frobenius=frobenius)
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    names = ["weight", "bias", "g"] if frobenius else ["weight", "bias"]
    ours = torch.autograd.grad(layer(x).square().sum(), [getattr(layer, name) for name in names])
    outputs = x @ layer.to_dense().T + layer.bias
    theirs = torch.autograd.grad(outputs.square().sum(), [getattr(layer, name) for name in names])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("g", [1.7, 0.0])
@pytest.mark.parametrize("first", [False, True])
def test_the_normalised_product_is_that_of_the_dense_weight_and_so_are_its_gradients(bias, g, first):
    layer = RareLinear(5, 4, bias, frobenius=True, dtype=torch.float64)
    with torch.no_grad():
        layer.g.fill_(g)
    x = torch.randn(2, 7, 5, dtype=torch.float64, requires_grad=not first)
    wanted = [*([] if first else [x]), *layer.parameters()]
    target = torch.randn(2, 7, 4, dtype=torch.float64)
    theirs = nn.functional.linear(x, layer.to_dense(), layer.bias)
    torch.testing.assert_close(layer(x), theirs, rtol=1e-13, atol=1e-13)
    ours, theirs = (torch.autograd.grad((y.tanh_() - target).square().sum(), wanted) for y in (layer(x), theirs))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert layer.eval()(x[:0]).shape == layer.train()(x[:0]).shape == (0, 7, 4)


def test_the_norm_is_decoupled_from_the_weight():
    layer = RareLinear.from_linear(nn.Linear(6, 4).double(), frobenius=True)
    before = layer.to_dense().detach()
    with torch.no_grad():
        layer.weight.mul_(17)
    torch.testing.assert_close(layer.to_dense(), before, rtol=1e-14, atol=0)
    with torch.no_grad():
        layer.g.mul_(3)
    torch.testing.assert_close(layer.to_dense(), 3 * before, rtol=1e-14, atol=0)
    (gradient,) = torch.autograd.grad(layer(torch.ones(1, 6).double()).sum(), layer.weight)
    assert abs(float((gradient * layer.weight.detach()).sum())) < 1e-12  # no change of scale reaches the outputs


def test_a_smaller_weight_keeps_the_factor_of_the_norm():
    layer = RareLinear(3, 3, frobenius=True, dtype=torch.float64)
    before = layer.to_core().detach()
    one = layer.to_fused()
    layer.replace_(Fused(one.weight[:, :2], one.row_index, one.row_scale, np.array([0, 1, 1]), one.col_scale))
    torch.testing.assert_close(layer.to_core(), before[:, :2], rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("frobenius", [False, True])
def test_what_is_saved_is_the_weight_to_the_last_bit(tmp_path, dtype, frobenius):
    layer = fused(frobenius=frobenius)[0].to(dtype)
    write_checkpoint({f"fc.{name}": one for name, one in layer.factors().items()}, tmp_path / "a.safetensors")
    with open_checkpoint(tmp_path / "a.safetensors") as checkpoint:
        (entry,) = checkpoint.entries
        np.testing.assert_array_equal(checkpoint.read(entry), layer.to_dense().detach().numpy())
    again = RareLinear(5, 4, bias=False, dtype=dtype)
    again.load_state_dict(layer.factors())
    assert torch.equal(again.to_dense(), layer.to_dense())


def test_a_smaller_state_loads_and_trains_on():
    layer, _ = fused(frobenius=True)
    layer.steps, layer.pairs = 7, {0: (1, 2), 1: None}
    again = RareLinear(5, 4, frobenius=True, dtype=torch.float64)
    again.load_state_dict(copy.deepcopy(layer.state_dict()))
    x = torch.randn(2, 5, dtype=torch.float64)
    assert torch.equal(again(x), layer(x))
    assert (again.shape, again.steps, again.pairs) == ((3, 3), 7, {0: (1, 2), 1: None})
    again(x).sum().backward()
    assert again.weight.grad.shape == (3, 3)


@pytest.mark.parametrize(
    "wrong",
    [{"weight": torch.zeros(5, 3)}, {"weight": torch.zeros(2, 3)}, {"col_index": torch.tensor([0, 1, -1, 0, 2])}],
)
def test_a_state_of_another_layer_is_refused(wrong):
    layer, _ = fused()
    with pytest.raises(RuntimeError, match=r"size mismatch|names vectors"):
        RareLinear(5, 4, dtype=torch.float64).load_state_dict(layer.state_dict() | wrong)


def test_the_rate_of_dropout_falls_with_the_width():
    layer, _ = fused(dropout=0.5)
    assert torch.equal(layer.eval()(torch.ones(1, 5).double()), layer(torch.ones(1, 5).double()))
    layer.train().generator = torch.Generator().manual_seed(3)
    dropped = layer._dropped(torch.ones(4000, 3))
    rate = 0.5 * 3 / 5
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / (1 - rate)])
    assert float((dropped == 0).double().mean()) == pytest.approx(rate, abs=5 * (rate * (1 - rate) / 12000) ** 0.5)
    layer.generator.manual_seed(3)
    assert torch.equal(layer._dropped(torch.ones(4000, 3)), dropped)


def test_what_it_is_made_of():
    state = torch.random.get_rng_state()
    linear = nn.utils.prune.random_unstructured(nn.Linear(4, 3, bias=False), "weight", 0.5)
    torch.random.set_rng_state(state)
    layer = RareLinear.from_linear(linear)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(layer.to_dense(), linear.weight_orig * linear.weight_mask)
    assert layer.bias is None
    with pytest.raises(SaoError, match=r"a Tanh is no torch\.nn\.Linear"):
        RareLinear.from_linear(nn.Tanh())
    with pytest.raises(SaoError, match="dropout 1: it is a rate"):
        RareLinear(3, 3, dropout=1)
    with pytest.raises(SaoError, match=r"shape \(2, 3\) for a layer of 4 inputs"):
        layer(torch.ones(2, 3))
