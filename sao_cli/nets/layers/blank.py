"""Layers without a first draw of their weights."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


def blank(kind: type[Layer], *sizes: Any, **options: Any) -> Layer:
    """A `kind`, nn.Linear or an nn.ConvNd, of these sizes, whose parameters are not filled: torch draws no number.

    As torch.nn.utils.skip_init, which goes by the meta device and loads torch's decompositions for it. O(1), and the
    memory of the parameters.

    >>> blank(nn.Linear, 3, 2).weight.shape
    torch.Size([2, 3])
    """

    class Blank(kind):  # type: ignore[valid-type, misc]
        def reset_parameters(self) -> None:
            """Leave them as they are."""

    made: Layer = Blank(*sizes, **options)
    made.__class__ = kind
    return made
