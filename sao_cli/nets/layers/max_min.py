"""`MaxMin`: the activation of 1-Lipschitz networks, which permutes what it is given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError


class MaxMin(nn.Module):  # type: ignore[misc]
    """(max(a, b), min(a, b)) of the halves a and b of the channels, axis 1: as many channels as it is given.

    MaxMin, or GroupSort with groups of two, with channel i beside channel i + c/2 (Anil, Lucas and Grosse, ICML 2019;
    Singla and Feizi, ICML 2021). Everywhere its Jacobian is a permutation matrix, so that it preserves the norm of
    every gradient. That includes ties, such as zeros beside zeros, where torch.maximum would halve the gradient:
    there a counts as the larger. O(size).

    Raises SaoError for an odd number of channels.

    >>> MaxMin()(torch.tensor([[1.0, 2.0, 3.0, -4.0]]))
    tensor([[ 3.,  2.,  1., -4.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """The larger of each pair in the first half of the channels (B, c, ...), the smaller in the second."""
        if x.ndim < 2:
            raise SaoError(f"an input of shape {tuple(x.shape)}; MaxMin reads (B, c, ...), and pairs the c channels")
        if x.shape[1] % 2:
            raise SaoError(f"{x.shape[1]} channels can't be paired; MaxMin needs an even number of them")
        first, second = x.chunk(2, dim=1)
        ordered = first >= second
        return torch.cat([torch.where(ordered, first, second), torch.where(ordered, second, first)], dim=1)
