"""Stochastic gradient descent with momentum, to the bits of torch's, without torch's compiler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class SGD:
    """torch.optim.SGD(parameters, lr, momentum, weight_decay=weight_decay): the same steps and the same state.

    g' = g + weight_decay w; v = momentum v + g', which begins as g'; w -= lr v. Those parameters are left alone that
    have no gradient. `param_groups` and `state` are what torch's have. Its optimisers load torch's compiler as they are
    made, which takes most of a second and is of no use here. O(parameters) a step.

    >>> weight = nn.Parameter(torch.ones(2))
    >>> optimizer = SGD([weight], lr=0.5)
    >>> weight.sum().backward(); optimizer.step(); weight.tolist()
    [0.5, 0.5]
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {"params": list(parameters), "lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        ]
        self.state: defaultdict[nn.Parameter, dict[str, Any]] = defaultdict(dict)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    def step(self) -> None:
        """One step of every parameter, in place."""
        group = self.param_groups[0]
        with torch.no_grad():
            self._step(group, [one for one in group["params"] if one.grad is not None])

    def _step(self, group: dict[str, Any], parameters: list[nn.Parameter]) -> None:
        gradients = [one.grad for one in parameters if one.grad is not None]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        if group["momentum"]:
            gradients = self._velocities(parameters, gradients, group["momentum"])
        if parameters:
            torch._foreach_add_(parameters, gradients, alpha=-group["lr"])

    def _velocities(self, parameters: list[nn.Parameter], gradients: list[Tensor], momentum: float) -> list[Tensor]:
        """v of each parameter, with this step's gradient in it."""
        held = [self.state[one].get("momentum_buffer") for one in parameters]
        moving = [at for at, buffer in enumerate(held) if buffer is not None]
        buffers = [
            gradient.clone() if buffer is None else buffer for buffer, gradient in zip(held, gradients, strict=True)
        ]
        if moving:
            ours = [buffers[at] for at in moving]
            torch._foreach_mul_(ours, momentum)
            torch._foreach_add_(ours, [gradients[at] for at in moving])
        for parameter, buffer in zip(parameters, buffers, strict=True):
            self.state[parameter]["momentum_buffer"] = buffer
        return buffers
