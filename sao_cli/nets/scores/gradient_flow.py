"""GraSP: what the squared norm of the gradient gains by a connection (Wang et al., ICLR 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from sao_cli.nets.scores.connection_sensitivity import average_, mean_gradient
from sao_cli.nets.scores.objectives import MeanLoss, Pair, paired, warn_of_noise
from sao_cli.nets.scores.plain_derivatives import PlainDerivatives
from sao_cli.nets.scores.score_tensors import Scores, per_unit, shapes_of, signed_sums
from sao_cli.nets.scores.scored_module import ScoredModule, Weights
from sao_cli.pruning.scores.score_record import ScoreFacts


def grasp(
    model: nn.Module,
    batches: Iterable[Pair] | Pair,
    *,
    labels: str = "true",
    temperature: float = 200.0,
    unit: str = "weight",
    biases: bool = False,
    train_mode: bool = False,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Scores:
    """w * H g, of which the largest are kept: the negative of GraSP's S = -w * H g, whose largest are removed.

    g is the gradient of the mean loss of all samples, of logits / temperature (200, as its authors' code has it), and H
    its Hessian on the same samples (Wang et al., ICLR 2020, eq. 8). Signed: a weight whose removal would lower the
    gradient's norm has a positive score. The other arguments, what stays as it was, what is warned of (by the loss at
    this temperature, which is near log K at 200) and what is raised are as in snip.
    One forward and one double backward pass where all samples are one batch, else one forward and backward more.
    """
    module = ScoredModule(model, biases=biases, train_mode=train_mode, dtype=dtype, seed=seed)
    loss = MeanLoss(labels, temperature, seed)
    with module.opened():
        pairs = list(paired(batches, module))
        value, samples, products = _hessian_gradient(module, pairs, MeanLoss(labels, temperature, seed), loss)
    warn_of_noise("grasp", value, loss.guess)
    scored = per_unit({name: one.double() * products[name] for name, one in module.weights.items()}, unit)
    facts: ScoreFacts[torch.Tensor] = ScoreFacts(
        "grasp",
        shapes_of(module.weights),
        signed_sums(scored),
        value,
        samples,
        labels,
        temperature,
        training_mode=train_mode,
    )
    return Scores(scored, facts)


def grasp_abs(model: nn.Module, batches: Iterable[Pair] | Pair, **options: object) -> Scores:
    """|w * H g|, which Frankle et al. (ICLR 2021) found to prune better; arguments as grasp has them."""
    found = grasp(model, batches, **options)  # type: ignore[arg-type]
    scores = {name: one.abs() for name, one in found.items()}
    return Scores(scores, replace(found.facts, method="grasp-abs"))


def _hessian_gradient(
    module: ScoredModule, pairs: list[tuple[Tensor, Tensor]], first: MeanLoss, second: MeanLoss
) -> tuple[float, int, Weights]:
    """Loss, samples and H g; the two losses are the same one, begun anew where it draws labels."""
    whole = mean_gradient(module, module.weights, pairs, first) if len(pairs) != 1 else None
    leaves = {name: one.detach().requires_grad_() for name, one in module.weights.items()}
    total: Weights = {}
    value, samples = 0.0, 0
    for x, y in pairs:
        with PlainDerivatives():
            found = second(module.run(leaves, x), y)
        for name, one in _curved(found, leaves, None if whole is None else whole.gradients).items():
            average_(total, name, one, len(y), samples)
        value, samples = value + float(found.detach()) * len(y), samples + len(y)
    return value / samples, samples, total


def _curved(loss: Tensor, leaves: Weights, aims: Weights | None) -> Weights:
    """H v of the loss, by a derivative of its gradient in the direction of v: the `aims`, or the gradient itself."""
    parts = torch.autograd.grad(loss, list(leaves.values()), create_graph=True, allow_unused=True)
    curved = {name: part for name, part in zip(leaves, parts, strict=True) if part is not None and part.requires_grad}
    along = [one.detach() if aims is None else aims[name].to(one.dtype) for name, one in curved.items()]
    found = (
        torch.autograd.grad(list(curved.values()), list(leaves.values()), along, allow_unused=True)
        if curved
        else [None] * len(leaves)
    )
    pairs = zip(leaves.items(), found, strict=True)
    return {name: torch.zeros_like(leaf) if one is None else one for (name, leaf), one in pairs}
