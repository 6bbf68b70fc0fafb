"""What a module holds besides parameters and buffers, so that a run leaves it as it was."""

from __future__ import annotations

import functools
import random
import types
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType, types.FunctionType, torch.Size)
_LIBRARIES = {"torch", "numpy", "builtins", "threading", "logging", "_thread", "weakref", "io", "_io"}


class ModuleState:
    """The attributes of a module, of its submodules and of what hangs on them, and how to make them what they were.

    Counters, lists, dictionaries, sets, arrays, generators' states, plain tensors, modes and hooks: each object keeps
    its identity, and gets its contents back. Parameters and buffers are left out: torch.func.functional_call
    puts copies in their places. So are objects of other libraries. Of a function it is what it closes over, or
    the object whose method it is.
    """

    def __init__(self, root: Any) -> None:
        self._restorers: list[Callable[[], None]] = []
        self._seen: dict[int, Any] = {}  # the objects too, so that no number is used again
        todo = [cell.cell_contents for cell in getattr(root, "__closure__", None) or ()] + [root]
        while todo:
            one = todo.pop()
            if id(one) not in self._seen and not isinstance(one, _PLAIN):
                self._seen[id(one)] = one
                todo.extend(self._kept(one))

    def restore(self) -> None:
        """Give everything its contents back."""
        for restorer in self._restorers:
            restorer()

    def _kept(self, one: Any) -> Iterator[Any]:
        """Remember the contents of an object; gives those of them that may change in turn."""
        if isinstance(one, dict):
            pairs = list(one.items())
            self._restorers.append(lambda: _refill(one, pairs))
            yield from (value for _, value in pairs)
        elif isinstance(one, list | set | deque | bytearray):
            held = list(one)
            self._restorers.append(lambda: _refill(one, held))
            yield from () if isinstance(one, bytearray) else held
        elif isinstance(one, tuple | frozenset):
            yield from one
        elif isinstance(one, types.MethodType):
            yield one.__self__
        elif isinstance(one, functools.partial):
            yield from (one.func, *one.args, *one.keywords.values())
        elif isinstance(one, nn.Module):
            self._seen.update((id(tensor), tensor) for tensor in (*one._parameters.values(), *one._buffers.values()))
            yield vars(one)
        elif (restorer := _state(one)) is not None:
            self._restorers.append(restorer)
        elif hasattr(one, "__dict__") and type(one).__module__.partition(".")[0] not in _LIBRARIES:
            yield vars(one)


def _refill(one: Any, held: list[Any]) -> None:
    one.clear()
    if isinstance(one, dict):
        for key, value in held:  # a Counter's update would add
            one[key] = value
    else:
        (one.update if isinstance(one, set) else one.extend)(held)


def _state(one: Any) -> Callable[[], None] | None:
    """What gives an array, a tensor or a generator its state back; None for anything else."""
    if isinstance(one, Tensor):
        if one.is_meta or one.is_sparse or nn.parameter.is_lazy(one):
            return lambda: None
        values, version = one.detach().clone(), one._version
        return lambda: _refill_tensor(one, values, version)
    if isinstance(one, np.ndarray):
        copy = one.copy()
        return lambda: np.copyto(one, copy)
    if isinstance(one, random.Random):
        state = one.getstate()
        return lambda: one.setstate(state)
    if isinstance(one, np.random.Generator):
        bits, numbers = one.bit_generator, one.bit_generator.state
        return lambda: setattr(bits, "state", numbers)
    if isinstance(one, torch.Generator):
        stored = one.get_state()
        return lambda: _set_state(one, stored)
    return None


def _refill_tensor(one: Tensor, values: Tensor, version: int) -> None:
    if one._version != version:
        with torch.no_grad():
            one.copy_(values)


def _set_state(one: torch.Generator, stored: Tensor) -> None:
    one.set_state(stored)
