"""A Jacobian leaves a module as it was: counters, containers, generators, plain tensors, modes, hooks."""

import random
from collections import Counter, OrderedDict, deque

import numpy as np
import pytest
import torch
from torch import nn

from sao_cli.base.errors import SaoError
from sao_cli.nets import jacobian_spectrum


class Tally:
    def __init__(self):
        self.calls, self.sizes = 0, []


class Counting(nn.Module):
    """A forward pass that changes everything that a module can hold."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.calls, self.names = 0, ["a"]
        self.last = None
        self.places = deque([1], maxlen=4)
        self.kinds, self.ordered, self.chosen = Counter("ab"), OrderedDict(a=1, b=2), {1, 2}
        self.array, self.plain = np.zeros(2), torch.zeros(2)
        self.rng, self.python, self.own = np.random.default_rng(0), random.Random(0), torch.Generator()
        self.tally = Tally()
        self.nested = {"tallies": [Tally()]}
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        self.names.append("b")
        self.last = x
        self.places.append(2)
        self.kinds["a"] += 1
        self.ordered.move_to_end("a")
        self.chosen.add(3)
        self.array += 1
        self.plain += 1
        self.rng.random()
        self.python.random()
        torch.rand(1, generator=self.own)
        self.tally.calls += 1
        self.tally.sizes.append(len(x))
        self.nested["tallies"][0].calls += 1
        self.seen += 1
        self.fresh = 1
        self.training = not self.training
        self.linear.register_forward_hook(lambda *_: None)
        return torch.tanh(self.linear(x))


def state(module):
    return (
        module.calls,
        module.names,
        module.last,
        list(module.places),
        module.kinds,
        list(module.ordered.items()),
        module.chosen,
        module.array.tolist(),
        module.plain.tolist(),
        module.rng.bit_generator.state,
        module.python.getstate(),
        module.own.get_state().tolist(),
        vars(module.tally),
        vars(module.nested["tallies"][0]),
        module.seen.item(),
        hasattr(module, "fresh"),
        module.training,
        len(module.linear._forward_hooks),
    )


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: m.forward, lambda m: lambda x: m(x)])
def test_a_jacobian_leaves_a_module_as_it_was(wrap):
    torch.manual_seed(0)
    module = Counting()
    before = repr(state(module))
    held = [module.names, module.places, module.kinds, module.tally, module.array, module.plain, module.seen]
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    found = jacobian_spectrum(wrap(module), torch.ones(3), dtype="float32")
    assert found.rank == 3
    if wrap(module) is module:
        assert module.seen.item() == 0
    else:
        module.seen.zero_()  # a function's own tensors are its own
    assert repr(state(module)) == before
    assert all(
        one is other
        for one, other in zip(
            held[:-1],
            [
                module.names,
                module.places,
                module.kinds,
                module.tally,
                module.array,
                module.plain,
            ],
            strict=True,
        )
    )
    for name, value in module.state_dict().items():
        assert torch.equal(value, weights[name]) or name == "seen"


def global_states():
    return random.getstate(), repr(np.random.get_state(legacy=False)), torch.get_rng_state().tolist()  # noqa: NPY002


class Draws(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def forward(self, x):
        return x * self.draw()


@pytest.mark.parametrize("draw", [random.random, np.random.random, lambda: float(torch.rand(()))])
def test_what_draws_from_any_generator_is_refused_and_its_state_put_back(draw):
    states = global_states()
    with pytest.raises(SaoError, match="draws random numbers"):
        jacobian_spectrum(Draws(draw), [1.0, 2.0])
    assert states == global_states()


def test_a_kink_is_no_detach():
    at_zero = jacobian_spectrum(nn.Sequential(nn.ReLU(), nn.Linear(3, 3)), torch.zeros(3))
    assert "at a kink" in at_zero.reason
    cut = jacobian_spectrum(lambda x: x.detach() * 2 + 0 * x.sum(), torch.ones(3))
    assert "detach" in cut.reason
    dead = jacobian_spectrum(nn.ReLU(), -torch.ones(3))
    assert "does not change" in dead.reason
