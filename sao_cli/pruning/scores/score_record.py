"""What is known of how scores came about, of torch tensors and of a checkpoint's arrays alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Marks = TypeVar("Marks")  # torch tensors or numpy arrays


@dataclass(frozen=True, eq=False)
class ScoreFacts(Generic[Marks]):
    """How scores came about: the samples' mean `loss`, sums before absolute values by weight, and the settings.

    `shapes` are the weights', by name, from which those of scores differ where a unit is a kernel. `masks` are what a
    method in rounds keeps at its `sparsity`, and `foresight` is sum |w g| behind them. What a method has not is None.

    >>> ScoreFacts("magnitude", {"weight": (2, 3)}).loss is None
    True
    """

    method: str
    shapes: Mapping[str, tuple[int, ...]]
    signed: Mapping[str, float] = field(default_factory=dict)
    loss: float | None = None
    samples: int | None = None
    labels: str | None = None
    temperature: float | None = None
    rounds: int | None = None
    sparsity: float | None = None
    training_mode: bool = False
    masks: Mapping[str, Marks] | None = None
    foresight: float | None = None
