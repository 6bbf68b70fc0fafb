"""Which scored weights of a whole network stay: exactly kappa, the largest, the first among equals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.data.arrays import Booleans, Values
from sao_cli.masks.degrees import density_of, kappa
from sao_cli.pruning.threshold import Ranked, global_threshold


@dataclass(frozen=True, eq=False)
class KeptWeights:
    """What stays of scored weights: `masks` of the scores' shapes, and how it came about.

    `kappa` numbers were to be kept and `kept` are: fewer only where whole kernels are dropped. `ties_at_threshold`
    weights were dropped though they score as much as the least that is kept; `zero_scores` were kept though they
    score 0.
    """

    masks: dict[str, Booleans]
    kappa: int
    kept: int
    ties_at_threshold: int
    zero_scores: int


def select(scores: Mapping[str, Values], sparsity: float, sizes: Mapping[str, int] | None = None) -> KeptWeights:
    """The kappa = round((1.0 - s) P) largest of all `scores` together, by name; of equal ones the first that stand.

    The order of the mapping is that of the layers, and within one of them it goes row by row. A score of weight `name`
    stands for sizes[name] numbers, 1 by default: with whole kernels as many are kept as fit in kappa.

    Raises InfeasibleError where kappa is 0, FormatError for NaN or infinity, SaoError where all scores are 0, since
    what is kept would then be no choice. O(P), by partition.

    >>> found = select({"a": np.array([[5.0, 4.0, 3.0]]), "b": np.array([[3.0, 0.0]])}, 0.4)
    >>> found.masks["a"].tolist(), found.masks["b"].tolist(), found.ties_at_threshold
    ([[True, True, True]], [[False, False]], 1)
    """
    if not scores:
        raise SaoError("there is nothing to choose among: no weight has scores")
    sizes = sizes or {}
    weights = [Ranked(partial(_itself, one), one.size, sizes.get(name, 1), name) for name, one in scores.items()]
    count = require_kept(sum(one.units * one.size for one in weights), sparsity)
    require_memory(3 * 8 * sum(one.units for one in weights), "all scores together")
    found = global_threshold(weights, count)
    masks = {name: found.kept(number, one) for number, (name, one) in enumerate(scores.items())}
    zeros = sum(int(np.count_nonzero(one[masks[name]] == 0)) for name, one in scores.items())
    return KeptWeights(masks, count, found.count, found.dropped, zeros)


def kept_by_masks(scores: Mapping[str, Values], masks: Mapping[str, Booleans]) -> KeptWeights:
    """What `masks` of the scores' shapes keep, as select tells it: those of a method in rounds, which it has chosen."""
    flat = np.concatenate([one.reshape(-1) for one in scores.values()])
    kept = np.concatenate([masks[name].reshape(-1) for name in scores])
    count = int(kept.sum())
    ties = int(np.count_nonzero(flat[~kept] == flat[kept].min()))
    zeros = int(np.count_nonzero(flat[kept] == 0))
    return KeptWeights({name: masks[name] for name in scores}, count, count, ties, zeros)


def _itself(scores: Values) -> Values:
    return scores


def kept_in_round(size: int, sparsity: float, number: int, rounds: int) -> int:
    """kappa_t = round(P D^(t/T)) of round t, from 1 to T; the last is kappa itself.

    The exponential schedule of SynFlow (Tanaka et al. 2020, section 6) and FORCE (de Jorge et al. 2021, section 4).

    >>> [kept_in_round(1000, 0.99, number, 2) for number in (1, 2)]
    [100, 10]
    """
    if number == rounds:
        return kappa(size, sparsity)
    density: float = density_of(sparsity) ** (number / rounds)
    return round(size * density)


def require_kept(total: int, sparsity: float) -> int:
    """kappa of `total` weights. Raises InfeasibleError where that is none."""
    count = kappa(total, sparsity)
    if count < 1:
        raise InfeasibleError(f"sparsity {sparsity} of {total} weights keeps none; {1 - 1 / max(total, 1)} keeps one")
    return count


def check_rounds(rounds: int) -> None:
    """Raise SaoError unless there is a round at least."""
    if rounds < 1:
        raise SaoError(f"{rounds} rounds: one is the least, and 100 are SynFlow's own")
