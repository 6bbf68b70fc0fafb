"""`TwoStageLinear`: two SAO stages one after the other, connected and exactly orthogonal, run as they are."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from sao_cli.base.errors import SaoError
from sao_cli.base.rng import VALUES, generator
from sao_cli.data.mask import Mask
from sao_cli.masks.two_stage import TwoStage, find_stages, two_stage_mask
from sao_cli.nets.layers.linear import SAOLinear, SparseLinear, chain


class Stage(SAOLinear):
    """An SAOLinear inside a TwoStageLinear, which draws the blocks of both its stages from one stream."""

    def reset_parameters(self) -> None:
        """Does nothing, so that a walk over all modules of a model leaves what the two-stage layer has drawn."""


class TwoStageLinear(SparseLinear):
    """y = S_2 S_1 x + b: two SAO layers whose product has d = a b ones a row and a connected mask.

    `first` is an SAOLinear of n inputs, row degree a and no bias, `second` one of m outputs, row degree b and the
    bias, with p = min(m, n) hidden features between them. Their blocks are the only parameters besides the bias: p a
    + m b numbers, and as many products a sample, where the product's mask has m a b ones. Trained, W stays a product
    of such stages: on the mask of two_stage_mask, but not every weight on it. One gather merges the permutations
    between the stages.

    The weight is two_stage_weight(m, n, d, seed=seed, layer=layer), to the last bit in float64, so that all its
    singular values are 1. The bias begins at 0. Layers of one model need numbers of their own (`layer`).

    Raises InfeasibleError for a degree that no two-stage mask of these sizes has, and DeadlineError as two_stage_mask.

    >>> layer = TwoStageLinear(16, 8, degree=8)
    >>> layer(torch.ones(3, 16)).shape, sum(parameter.numel() for parameter in layer.parameters())
    (torch.Size([3, 8]), 56)
    """

    first: Stage
    second: Stage

    def __init__(
        self,
        in_features: int,
        out_features: int,
        degree: int,
        bias: bool = True,
        *,
        seed: int = 0,
        layer: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        mask = two_stage_mask(out_features, in_features, degree, seed=seed, layer=layer)
        self._assemble(mask, bias, seed, layer, device, dtype)

    @classmethod
    def from_mask(
        cls,
        mask: Mask,
        bias: bool = True,
        *,
        seed: int = 0,
        layer: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """The layer on `mask`, wherever it came from, with two_stage_values of `seed` and `layer`.

        Raises SaoError for a mask that is no product of two stages. O(m d log m).

        >>> TwoStageLinear.from_mask(two_stage_mask(8, 8, 4)).degree
        4
        """
        made = cls.__new__(cls)
        super().__init__(made)
        made._assemble(mask, bias, seed, layer, device, dtype)
        return made

    @property
    def bias(self) -> Tensor | None:  # type: ignore[override]
        """The bias (m,) or None; it is the second stage's."""
        bias: Tensor | None = self.second.bias
        return bias

    @property
    def degree(self) -> int:
        """The row degree d = a b: how many inputs each output reads, through both stages."""
        return self.first.degree * self.second.degree

    def reset_parameters(self) -> None:
        """Fill both stages' blocks with the Haar-random values of the layer's seed, and the bias with 0."""
        rng = generator(self.seed, self.layer, VALUES)
        self.first.fill_(rng)
        self.second.fill_(rng)

    def forward(self, x: Tensor) -> Tensor:
        """(..., m) outputs of (..., n) inputs, in SAOLinear's layout. Raises SaoError for inputs of another width."""
        return chain((self.first, self.second), x)

    def entries(self) -> tuple[Tensor, Tensor]:
        """(m, d) inputs that each output reads, through one hidden feature each, and the weights of those paths."""
        columns, first = self.first.entries()
        hidden, second = self.second.entries()
        return columns[hidden].flatten(1), (second[:, :, None] * first[hidden]).flatten(1)

    def extra_repr(self) -> str:
        """The layer's sizes, as print shows them."""
        return f"in_features={self.in_features}, out_features={self.out_features}, degree={self.degree}"

    def _assemble(self, mask: Mask, bias: bool, seed: int, layer: int, device: Any, dtype: torch.dtype | None) -> None:
        stages = _stages(mask)
        self.out_features, self.in_features = mask.shape
        self._width = mask.n
        self.first = Stage.unfilled(stages.first, False, device, dtype)
        self.second = Stage.unfilled(stages.second, bias, device, dtype)
        self.seed, self.layer = seed, layer
        self.reset_parameters()


def _stages(mask: Mask) -> TwoStage:
    if (stages := find_stages(mask)) is None:
        raise SaoError(
            f"this mask of {mask.m} x {mask.n} is no product of two SAO masks, which a two-stage layer needs; "
            "sparsify and prune keep any mask"
        )
    return stages
