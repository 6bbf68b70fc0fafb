"""What a score is the derivative of: the mean cross-entropy of samples, with labels of choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sao_cli import catalog
from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.names import check
from sao_cli.base.rng import LABELS, generator
from sao_cli.nets.scores.scored_module import ScoredModule

Pair = tuple[Any, Any]
Loss = Callable[[Tensor, Tensor], Tensor]


def paired(batches: Iterable[Pair] | Pair | None, module: ScoredModule) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches (x, y) as the module reads them; one pair of tensors is one batch. Raises FormatError."""
    if batches is None:
        raise SaoError("this score is of labelled samples; give batches, pairs (x, y)")
    if isinstance(batches, tuple) and len(batches) == 2 and hasattr(batches[0], "ndim"):
        batches = [batches]
    for number, batch in enumerate(batches, 1):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise FormatError(f"batch {number} is a {type(batch).__name__}; batches are pairs (x, y)")
        x, y = module.inputs(batch[0]), torch.as_tensor(batch[1]).to(module.device)
        if y.ndim != 1 or y.is_floating_point() or y.is_complex() or len(x) != len(y):
            raise FormatError(
                f"batch {number} has inputs {tuple(x.shape)} and labels {tuple(y.shape)} of {y.dtype}; labels are "
                "whole numbers, one for each input"
            )
        if len(y):
            yield x, y.long()


def make_loss(labels: str = "true", temperature: float = 1.0, seed: int = 0) -> Loss:
    """The mean over samples of the cross-entropy of logits (N, K) / temperature, by catalog.LABELS.

    `prediction` is the entropy of the softmax, through which the derivative goes: with the softmax as fixed labels it
    is identically 0. `random` labels are drawn by `seed`, sample after sample, whatever the batches are. `logits` is no
    cross-entropy: the mean over samples of the logits' sum.
    """
    check("labels", labels, catalog.LABELS)
    if not 0 < temperature < float("inf"):
        raise SaoError(f"temperature {temperature}; logits are divided by it, so it is positive and finite")
    rng = generator(seed, 0, LABELS)

    def loss(output: Tensor, y: Tensor) -> Tensor:
        if output.ndim != 2 or len(output) != len(y):
            raise FormatError(
                f"the module makes {tuple(output.shape)} of {len(y)} samples; scores are of logits (N, K)"
            )
        logits, classes = output / temperature, output.shape[1]
        if labels == "logits":
            return logits.sum(dim=1).mean()
        logs = functional.log_softmax(logits, dim=1)
        if labels == "uniform":
            return -logs.mean()
        if labels == "prediction":
            return -(logs.exp() * logs).sum(dim=1).mean()
        if labels == "argmax":
            y = logits.detach().argmax(dim=1)
        elif labels == "random":
            y = torch.from_numpy(rng.integers(classes, size=len(y))).to(output.device)
        elif wrong := y[(y < 0) | (y >= classes)].tolist():
            raise FormatError(f"label {wrong[0]}, and the module has {classes} outputs: labels are 0 to {classes - 1}")
        return functional.nll_loss(logs, y)

    return loss
