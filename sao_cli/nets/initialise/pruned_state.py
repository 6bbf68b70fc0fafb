"""A pruned network's state in a fresh module: masks become torch.nn.utils.prune's, and so hold in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.io.checkpoints import open_checkpoint
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import shown
from sao_cli.nets.initialise.layer_choice import KINDS
from sao_cli.nets.initialise.matrix_parts import hold_masks_
from sao_cli.nets.initialise.sparsify import require_masks

ORIGINAL, MASK = "_orig", "_mask"
_LISTED = 3


def load_pruned_(module: nn.Module, state: Mapping[str, Tensor] | Path) -> nn.Module:
    """Put a pruned network's tensors into `module`, which is not pruned yet, and return it: its masks hold in training.

    `state` is a state_dict, or a file as open_checkpoint reads, such as `sao prune` and torch.save write. What it has
    as NAME_orig and NAME_mask (torch.nn.utils.prune, sparsify), or as NAME with a NAME_mask beside it, becomes such a
    pair in `module`, of whatever kind: the parameter NAME_orig is the same object as NAME was, so that optimisers keep
    it, and the mask is a buffer. A weight of an nn.Linear or a convolution that comes without a mask and has zeros gets
    a mask of them, which `sao prune` leaves. All else is copied as load_state_dict does it.

    Raises FormatError, naming some, where names or shapes are not the module's, and SaoError for a module that is
    pruned; the module is left as it was then. O(numbers), and a mask and a masked copy of each pruned weight.

    >>> from sao_cli.nets import sparsify
    >>> def net():
    ...     return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    >>> rows = sparsify(model := net(), "sao", degree=2, skip=())
    >>> sorted(load_pruned_(net(), model.state_dict()).state_dict())[:3]
    ['0.bias', '0.weight_mask', '0.weight_orig']
    """
    tensors = dict(state) if isinstance(state, Mapping) else _read(state)
    wanted: dict[str, Tensor] = module.state_dict(keep_vars=True)
    if any(name.endswith(ORIGINAL) for name in wanted):
        raise SaoError("the module is pruned already; load into a fresh one, or call torch.nn.utils.prune.remove first")
    masks = {name: tensors.pop(name + MASK) for name in wanted if name + MASK in tensors.keys() - wanted.keys()}
    tensors = {name.removesuffix(ORIGINAL) if name not in wanted else name: one for name, one in tensors.items()}
    _require_names(wanted, tensors, masks)
    masks |= {name: tensors[name] != 0 for name in _with_zeros(module, tensors) if name not in masks}
    require_masks([wanted[name] for name in masks])
    module.load_state_dict(tensors)
    for name, mask in masks.items():
        owner, _, parameter = name.rpartition(".")
        with torch.no_grad():  # as put_weight_ has it
            prune.custom_from_mask(module.get_submodule(owner), parameter, mask.to(wanted[name].device, torch.bool))
    hold_masks_(module)
    return module


def _read(path: Path) -> dict[str, Tensor]:
    with open_checkpoint(path) as checkpoint:
        return {name: torch.from_numpy(np.array(checkpoint.file.read(name))) for name in checkpoint.file.stored}


def _require_names(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    for what, names in (("lacks", wanted.keys() - given.keys()), ("has beside", given.keys() - wanted.keys())):
        if names:
            raise FormatError(f"the state {what} the module's names {_some(names)}; they must be the module's")
    wrong = [name for name in wanted if given[name].shape != wanted[name].shape]
    wrong += [name + MASK for name, mask in masks.items() if mask.shape != wanted[name].shape]
    if wrong:
        raise FormatError(f"of another shape than the module's: {_some(wrong)}")


def _with_zeros(module: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """The weights of layers, by name, that have zeros."""
    names = [f"{name}.weight".lstrip(".") for name, one in module.named_modules() if isinstance(one, KINDS)]
    return [name for name in names if name in tensors and bool((tensors[name] == 0).any())]


def _some(names: Iterable[str]) -> str:
    first, *more = [shown(name) for name in sorted(names)]
    listed = ", ".join([first, *more[: _LISTED - 1]])
    return listed + (f" and {len(more) + 1 - _LISTED} more" if len(more) >= _LISTED else "")
