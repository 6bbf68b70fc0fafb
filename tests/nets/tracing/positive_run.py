"""A second route to a network's facts, which shares no rule with the first: the module itself, made positive.

It is run in float64 by Python's functions, not ATen's operations, with random positive weights where the weights are
not 0, and every function replaced by a positive one that reads the same numbers: activations and maxima by sums, norms
by their scales with constants for their statistics. No two paths can cancel then, so that derivatives of real numbers
tell what depends on what: forward mode what depends on the input, reverse mode what an output depends on.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

KEEPS_ZERO = ("relu", "relu_", "tanh", "gelu", "silu", "relu6", "hardswish", "leaky_relu", "elu", "dropout", "hardtanh")
SHIFTS = ("sigmoid", "softplus", "exp", "hardsigmoid", "cos")
PRODUCTS = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "addmm")


class Positive(TorchFunctionMode):
    """Replaces functions by positive ones; `uses` are the products with a weight."""

    def __init__(self, rng):
        super().__init__()
        self.rng, self.uses = rng, []

    def drawn(self, shape):
        return torch.from_numpy(self.rng.uniform(0.5, 1.5, tuple(shape)))

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        if name in PRODUCTS:
            return self.product(function, name, args, kwargs)
        replaced = getattr(self, f"_{name.rstrip('_')}", None)
        if name in KEEPS_ZERO:
            return args[0] * self.drawn(())
        if name in SHIFTS:
            return args[0] * self.drawn(()) + self.drawn(())
        return replaced(*args, **kwargs) if replaced is not None else function(*args, **kwargs)

    def product(self, function, name, args, kwargs):
        answer = function(*args, **kwargs)
        data, weight, first = (args[1], args[2], 1) if name == "addmm" else (args[0], args[1], 0)

        def apply(data, weight):
            rest = [one.detach() if isinstance(one, torch.Tensor) else one for one in args]
            rest[first], rest[first + 1] = data, weight
            if name == "addmm":
                return torch.mm(data, weight)
            if len(rest) > 2:
                rest[2] = None  # a bias moves with nothing
            return function(*rest, **kwargs)

        self.uses.append(SimpleNamespace(data=data, weight=weight, answer=answer, apply=apply))
        return answer

    def _sub(self, x, y, **_):
        return torch.add(x, y)

    def _maximum(self, x, y):
        return torch.add(x, y)

    def _softmax(self, x, dim=-1, **_):
        weights = self.drawn((x.shape[dim], x.shape[dim]))
        return torch.einsum("...j,jk->...k", x.movedim(dim, -1), weights).movedim(-1, dim) + 1

    def _layer_norm(self, x, shape, weight=None, bias=None, eps=0.0):
        return torch.add(torch.mul(torch.add(x, self.drawn(())), weight), bias)

    def _group_norm(self, x, groups, weight, bias, eps=0.0):
        shape = (1, -1, *[1] * (x.ndim - 2))
        return (x + self.drawn(())) * weight.view(shape) + bias.view(shape)

    def _batch_norm(self, x, mean, variance, weight, bias, *_, **__):
        shape = (1, -1, *[1] * (x.ndim - 2))
        return (x + mean.abs().view(shape)) * weight.view(shape) + bias.view(shape)

    def _max_pool2d(self, x, size, stride=None, padding=0, *_, **__):
        return F.avg_pool2d(x, size, stride, padding)

    def _adaptive_max_pool2d(self, x, size, *_, **__):
        return F.adaptive_avg_pool2d(x, size)

    def _scaled_dot_product_attention(self, q, k, v, **_):
        scores = q @ k.transpose(-1, -2)
        return self._softmax(scores) @ v


@contextmanager
def positive_weights(module, rng):
    """The module in float64 with positive numbers where its weights are not 0."""
    before = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    dtype = {name: tensor.dtype for name, tensor in before.items()}
    module.double().eval()
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_((tensor != 0) * torch.from_numpy(rng.uniform(0.5, 1.5, tuple(tensor.shape))))
    yield module
    module.float()
    module.load_state_dict({name: tensor.to(dtype[name]) for name, tensor in before.items()})


def facts(module, example, seed=0):
    """What depends on what, as zeros of derivatives: `jacobian` (outputs, inputs), effective weights, influence."""
    rng = np.random.default_rng(seed)
    with positive_weights(module, rng):
        x = torch.from_numpy(rng.uniform(0.5, 1.5, tuple(example.shape))).requires_grad_()
        out, uses = _run(module, x, seed)
        rows = [torch.autograd.grad(one, x, retain_graph=True)[0] for one in out.flatten()]
        parameters = dict(module.named_parameters())
        wanted = [*(use.answer for use in uses), *parameters.values()]
        gradients = torch.autograd.grad(out.sum(), wanted, allow_unused=True)
        moving = _moving(module, x.detach(), seed)
        names = {id(one): name for name, one in parameters.items()}
        effective = _effective(uses, gradients, moving, names)
        nothing = (torch.zeros_like(one) for one in parameters.values())
        influence = {
            name: (zero if gradient is None else gradient) != 0
            for name, gradient, zero in zip(parameters, gradients[len(uses) :], nothing, strict=True)
        }
    return SimpleNamespace(
        jacobian=torch.stack(rows).reshape(*out.shape, *x.shape) != 0, effective=effective, influence=influence
    )


def _run(module, x, seed):
    mode = Positive(np.random.default_rng(seed + 1))
    with mode:
        return module(x), mode.uses


def _moving(module, x, seed):
    """The numbers of each product's data that move with the input."""
    with forward_ad.dual_level():
        _, uses = _run(module, forward_ad.make_dual(x, torch.ones_like(x)), seed)
        tangents = [forward_ad.unpack_dual(use.data).tangent for use in uses]
    return [use.data * 0 if tangent is None else tangent for use, tangent in zip(uses, tangents, strict=True)]


def _effective(uses, gradients, moving, names):
    """Where a weight reads what moves and writes what an output reads, any use counting."""
    found = {}
    for use, gradient, tangent in zip(uses, gradients, moving, strict=False):
        weight = use.weight.detach().requires_grad_()
        live = torch.zeros_like(use.answer) if gradient is None else (gradient != 0).double()
        answer = use.apply((tangent != 0).double(), weight)
        (read,) = torch.autograd.grad((answer * live).sum(), weight)
        name = names[id(use.weight)]
        found[name] = found.get(name, False) | ((read > 0) & (weight != 0))
    return found
