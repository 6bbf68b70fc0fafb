"""Which weights of a stack lie on a path from an input to an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.data.coercion import stack_of
from sao_cli.data.mask import Mask, MaskLike
from sao_cli.measure.reach.reachability import check_stack

Bits: TypeAlias = NDArray[np.bool_]


class Connections(Protocol):
    """A layer (m, n), as far as paths need it."""

    shape: tuple[int, int]

    def written(self, reads: Bits) -> Bits:
        """(m,) the outputs that read one of some inputs (n,)."""

    def read(self, writes: Bits) -> Bits:
        """(n,) the inputs that one of some outputs (m,) reads."""

    def between(self, reads: Bits, writes: Bits) -> int:
        """How many ones join some inputs (n,) to some outputs (m,)."""


def effective_weights(masks: Sequence[MaskLike] | MaskLike) -> list[Bits]:
    """For each layer of a stack, first layer first, which of its weights are effective: (m, n) booleans.

    A weight is effective where it lies on a path of kept weights from some input to some output: effective_l = M_l &
    in_(l-1) & out_l, where in_l are the units that an input reaches, found forth, and out_l those that reach an output,
    found back (Vysogorets and Kempe 2021). A bias is no path. `masks` are what reachability takes.

    Raises FormatError for an empty stack or widths that do not chain, and MemoryLimitError. Time: O(nnz) for the
    passes, O(m n) a layer for the answer.

    >>> [layer.tolist() for layer in effective_weights([[[1, 0], [0, 1]], [[1, 0]]])]
    [[[True, False], [False, False]], [[True, False]]]
    """
    stack = [Mask.of(mask, f"layer {layer}") for layer, mask in enumerate(stack_of(masks), 1)]
    check_stack(stack)
    require_memory(float(sum(mask.m * mask.n for mask in stack)), f"{len(stack)} layers of booleans")
    reads, writes = live_units([OfMask(mask) for mask in stack])
    return [
        (mask.to_dense() != 0) & row & column[:, None] for mask, row, column in zip(stack, reads, writes, strict=True)
    ]


def live_units(layers: Sequence[Connections]) -> tuple[list[Bits], list[Bits]]:
    """For each layer its inputs (n,) that an input of the stack reaches, and its outputs (m,) that reach one of its.

    One pass forth and one back.
    """
    reads = [np.ones(layers[0].shape[1], dtype=bool)]
    for layer in layers[:-1]:
        reads.append(layer.written(reads[-1]))
    writes = [np.ones(layers[-1].shape[0], dtype=bool)]
    for layer in layers[:0:-1]:
        writes.append(layer.read(writes[-1]))
    return reads, writes[::-1]


def cut_off(layers: Sequence[Connections]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers, from 0, of a stack's inputs that reach no output, and of its outputs that no input reaches.

    >>> stack = [Mask.of([[1, 0], [0, 1]]), Mask.of([[1, 0], [0, 0]])]
    >>> cut_off([OfMask(mask) for mask in stack])
    ((1,), (1,))
    """
    reads, writes = live_units(layers)
    first, last = layers[0].read(writes[0]), layers[-1].written(reads[-1])
    return tuple(np.flatnonzero(~first).tolist()), tuple(np.flatnonzero(~last).tolist())


class OfMask:
    """The Connections of a mask. Each answer takes O(nnz)."""

    def __init__(self, mask: Mask) -> None:
        self.shape, self._mask = mask.shape, mask

    def written(self, reads: Bits) -> Bits:
        """(m,) the outputs that read one of some inputs (n,)."""
        return np.bincount(self._mask.entry_rows[reads[self._mask.indices]], minlength=self.shape[0]) > 0

    def read(self, writes: Bits) -> Bits:
        """(n,) the inputs that one of some outputs (m,) reads."""
        return np.bincount(self._mask.indices[writes[self._mask.entry_rows]], minlength=self.shape[1]) > 0

    def between(self, reads: Bits, writes: Bits) -> int:
        """How many ones join some inputs (n,) to some outputs (m,)."""
        return int(np.count_nonzero(reads[self._mask.indices] & writes[self._mask.entry_rows]))
