"""An operation of a record, called with bits in the places of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sao_cli.nets.tracing.recording import Operation, Recorded, Slot

Stand = Callable[["Call"], Any]
PRODUCTS = {  # ATen's products, and their two factors
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "addmm": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "baddbmm": ("batch1", "batch2"),
    "addbmm": ("batch1", "batch2"),
    "convolution": ("input", "weight"),
    "embedding": ("indices", "weight"),
}


@dataclass(eq=False)
class Call:
    """An operation with tensors in the places of the values that it reads."""

    operation: Operation
    values: Sequence[Recorded]
    tensors: dict[int, Tensor]

    def filled(self, one: Any) -> Any:
        """What stands for a part of the arguments."""
        return tree_map(self._tensor, one, is_leaf=lambda leaf: isinstance(leaf, Slot))

    def __getitem__(self, name: str) -> Any:
        """The argument `name` of ATen's schema, or its default."""
        for position, argument in enumerate(self.operation.function._schema.arguments):
            if argument.name == name:
                if position < len(self.operation.args):
                    return self.filled(self.operation.args[position])
                return self.filled(self.operation.kwargs.get(name, argument.default_value))
        raise KeyError(name)

    def has(self, name: str) -> bool:
        """Whether ATen's schema has an argument `name`."""
        return any(argument.name == name for argument in self.operation.function._schema.arguments)

    def tensor(self, name: str) -> Tensor:
        """The argument `name`; of a number its zero bit, for it is a factor or a summand."""
        given = self[name]
        return given if isinstance(given, Tensor) else torch.tensor(float(given != 0), device=self.device)

    @property
    def shape(self) -> torch.Size:
        """The first answer's."""
        number = self.operation.outputs[0]
        assert number is not None
        return self.values[number].shape

    @property
    def device(self) -> torch.device:
        """Where the bits are."""
        return next(iter(self.tensors.values())).device

    def _tensor(self, one: Any) -> Any:
        if not isinstance(one, Slot):
            return one
        return self.tensors.get(one.number, self.values[one.number].chosen)
