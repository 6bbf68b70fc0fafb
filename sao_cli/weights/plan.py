"""What each layer of a network can have, and what the method's own arithmetic makes of a target."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from sao_cli.base.memory import require_memory
from sao_cli.base.names import check
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import METHODS
from sao_cli.masks.degrees import Counts, check_stack, check_widths, feasible_degrees, layer_counts
from sao_cli.reports.frames import Reports
from sao_cli.reports.masks import Plan
from sao_cli.weights.build_weights import weight_stack


def plan(
    widths: Sequence[int],
    *,
    method: str = "sao",
    d: int | None = None,
    c: int | None = None,
    sparsity: float | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Reports[Plan]:
    """One Plan a layer of the network whose layer widths, inputs first, are `widths`: what weight_stack builds.

    `method` is one of weights.build_weights.METHODS. With none of `d`, `c` and `sparsity` only the feasible degrees are
    told. The counts are those of masks.degrees.layer_counts, which the builders use; only for `gmp`, where layers
    compete, and `eoi`, whose rotations do not stop at just any number, the weights of `seed` are drawn, and counted.

    Raises as weight_stack does, but for memory that only building takes. O(1) a layer, and a list of degrees a shape.

    >>> [(row.c, row.d, row.parameters) for row in plan([784, 300, 100, 10], method="lmp", sparsity=0.98)]
    [(None, None, 4704), (None, None, 600), (None, None, 20)]
    """
    check("method", method, METHODS)
    check_widths(widths)
    shapes = [(m, n) for n, m in itertools.pairwise(widths)]
    target: dict[str, Any] = {"d": d, "c": c, "sparsity": sparsity}
    pattern = METHODS[method].on or method
    degrees = {(m, n): feasible_degrees(m, n, pattern) for m, n in dict.fromkeys(shapes)}
    listed = sum(map(len, degrees.values()))
    require_memory(100 * listed, f"the list of {listed} feasible degrees")
    if all(value is None for value in target.values()):
        rows: Sequence[Counts | None] = [None] * len(shapes)
    elif METHODS[method].drawn:
        stack = weight_stack(widths, method=method, seed=seed, progress=progress, **target)
        rows = [Counts(None, None, weight.mask.nnz) for weight in stack]
    else:
        rows = _counts(shapes, pattern, target)
    feasible = {shape: tuple(those) for shape, those in degrees.items()}
    planned = enumerate(zip(shapes, rows, strict=True), 1)
    return Reports(_row(layer, *shape, kept, feasible[shape]) for layer, (shape, kept) in planned)


def _counts(shapes: Sequence[tuple[int, int]], method: str, target: dict[str, Any]) -> list[Counts]:
    known = {(m, n): layer_counts(m, n, method, **target) for m, n in dict.fromkeys(shapes)}
    counts = [known[shape] for shape in shapes]
    check_stack(shapes, [kept.d for kept in counts if kept.d is not None], method)
    return counts


def _row(layer: int, m: int, n: int, kept: Counts | None, feasible: tuple[int, ...]) -> Plan:
    c, d, nnz = (None, None, None) if kept is None else kept
    sparsity = None if nnz is None else 1.0 - nnz / (m * n)
    return Plan(layer=layer, m=m, n=n, c=c, d=d, sparsity=sparsity, parameters=nnz, feasible=feasible)
