"""compact_: what it swaps gives the same outputs, and what it leaves has a reason. No test knows which is faster."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sao_cli.base.errors import SaoError
from sao_cli.nets import CSRLinear, SAOLinear, compact_, sparsify
from sao_cli.nets.reduction import compact_module


@pytest.fixture
def times(monkeypatch):
    """How long a pass of each class takes, in place of the clock."""
    told = {"Linear": 2.0, "SAOLinear": 1.0, "CSRLinear": 1.5}
    monkeypatch.setattr(compact_module, "_seconds", lambda layer, x: told[type(layer).__name__])
    return told


def model(method):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Dropout(), nn.Linear(16, 3)).double()
    sparsify(made, method, sparsity=0.75)
    return made


@pytest.mark.parametrize(("method", "kind"), [("sao", SAOLinear), ("lmp", CSRLinear)])
def test_outputs_stay_and_modes_too(times, method, kind):
    net = model(method)
    x = torch.randn(5, 6, dtype=torch.float64)
    before = net.eval()(x).detach()
    net.train()
    (row,) = compact_(net, x)
    assert isinstance(net[2], kind)
    assert (row.name, row.replaced_by, row.seconds, row.new_seconds) == ("2", kind.__name__, 2.0, times[kind.__name__])
    assert row.sparsity == 0.75
    assert all(one.training for one in net.modules())
    torch.testing.assert_close(net.eval()(x), before, rtol=1e-12, atol=1e-12)


def test_a_dense_layer_that_is_faster_stays(times):
    times["Linear"] = 0.5
    net = model("lmp")
    (row,) = compact_(net, torch.ones(1, 6, dtype=torch.float64))
    assert (row.replaced_by, type(net[2]), hasattr(net[2], "weight_mask")) == (None, nn.Linear, True)
    assert row.reason == "a dense product is faster: 500 ms, and CSRLinear takes 1.5e+03 ms"


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.same, self.idle, self.heard = (nn.Linear(4, 4) for _ in range(4))
        self.again = nn.Linear(4, 4)
        self.again.weight = self.first.weight
        self.conv = nn.Conv1d(1, 2, 1)
        self.attention = nn.MultiheadAttention(4, 2)
        self.twin = self.same
        with torch.no_grad():
            for layer in (self.first, self.same, self.idle, self.heard, self.attention.out_proj, self.conv):
                layer.weight[0] = 0
        self.heard.register_forward_hook(lambda *_: None)

    def forward(self, x):
        x = self.twin(self.same(self.again(self.first(x))))
        return self.attention(x, x, x)[0] + self.heard(x) + self.conv(x[:, None]).sum()


def test_reasons_and_a_layer_by_two_names(times):
    net, x = Odd(), torch.randn(3, 4)
    before = net(x).detach()
    rows = {row.name: row for row in compact_(net, x)}
    assert {name: row.replaced_by for name, row in rows.items() if row.replaced_by} == {"same": "CSRLinear"}
    assert net.twin is net.same
    torch.testing.assert_close(net(x), before)
    reasons = {name: row.reason for name, row in rows.items()}
    assert reasons["first"] == reasons["again"] == reasons["attention.out_proj"]
    assert "another module holds its weight too" in reasons["first"]
    assert "did not run" in reasons["idle"]
    assert "hooks" in reasons["heard"]
    assert "convolution" in reasons["conv"]


def test_the_clock_itself_and_a_layer_alone():
    layer = prune.l1_unstructured(nn.Linear(8, 8), "weight", 0.5)
    assert compact_module._seconds(layer, torch.ones(2, 8)) > 0
    with pytest.raises(SaoError, match="itself a layer"):
        compact_(layer, torch.ones(2, 8))
