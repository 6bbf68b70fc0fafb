"""Stand-ins of norms, whose means and variances are statistics of a whole group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sao_cli.nets.tracing.calls import Call


def statistic(call: Call) -> tuple[Tensor, ...]:
    """What counts as a constant: means and variances, which a norm is made of."""
    shapes = [call.values[number].shape for number in call.operation.outputs if number is not None]
    return tuple(torch.ones(shape, device=call.device) for shape in shapes)


def _affine(call: Call, bits: Tensor, shape: Sequence[int]) -> Tensor:
    """bits times the norm's scales plus its offsets."""
    scale, offset = call["weight"], call["bias"]
    bits = bits if scale is None else bits * scale.reshape(shape)
    return bits if offset is None else bits + offset.reshape(shape)


def _with_constants(call: Call, normed: Tensor) -> tuple[Tensor, ...]:
    """The answer of a norm, then its statistics."""
    rest = [call.values[number].shape for number in call.operation.outputs[1:] if number is not None]
    return normed, *(torch.ones(shape, device=normed.device) for shape in rest)


def _standardised(bits: Tensor, dims: Sequence[int], strict: bool) -> Tensor:
    """x - mean over deviation: x and a constant; strictly the mean of all, and of 0 nothing else."""
    return bits + (bits.mean(list(dims), keepdim=True) if strict else 0) + 1


def _layer_norm(call: Call, strict: bool) -> tuple[Tensor, ...]:
    bits: Tensor = call["input"]
    axes = len(call["normalized_shape"])
    dims = range(bits.ndim - axes, bits.ndim)
    return _with_constants(call, _affine(call, _standardised(bits, dims, strict), bits.shape[bits.ndim - axes :]))


def _rms_norm(call: Call, strict: bool) -> tuple[Tensor, ...]:
    bits: Tensor = call["input"]
    axes = len(call["normalized_shape"])
    dims = list(range(bits.ndim - axes, bits.ndim))
    bits = bits * (bits.mean(dims, keepdim=True) + 1) if strict else bits
    scale = call["weight"]
    return _with_constants(call, bits if scale is None else bits * scale)


def _group_norm(call: Call, strict: bool) -> tuple[Tensor, ...]:
    bits: Tensor = call["input"]
    groups = bits.reshape(call["N"], call["group"], -1)
    normed = _standardised(groups, [-1], strict).reshape(bits.shape)
    return _with_constants(call, _affine(call, normed, [1, -1, *[1] * (bits.ndim - 2)]))


def _batch_norm(call: Call, strict: bool) -> tuple[Tensor, ...]:
    """(x - mean) gamma / deviation + beta with stored statistics; those of the input itself make it another norm."""
    bits: Tensor = call["input"]
    shape = [1, -1, *[1] * (bits.ndim - 2)]
    of_input = call.has("training") and call["training"]
    if of_input or call["running_mean"] is None:
        normed = _standardised(bits, [axis for axis in range(bits.ndim) if axis != 1], strict)
    else:
        normed = bits + call["running_mean"].reshape(shape)
    return _with_constants(call, _affine(call, normed, shape))


NORM_STANDS: dict[str, Any] = {
    "native_layer_norm": _layer_norm,
    "_fused_rms_norm": _rms_norm,
    "rms_norm": _rms_norm,
    "native_group_norm": _group_norm,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "_batch_norm_no_update": _batch_norm,
    "_batch_norm_with_update": _batch_norm,
    "cudnn_batch_norm": _batch_norm,
}
