"""Who reaches whom through a stack of masks, and by how many paths: even or odd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.data.coercion import stack_of
from sao_cli.data.mask import Mask, MaskLike
from sao_cli.measure.reach.packed import WORD, Words, popcount, rank_f2
from sao_cli.measure.reach.path_matrix import PathMatrix
from sao_cli.measure.reach.paths import Step, Sweep, Tile, sweep
from sao_cli.reports.masks import Depth, ReachSummary


@dataclass(frozen=True, kw_only=True)
class Reachability:
    """One report for each depth and a summary; `boolean` and `odd` hold the matrices R that were kept.

    With keep="all" they have one matrix a depth, with keep="last" one in all, and by default none.
    """

    depths: tuple[Depth, ...]
    summary: ReachSummary
    boolean: tuple[PathMatrix, ...] = ()
    odd: tuple[PathMatrix, ...] = ()


def reachability(
    masks: Sequence[MaskLike] | MaskLike, *, rank: bool = False, keep: str | None = None, progress: Progress = silent
) -> Reachability:
    """Which inputs reach which outputs through the first 1, 2 ... L layers of a stack, exactly.

    R = M_1^T M_2^T ... M_L^T, inputs as rows and outputs as columns, first layer first, is computed twice:
    over the Boolean algebra (is there a path: `reachable`), and over F2 (is the number of paths odd:
    `odd_paths`). The two differ, since even numbers of paths cancel over F2 (the SAO paper, IEEE Access 11,
    2023, binarises a product over F2, which for its Fig. 8 can only mean the Boolean one). Both are given as
    fractions of all pairs of an input and an output. The masks are Mask objects, or what Mask.of takes;
    or `masks` is the path of a file with the stack.

    `rank` adds the rank over F2 of the second matrix. `keep` ("last" or "all") returns the matrices too, packed.
    `progress` is called after every tile of inputs.

    `minimum_possible` is the least depth l at which one input could have reached all m_l outputs, had no
    two of its paths met: the product of the layers' largest column degrees up to l is at least m_l.

    Raises FormatError for an empty stack or widths that do not chain, MemoryLimitError where what `rank` or
    `keep` must hold would not fit. Cost: (nnz_1 + ... + nnz_L) n / 64 word operations an algebra, and memory for
    a few columns of words only; where layers are K disjoint complete bipartite graphs, K takes the place of n
    and of each layer's m. `rank` takes m n^2 / 1024 more a depth.

    >>> masks = [Mask.from_dense([[1, 1], [1, 1]])] * 2
    >>> [(depth.reachable, depth.odd_paths) for depth in reachability(masks).depths]
    [(1.0, 1.0), (1.0, 0.0)]
    """
    stack = [Mask.of(mask, f"layer {layer}") for layer, mask in enumerate(stack_of(masks), 1)]
    check_stack(stack)
    kept = _kept_depths(keep, len(stack))
    route = sweep(stack)
    store = _Store(route, boolean=kept, odd=range(len(stack)) if rank else kept, spare=rank)
    tally = _Tally.of(len(stack))
    tiles = list(route.tiles())
    for number, tile in enumerate(tiles, start=1):
        first = route.start(tile)
        _follow_boolean(route.steps, first, tile, tally, store)
        _follow_odd(route.steps, first, tile, tally, store)
        progress("reach", number, len(tiles))
    ranks = [rank_f2(store.odd[depth]) if rank else None for depth in range(len(stack))]
    depths = tuple(_depth(depth, route, tally, ranks[depth]) for depth in range(len(stack)))
    return Reachability(
        depths=depths,
        summary=_summary(stack, depths),
        boolean=tuple(store.matrix(store.boolean, depth) for depth in kept),
        odd=tuple(store.matrix(store.odd, depth) for depth in kept),
    )


class _Store:
    """The states that are kept, whole: for each algebra, depth -> the packed matrix R^T, filled tile by tile."""

    def __init__(self, route: Sweep, boolean: range, odd: range, spare: bool) -> None:
        self.route = route
        rows = [route.steps[depth].rows for depth in (*boolean, *odd)]
        needed = (sum(rows) + max(rows, default=0) * spare) * len(route.inputs.weights) * WORD.itemsize
        require_memory(needed, f"keeping {len(rows)} packed matrices", "keep or rank only stacks that are smaller")
        self.boolean = {depth: self._blank(depth) for depth in boolean}
        self.odd = {depth: self._blank(depth) for depth in odd}

    def matrix(self, states: dict[int, Words], depth: int) -> PathMatrix:
        return PathMatrix(states[depth], self.route.steps[depth].row_of, self.route.inputs.bit_of)

    def _blank(self, depth: int) -> Words:
        return np.empty((self.route.steps[depth].rows, len(self.route.inputs.weights)), WORD)


@dataclass
class _Tally:
    """Counts of pairs, and of inputs that reach something, at each depth, over all tiles."""

    reachable: list[int] = field(default_factory=list)
    odd_paths: list[int] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, depths: int) -> _Tally:
        return cls([0] * depths, [0] * depths, [0] * depths)


def _follow_boolean(steps: Sequence[Step], state: Words, tile: Tile, tally: _Tally, store: _Store) -> None:
    """Boolean states, until every input that still reaches something reaches all that anything reaches.

    From there on no bit needs computing: all rows stay equal, also where later layers have dead nodes.
    """
    alive, settled = tile.alive, False
    for depth, step in enumerate(steps):
        if settled:
            state = np.broadcast_to(state[:1], (step.rows, state.shape[1]))
            alive = alive if step.reached else 0
            count = alive * step.reached
        else:
            state = step.apply(state, np.bitwise_or) if depth else state
            if depth and step.drops:
                alive = popcount(np.bitwise_or.reduce(state, axis=0)) * tile.weight
            count = step.count(state) * tile.weight
            settled = count == alive * step.reached
        tally.reachable[depth] += count
        tally.alive[depth] += alive
        if depth in store.boolean:
            store.boolean[depth][:, tile.start : tile.stop] = state


def _follow_odd(steps: Sequence[Step], state: Words, tile: Tile, tally: _Tally, store: _Store) -> None:
    for depth, step in enumerate(steps):
        state = step.apply(state, np.bitwise_xor) if depth else state
        tally.odd_paths[depth] += step.count(state) * tile.weight
        if depth in store.odd:
            store.odd[depth][:, tile.start : tile.stop] = state


def _depth(depth: int, route: Sweep, tally: _Tally, rank_f2: int | None) -> Depth:
    inputs, outputs = len(route.inputs.bit_of), len(route.steps[depth].row_of)
    pairs = inputs * outputs
    return Depth(
        layer=depth + 1,
        inputs=inputs,
        outputs=outputs,
        reachable=tally.reachable[depth] / pairs,
        odd_paths=tally.odd_paths[depth] / pairs,
        rank_f2=rank_f2,
        unreached_outputs=outputs - route.steps[depth].reached,
        lost_inputs=inputs - tally.alive[depth],
        full=tally.reachable[depth] == pairs,
    )


def _summary(masks: Sequence[Mask], depths: Sequence[Depth]) -> ReachSummary:
    full_at = next((depth.layer for depth in depths if depth.full), None)
    return ReachSummary(layers=len(masks), full_at=full_at, minimum_possible=_minimum_possible(masks))


def _minimum_possible(masks: Sequence[Mask]) -> int | None:
    reached = 1
    for layer, mask in enumerate(masks, start=1):
        reached *= int(mask.column_degrees.max())
        if reached >= mask.m:
            return layer
    return None


def _kept_depths(keep: str | None, depths: int) -> range:
    first = {None: depths, "last": depths - 1, "all": 0}.get(keep)
    if first is None:
        raise SaoError(f"keep={keep!r} is none of None, 'last' and 'all'")
    return range(first, depths)


def check_stack(masks: Sequence[Mask]) -> None:
    """Raise FormatError for an empty stack, and for widths that do not chain."""
    if not masks:
        raise FormatError("a stack needs at least one mask, and this one has none")
    for layer, (before, mask) in enumerate(pairwise(masks), start=2):
        if mask.n != before.m:
            raise FormatError(
                f"layer {layer} reads {mask.n} inputs, and layer {layer - 1} has {before.m} outputs; "
                "each layer must read as many inputs as the layer before it has outputs"
            )
