"""A module that tells what pruning left of its network."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass

from torch import Tensor, nn

from sao_cli.io.checkpoints import Checkpoint
from sao_cli.models.left import WhatIsLeft
from sao_cli.nets.tracing.loading import load_checkpoint_, shared_prefix
from sao_cli.nets.tracing.network import Network
from sao_cli.nets.tracing.recording import record, unwrapped


@dataclass(frozen=True)
class PrunedNetwork:
    """A module, and the inputs that it runs on: what prune_checkpoint takes as its `network`.

    Raises what load_checkpoint_ and Network.from_module raise. What the module prints goes to stderr.

    >>> import torch
    >>> network = PrunedNetwork(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), (torch.ones(1, 3),))
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    norms: str = "unit"

    def __post_init__(self) -> None:
        object.__setattr__(self, "module", unwrapped(self.module))

    def require(self, checkpoint: Checkpoint) -> None:
        """Raise where the checkpoint's weights are not the module's, or it does not run with them. One recorded run."""
        load_checkpoint_(self.module, checkpoint)
        with contextlib.redirect_stdout(sys.stderr):
            record(self.module, self.inputs)

    def left(self, checkpoint: Checkpoint) -> WhatIsLeft:
        """The facts of the network of the checkpoint's weights, by the checkpoint's names, with all tied ones."""
        load_checkpoint_(self.module, checkpoint)
        with contextlib.redirect_stdout(sys.stderr):
            network = Network.from_module(self.module, *self.inputs, norms=self.norms)
            facts = network.summary.facts
        prefix = shared_prefix(self.module, checkpoint)
        own = network.recording.tensors
        numbers = {weight.root: row.effective for weight, row in zip(network.weights, network.layers, strict=True)}
        counts = {row.name: row.effective for row in network.layers}
        names = {entry.name: entry.name.removeprefix(prefix) for entry in checkpoint.entries}
        tied = {name: counts.get(plain, numbers.get(own.get(plain, -1))) for name, plain in names.items()}
        return WhatIsLeft(
            effective={name: count for name, count in tied.items() if count is not None},
            reachable=facts.reachable,
            lost_inputs=facts.lost_inputs,
            unreached_outputs=facts.unreached_outputs,
            unknown=facts.unknown,
        )
