"""Sets of bits that go through a network side by side, those that have become equal once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Sets:
    """The `bits` (S, ...) of values by number, a sweep's, of which `merge` leaves those (count, ...) that differ.

    After a few layers most inputs reach the same: what then goes on is one set for all of them.
    """

    def __init__(self, seeds: Mapping[int, Tensor]) -> None:
        self.bits = dict(seeds)
        some = next(iter(seeds.values()))
        self._which = torch.arange(len(some), device=some.device)  # for each set, which of `bits` it is
        self.count = len(some)

    def of_all(self, bits: Tensor) -> Tensor:
        """What is told (count, ...) of the sets that are left, as (S, ...) of all."""
        return bits[self._which] if self.count < len(self._which) else bits

    def merge(self) -> None:
        """Leave one of sets that are equal in every bit, where these are at least half of them."""
        if self.count == 1 or not self.bits:
            return
        flat = torch.cat([bits.flatten(1) for bits in self.bits.values()], 1)
        drawn = torch.rand(flat.shape[1], generator=torch.Generator().manual_seed(0)).to(flat.device)
        found, which = torch.unique(flat.float() @ drawn, return_inverse=True)  # equal sets have equal sums
        places = torch.arange(self.count, device=flat.device)
        first = torch.full((len(found),), self.count, device=flat.device).scatter_reduce(0, which, places, "amin")
        if 2 * len(found) > self.count or not torch.equal(flat[first][which], flat):
            return
        for number, bits in self.bits.items():
            self.bits[number] = bits[first]
        self._which, self.count = which[self._which], len(found)
