"""Convolutions and batch norms whose first and second derivatives are as few passes as they can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = {functional.conv1d: 1, functional.conv2d: 2, functional.conv3d: 3}
_convolve = torch.ops.aten.convolution
_derivatives = torch.ops.aten.convolution_backward


class PlainDerivatives(TorchFunctionMode):  # type: ignore[misc]  # torch's types are not followed
    """While it is entered, convolutions and batch norms in evaluation mode have other derivatives, of the same values.

    torch's own second derivative of a convolution turns kernels and images round and copies them, and that of a batch
    norm goes through the statistics, which are constants here. These take six products of a layer's size beside the
    three of a forward and a backward pass: W x' + W' x forth, and two halves of each of both derivatives back. Calls
    under torch.func's transforms, or with forward-mode tangents, are left as they are.
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
        if func in _CONVOLUTIONS and not _transformed():
            return _convolved(func, *args, **given)
        if func is functional.batch_norm:
            return _normed(*args, **given)
        return func(*args, **given)


def _transformed() -> bool:
    """Whether the call is differentiated forth, or for many inputs at once, which an autograd Function refuses."""
    return bool(torch._C._are_functorch_transforms_active()) or bool(forward_ad._current_level >= 0)


def _convolved(
    func: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    axes = _CONVOLUTIONS[func]
    if isinstance(padding, str) or input.ndim != axes + 2 or not input.is_floating_point():
        return func(input, weight, bias, stride, padding, dilation, groups)
    sizes = [list(one) if isinstance(one, Iterable) else [one] for one in (stride, padding, dilation)]
    sizes = [one * axes if len(one) == 1 else one for one in sizes]
    answer: Tensor = _Convolution.apply(input, weight, bias, (*sizes, False, [0] * axes, groups))
    return answer


def _normed(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or running_mean is None or running_var is None:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    factor = torch.rsqrt(running_var + eps) * (1.0 if weight is None else weight)
    shift = (0.0 if bias is None else bias) - running_mean * factor
    sides = 1, -1, *[1] * (x.ndim - 2)
    return torch.addcmul(shift.view(sides), x, factor.view(sides))


class _Convolution(Function):  # type: ignore[misc]
    """A convolution of `how`: stride, padding, dilation, whether transposed, output padding, groups."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, how: tuple[Any, ...]) -> Tensor:
        answer: Tensor = _convolve(x, weight, bias, *how)
        return answer

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.how = inputs[3]

    @staticmethod
    def backward(ctx: Any, flow: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad
        parts = _ConvolutionDerivatives.apply(flow, *ctx.saved_tensors, ctx.how, wanted[:2])
        return *parts, flow.sum([0, *range(2, flow.ndim)]) if wanted[2] else None, None


class _ConvolutionDerivatives(Function):  # type: ignore[misc]
    """Of a convolution by x and by its weight, where `wanted`, else None; `flow` is that of its answer."""

    @staticmethod
    def forward(
        flow: Tensor, x: Tensor, weight: Tensor, how: tuple[Any, ...], wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        by_x, by_weight, _ = _derivatives(flow, x, weight, None, *how, [*wanted, False])
        return by_x, by_weight

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:3])
        ctx.how = inputs[3]

    @staticmethod
    def backward(ctx: Any, of_x: Tensor | None, of_weight: Tensor | None) -> tuple[Tensor | None, ...]:
        flow, x, weight = ctx.saved_tensors
        pairs = [(of_x, weight), (x, of_weight)]
        written = [_convolve(*pair, None, *ctx.how) for pair in pairs if pair[0] is not None and pair[1] is not None]
        wanted = [of_weight is not None, of_x is not None, False]
        read = x if of_x is None else of_x, weight if of_weight is None else of_weight
        by_x, by_weight, _ = _derivatives(flow, *read, None, *ctx.how, wanted)
        return sum(written[1:], written[0]) if written else None, by_x, by_weight, None, None
