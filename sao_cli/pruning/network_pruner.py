"""The masks of scores and densities: exactly kappa of all weights of a network together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli import catalog
from sao_cli.base.errors import SaoError, SaoWarning
from sao_cli.base.names import check
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Booleans, Values
from sao_cli.data.mask import Mask
from sao_cli.pruning.controls import inverted, redrawn, shuffled
from sao_cli.pruning.densities import density_masks
from sao_cli.pruning.pruner import Prunable, Pruner
from sao_cli.pruning.selection import KeptWeights, kept_by_masks, select
from sao_cli.pruning.units import mask_of, spread


class NetworkPruner(Pruner):
    """The masks that keep kappa of all weights: the largest scores, or as many of each layer as a density has.

    `method` is a name of catalog.DENSITIES, which goes `within` a layer, or names the `scores`: by the names of the
    weights, of their shapes or of their kernels'. What a method in rounds has `chosen` of them stays as it is. The
    `control` "shuffle" puts what stays at random places of its layer, "fresh" draws the weights anew, "invert" keeps
    the lowest scores. Scores may be told later, by `take`, before all is prepared.

    Raises SaoError for unknown names, and for densities that are to be inverted.

    >>> pruner = NetworkPruner("mine", {"a": np.array([[3.0, 1.0], [2.0, 0.0]])}, sparsity=0.5)
    >>> weight = Prunable(2, 2, 1, lambda: np.eye(2), name="a", shape=(2, 2))
    >>> pruner.prepare([weight])
    >>> pruner.mask(weight, weight.read()).to_dense().astype(int)
    array([[1, 0],
           [1, 0]])
    """

    def __init__(
        self,
        method: str,
        scores: Mapping[str, Values] | None = None,
        chosen: Mapping[str, Booleans] | None = None,
        *,
        sparsity: float,
        within: str = "random",
        control: str | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        super().__init__(method, sparsity=sparsity, seed=seed, progress=progress)
        if control is not None:
            check("control", control, catalog.CONTROLS)
        self.is_density = method in catalog.DENSITIES
        if self.is_density and control == "invert":
            raise SaoError(f"--control invert: {method} has no scores to invert; shuffle and fresh are of it")
        self.share, self.within, self.control = sparsity, within, control
        self.masks: dict[str, Booleans] = {}
        self.take(scores or {}, chosen)

    def take(self, scores: Mapping[str, Values], chosen: Mapping[str, Booleans] | None = None) -> None:
        """The scores that are to choose, and what a method in rounds has chosen already."""
        self._scores, self._chosen = scores, None if self.control == "invert" else chosen

    def prepare(self, weights: Sequence[Prunable]) -> None:
        """Choose what stays of all weights together. A SaoWarning tells of weights that stay though they score 0."""
        if self.is_density:
            named = {weight.name: self._values(weight) for weight in weights}
            self.masks = density_masks(named, self.method, self.share, within=self.within, seed=self.seed)
        else:
            kept = self._kept(weights)
            self.ties_at_threshold, self.zero_scores, self.masks = kept.ties_at_threshold, kept.zero_scores, kept.masks
            self._warn_of_zeros()
        if self.control == "shuffle":
            self.masks = shuffled({one.name: spread(self.masks[one.name], one.shape) for one in weights}, self.seed)

    def mask(self, weight: Prunable, values: NDArray[Any]) -> Mask:
        """What stays of a weight (m, n, ...): (m, n) of a matrix, of a kernel (m, n taps)."""
        return mask_of(spread(self.masks[weight.name], values.shape))

    def drawn(self, weight: Prunable, values: NDArray[Any]) -> NDArray[Any]:
        """The values that the mask is put on: with the control "fresh" others, of the same law."""
        return redrawn(values, self.seed, weight.layer) if self.control == "fresh" else values

    def _kept(self, weights: Sequence[Prunable]) -> KeptWeights:
        scores = {weight.name: self._scores[weight.name] for weight in weights}
        if self._chosen is not None:
            return kept_by_masks(scores, self._chosen)
        sizes = {one.name: one.m * one.n * one.size // scores[one.name].size for one in weights}
        return select(inverted(scores) if self.control == "invert" else scores, self.share, sizes)

    def _values(self, weight: Prunable) -> NDArray[Any]:
        """The weight, of whose numbers those that stay at random places are not read."""
        return np.broadcast_to(np.zeros(()), weight.shape) if self.within == "random" else weight.read()

    def _warn_of_zeros(self) -> None:
        if self.zero_scores:
            told = f"{self.zero_scores} weights that are kept score 0, the first of those that do"
            warnings.warn(f"{told}: {self.method} chooses no more; raise the sparsity", SaoWarning, stacklevel=4)
