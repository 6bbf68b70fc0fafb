"""`Features`: a batch in the order and layout that a layer left it in, for the next one to gather from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad as padded

from sao_cli.base.errors import SaoError


class Features(NamedTuple):
    """A batch of features in whatever order and layout made them, so that the next reader gathers them once.

    Feature i is slice order[i] of `values` along `axis` (slice i where `order` is None): 1 as users hold a batch,
    (B, n), and 0 as blocks leave it, (n, B), where each gathered feature is one contiguous run. `lead` is the shape
    that the batch has for the user.
    """

    values: Tensor
    axis: int
    order: Tensor | None
    lead: torch.Size

    @classmethod
    def of(cls, x: Tensor) -> Features:
        """The features of a user's (..., n) tensor, which another layer may have left feature by feature."""
        if not x.ndim:
            raise SaoError("inputs without an axis; a linear layer reads a tensor of shape (..., n)")
        flat = x.flatten(0, -2) if x.ndim > 1 else x[None]  # sizes stay symbols where torch.export traces them
        if flat.t().is_contiguous() and not flat.is_contiguous():
            return cls(flat.t(), 0, None, x.shape[:-1])
        return cls(flat, 1, None, x.shape[:-1])

    def width(self) -> int:  # no property: torch.compile reads none of a tuple before 2.6
        """How many features there are."""
        return int(self.values.shape[self.axis] if self.order is None else self.order.shape[0])

    def take(self, index: Tensor) -> Tensor:
        """(len(index), B): the named features, by one gather."""
        if self.order is not None:
            index = self.order.index_select(0, index)
        taken = self.values.index_select(self.axis, index)
        return taken.t() if self.axis else taken

    def padded(self, width: int) -> Features:
        """The same features and as many zeros as make `width`."""
        if width == self.width():
            return self
        return Features(padded(self._flat(), (0, width - self.width())), 1, None, self.lead)

    def batch(self) -> Tensor:
        """The user's (..., n) tensor, as a view of values that stay feature by feature."""
        return self._flat().reshape(*self.lead, self.width())

    def _flat(self) -> Tensor:
        values = self.values if self.order is None else self.values.index_select(self.axis, self.order)
        return values if self.axis else values.t()
