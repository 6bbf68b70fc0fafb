"""The matrices inside modules that are no layer by themselves: projections of attention, gates, transposed weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sao_cli.data.matrix import Matrix
from sao_cli.nets.initialise.matrices import fill_, places

GATES = {"LSTM": "ifgo", "GRU": "rzn"}  # as torch stacks them: input, forget, cell, output; reset, update, new


class MatrixPart(NamedTuple):
    """Rows of a parameter of a module that are a matrix (m, n) by themselves: the block `number` of `blocks`.

    A `transposed` parameter holds its inputs first.
    """

    parameter: str
    label: str = ""  # of the block
    number: int = 0
    blocks: int = 1
    transposed: bool = False

    @property
    def name(self) -> str:
        """How rows call it, after the module's name."""
        return f"{self.parameter}.{self.label}" if self.label else self.parameter

    def of(self, tensor: Tensor) -> Tensor:
        """The view (m, n) of the block in a tensor of the parameter's shape."""
        whole = tensor.T if self.transposed else tensor
        return whole.chunk(self.blocks)[self.number]


def matrix_parts(module: nn.Module) -> list[MatrixPart]:
    """The matrices of a module of another kind than nn.Linear and convolutions, in the order of its parameters.

    nn.MultiheadAttention's in_proj_weight is three, those of queries, keys and values; the weights of nn.LSTM, nn.GRU
    and nn.RNN are one a gate; Conv1D of GPT-2 is one, with its inputs first. Empty for other modules.
    """
    if isinstance(module, nn.MultiheadAttention):
        apart = [MatrixPart(f"{one}_proj_weight") for one in "qkv"]
        return list(_blocks("in_proj_weight", "qkv")) if module._qkv_same_embed_dim else apart
    if isinstance(module, nn.RNNBase):
        gates = GATES.get(module.mode, "")
        weights = [name for name in module._flat_weights_names if name.startswith("weight_")]
        return [part for name in weights for part in _blocks(name, "" if "_hr_" in name else gates)]
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        return [MatrixPart("weight", transposed=True)]
    return []


def _blocks(parameter: str, labels: str) -> Iterator[MatrixPart]:
    if not labels:
        yield MatrixPart(parameter)
    for number, label in enumerate(labels):
        yield MatrixPart(parameter, label, number, len(labels))


def held(module: nn.Module, parameter: str = "weight") -> Tensor | None:
    """The parameter itself, which torch.nn.utils.prune calls otherwise; None where it is computed."""
    found: Tensor | None = module._parameters.get(f"{parameter}_orig" if is_pruned(module, parameter) else parameter)
    return found


def is_pruned(module: nn.Module, parameter: str = "weight") -> bool:
    """Whether torch.nn.utils.prune masks the parameter of the module."""
    hooks = module._forward_pre_hooks.values()
    return any(isinstance(hook, prune.BasePruningMethod) and hook._tensor_name == parameter for hook in hooks)


def put_parts_(module: nn.Module, parameter: str, weights: Mapping[MatrixPart, Matrix]) -> None:
    """Give parts of a parameter their weights, and the parameter their masks; the other parts stay, all ones."""
    if is_pruned(module, parameter):
        prune.remove(module, parameter)
    tensor = module._parameters[parameter]
    mask = torch.ones_like(tensor, dtype=torch.bool)
    for part, weight in weights.items():
        fill_(part.of(tensor.detach()), weight)
        if weight.mask.sparsity > 0:
            view = part.of(mask)
            view.zero_()
            view[places(Matrix(weight.mask), mask.device)] = True
    if not mask.all():
        with torch.no_grad():
            prune.custom_from_mask(module, parameter, mask)


def hold_masks_(root: nn.Module) -> None:
    """Apply the masks of output projections before each forward of the nn.MultiheadAttention that they are of.

    It reads their weights past their own forward, which is where torch.nn.utils.prune applies masks.
    """
    for module in root.modules():
        is_masked = isinstance(module, nn.MultiheadAttention) and is_pruned(module.out_proj)
        if is_masked and apply_output_mask not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(apply_output_mask)


def apply_output_mask(attention: nn.MultiheadAttention, _inputs: Sequence[Any]) -> None:
    """Make the weight of its output projection what its mask leaves of the trained one."""
    for hook in list(attention.out_proj._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            hook(attention.out_proj, ())
