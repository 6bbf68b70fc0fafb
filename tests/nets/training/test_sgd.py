"""Our SGD takes torch's steps, bit by bit, and is made without torch's compiler."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from sao_cli.nets.training.sgd import SGD


def a_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.Linear(4, 4))  # the last is never used


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_torchs(momentum, decay):
    ours, theirs = a_model(), a_model()
    optimizers = [
        make(model.parameters(), lr=0.1, momentum=momentum, weight_decay=decay)
        for make, model in ((SGD, ours), (torch.optim.SGD, theirs))
    ]
    x = torch.randn(9, 5)
    for step in range(5):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
            out = model[2](model[1](model[0](x))) if step != 2 else model[0](x)  # a layer that pauses
            optimizer.zero_grad()
            out.square().mean().backward()
            optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
        held = [
            optimizer.state.get(parameter, {}) for optimizer, parameter in zip(optimizers, (one, other), strict=True)
        ]
        buffers = [state.get("momentum_buffer") for state in held]
        assert (buffers[0] is None) == (buffers[1] is None)
        assert buffers[0] is None or torch.equal(*buffers)


def test_a_layer_of_no_use_stays():
    model = a_model()
    before = model[3].weight.clone()
    optimizer = SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    model[0](torch.ones(5)).sum().backward()
    optimizer.step()
    assert torch.equal(model[3].weight, before)
    SGD([model[3].weight], lr=0.1, momentum=0.9).step()
    assert torch.equal(model[3].weight, before)


TRAINED = """
import sys
from sao_cli.cli import main
try:
    main(["train", "--data", "digits", "--depth", "2", "--width", "64", "--epochs", "1", "--jacobian-at", "none", "-q"])
except SystemExit as end:
    assert not end.code
loaded = [name for name in ("torch._dynamo", "torch._inductor", "sympy", "sklearn") if name in sys.modules]
assert not loaded, loaded
"""


def test_training_loads_no_compiler():
    done = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
