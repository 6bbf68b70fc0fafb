"""SNIP in rounds: IterSNIP, and FORCE, whose weights can return (de Jorge et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import FRESH_BATCHES, generator
from sao_cli.data.arrays import Values
from sao_cli.nets.scores.connection_sensitivity import MeanGradient, mean_gradient
from sao_cli.nets.scores.objectives import MeanLoss, Pair, paired, warn_of_noise
from sao_cli.nets.scores.score_tensors import Scores, shapes_of
from sao_cli.nets.scores.scored_module import ScoredModule, Weights
from sao_cli.pruning.keep import Places, keep_largest
from sao_cli.pruning.scores.score_record import ScoreFacts
from sao_cli.pruning.selection import check_rounds, kept_in_round, select


def iter_snip(model: nn.Module, batches: Iterable[Pair] | Pair, *, sparsity: float, **options: Any) -> Scores:
    """SNIP's scores in the last of `rounds` rounds (60), each of the network that the round before has left.

    Round t keeps kappa_t = round(P D^(t/T)) of all weights, on the same samples each; what was dropped does not return
    and scores 0 (de Jorge et al., ICLR 2021, "Iterative SNIP"; 60 rounds as its README has). `facts.masks` is what the
    last round keeps, and `facts.foresight` the sum of |w dL/dw| behind it, on all samples. Other options as in snip,
    but no unit, and `progress`.

    With `fresh_batches` a round reads one of the `batches` alone, as its authors' code does: in an order drawn by
    `seed`, all of them before one comes again. shuffled_batches cuts samples into such. Raises what snip raises, and
    InfeasibleError where nothing would be kept.
    """
    return _in_rounds("itersnip", model, batches, sparsity, **options)


def force(model: nn.Module, batches: Iterable[Pair] | Pair, *, sparsity: float, **options: Any) -> Scores:
    """|w dL/dw| with dL/dw of the network that the round before has left, of all weights: those dropped can return.

    Otherwise as iter_snip (de Jorge et al., ICLR 2021, section 4, "FORCE").
    """
    return _in_rounds("force", model, batches, sparsity, **options)


def _in_rounds(
    method: str,
    model: nn.Module,
    batches: Iterable[Pair] | Pair,
    sparsity: float,
    *,
    rounds: int = 60,
    labels: str = "true",
    temperature: float = 1.0,
    biases: bool = False,
    train_mode: bool = False,
    fresh_batches: bool = False,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    progress: Progress = silent,
) -> Scores:
    module = ScoredModule(model, biases=biases, train_mode=train_mode, dtype=dtype, seed=seed)
    with module.opened():
        pairs = list(paired(batches, module))
        turns = _in_turn(pairs, seed) if fresh_batches else repeat(pairs)
        losses: list[tuple[float, float]] = []  # of the network that each round begins with, and of a guess

        def gradient(masks: Weights, batches: Sequence[Pair]) -> MeanGradient:
            left = {name: one * masks[name] for name, one in module.weights.items()}
            loss = MeanLoss(labels, temperature, seed)
            found = mean_gradient(module, left, batches, loss)
            losses.append((found.loss, loss.guess))
            return found

        def scored(masks: Weights) -> Weights:
            found = gradient(masks, next(turns)).gradients
            return {name: (one.double() * found[name]).abs() for name, one in module.weights.items()}

        masks, scores = kept_in_rounds(module.weights, scored, sparsity, rounds, method == "force", progress)
        end = gradient(masks, pairs)
    warn_of_noise(method, *losses[0])
    left = {name: one * masks[name] for name, one in module.weights.items()}
    foresight = sum(float((one.double() * end.gradients[name]).abs().sum()) for name, one in left.items())
    facts = ScoreFacts(
        method,
        shapes_of(module.weights),
        loss=end.loss,
        samples=end.samples,
        labels=labels,
        temperature=temperature,
        rounds=rounds,
        sparsity=sparsity,
        training_mode=train_mode,
        masks=masks,
        foresight=foresight,
    )
    return Scores(scores, facts)


def shuffled_batches(x: Tensor, y: Tensor, size: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """The samples x (N, ...) and their labels y (N,) in batches of `size`, in an order drawn by `seed`.

    The last one holds what is left. Raises SaoError for a size below 1.

    >>> [len(y) for _, y in shuffled_batches(torch.eye(5), torch.arange(5), 2)]
    [2, 2, 1]
    """
    if size < 1:
        raise SaoError(f"batches of {size} samples: a round reads one at least")
    order = torch.from_numpy(generator(seed, 0, FRESH_BATCHES).permutation(len(y))).to(y.device)
    return list(zip(x[order].split(size), y[order].split(size), strict=True))


def _in_turn(pairs: Sequence[Pair], seed: int) -> Iterator[list[Pair]]:
    """One after another, without an end; each time that all have been, in another order."""
    for time in count(1):
        for place in generator(seed, 0, FRESH_BATCHES, time).permutation(len(pairs)).tolist():
            yield [pairs[place]]


def kept_in_rounds(
    weights: Weights,
    scored: Callable[[Weights], Weights],
    sparsity: float,
    rounds: int,
    returning: bool,
    progress: Progress = silent,
) -> tuple[Weights, Weights]:
    """The booleans of what the last round keeps, and its scores; `scored` gives those of what masks leave.

    Of equal scores the first are kept, and unless they are `returning`, only of what is left. Raises SaoError where
    all scores of a round are 0, FormatError for NaN.
    """
    check_rounds(rounds)
    masks = {name: torch.ones_like(one, dtype=torch.bool) for name, one in weights.items()}
    size = sum(one.numel() for one in weights.values())
    if kept_in_round(size, sparsity, rounds, rounds) < 1:
        select({name: np.ones(one.shape) for name, one in weights.items()}, sparsity)  # which refuses it
    alive = np.arange(size)
    for number in range(1, rounds + 1):
        progress("scoring, rounds", number - 1, rounds)
        scores = scored(masks)
        if not returning:
            scores = {name: one * masks[name] for name, one in scores.items()}
        flat = _flat(scores)
        count = kept_in_round(size, sparsity, number, rounds)
        kept = keep_largest(flat, count) if returning else alive[keep_largest(flat[alive], count)]
        alive, masks = kept, _masks_at(kept, masks)
    return masks, scores


def _flat(scores: Weights) -> Values:
    flat = np.concatenate([one.detach().cpu().numpy().reshape(-1) for one in scores.values()])
    if not np.isfinite(flat).all() or not flat.any():
        worst = "are all 0" if np.isfinite(flat).all() else "are not finite"
        raise SaoError(f"the scores of a round {worst}, so they choose nothing; take more rounds or other samples")
    return flat


def _masks_at(places: Places, masks: Weights) -> Weights:
    kept = np.zeros(sum(one.numel() for one in masks.values()), dtype=bool)
    kept[places] = True
    ends = np.cumsum([one.numel() for one in masks.values()])[:-1]
    return {
        name: torch.from_numpy(part).view(one.shape).to(one.device)
        for (name, one), part in zip(masks.items(), np.split(kept, ends), strict=True)
    }
