"""A module that tells what pruning left of its network."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from sao_cli.data.arrays import Booleans
from sao_cli.io.checkpoints import Checkpoint
from sao_cli.models.left import WhatIsLeft
from sao_cli.nets.tracing.kept_paths import kept_network
from sao_cli.nets.tracing.loading import load_checkpoint_, shared_prefix
from sao_cli.nets.tracing.network import Network
from sao_cli.nets.tracing.recording import unwrapped

T = TypeVar("T")


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

    def require(self, checkpoint: Checkpoint) -> Collection[str]:
        """The names of the checkpoint's weights that multiply what depends on the input, in one recorded run.

        Raises where the checkpoint's tensors are not the module's, or it does not run with them.
        """
        network = self._network(checkpoint)
        return self._by_name(checkpoint, network, [weight.name for weight in network.weights])

    def left(self, checkpoint: Checkpoint) -> WhatIsLeft:
        """The facts of the network of the checkpoint's weights, by the checkpoint's names, with all tied ones."""
        network = self._network(checkpoint)
        with contextlib.redirect_stdout(sys.stderr):
            facts = network.summary.facts
        return WhatIsLeft(
            effective=self._by_name(checkpoint, network, [row.effective for row in network.layers]),
            reachable=facts.reachable,
            lost_inputs=facts.lost_inputs,
            unreached_outputs=facts.unreached_outputs,
            unknown=facts.unknown,
        )

    def effective(self, checkpoint: Checkpoint, masks: Mapping[str, Booleans]) -> Mapping[str, Booleans]:
        """Which weights lie on a path where of some only those that `masks` keep are left; by the checkpoint's names.

        Masks are as the weights are stored, and so is what is given. Where operations are unknown, those that may.
        """
        load_checkpoint_(self.module, checkpoint)
        prefix = shared_prefix(self.module, checkpoint)
        own = {name.removeprefix(prefix): mask for name, mask in masks.items()}
        with contextlib.redirect_stdout(sys.stderr):
            network = kept_network(self.module, self.inputs, own, self.norms)
        return self._by_name(checkpoint, network, [network.effective(weight.name) for weight in network.weights])

    def _network(self, checkpoint: Checkpoint) -> Network:
        load_checkpoint_(self.module, checkpoint)
        with contextlib.redirect_stdout(sys.stderr):
            return Network.from_module(self.module, *self.inputs, norms=self.norms)

    def _by_name(self, checkpoint: Checkpoint, network: Network, told: Sequence[T]) -> dict[str, T]:
        """What is `told` of each of the network's weights, by the checkpoint's names for it."""
        prefix = shared_prefix(self.module, checkpoint)
        own = network.recording.tensors
        numbers = {weight.root: one for weight, one in zip(network.weights, told, strict=True)}
        counts = {weight.name: one for weight, one in zip(network.weights, told, strict=True)}
        names = {entry.name: entry.name.removeprefix(prefix) for entry in checkpoint.entries}
        tied = {name: counts.get(plain, numbers.get(own.get(plain, -1))) for name, plain in names.items()}
        return {name: one for name, one in tied.items() if one is not None}
