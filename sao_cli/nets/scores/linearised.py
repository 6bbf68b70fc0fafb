"""What a module computes with its activations left out, its norms as fixed factors and no shifts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_NAMES = (  # with their in-place forms
    "relu relu6 leaky_relu rrelu prelu elu celu selu gelu silu mish tanh sigmoid erf hardtanh hardsigmoid hardswish "
    "softplus softshrink softsign tanhshrink logsigmoid log_sigmoid softmax log_softmax clamp clip threshold dropout "
    "alpha_dropout feature_dropout feature_alpha_dropout dropout1d dropout2d dropout3d"
)
_ACTIVATIONS = frozenset(name + end for name in _NAMES.split() for end in ("", "_"))


class LinearisedCalls(TorchFunctionMode):  # type: ignore[misc]  # torch's types are not followed
    """While it is entered, activations and dropout pass what they read, and a batch norm is a factor a channel.

    The factor is |gamma| / sqrt(var + eps), of the running variance: no mean and no shift (Tanaka et al., NeurIPS 2020,
    whose code takes absolute values of means and shifts too, and keeps the activations: that breaks conservation).
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The call, or what stands for it."""
        given = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _ACTIVATIONS:
            return args[0] if args else given["input"]
        if name == "batch_norm" and func is functional.batch_norm:
            return _scaled(*args, **given)
        return func(*args, **given)


def _scaled(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    channels = x.shape[1]
    variance = x.new_ones(channels) if running_var is None else running_var
    factor = torch.rsqrt(variance + eps) * (1.0 if weight is None else weight.abs())
    return x * factor.view(1, channels, *[1] * (x.ndim - 2))
