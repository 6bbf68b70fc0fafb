"""The layers of a recorded module whose units may go: torch's own, each read once and sharing nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sao_cli.data.precision import PRECISIONS
from sao_cli.nets.tracing.recording import Operation, Recording
from sao_cli.nets.tracing.weight_uses import NetworkWeight, WeightUse, network_weights, plain_name

_FORWARDS = {  # the classes of which a subclass may have no forward of its own
    nn.Linear: ("addmm", "mm"),
    nn.Conv1d: ("convolution",),
    nn.Conv2d: ("convolution",),
    nn.Conv3d: ("convolution",),
}


@dataclass(frozen=True, eq=False)
class StockLayer:
    """An nn.Linear or a convolution of `module`, which the record knows as the weight `name`, used once."""

    name: str
    module: nn.Module
    use: WeightUse

    @property
    def is_kernel(self) -> bool:
        """Whether it is a convolution."""
        return not isinstance(self.module, nn.Linear)

    @property
    def pruned(self) -> tuple[str, ...]:
        """Which of its tensors torch.nn.utils.prune has put a mask on."""
        return tuple(name for name in ("weight", "bias") if f"{name}_orig" in self.module._parameters)

    def numbers(self, name: str) -> Tensor | None:
        """Its weight or bias with the mask multiplied in; None where it has none."""
        if name in self.pruned:
            found: Tensor = getattr(self.module, f"{name}_orig") * getattr(self.module, f"{name}_mask")
            return found
        plain: Tensor | None = getattr(self.module, name)
        return plain

    @property
    def dtype(self) -> str:
        """Of its weight, as reports name it."""
        return str(self.module.weight.dtype).removeprefix("torch.")

    @property
    def units(self) -> int:
        """How many outputs or channels it gives."""
        return int(self.module.weight.shape[0])


def stock_layers(module: nn.Module, recording: Recording) -> dict[str, StockLayer | str]:
    """All weights in the order run, by name: the layer, or why it must stay as it is. O(operations)."""
    readers = reading(recording)
    held = _holders(module)
    found: dict[str, StockLayer | str] = {}
    for weight in network_weights(recording):
        path, _, attribute = weight.name.rpartition(".")
        owner = dict(module.named_modules()).get(path) if attribute == "weight" else None
        reason = _why_not_stock(weight, owner) or _why_shared(weight, owner, path, recording, readers, held)
        if reason is None and owner is not None:
            found[weight.name] = StockLayer(weight.name, owner, weight.uses[0])
        else:
            found[weight.name] = reason or f"{weight.name} is no weight of a layer"
    return found


def reading(recording: Recording) -> dict[int, list[Operation]]:
    """The operations that read each value."""
    found: dict[int, list[Operation]] = defaultdict(list)
    for operation in recording.operations:
        for number in dict.fromkeys(operation.operands):
            found[number].append(operation)
    return found


def _why_not_stock(weight: NetworkWeight, owner: nn.Module | None) -> str | None:
    stock = next((one for one in _FORWARDS if isinstance(owner, one)), None)
    if owner is None or stock is None or type(owner).forward is not stock.forward:
        kind = "" if owner is None else f": it is of a {type(owner).__name__}"
        return f"{weight.name} is no weight of an nn.Linear or a convolution{kind}"
    for name in ("weight", "bias"):
        if name not in owner._parameters and f"{name}_orig" not in owner._parameters:
            return f"{weight.name}: {name} is computed by a parametrization"
    if len(weight.uses) > 1:
        return f"{weight.name} is used {len(weight.uses)} times"
    if weight.uses[0].operation.name not in _FORWARDS[stock]:
        return f"{weight.name} is read by {weight.uses[0].operation.name}"
    if getattr(owner, "groups", 1) != 1:
        return f"{weight.name} has {owner.groups} groups of channels"
    if str(owner.weight.dtype).removeprefix("torch.") not in PRECISIONS:
        return f"{weight.name} is of {owner.weight.dtype}"
    if not all(bool(torch.isfinite(getattr(owner, name)).all()) for name in own_tensors(owner)):
        return f"{weight.name}: it or its bias has numbers that are not finite"
    return None


def _why_shared(
    weight: NetworkWeight,
    owner: nn.Module | None,
    path: str,
    recording: Recording,
    readers: dict[int, list[Operation]],
    held: dict[int, list[str]],
) -> str | None:
    """Why a tensor of the layer is not its own alone."""
    for attribute in own_tensors(owner):
        name = f"{path}.{attribute}".removeprefix(".")
        assert owner is not None
        others = [one for one in held[_storage(getattr(owner, attribute))] if one != name]
        if others:
            return f"{plain_name(name)} is one tensor with {', '.join(map(plain_name, others))}"
        number = recording.tensors.get(name)
        if number is not None and len(readers[number]) > 1:
            what = ", ".join(dict.fromkeys(one.path or one.name for one in readers[number]))
            return f"{plain_name(name)} is read more than once, in {what}"
    return None


def own_tensors(owner: nn.Module | None) -> Sequence[str]:
    """The parameters and buffers of a layer, by their names in it."""
    if owner is None:
        return ()
    tensors: dict[str, Any] = {**owner._parameters, **owner._buffers}
    return [name for name, tensor in tensors.items() if tensor is not None]


def _holders(module: nn.Module) -> dict[int, list[str]]:
    """The names of the parameters and buffers in each storage."""
    found: dict[int, list[str]] = defaultdict(list)
    for path, one in module.named_modules():
        for name in own_tensors(one):
            found[_storage(getattr(one, name))].append(f"{path}.{name}".removeprefix("."))
    return found


def _storage(tensor: Tensor) -> int:
    return int(torch.Tensor.untyped_storage(tensor)._cdata)
