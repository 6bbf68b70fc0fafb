"""What a score is the derivative of: the mean cross-entropy of samples, with labels of choice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sao_cli import catalog
from sao_cli.base.errors import FormatError, SaoError, SaoWarning
from sao_cli.base.names import check
from sao_cli.base.rng import LABELS, generator
from sao_cli.nets.scores.scored_module import ScoredModule

Pair = tuple[Any, Any]

LEARNT = 0.01  # of log K: the mean loss below which samples are learnt; our choice, by the digits


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


class MeanLoss:
    """The mean over samples of the cross-entropy of logits (N, K) / temperature, by catalog.LABELS.

    `prediction` is the entropy of the softmax, through which the derivative goes: with the softmax as fixed labels it
    is identically 0. `random` labels are drawn by `seed`, sample after sample, whatever the batches are. `logits` is no
    cross-entropy: the mean over samples of the logits' sum. `guess` is log K, the cross-entropy of equal logits, once
    there were some; -inf of none.
    """

    def __init__(self, labels: str = "true", temperature: float = 1.0, seed: int = 0) -> None:
        check("labels", labels, catalog.LABELS)
        if not 0 < temperature < float("inf"):
            raise SaoError(f"temperature {temperature}; logits are divided by it, so it is positive and finite")
        self.guess = -math.inf
        self._labels, self._temperature, self._rng = labels, temperature, generator(seed, 0, LABELS)

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        if output.ndim != 2 or len(output) != len(y):
            raise FormatError(
                f"the module makes {tuple(output.shape)} of {len(y)} samples; scores are of logits (N, K)"
            )
        logits, classes = output / self._temperature, output.shape[1]
        if self._labels == "logits":
            return logits.sum(dim=1).mean()
        self.guess = math.log(classes)
        logs = functional.log_softmax(logits, dim=1)
        if self._labels == "uniform":
            return -logs.mean()
        if self._labels == "prediction":
            return -(logs.exp() * logs).sum(dim=1).mean()
        if self._labels == "argmax":
            y = logits.detach().argmax(dim=1)
        elif self._labels == "random":
            y = torch.from_numpy(self._rng.integers(classes, size=len(y))).to(output.device)
        elif wrong := y[(y < 0) | (y >= classes)].tolist():
            raise FormatError(f"label {wrong[0]}, and the module has {classes} outputs: labels are 0 to {classes - 1}")
        return functional.nll_loss(logs, y)


def warn_of_noise(method: str, loss: float, guess: float) -> None:
    """Warn where the samples' mean `loss` is below a hundredth of a `guess`'s: they are learnt, and scores are noise.

    Their gradients, softmax minus label each, vanish then, and what is left of the mean is of the few that are hardest.
    Of two LeNet-300-100 on the digits, three draws each, SNIP's masks by two halves of the samples share 0.62 to 0.74
    of their union before training, at 90 %, and 0.27 to 0.48 where the loss is below that (the accuracy is 0.998 then
    at least, and mostly 1). The sum of the scores over the loss does not tell: it rises (docs/theory.md, section 16).
    """
    if loss < LEARNT * guess:
        told = f"the mean loss of the samples is {loss:.2g}, and a guess's {guess:.2g}: the network has learnt them"
        advice = "score the network as it was before training, or prune by magnitude, as gmp does"
        warnings.warn(f"{told}, so that {method}'s scores are mostly noise; {advice}", SaoWarning, stacklevel=4)
