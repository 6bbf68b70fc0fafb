"""Pruned layers of a module swapped for ones that multiply with what is left alone, where that is faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.nets.initialise.matrix_parts import is_pruned
from sao_cli.nets.initialise.sparsify import effective_weight
from sao_cli.nets.layers.blank import blank
from sao_cli.nets.layers.csr_linear import CSRLinear
from sao_cli.nets.layers.linear import SAOLinear
from sao_cli.reports.networks import CompactedLayer

_WAYS: tuple[type[SAOLinear] | type[CSRLinear], ...] = (SAOLinear, CSRLinear)
_RUNS, _SECONDS = 7, 0.05  # forward passes that are timed, at least, and for how long


def compact_(module: nn.Module, *inputs: Tensor) -> list[CompactedLayer]:
    """Swap each pruned nn.Linear for an SAOLinear or a CSRLinear, in place, where that is faster at these inputs.

    Pruned is what torch.nn.utils.prune masks, or has a zero among its weights. `module` runs once on `inputs`, in eval
    mode and without gradients, and each layer is then timed at the input that it had: as it is with its zeros written
    in, as SAOLinear where its mask is one of equal components K_{c,d}, and as CSRLinear. The fastest stays, by the
    median of some forward passes on the inputs' device with as many threads as torch has; a row tells the times, and
    where nothing was swapped why. Outputs change by rounding alone. An optimiser that holds the old parameters is of no
    use afterwards. Convolutions stay: what is left of them is put into a dense kernel anyway (SparseConv2d), and so do
    layers whose weight another module shares, or reads past the layer's forward.

    Raises SaoError where `module` is itself a layer, since nothing holds it. A forward pass, and O(m n) and a few
    passes more a layer.

    >>> from sao_cli.nets import sparsify
    >>> model = nn.Sequential(nn.Linear(8, 512), nn.Linear(512, 512), nn.Linear(512, 2))
    >>> rows = sparsify(model, "sao", degree=4)
    >>> [row.name for row in compact_(model, torch.ones(64, 8)) if row.replaced_by or row.new_seconds]
    ['1']
    """
    if isinstance(module, nn.Linear):
        raise SaoError("the module is itself a layer, which nothing holds; give compact_ what holds it")
    layers = [(name, one) for name, one in module.named_modules() if _is_sparse(one)]
    seen = _inputs_of([one for _, one in layers], module, inputs)
    shared = _shared(module)
    rows = []
    for name, layer in layers:
        why = _obstacle(layer, shared, seen)
        row, swapped = (_told(name, layer, reason=why), None) if why else _fastest(name, layer, seen[layer])
        if swapped is not None:
            _swap_(module, layer, swapped)
        rows.append(row)
    return rows


def _is_sparse(module: nn.Module) -> bool:
    if not isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return False
    return is_pruned(module) or bool((effective_weight(module) == 0).any())


def _inputs_of(layers: Iterable[nn.Module], module: nn.Module, inputs: tuple[Tensor, ...]) -> dict[nn.Module, Tensor]:
    """The input that each layer had, the last where it ran several times."""
    seen: dict[nn.Module, Tensor] = {}
    hooks = [layer.register_forward_pre_hook(lambda one, given: seen.update({one: given[0]})) for layer in layers]
    training = {one: one.training for one in module.modules()}
    try:
        with torch.no_grad():
            module.eval()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for one, mode in training.items():
            one.training = mode
    return seen


def _shared(module: nn.Module) -> set[int]:
    """The parameters that several modules hold, or that one reads past the forward of another."""
    holders: dict[int, int] = {}
    for one in module.modules():
        for parameter in one._parameters.values():
            holders[id(parameter)] = holders.get(id(parameter), 0) + (parameter is not None)
    inside = (one.out_proj for one in module.modules() if isinstance(one, nn.MultiheadAttention))
    past = {id(parameter) for one in inside for parameter in one.parameters()}
    return past | {parameter for parameter, count in holders.items() if count > 1}


def _obstacle(layer: nn.Module, shared: set[int], seen: dict[nn.Module, Tensor]) -> str | None:
    if not isinstance(layer, nn.Linear):
        return "a convolution, whose kept kernels would be put into a dense one before each product"
    if any(id(parameter) in shared for parameter in layer.parameters()):
        return "another module holds its weight too, or reads it past the layer's forward"
    if layer not in seen:
        return "it did not run at these inputs"
    if layer._forward_hooks or len(layer._forward_pre_hooks) > is_pruned(layer):
        return "it has hooks, which would be lost"
    return None


def _fastest(name: str, layer: nn.Linear, x: Tensor) -> tuple[CompactedLayer, nn.Module | None]:
    before = _seconds(_permanent(layer), x)
    found = [(_seconds(one, x), one) for one in _candidates(layer)]
    after, best = min(found, key=lambda each: each[0])
    if after < before:
        return _told(name, layer, type(best).__name__, before, after), best.train(layer.training)
    reason = f"a dense product is faster: {before * 1e3:.3g} ms, and {type(best).__name__} takes {after * 1e3:.3g} ms"
    return _told(name, layer, None, before, after, reason), None


def _candidates(layer: nn.Linear) -> list[nn.Module]:
    found: list[nn.Module] = []
    for way in _WAYS:
        try:
            found.append(way.from_linear(layer))
        except SaoError:  # the mask is of another structure
            continue
    return found


def _permanent(layer: nn.Linear) -> nn.Linear:
    """A copy whose zeros are written into its weight, as prune.remove leaves it: what else a user would run."""
    plain = blank(nn.Linear, layer.in_features, layer.out_features, bias=layer.bias is not None)
    plain.to(device=layer.weight.device, dtype=layer.weight.dtype)
    with torch.no_grad():
        plain.weight.copy_(effective_weight(layer))
    return plain


def _seconds(layer: nn.Module, x: Tensor) -> float:
    """The median time of a forward pass."""
    wait: Callable[[], None] = torch.cuda.synchronize if x.is_cuda else lambda: None
    times: list[float] = []
    with torch.no_grad():
        layer(x)
        while len(times) < _RUNS or (sum(times) < _SECONDS and len(times) < 100):
            wait()
            start = time.perf_counter()
            layer(x)
            wait()
            times.append(time.perf_counter() - start)
    return float(np.median(times))


def _swap_(module: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for holder in module.modules():
        for name, child in list(holder._modules.items()):
            if child is old:
                holder._modules[name] = new


def _told(
    name: str,
    layer: nn.Module,
    replaced_by: str | None = None,
    seconds: float | None = None,
    new_seconds: float | None = None,
    reason: str | None = None,
) -> CompactedLayer:
    weight = effective_weight(layer)
    return CompactedLayer(
        name=name,
        kind=type(layer).__name__,
        m=weight.shape[0],
        n=weight.shape[1],
        sparsity=1 - float((weight != 0).double().mean()),
        replaced_by=replaced_by,
        seconds=seconds,
        new_seconds=new_seconds,
        reason=reason,
    )
