"""How the variance of the initial weights decides what SNIP keeps (Lee et al., ICLR 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.nets.devices import full_precision
from sao_cli.nets.experiments.mnist_shapes import mnist_shaped
from sao_cli.nets.initialise.laws import initialise_by_
from sao_cli.nets.networks.fnn import FNN
from sao_cli.nets.scores.connection_sensitivity import snip
from sao_cli.nets.scores.prune_module import keep
from sao_cli.nets.scores.sample_jacobian import sample_jacobian

GAMMAS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # variances of a weight, those of their table
SEEDS = (0, 1, 2, 3, 4)  # means differ by 5 % from one draw to another
_BATCH = 2**13  # samples that are scored at once: their sizes change nothing, and less memory is held


@dataclass(frozen=True)
class VarianceRow:
    """The dense network's Jacobian, and what SNIP leaves of each layer, at weights of variance `gamma`.

    `mean`, `std` (of the population) and `condition_pooled`, the largest over the least, are of the singular values of
    d logits / d pixels of all samples together; the last is None where the least can't be told from zero. `sparsity`
    is the share of zeros by layer, first layer first.
    """

    gamma: float
    mean: float
    std: float
    condition_pooled: float | None
    sparsity: tuple[float, ...]


def variance_row(
    x: Tensor,
    y: Tensor,
    gamma: float,
    *,
    sparsity: float = 0.9,
    jacobian_samples: int | None = None,
    hidden: int = 6,
    width: int = 100,
    seed: int = 0,
) -> VarianceRow:
    """A row of the table of Lee et al. (ICLR 2020): a tanh network of `hidden` + 1 layers, whose weights have `gamma`.

    `x` (N, pixels) and labels `y` (N,), of all of which the loss is a mean; the Jacobian is of the first
    `jacobian_samples` (all). Weights are normal, not truncated, and biases 0, in float64. Raises what the scores and
    `keep` raise, and SaoError where the Jacobian is too large or not finite. One scoring pass, and of the Jacobian a
    backward pass a class and a singular value decomposition a sample.

    >>> row = variance_row(*digits_like_mnist(100), 1e-2)
    >>> 0.4 < row.mean < 0.5, len(row.sparsity)
    (True, 7)
    """
    model = tanh_network(x.shape[1], int(y.max()) + 1, gamma, hidden, width, seed)
    with full_precision(width):
        jacobian, reason = sample_jacobian(model, [(x[:jacobian_samples], y[:jacobian_samples])])
        kept = keep(snip(model, zip(x.split(_BATCH), y.split(_BATCH), strict=True)), sparsity)
    if jacobian is None:
        raise SaoError(f"gamma {gamma:g}: {reason}")
    zeros = tuple(1 - float(mask.double().mean()) for mask in kept.values())
    return VarianceRow(gamma, jacobian.mean, jacobian.std, jacobian.condition_pooled, zeros)


def variance_table(
    x: Tensor,
    y: Tensor,
    *,
    gammas: Sequence[float] = GAMMAS,
    sparsity: float = 0.9,
    jacobian_samples: int | None = None,
    seeds: Sequence[int] = SEEDS,
) -> list[VarianceRow]:
    """A row a gamma, each number the median over `seeds`; a condition where all seeds have one.

    Raises SaoError without seeds, and what variance_row raises. The cost of its rows.
    """
    if not seeds:
        raise SaoError("no seeds: a median is of one network at least")
    asked: dict[str, Any] = {"sparsity": sparsity, "jacobian_samples": jacobian_samples}
    return [_middle([variance_row(x, y, gamma, seed=seed, **asked) for seed in seeds]) for gamma in gammas]


def tanh_network(pixels: int, classes: int, gamma: float, hidden: int, width: int, seed: int) -> nn.Module:
    """The dense network in float64: `hidden` layers of `width` between pixels and classes.

    >>> tanh_network(784, 10, 1e-2, hidden=2, width=100, seed=0).widths
    [784, 100, 100, 10]
    """
    sizes = [pixels, *[width] * hidden, classes]
    model = FNN(1, sizes, method="dense", dense_ends=False, dtype=torch.float64)
    return initialise_by_(model, "normal", gamma=gamma, seed=seed)


def digits_like_mnist(count: int | None = None) -> tuple[Tensor, Tensor]:
    """The first `count` training digits (all) in MNIST's shape: (N, 784) in float64, and labels (N,).

    Each of their 8 x 8 pixels is 3 x 3, with a black border of 2 around; standardised by one mean and one deviation of
    all pixels.

    >>> x, y = digits_like_mnist(50)
    >>> x.shape, len(y), abs(float(x.mean())) < 1e-12
    (torch.Size([50, 784]), 50, True)
    """
    return inputs_like_mnist("digits", count=count)


def inputs_like_mnist(name: str, folder: str | None = None, *, count: int | None = None) -> tuple[Tensor, Tensor]:
    """The first `count` training images (all) of the named data, in mnist_shaped's shape and so standardised.

    Raises what mnist_shaped raises.
    """
    data = mnist_shaped(name, folder, images=count)
    mean, spread = data.moments
    return torch.from_numpy((data.train_images - mean) / spread).flatten(1), torch.from_numpy(data.train_labels)


def _middle(rows: Sequence[VarianceRow]) -> VarianceRow:
    conditions = [row.condition_pooled for row in rows if row.condition_pooled is not None]
    return VarianceRow(
        gamma=rows[0].gamma,
        mean=median(row.mean for row in rows),
        std=median(row.std for row in rows),
        condition_pooled=median(conditions) if len(conditions) == len(rows) else None,
        sparsity=tuple(np.median([row.sparsity for row in rows], axis=0).tolist()),
    )
