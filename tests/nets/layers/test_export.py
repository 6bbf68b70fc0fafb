"""Layers as other programs take them: torch.export with a batch of any size, tracing, and torch.compile."""

import pytest
import torch
from torch import nn

from sao_cli.masks.sao import sao_mask
from sao_cli.nets import (
    FNN,
    ECOConv2d,
    MaxMin,
    SAOConv2d,
    SAOLinear,
    SAOSequential,
    SOCConv2d,
    SparseConv2d,
    TwoStageLinear,
)

MODELS = {
    "linear": (lambda: SAOLinear(8, 12, 4), (8,)),
    "linear of sequences": (lambda: SAOLinear(8, 12, 4), (5, 8)),
    "padded": (lambda: SAOLinear(10, 7, 4, pad=True), (10,)),
    "two stages": (lambda: TwoStageLinear(16, 16, 4), (16,)),
    "sequential": (lambda: SAOSequential(SAOLinear(8, 8, 4), nn.Tanh(), SAOLinear(8, 8, 2, layer=2)), (8,)),
    "network": (lambda: FNN(2, (16, 8, 8, 4), degree=2, layers="blocks"), (16,)),
    "eco": (lambda: ECOConv2d(2, 8, 3, stride=2, degree=4), (2, 12, 12)),
    "dense eco": (lambda: ECOConv2d(4, 8, 3), (4, 6, 6)),
    "soc": (lambda: SOCConv2d(4, 8, 3, degree=4, terms=3), (4, 6, 6)),
    "dense soc": (lambda: SOCConv2d(4, 8, 3, terms=3), (4, 6, 6)),
    "sao": (lambda: SAOConv2d(8, 8, 3, degree=4, padding=1), (8, 6, 6)),
    "sparse": (lambda: SparseConv2d(sao_mask(8, 8, 2), 3), (8, 6, 6)),
    "max-min": (MaxMin, (4, 6, 6)),
}


def batches(shape):
    torch.manual_seed(0)
    return [torch.randn(count, *shape) for count in (3, 1, 2, 7)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", MODELS)
def test_an_exported_layer_takes_batches_of_any_size(name):
    build, shape = MODELS[name]
    model = build().eval()
    first, *others = batches(shape)
    exported = torch.export.export(model, (first,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    traced = torch.jit.trace(model, (first,), check_trace=False)
    for x in others:
        torch.testing.assert_close(exported(x), model(x))
        torch.testing.assert_close(traced(x), model(x))


@pytest.mark.parametrize("name", ["linear", "sequential", "eco", "dense eco"])
def test_a_compiled_layer_is_one_graph(name):
    build, shape = MODELS[name]
    torch.compiler.reset()  # sides that differed in an earlier call would be symbols, and the transform needs numbers
    model = build()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for x in batches(shape)[:2]:
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("shape", [(8,), (1, 8), (0, 8), (2, 0, 8), (2, 3, 4, 8)])
def test_batches_of_every_shape(shape):
    layer, x = SAOLinear(8, 12, 4), torch.randn(shape)
    torch.testing.assert_close(layer(x), x @ layer.to_dense().T)
    assert layer(x).shape == (*shape[:-1], 12)


def test_a_dense_convolution_saves_and_loads_what_it_did():
    layer, other = ECOConv2d(4, 8, 3, seed=1), ECOConv2d(4, 8, 3, seed=2)
    assert set(layer.state_dict()) == {"weight", "bias", "base"}
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.to_dense(), layer.to_dense())
