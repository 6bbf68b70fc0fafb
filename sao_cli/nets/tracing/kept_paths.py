"""Which of the weights that masks keep lie on a path through a module, before the masks are put on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Booleans
from sao_cli.nets.tracing.network import Network


def kept_network(module: nn.Module, inputs: Sequence[Tensor], masks: Mapping[str, Booleans], norms: str) -> Network:
    """The network that `module` is on `inputs` with no weights but those that `masks` keep, each by its name and shape.

    A kept weight counts as not zero, whatever it is. The module is left as it was, bit for bit. Raises SaoError for a
    name of no parameter, and what Network.from_module raises.
    """
    with _kept_alone(module, masks):
        return Network.from_module(module, *inputs, norms=norms)


@contextlib.contextmanager
def _kept_alone(module: nn.Module, masks: Mapping[str, Booleans]) -> Iterator[None]:
    """Make the parameters 0 where masks drop them, and not 0 where they keep them; then they are what they were."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    found = {name: parameters.get(name, parameters.get(f"{name}_orig")) for name in masks}
    if lost := [name for name, one in found.items() if one is None]:
        raise SaoError(f"--effective: {lost[0]} is no parameter of the module, which computes it; prune without")
    named = {name: one for name, one in found.items() if one is not None}
    before = {name: one.detach().clone() for name, one in named.items()}
    held = [(one, dict(vars(one))) for one in module.modules()]  # what masks that are there have computed last
    try:
        with torch.no_grad():
            for name, one in named.items():
                kept = torch.from_numpy(np.ascontiguousarray(masks[name])).to(one.device)
                one.copy_(torch.where(kept, torch.where(one == 0, 1, one), 0))
        yield
    finally:
        with torch.no_grad():
            for name, one in named.items():
                one.copy_(before[name])
        for part, attributes in held:
            vars(part).update(attributes)
