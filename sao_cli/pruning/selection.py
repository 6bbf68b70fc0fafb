"""Which scored weights of a whole network stay: exactly kappa, the largest, the first among equals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.data.arrays import Values
from sao_cli.masks.degrees import density_of, kappa
from sao_cli.pruning.keep import keep_largest

Booleans = NDArray[np.bool_]


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
    sizes = sizes or {}
    numbers = [sizes.get(name, 1) for name in scores]
    flat = _joined(scores)
    total = sum(size * one.size for size, one in zip(numbers, scores.values(), strict=True))
    count = require_kept(total, sparsity)
    if not flat.any():
        raise SaoError(f"all {flat.size} scores are 0, so they choose nothing; take other samples, labels or weights")
    places = keep_largest(flat, count) if set(numbers) == {1} else _fitting(flat, scores, numbers, count)
    kept = np.zeros(flat.size, dtype=bool)
    kept[places] = True
    least = flat[places].min()
    ends = np.cumsum([one.size for one in scores.values()])[:-1]
    parts = np.split(kept, ends)
    return KeptWeights(
        {name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)},
        count,
        sum(size * int(part.sum()) for size, part in zip(numbers, parts, strict=True)),
        int(np.count_nonzero(flat[~kept] == least)),
        int(np.count_nonzero(flat[places] == 0)),
    )


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


def _joined(scores: Mapping[str, Values]) -> Values:
    """All scores in a row, each a number."""
    for name, one in scores.items():
        if not np.isfinite(one).all():
            wrong = one[~np.isfinite(one)].flat[0]
            raise FormatError(f"the scores of {name} hold {wrong}, and they choose what is kept; each must be finite")
    require_memory(3 * 8 * sum(one.size for one in scores.values()), "all scores together")
    if not scores:
        raise SaoError("there is nothing to choose among: no weight has scores")
    return np.concatenate([one.reshape(-1) for one in scores.values()])


def _fitting(flat: Values, scores: Mapping[str, Values], numbers: list[int], count: int) -> NDArray[np.intp]:
    """The places of the largest whose sizes are `count` together, or just under."""
    sizes = np.repeat(numbers, [one.size for one in scores.values()])
    order = np.argsort(-flat, kind="stable")
    fits = int(np.searchsorted(np.cumsum(sizes[order]), count, side="right"))
    if not fits:
        raise InfeasibleError(f"{count} numbers are to be kept, and the first kernel has {sizes[order[0]]}")
    return np.sort(order[:fits])
