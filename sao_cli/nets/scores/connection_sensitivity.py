"""SNIP: the derivative of the loss by each connection (Lee et al., ICLR 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sao_cli.base.errors import FormatError
from sao_cli.nets.scores.objectives import MeanLoss, Pair, paired, warn_of_noise
from sao_cli.nets.scores.plain_derivatives import PlainDerivatives
from sao_cli.nets.scores.score_tensors import Scores, per_unit, shapes_of, signed_sums
from sao_cli.nets.scores.scored_module import ScoredModule, Weights
from sao_cli.pruning.scores.score_record import ScoreFacts


@dataclass(frozen=True)
class MeanGradient:
    """dL/dw (float64) by the name of the weight, L the mean over all samples; `loss` is L."""

    gradients: Weights
    loss: float
    samples: int


def snip(
    model: nn.Module,
    batches: Iterable[Pair] | Pair,
    *,
    labels: str = "true",
    temperature: float = 1.0,
    unit: str = "weight",
    biases: bool = False,
    train_mode: bool = False,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Scores:
    """|dL/dc| at c = 1, L the mean loss of the network with weights c * w: |w dL/dw|, and not divided by their sum.

    Connection sensitivity (Lee et al., ICLR 2019, eq. 5). `batches` are pairs (x, y) of any sizes: L is one mean over
    all samples, so they change nothing. With unit="kernel" there is one c a 2-D kernel: |sum over taps of w dL/dw|.
    `labels` are a name of catalog.LABELS. `model` is run in evaluation mode, or with `train_mode` its batch norms with
    each batch's statistics, and is left as it was bit for bit: weights, buffers, gradients, modes, random states.

    Numbers are computed in `dtype` or the module's own, and scores are float64. A SaoWarning tells of samples that the
    network has learnt, whose mean loss is below a hundredth of log K: scores are noise then, as warn_of_noise says.
    Raises SaoError and FormatError for what has no scores. One forward and one backward pass.

    >>> linear = nn.Linear(3, 2, bias=False)
    >>> scores = snip(linear, [(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))])
    >>> scores["weight"].shape, scores["weight"].dtype
    (torch.Size([2, 3]), torch.float64)
    """
    module = ScoredModule(model, biases=biases, train_mode=train_mode, dtype=dtype, seed=seed)
    loss = MeanLoss(labels, temperature, seed)
    with module.opened():
        mean = mean_gradient(module, module.weights, batches, loss)
    warn_of_noise("snip", mean.loss, loss.guess)
    products = per_unit({name: mean.gradients[name].mul_(one) for name, one in module.weights.items()}, unit)
    facts: ScoreFacts[Tensor] = ScoreFacts(
        "snip",
        shapes_of(module.weights),
        signed_sums(products),
        mean.loss,
        mean.samples,
        labels,
        temperature,
        training_mode=train_mode,
    )
    return Scores({name: one.abs_() for name, one in products.items()}, facts)


def mean_gradient(module: ScoredModule, weights: Mapping[str, Tensor], batches: Any, loss: MeanLoss) -> MeanGradient:
    """The gradient at `weights` of the mean over the samples of all batches, which count by their sizes."""
    leaves = {name: one.detach().requires_grad_() for name, one in weights.items()}
    total: Weights = {}
    value, samples = 0.0, 0
    for x, y in paired(batches, module):
        with PlainDerivatives():
            found = loss(module.run(leaves, x), y)
        parts = torch.autograd.grad(found, list(leaves.values()), allow_unused=True)
        for (name, leaf), part in zip(leaves.items(), parts, strict=True):
            own = torch.zeros_like(leaf) if part is None else part
            average_(total, name, own, len(y), samples)
        value, samples = value + float(found.detach()) * len(y), samples + len(y)
    if not samples:
        raise FormatError("the batches hold no sample; scores are a mean over one at least")
    return MeanGradient(total, value / samples, samples)


def average_(means: Weights, name: str, part: Tensor, count: int, before: int) -> None:
    """Take the mean `part` of `count` samples into that of `before` others, in float64, which `means` has by name."""
    if name in means:
        means[name].lerp_(part.double(), count / (before + count))
    else:
        means[name] = part.to(torch.float64, copy=True)
