"""What goes through the hidden layers of a network: the variance of pre-activations, and how many units are 0."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from sao_cli.reports.networks import HiddenLayer, HiddenSignals

LOW, HIGH = 0.05, 0.95  # the quantiles that are told beside the median


def hidden_signals(net: nn.Sequential, batches: Iterable[tuple[Tensor, Tensor]]) -> HiddenSignals:
    """The q and the activation sparsity of each hidden layer at all inputs of `batches`, pairs of inputs and labels.

    `net` is of layers, each but the last followed by its activation. q of a sample is the mean of h_i^2 over a layer's
    units, whose expectation mean-field theory calls q (Poole et al., NIPS 2016); inputs of unequal norm have unequal q,
    so that quantiles over samples are told beside the mean. A forward pass; gradients are not kept.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> [layer.layer for layer in hidden_signals(net, [(torch.ones(3, 4), torch.zeros(3))]).by_layer]
    [1]
    """
    hidden = len(net) // 2
    squares: list[list[Tensor]] = [[] for _ in range(hidden)]
    zeros, units, samples = np.zeros(hidden), np.zeros(hidden), 0
    with torch.no_grad():
        for x, _ in batches:
            samples += len(x)
            for number in range(hidden):
                h = net[2 * number](x)
                squares[number].append(h.double().square().mean(dim=1).cpu())
                x = net[2 * number + 1](h)
                zeros[number] += int((x == 0).sum())
                units[number] += x.numel()
    return HiddenSignals(
        samples=samples,
        activation_sparsity=float(zeros.sum() / units.sum()),
        by_layer=tuple(
            _layer(number, torch.cat(one).numpy(), share)
            for number, (one, share) in enumerate(zip(squares, (zeros / units).tolist(), strict=True), 1)
        ),
    )


def _layer(number: int, q: np.ndarray, activation_sparsity: float) -> HiddenLayer:
    low, median, high = np.quantile(q, [LOW, 0.5, HIGH], method="lower")  # of samples: nothing between two of them
    return HiddenLayer(
        layer=number,
        q_mean=float(q.mean()),
        q_low=float(low),
        q_median=float(median),
        q_high=float(high),
        activation_sparsity=activation_sparsity,
    )
