"""Pruned layers brought towards isometries on the masks that they have, before they are trained."""

from __future__ import annotations

import warnings
from dataclasses import fields

import numpy as np
import torch
from torch import nn

from sao_cli.base.errors import SaoError, SaoWarning
from sao_cli.base.progress import Progress, silent
from sao_cli.nets.initialise.matrices import dtype_name
from sao_cli.nets.initialise.sparsify import effective_weight
from sao_cli.reports.networks import RepairedLayer
from sao_cli.reports.weights import RepairFacts
from sao_cli.weights.repair_weight import repair


def repair_masked_(
    model: nn.Module, *, gain: float = 1.0, descent: int | None = None, progress: Progress = silent
) -> list[RepairedLayer]:
    """The weights of all layers with a torch.nn.utils.prune mask brought, in place, near `gain` times an isometry.

    The approximate dynamical isometry of Lee et al. (ICLR 2020), by weights.repair_weight.repair instead of their
    gradient descent, or by `descent` steps of that. A convolution counts as the matrix (c_out, c_in k^D) of kernels,
    as theirs does, which says nothing exact of the singular values of the operator. Biases, masks and layers without a
    mask stay as they are. A layer that can't be repaired stays as it is too, and a SaoWarning says why. Cost: repair's
    a layer.

    >>> from torch.nn.utils import prune
    >>> model = nn.Sequential(nn.Linear(4, 4))
    >>> _ = prune.custom_from_mask(model[0], "weight", torch.eye(4))
    >>> [row] = repair_masked_(model)
    >>> torch.allclose(effective_weight(model[0]).abs(), torch.eye(4))
    True
    """
    rows = []
    for name, layer in model.named_modules():
        if hasattr(layer, "weight_mask"):
            try:
                rows.append(_repaired(name, layer, gain, descent, progress))
            except SaoError as error:
                warnings.warn(f"layer {name!r} is left as it is: {error}", SaoWarning, stacklevel=2)
    return rows


def _repaired(name: str, layer: nn.Module, gain: float, descent: int | None, progress: Progress) -> RepairedLayer:
    weight = effective_weight(layer)
    matrix = weight.flatten(1).double().cpu().numpy()
    found = repair(matrix, dtype=dtype_name(weight), gain=gain, descent=descent, progress=progress)
    with torch.no_grad():
        layer.weight_orig.copy_(torch.from_numpy(np.array(found.weight)).view(weight.shape))
        layer.weight = layer.weight_orig * layer.weight_mask
    return RepairedLayer(name=name, **{field.name: getattr(found, field.name) for field in fields(RepairFacts)})
