"""Which weights of a network stay, asked one weight at a time, in any order: what all ways to choose have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from sao_cli.base.progress import Progress, silent
from sao_cli.data.mask import Mask
from sao_cli.data.nm_pattern import NMPattern


@dataclass(frozen=True)
class Prunable:
    """A weight as pruning sees it: m rows of n units, each kept or dropped as one, which count as `size` numbers.

    `read` gives it, (m, n, ...). `groups` are those of its channels. `layer` is its own among the weights of a network,
    and seeds its random numbers; `name` and `shape` (outputs first) are what scores and densities go by.
    """

    m: int
    n: int
    layer: int
    read: Callable[[], NDArray[Any]]
    size: int = 1
    groups: int = 1
    name: str = ""
    shape: tuple[int, ...] = ()


class Pruner:
    """The masks that a `method` has for the weights of a network: `d` ones a row, or (1 - sparsity) of all.

    Where weights are compared with each other, `ties_at_threshold` and `zero_scores` are as KeptWeights has them when
    they are prepared, and else None.
    """

    pattern: NMPattern | None = None  # of the masks of method "nm"
    by_degree = False  # the masks have a row degree, of which not every weight has one that is near

    def __init__(
        self,
        method: str,
        *,
        d: int | None = None,
        sparsity: float | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        self.method, self.d, self.sparsity, self.seed, self.progress = method, d, sparsity, seed, progress
        self.ties_at_threshold: int | None = None
        self.zero_scores: int | None = None

    def why_not(self, weight: Prunable) -> str | None:
        """Why the weight can't be pruned as asked, as its sizes tell; None where it can."""
        return None

    def prepare(self, weights: Sequence[Prunable]) -> None:
        """Find what has to be known of all weights before one of them can be pruned."""

    def mask(self, weight: Prunable, values: NDArray[Any]) -> Mask:
        """What is kept of a weight, whose `values` (m, n, ...) have been read: (m, n) units, or (m, n taps) numbers."""
        raise NotImplementedError

    def drawn(self, weight: Prunable, values: NDArray[Any]) -> NDArray[Any]:
        """The values that the mask is put on: the weight's own."""
        return values
