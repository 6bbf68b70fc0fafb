"""What a public function is given in place of a Mask, Matrix or Kernel, as the array that it is or holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sao_cli.base.errors import FormatError

TAKEN = "a Mask, Matrix or Kernel, an array, a sparse array, a torch tensor or module, or the path of a file"

_readers: list[Callable[[str], Sequence[Any]]] = []


def register_reader(reader: Callable[[str], Sequence[Any]]) -> None:
    """Let `reader` read the paths that functions are given: what flows knows no files, and the package registers it."""
    _readers[:] = [reader]


def array_of(given: Any, where: str) -> Any:
    """What `given` is or holds, with axes: a path's one weight, a module's weight, nested lists as a numpy array.

    A Mask, Matrix, Kernel, numpy array, scipy sparse array, torch tensor or networkx graph stays what it is. Raises
    FormatError, naming `where`, for anything else, and for a file of several weights. Imports numpy alone, O(1) but
    for files and lists.
    """
    if isinstance(given, str | os.PathLike):
        return _only_weight(os.fspath(given), where)
    if hasattr(given, "named_parameters"):
        return _module_weight(given, where)
    if isinstance(given, list | tuple):
        return _nested(given, where)
    if hasattr(given, "shape") or is_graph(given):
        return given
    raise FormatError(f"{where}: takes {TAKEN}; got a {type(given).__name__}")


def stack_of(given: Any) -> list[Any]:
    """The layers that `given` holds, first layer first: a path's weights, one layer alone, or a sequence as it is."""
    if isinstance(given, str | os.PathLike):
        return list(_readers[0](os.fspath(given)))
    is_layer = hasattr(given, "named_parameters") or is_graph(given) or len(getattr(given, "shape", ())) == 2
    return [given] if is_layer or not isinstance(given, Iterable) else list(given)


def is_graph(given: Any) -> bool:
    """Whether `given` is a networkx graph, without networkx."""
    return hasattr(given, "nodes") and hasattr(given, "edges")


def _only_weight(path: str, where: str) -> Any:
    weights = _readers[0](path)
    if len(weights) != 1:
        raise FormatError(f"{where}: {path} holds {len(weights)} matrices, and one is taken; give one of read_weights")
    return weights[0]


def _module_weight(module: Any, where: str) -> Any:
    """A module's weight as its forward pass takes it: a Matrix or Kernel where the layer makes one, and
    pruned weights with the zeros put in. Other layers than torch's own may keep `weight` packed: those are refused.
    """
    for name in ("to_matrix", "to_kernel"):
        if hasattr(module, name):
            return getattr(module, name)()
    if not any(kind.__module__.startswith("torch.nn.modules.") for kind in type(module).__mro__ if _is_layer(kind)):
        raise FormatError(f"{where}: a {type(module).__name__} may keep its weight in another form; give its array")
    if hasattr(module, "weight_orig") and hasattr(module, "weight_mask"):
        return (module.weight_orig * module.weight_mask).detach()
    if (weight := getattr(module, "weight", None)) is None or not hasattr(weight, "detach"):
        raise FormatError(f"{where}: a {type(module).__name__} has no weight; give the layer's, or a tensor")
    return weight.detach()


def _is_layer(kind: type) -> bool:
    return kind.__name__ != "Module"


def _nested(given: Sequence[Any], where: str) -> Any:
    import numpy as np

    try:
        return np.asarray(given)
    except ValueError:
        raise FormatError(f"{where}: rows of different lengths; a matrix has as many columns in each") from None
