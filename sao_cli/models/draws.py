"""The layers of each repeat of a comparison, as functions of its seed that travel to workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sao_cli.data.matrix import Matrix

if TYPE_CHECKING:
    from sao_cli.models.places import StackPlace


def built_layers(seed: int, *, widths: Sequence[int], **asked: Any) -> list[Matrix]:
    """Layers drawn anew by each seed: weight_stack's."""
    from sao_cli.weights.build_weights import weight_stack

    return weight_stack(widths, seed=seed, **asked)


def given_layers(_: int, *, weights: Sequence[Matrix]) -> Sequence[Matrix]:
    """The same layers for every seed."""
    return weights


def placed_layers(_: int, *, place: StackPlace, dtype: str | None = None) -> list[Matrix]:
    """The same layers for every seed, rounded to the dtype, read where the stack lies."""
    return [matrix.as_dtype(dtype) for matrix in place.stack().matrices()]
