"""How much rounding grows where directions of a product overtake each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.nets.jacobians.long_products.arithmetic import Array, namespace, on_host


class ProductStage(NamedTuple):
    """One orthogonalisation of (B,) chains: each direction's exponent, which one it was before, and its block."""

    exponents: Array
    order: Array
    blocks: Array | None  # None where all are in one


class Overtaking:
    """The stages that a product went through, and the rounding that they bring from one direction to another.

    After stage t direction b leads a by Delta_t powers of two, so that rounding leaves eps 2^Delta_t of a in it. Later
    factors make that eps 2^(Delta_t - Delta_T) beside b itself: what is not removed is the smaller of the two. Chains
    whose directions keep their order have none. Directions in different blocks have nothing of each other.
    """

    def __init__(self) -> None:
        self._stages: list[ProductStage] = []

    def add(self, exponents: Array, order: Array, blocks: Array | None) -> None:
        """Remember the stage (B, k); O(B k) numbers."""
        xp = namespace(exponents)
        exponents, order = (xp.asarray(each, dtype=xp.int32) for each in (exponents, order))
        self._stages.append(ProductStage(exponents, order, blocks))

    def bits(self, chain: int) -> NDArray[np.float64]:
        """(k,) powers of two by which eps grew in each direction of a chain, as if each stage did its most.

        O(stages k^2).
        """
        last = on_host(self._stages[-1].exponents[chain]).astype(np.float32)
        gaps = last - last[:, None]
        worst, places = np.zeros_like(gaps), np.arange(len(last))
        for exponents, order, blocks in reversed(self._stages):
            now = on_host(exponents[chain])[places].astype(np.float32)
            leads = now - now[:, None]
            np.minimum(leads, leads - gaps, out=leads)
            if blocks is not None:
                mine = on_host(blocks[chain])[places]
                leads[mine[:, None] != mine] = 0
            np.maximum(worst, leads, out=worst)
            places = on_host(order[chain])[places]
        most = np.maximum(worst.max(axis=0), worst.max(axis=1)).astype(np.float64)
        found: NDArray[np.float64] = most + np.log2(len(self._stages))
        return found
