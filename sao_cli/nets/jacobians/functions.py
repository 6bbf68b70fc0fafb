"""A module as a function of one tensor, in a dtype of choice, which leaves the module itself as it was."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import is_out_of_memory, require_memory
from sao_cli.nets.module_state import ModuleState

Function = Callable[[Tensor], Any]


def cast_function(module: nn.Module | Function, device: torch.device, dtype: torch.dtype) -> Function:
    """What `module` makes of x, with copies of its parameters and buffers in `dtype` on `device`.

    Whole numbers stay whole, and complex ones complex. What is no nn.Module is returned as it is. Raises SaoError
    for parameters without values and for a module that has parameters and none with a derivative, MemoryLimitError.
    """
    if not isinstance(module, nn.Module):
        return module
    tensors = dict(named_tensors(module))
    _require_values(tensors)
    parameters = dict(module.named_parameters())
    if parameters and not any(tensor.is_floating_point() or tensor.is_complex() for tensor in parameters.values()):
        name, tensor = next(iter(parameters.items()))
        raise SaoError(
            f"parameter {name!r} is {dtype_name(tensor)}, as all are; a Jacobian needs a module of real numbers: "
            "dequantise it first"
        )
    held = sum(tensor.numel() for tensor in tensors.values())
    if device.type == "cpu":
        require_memory(held * dtype.itemsize, f"a copy of the module's {held} numbers in {dtype}")
    state = {name: _cast_tensor(tensor, device, dtype) for name, tensor in tensors.items()}
    return lambda x: torch.func.functional_call(module, state, (x,))


def named_tensors(module: nn.Module | Function) -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers, by name; none of what is no nn.Module."""
    if isinstance(module, nn.Module):
        yield from itertools.chain(module.named_parameters(), module.named_buffers())


def called(function: Function, point: Tensor) -> Tensor:
    """The function's output: one real tensor, or FormatError; SaoError where it can't take `point`."""
    try:
        output = function(point)
    except SaoError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        raise SaoError(
            f"the module can't take a {dtype_name(point)} input of shape {tuple(point.shape)} ({cause}); only the "
            "parameters and buffers of an nn.Module are cast"
        ) from error
    if not isinstance(output, Tensor):
        raise FormatError(
            f"the module returns a {type(output).__name__}, and a Jacobian is of one tensor; wrap it in an nn.Module "
            "whose forward returns that tensor"
        )
    if not output.is_floating_point() or not output.numel():
        raise FormatError(
            f"the module's output is {dtype_name(output)} of shape {tuple(output.shape)}; a Jacobian is of one real "
            "number or more"
        )
    return output


def require_determined(function: Function, point: Tensor) -> None:
    """Raise SaoError where the function draws from the random generators of torch, numpy or Python itself."""
    before = _random_states(point.device)
    with torch.no_grad():
        called(function, point.clone())
    if before != _random_states(point.device):
        raise SaoError(
            "the module draws random numbers (dropout in training mode?), and its Jacobian would be random too; call "
            "module.eval() first"
        )


@contextlib.contextmanager
def undisturbed(module: nn.Module | Function, device: torch.device) -> Iterator[None]:
    """Torch's modes as derivatives need them; then its random state and the module are made what they were before."""
    before = ModuleState(module)
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002  # the global one, which users draw from
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))  # which enables gradients, too
        stack.enter_context(torch.autocast(device.type, enabled=False))
        # Fused attention and cuDNN's recurrent layers can't be differentiated twice; and cuDNN rounds to TF32.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(_without_cudnn())
        stack.enter_context(torch.random.fork_rng(devices=_cuda(device)))
        try:
            yield
        finally:
            before.restore()  # hooks, such as prune's, leave tensors on the module, made of the copies
            random.setstate(python)
            np.random.set_state(numbers)  # noqa: NPY002


def dtype_name(tensor: Tensor) -> str:
    """A tensor's dtype as numpy calls it."""
    return str(tensor.dtype).removeprefix("torch.")


def _require_values(tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if nn.parameter.is_lazy(tensor):
            raise SaoError(f"parameter {name!r} has no size yet; call the lazy module once first")
        if tensor.is_meta:
            raise SaoError(f"parameter {name!r} is on the meta device, where nothing is stored; load its values first")


def _cast_tensor(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    if tensor.is_complex():
        dtype = dtype.to_complex()
    elif not tensor.is_floating_point():
        dtype = tensor.dtype
    return tensor.detach().to(device=device, dtype=dtype, copy=True)


@contextlib.contextmanager
def _without_cudnn() -> Iterator[None]:
    """Not by cudnn.flags, which refuses to read the TF32 switches where those of its parts differ."""
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


def _random_states(device: torch.device) -> list[Any]:
    states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, _cuda(device))]
    of_numpy = np.random.get_state(legacy=False)  # noqa: NPY002
    return [*(state.tolist() for state in states), repr(of_numpy), random.getstate()]


def _cuda(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
