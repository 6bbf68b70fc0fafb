"""The masks of the rules of catalog.PRUNING: magnitudes, random places, SAO masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from sao_cli import catalog
from sao_cli.base.errors import InfeasibleError
from sao_cli.base.names import check, load
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Mask
from sao_cli.data.nm_pattern import NMPattern
from sao_cli.masks.degrees import kappa, kept_entries, resolve_degree
from sao_cli.pruning.pruner import Prunable, Pruner
from sao_cli.pruning.threshold import Ranked, Threshold, global_threshold
from sao_cli.pruning.units import largest_units, mask_of

NEAR = 1.5  # ratio of densities up to which an SAO mask counts as one of the sparsity asked for, as in an audit


class RulePruner(Pruner):
    """The masks that a `method` of catalog.PRUNING has for the weights of a network.

    It keeps m `d` units of each weight (m, n), or kappa(m n, sparsity), 4 a row by neither; a method that compares all
    weights keeps as many numbers of them together, and needs `prepare`; "nm" keeps what its `pattern` says.
    Raises SaoError for an unknown method.

    >>> import numpy as np
    >>> weights = [Prunable(2, 2, layer, lambda layer=layer: layer * np.eye(2) + 1) for layer in (1, 2)]
    >>> pruner = RulePruner("gmp", sparsity=0.5)
    >>> pruner.prepare(weights)
    >>> [pruner.mask(weight, weight.read()).nnz for weight in weights]
    [2, 2]
    """

    def __init__(self, method: str, *, pattern: NMPattern | None = None, **asked: Any) -> None:
        check("method", method, catalog.PRUNING)
        super().__init__(method, **asked)
        self.row = catalog.PRUNING[method]
        self.by_degree = self.row.by_degree
        self.pattern = NMPattern.parse(catalog.PATTERN) if pattern is None and "pattern" in self.row.takes else pattern
        self._threshold: Threshold | None = None
        self._places: dict[int, int] = {}  # of each layer among those that are compared

    def why_not(self, weight: Prunable) -> str | None:
        """Why the weight can't be pruned as asked, as its sizes tell; None where it can."""
        try:
            if self.by_degree:
                return self._not_near(weight)
            if self.pattern is not None:
                return self.pattern.why_not(weight.n)
            if not self.row.together or self.d is not None:
                self._kept(weight)
        except InfeasibleError as error:
            return str(error)
        return None

    def prepare(self, weights: Sequence[Prunable]) -> None:
        """Find the threshold of a method that compares all weights: each is read once more, or twice."""
        if not self.row.together:
            return
        self._places = {weight.layer: place for place, weight in enumerate(weights)}
        scores = [
            Ranked(partial(self._scores, one), one.m * one.n, one.size, one.name or f"layer {one.layer}")
            for one in weights
        ]
        found = global_threshold(scores, self._kept_of_all(weights), progress=self.progress)
        self._threshold = found
        self.ties_at_threshold = found.dropped
        self.zero_scores = 0 if found.score else sum(found.ties)  # no magnitude is below

    def mask(self, weight: Prunable, values: NDArray[Any]) -> Mask:
        """The (m, n) mask of what is kept of a weight, whose `values` (m, n, ...) have been read."""
        if self._threshold is not None:
            return mask_of(self._threshold.kept(self._places[weight.layer], self._score(values)))
        if self.row.score:
            return largest_units(self._score(values), self._kept(weight))
        offered = {"groups": weight.groups, "pattern": self.pattern, "progress": self.progress}
        taken = {name: offered[name] for name in self.row.takes}
        many = self._degree(weight) if self.by_degree else self._kept(weight)
        found: Mask = load(self.row.mask)(values, many, seed=self.seed, layer=weight.layer, **taken)
        return found

    def _score(self, values: NDArray[Any]) -> Values:
        scores: Values = load(self.row.score)(values)
        return scores

    def _scores(self, weight: Prunable) -> Values:
        return self._score(weight.read())

    def _kept(self, weight: Prunable) -> int:
        return kept_entries(weight.m, weight.n, d=self.d, sparsity=self.sparsity)

    def _kept_of_all(self, weights: Sequence[Prunable]) -> int:
        """How many numbers of all weights together are kept."""
        if self.sparsity is not None:
            return kappa(sum(weight.size * weight.m * weight.n for weight in weights), self.sparsity)
        return sum(weight.size * self._kept(weight) for weight in weights)

    def _degree(self, weight: Prunable) -> int:
        return resolve_degree(weight.m // weight.groups, weight.n, "sao", d=self.d, sparsity=self.sparsity)

    def _not_near(self, weight: Prunable) -> str | None:
        """Why the SAO mask of the nearest degree is none of the sparsity that was asked for."""
        m, n, d = weight.m // weight.groups, weight.n, self._degree(weight)
        if not self.sparsity:
            return None
        ratio = d / (n * (1 - self.sparsity))
        if d < n and abs(math.log(ratio)) <= math.log(NEAR) * (1 + 1e-9):
            return None
        nearest = "is dense" if d == n else f"has {1 - d / n:.6g}"
        why = f"the nearest {nearest}, since gcd({m}, {n}) = {math.gcd(m, n)}"
        return f"no SAO mask of {m} x {n} is near to sparsity {self.sparsity:g}: {why}"
