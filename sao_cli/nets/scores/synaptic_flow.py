"""SynFlow of a torch module: each weight's share of all paths through it (Tanaka et al., NeurIPS 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.nets.scores.foresight import kept_in_rounds
from sao_cli.nets.scores.linearised import LinearisedCalls
from sao_cli.nets.scores.score_tensors import Scores, shapes_of, signed_sums
from sao_cli.nets.scores.scored_module import ScoredModule, Weights
from sao_cli.pruning.scores.score_record import ScoreFacts

_TOLERANCE = 1e-6  # relative, of what an exactly linear network would have


def synflow(
    model: nn.Module,
    batches: Iterable[Any] | None = None,
    *,
    sparsity: float | None = None,
    rounds: int = 100,
    example: Sequence[int] | None = None,
    progress: Progress = silent,
) -> Scores:
    """|w| dR/d|w|, R = 1^T |W_L| ... |W_1| 1: the sum of what the linearised module makes of an input of ones.

    Linearised: activations pass what they read, biases are 0, batch norms are |gamma| / sqrt(var + eps) with no mean
    and no shift; then the scores of every layer that all paths lead through sum to R, and each hidden unit's incoming
    ones sum to its outgoing ones (Tanaka et al., theorem 1). With a `sparsity`, `rounds` rounds keep round(P D^(t/T))
    weights; `facts.masks` is what the last one keeps, and what was dropped scores 0. Without one, the scores are those
    of the weights as they are, in one round.

    `example` is the shape of an input, (1, ...); by default that of the first of `batches`, else (1, n) where the first
    layer is linear. Labels are not read. In float64. Where R leaves the range of doubles each layer is scaled, which
    keeps the order where all paths lead through all layers.

    Raises SaoError where the module is not linear even so (an activation computed by hand, attention, an added
    constant), where R is 0, and where it overflows and the module has shortcuts. Two passes a round.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> first, second = (float(one.sum()) for one in synflow(net).values())
    >>> abs(first - second) < 1e-12 * first
    True
    """
    module = ScoredModule(model, dtype=torch.float64)
    _absolute_(module)
    ones = torch.ones(_shape(module, batches, example), dtype=torch.float64, device=module.device)
    flow = _Flow(module, ones, {name: one.abs() for name, one in module.weights.items()})
    with module.opened():
        flow.prepare()
        masks = None
        if sparsity is None:
            scores = flow.scores({})
        else:
            masks, scores = kept_in_rounds(flow.weights, flow.scores, sparsity, rounds, False, progress)
    done = rounds if sparsity is not None else 1
    signed = signed_sums(scores)
    facts = ScoreFacts("synflow", shapes_of(module.weights), signed, rounds=done, sparsity=sparsity, masks=masks)
    return Scores(scores, facts)


@dataclass
class _Flow:
    """R and its derivatives with the `weights`, which are not negative."""

    module: ScoredModule
    ones: Tensor
    weights: Weights

    def prepare(self) -> None:
        """Check that the module is linear, and scale it where R leaves the range of doubles."""
        total = self._total(self.weights)
        if not math.isfinite(total) or total < 1e-290:
            self.weights = {name: _scaled(one) for name, one in self.weights.items()}
            self._require_series()
            total = self._total(self.weights)
        twice = self._total(self.weights, 2.0)
        if not math.isclose(twice, 2 * total, rel_tol=_TOLERANCE):
            raise SaoError(
                f"twice the input makes {twice / total:.6g} times the output, though activations and biases are left "
                "out: SynFlow is of networks that are linear then; attention, norms over the input, activations "
                "computed by hand and added constants are not"
            )

    def scores(self, masks: Weights) -> Weights:
        """|w| dR/d|w| of what the masks leave; all of it without any."""
        leaves = {
            name: (one * masks[name] if masks else one.clone()).requires_grad_() for name, one in self.weights.items()
        }
        with LinearisedCalls():
            total = self.module.run(leaves, self.ones).sum()
        if not float(total.detach()):
            raise SaoError("no path leads from an input to an output, so SynFlow's scores are all 0")
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        return {
            name: torch.zeros_like(leaf) if part is None else leaf.detach() * part
            for (name, leaf), part in zip(leaves.items(), found, strict=True)
        }

    def _total(self, weights: Weights, factor: float = 1.0) -> float:
        with torch.no_grad(), LinearisedCalls():
            return float(self.module.run(weights, factor * self.ones).sum())

    def _require_series(self) -> None:
        sums = [float(one.sum()) for one in self.scores({}).values()]
        if not all(math.isclose(one, sums[0], rel_tol=_TOLERANCE) for one in sums):
            raise SaoError(
                "the sum of all paths leaves the range of doubles, and not every path leads through every layer, so "
                "that layers can't be scaled each by itself; scale the weights down first"
            )


def _scaled(weight: Tensor) -> Tensor:
    """The weight divided by its mean row sum, so that it passes on values of about the size that it reads."""
    mean = weight.sum() / max(len(weight), 1)
    return weight / mean if mean > 0 else weight


def _absolute_(module: ScoredModule) -> None:
    """Make all that the module holds besides its weights positive, and its layers' biases 0."""
    biases = {id(layer._parameters.get("bias")) for layer, _ in module.places.values()}
    named = dict(module.model.named_parameters())
    for name, one in module._state.items():
        if name in named and one.is_floating_point():
            module._state[name] = torch.zeros_like(one) if id(named[name]) in biases else one.abs()


def _shape(module: ScoredModule, batches: Iterable[Any] | None, example: Sequence[int] | None) -> tuple[int, ...]:
    if example is not None:
        return tuple(example)
    for x, _ in batches or ():
        return (1, *x.shape[1:])
    layer, _ = next(iter(module.places.values()))
    if isinstance(layer, nn.Linear):
        return (1, layer.in_features)
    raise SaoError("SynFlow runs the module on ones, and its input's shape is not known; give example=(1, 3, 32, 32)")
