"""SynFlow of a chain of matrices in closed form: no data, no torch, any depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Booleans, Values
from sao_cli.pruning.keep import drop_least_
from sao_cli.pruning.selection import check_rounds, kept_in_round

_HIGHEST = 1000  # exponents of 2 beyond which a score would leave the range of doubles


@dataclass(frozen=True, eq=False)
class ChainFlow:
    """SynFlow's `scores` (m, n) of each layer in its last round, 0 of what was dropped before, and the `masks` kept.

    `masks` are None where no sparsity was asked for. `log2_total` is that of R: where doubles can't hold R, the scores
    are divided by it, which leaves their order as it is.
    """

    scores: list[Values]
    masks: list[Booleans] | None
    log2_total: float


def chain_synflow(
    weights: Sequence[NDArray[Any]], sparsity: float | None = None, rounds: int = 100, progress: Progress = silent
) -> ChainFlow:
    """R = 1^T |W_L| ... |W_1| 1 and |w| dR/d|w| = outer(out_l, in_l) * |W_l| (Tanaka et al. 2020, section 6).

    in_l are the units' values with an input of ones and out_l the derivatives of R by them, each layer's with a power
    of 2 of its own: nothing overflows in 1,000 layers. With a sparsity, `rounds` rounds keep kappa_t = round(P D^(t/T))
    of all weights, of equal scores the first, and what was dropped does not return; without one the scores are those
    of the weights as they are.

    Raises FormatError for weights (m, n) that don't follow each other or are not finite, SaoError where R is 0: no
    path is left; MemoryLimitError. O(P) a round.

    >>> flow = chain_synflow([np.array([[1.0, -2.0], [3.0, 0.0]]), np.array([[1.0, 1.0]])])
    >>> [float(one.sum()) for one in flow.scores]
    [6.0, 6.0]
    """
    check_rounds(rounds)
    magnitudes = _magnitudes(weights)
    if sparsity is None:
        parts = [np.empty_like(one) for one in magnitudes]
        log2_total = _score_(magnitudes, parts)
        return ChainFlow(parts, None, log2_total)
    shapes = [one.shape for one in magnitudes]
    left = np.concatenate([one.reshape(-1) for one in magnitudes])
    scores, alive = np.empty_like(left), np.ones(len(left), dtype=bool)
    layers, parts = _views(left, shapes), _views(scores, shapes)
    for number in range(1, rounds + 1):
        progress("synflow, rounds", number - 1, rounds)
        log2_total = _score_(layers, parts)
        drop_least_(alive, scores, kept_in_round(len(left), sparsity, number, rounds))
        if number < rounds:
            left *= alive
    return ChainFlow(parts, _views(alive, shapes), log2_total)


def _views(flat: NDArray[Any], shapes: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes, strict=True)]


def _score_(magnitudes: Sequence[Values], scores: Sequence[Values]) -> float:
    """Write the scores of all layers into `scores`; gives log2 R."""
    values, derivatives, log2_total = _units(magnitudes)
    for one, own, out, read in zip(magnitudes, scores, derivatives, values, strict=False):
        np.multiply(one, out[:, None], out=own)
        own *= read
    return log2_total


def _units(magnitudes: Sequence[Values]) -> tuple[list[Values], list[Values], float]:
    """What each layer's units are, the inputs first; the derivatives of R by the units behind each layer; log2 R.

    Their products are scores: the derivatives have the powers of 2 of both, and where R leaves the range it is 1.
    """
    values, exponents = _passed(magnitudes)
    derivatives, shares = _passed([one.T for one in reversed(magnitudes)])
    derivatives, shares = derivatives[::-1], shares[::-1]
    total = float(values[-1].sum())
    if total == 0:
        raise SaoError("no path leads from an input to an output, so SynFlow's scores are all 0")
    log2_total = math.log2(total) + exponents[-1]
    common = 0 if abs(log2_total) < _HIGHEST else round(log2_total)
    powers = [before + behind - common for before, behind in zip(exponents, shares[1:], strict=False)]
    scaled = [np.ldexp(one, power) for one, power in zip(derivatives[1:], powers, strict=True)]
    return values, scaled, log2_total


def _passed(magnitudes: Sequence[Values]) -> tuple[list[Values], list[int]]:
    """The units' values behind 0, 1, ... layers with an input of ones, each vector with a power of 2 of its own."""
    value, exponent = np.ones(magnitudes[0].shape[1]), 0
    values, exponents = [value], [exponent]
    for one in magnitudes:
        value = one @ value
        shift = math.frexp(float(value.max(initial=0.0)))[1]
        value, exponent = np.ldexp(value, -shift), exponent + shift
        values.append(value)
        exponents.append(exponent)
    return values, exponents


def _magnitudes(weights: Sequence[NDArray[Any]]) -> list[Values]:
    if not weights:
        raise SaoError("SynFlow is of a chain of one matrix at least")
    require_memory(5 * 8 * sum(one.size for one in weights), "SynFlow's scores of all weights")
    for layer, one in enumerate(weights, 1):
        if one.ndim != 2 or one.dtype.kind not in "iuf" or not one.size:
            raise FormatError(f"layer {layer} is {one.dtype} of shape {one.shape}; a chain is of matrices of numbers")
        if not np.isfinite(one).all():
            raise FormatError(f"layer {layer} holds {one[~np.isfinite(one)].flat[0]}; every weight must be finite")
        if layer > 1 and one.shape[1] != weights[layer - 2].shape[0]:
            written = weights[layer - 2].shape[0]
            raise FormatError(f"layer {layer} reads {one.shape[1]} units, and the one before it writes {written}")
    return [np.abs(one.astype(np.float64)) for one in weights]
