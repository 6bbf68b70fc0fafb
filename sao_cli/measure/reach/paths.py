"""How the paths through a stack of masks are followed: 64 inputs a word, each distinct row of R^T once.

The state after layer l is R_l^T, packed: a row for every output that some input reaches, a bit for every input
that feeds layer 1. Where masks are disjoint complete bipartite graphs, the outputs of a group share one row and
the inputs of a group of layer 1 share one bit, which makes the state K x K instead of m x n.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.mask import Indices, Mask
from sao_cli.measure.reach.packed import BITS, WORD, Words, popcount, row_popcounts

_TILE_BYTES = 1 << 19  # of state; measured best between half a megabyte and two (the size of a core's cache)
_TILE_WORDS = 4  # no narrower: numpy copies rows of 32 bytes in one go, and narrower ones no faster
_CHUNK_WORDS = 1 << 16

Combine: TypeAlias = np.ufunc
"""np.bitwise_or for paths that exist (Boolean), np.bitwise_xor for odd numbers of paths (F2)."""


@dataclass(frozen=True)
class Step:
    """One layer, as what to gather from the state before it.

    `row_of` (outputs,) is the row of the state that each output has, -1 where no input reaches it, and `weights`
    (rows,) counts the outputs of each row. The rows are sorted by descending degree, so that `neighbours[k]`, the
    k-th neighbours of all rows that have more than k of them, belongs to a prefix (jagged diagonals); `rest[i]` are
    those further neighbours of row i for which too few rows are left to share a gather. A row that stands for a
    whole group can be a neighbour several times over, which is what cancels over F2. `drops` says that some row of
    the state before feeds nothing.
    """

    row_of: Indices
    weights: NDArray[np.int64]
    neighbours: tuple[Indices, ...]
    rest: tuple[Indices, ...]
    drops: bool

    @property
    def rows(self) -> int:
        """Rows of the state after this layer."""
        return len(self.weights)

    @cached_property
    def reached(self) -> int:
        """Outputs that some input reaches."""
        return int(self.weights.sum())

    @cached_property
    def weight(self) -> int | None:
        """What all weights are, or None where they differ."""
        return int(self.weights[0]) if self.rows and self.weights.min() == self.weights.max() else None

    def apply(self, state: Words, combine: Combine) -> Words:
        """The state after this layer. O(nnz * words), with no temporary larger than a chunk."""
        after = np.empty((self.rows, state.shape[1]), WORD)
        step = max(1, _CHUNK_WORDS // state.shape[1])
        scratch = np.empty((min(step, len(after)), state.shape[1]), WORD)
        for start in range(0, len(after), step):
            self._gather(state, combine, after[start : start + step], scratch, start)
        for row, further in zip(after, self.rest, strict=False):
            for start in range(0, len(further), step):
                combine(row, combine.reduce(state.take(further[start : start + step], axis=0), axis=0), out=row)
        return after

    def edges(self) -> tuple[Indices, Indices]:
        """The row after the step and the row before it of everything gathered."""
        none = np.empty(0, self.row_of.dtype)  # which an empty mask needs
        after = [np.arange(len(sources), dtype=none.dtype) for sources in self.neighbours]
        after += [np.full(len(sources), row, none.dtype) for row, sources in enumerate(self.rest)]
        return np.concatenate([*after, none]), np.concatenate([*self.neighbours, *self.rest, none])

    def count(self, state: Words) -> int:
        """Ones in the state, each row counted once for every output that it stands for."""
        if self.weight is not None:
            return popcount(state) * self.weight
        return int(row_popcounts(state) @ self.weights)

    def _gather(self, state: Words, combine: Combine, after: Words, scratch: Words, start: int) -> None:
        for k, sources in enumerate(self.neighbours):
            chunk = sources[start : start + len(after)]
            if not len(chunk):
                return
            # mode "clip" writes to `out` directly; the default would fill a copy first, for the sake of errors
            target = scratch[: len(chunk)] if k else after
            state.take(chunk, axis=0, out=target, mode="clip")
            if k:
                combine(after[: len(chunk)], target, out=after[: len(chunk)])


@dataclass(frozen=True)
class Inputs:
    """Which bit of a state stands for which inputs of the stack.

    `bit_of` (inputs,) is -1 for an input that feeds nothing. Every bit of word w stands for `weights[w]` inputs,
    and `used[w]` of its bits are in use: inputs with alike partners are grouped by how many they are.
    """

    bit_of: Indices
    weights: NDArray[np.int64]
    used: NDArray[np.int64]


@dataclass(frozen=True)
class Tile:
    """The words start .. stop - 1 of every state, whose bits stand for `weight` inputs each, `alive` in all."""

    start: int
    stop: int
    weight: int
    alive: int


@dataclass(frozen=True)
class Sweep:
    """The steps of a stack, which serve both algebras.

    `rows` and `bits` (edges,) are the ones of the state after layer 1, by ascending bit.
    """

    inputs: Inputs
    steps: tuple[Step, ...]
    rows: Indices
    bits: Indices

    def tiles(self) -> Iterator[Tile]:
        """Word ranges narrow enough for a state to stay in cache through all layers, of one weight each."""
        weights, used = self.inputs.weights, self.inputs.used
        rows = max(step.rows for step in self.steps)
        width = max(_TILE_WORDS, _TILE_BYTES // (WORD.itemsize * max(1, rows)))
        borders = [0, *(np.flatnonzero(np.diff(weights)) + 1).tolist(), len(weights)]
        for first, last in pairwise(borders):
            for start in range(first, last, width):
                stop, weight = min(start + width, last), int(weights[start])
                yield Tile(start, stop, weight, int(used[start:stop].sum()) * weight)

    def start(self, tile: Tile) -> Words:
        """The state after layer 1, in both algebras: one edge is one path. O(rows * words) and one look at an edge."""
        width = tile.stop - tile.start
        first, last = np.searchsorted(self.bits, [tile.start * BITS, tile.stop * BITS])
        state = np.zeros((self.steps[0].rows, width), WORD)
        for start in range(first, last, _CHUNK_WORDS):
            part = slice(start, min(start + _CHUNK_WORDS, last))
            words, bits = np.divmod(self.bits[part], BITS)
            flat = self.rows[part] * np.int64(width) + (words - tile.start)
            np.bitwise_or.at(state.reshape(-1), flat, WORD.type(1) << bits.astype(WORD))
        return state


def sweep(masks: Sequence[Mask]) -> Sweep:
    """The steps through `masks`, first layer first; the widths are taken to chain. O(nnz), with a sort for groups."""
    inputs = _inputs(masks[0])
    steps = [_step(masks[0], inputs.bit_of, len(inputs.weights) * BITS)]
    for mask in masks[1:]:
        steps.append(_step(mask, steps[-1].row_of, steps[-1].rows))
    rows, bits = steps[0].edges()
    order = np.argsort(bits, kind="stable")
    return Sweep(inputs, tuple(steps), rows[order], bits[order])


def _inputs(mask: Mask) -> Inputs:
    """The bits of a stack whose first layer is `mask`."""
    if mask.groups is not None:
        class_of, sizes = mask.groups.columns, np.bincount(mask.groups.columns + 1, minlength=1)[1:]
    else:
        alive = mask.column_degrees > 0
        class_of, sizes = np.where(alive, np.cumsum(alive) - 1, -1), np.ones(np.count_nonzero(alive), np.int64)
    bit_of_class, weights = _bits_by_size(sizes)
    alive_inputs = np.flatnonzero(class_of >= 0)
    bit_of = np.full(mask.n, -1, mask.indices.dtype)
    bit_of[alive_inputs] = bit_of_class[class_of[alive_inputs]]
    used = np.bincount(bit_of_class // BITS, minlength=len(weights))
    return Inputs(bit_of, weights, used)


def _bits_by_size(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A bit for each class of inputs and the size of the classes in each word, which is one for a whole word."""
    values, counts = np.unique(sizes, return_counts=True)
    words = -(-counts // BITS)
    first_bit = (np.cumsum(words) - words) * BITS - (np.cumsum(counts) - counts)
    bit_of_class = np.empty(len(sizes), np.int64)
    bit_of_class[np.argsort(sizes, kind="stable")] = np.repeat(first_bit, counts) + np.arange(len(sizes))
    return bit_of_class, np.repeat(values, words)


def _step(mask: Mask, row_before: Indices, rows_before: int) -> Step:
    """The step through `mask` from a state of `rows_before` rows, in which its inputs have the rows `row_before`."""
    if mask.groups is not None:  # a state row for each group, which gathers from the group's inputs
        group_of, count = mask.groups.rows, mask.groups.count
        order = np.argsort(mask.groups.columns, kind="stable")
        targets, sources = mask.groups.columns[order], row_before[order]
    else:
        group_of, count = np.arange(mask.m, dtype=mask.indices.dtype), mask.m
        targets, sources = mask.entry_rows, row_before[mask.indices]
    alive = (targets >= 0) & (sources >= 0)
    if not alive.all():
        targets, sources = targets[alive], sources[alive]
    degrees = np.bincount(targets, minlength=count)
    order = np.argsort(-degrees, kind="stable")[: np.count_nonzero(degrees)]
    position = np.full(count + 1, -1, mask.indices.dtype)  # the last one is what a dead output's -1 finds
    position[order] = np.arange(len(order))
    row_of = position[group_of]
    weights = np.bincount(row_of + 1, minlength=len(order) + 1)[1:]
    drops = not np.bincount(sources, minlength=rows_before).all()
    return Step(row_of, weights, *_jagged_diagonals(sources, degrees, order), drops)


def _jagged_diagonals(
    sources: Indices, degrees: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[tuple[Indices, ...], tuple[Indices, ...]]:
    """`Step.neighbours` and `Step.rest`, split where the number of gathers and of rows left over is least."""
    if not len(order):
        return (), ()
    starts, lengths = (np.cumsum(degrees) - degrees)[order], degrees[order]
    longer = len(order) - np.cumsum(np.bincount(lengths))  # longer[k]: rows with more than k neighbours
    gathers = 1 + int(np.argmin(np.arange(1, len(longer)) + longer[1:]))
    neighbours = tuple(sources[starts[: longer[k]] + k] for k in range(gathers))
    left_over = range(longer[gathers])
    rest = tuple(sources[starts[row] + gathers : starts[row] + lengths[row]] for row in left_over)
    return neighbours, rest
