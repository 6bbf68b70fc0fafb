"""Masks by the name of their method: one, or the layers of a network."""

from collections.abc import Sequence
from typing import Any

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.names import check, load
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import MASK_METHODS, PATTERN, Method
from sao_cli.data.mask import Mask
from sao_cli.data.nm_pattern import NMPattern
from sao_cli.masks.degrees import check_widths, layer_counts

METHODS = tuple(MASK_METHODS)


def mask_stack(
    widths: Sequence[int],
    *,
    method: str = "sao",
    d: int | None = None,
    c: int | None = None,
    sparsity: float | None = None,
    arrangement: str = "random",
    pattern: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Mask]:
    """The masks of a network whose layer widths, inputs first, are `widths`; each layer has a random stream of its own.

    One of `d`, `c` and `sparsity` fixes every layer's degree, as resolve_degree tells; by none of them it is the
    feasible degree nearest to 4. `method` is one of METHODS, and `arrangement` is of SAO masks alone. `pattern`, N:M,
    is of "nm" alone, and fixes its degrees in their place; it is 2:4 where none of them is given. Raises
    SaoError for an unknown method and InfeasibleError for sizes and degrees that the method can't have. O(nnz),
    and for "ramanujan" the certificates besides.

    >>> [mask.shape for mask in mask_stack([784, 512, 256])]
    [(512, 784), (256, 512)]
    """
    check("method", method, MASK_METHODS)
    row = MASK_METHODS[method]
    check_widths(widths)
    if arrangement != "random" and "arrangement" not in row.takes:
        raise SaoError(f"arrangement {arrangement!r} is of SAO masks; method {method!r} has none")
    target = {"d": d, "c": c, "sparsity": sparsity}
    groups = _groups(row, pattern, target)
    shapes = list(zip(widths[1:], widths, strict=False))
    if groups is not None:
        counts = [layer_counts(m, n, method, d=groups.degree(n)) for m, n in shapes]
    else:
        counts = [layer_counts(m, n, method, **target) for m, n in shapes]  # type: ignore[arg-type]
    sizes = [kept.nnz if kept.d is None else kept.d for kept in counts]
    _require_stack_memory(shapes, [kept.nnz for kept in counts])
    return _build(row, widths, sizes, seed, {"arrangement": arrangement, "pattern": groups, "progress": progress})


def _groups(row: Method, pattern: str | None, target: dict[str, Any]) -> NMPattern | None:
    """The pattern of all layers; None where the degrees are told otherwise."""
    if "pattern" not in row.takes:
        if pattern is not None:
            raise SaoError(f"pattern {pattern} is of method 'nm', and method {row.name!r} has none")
        return None
    given = [name for name, value in target.items() if value is not None]
    if pattern is None:
        return None if given else NMPattern.parse(PATTERN)
    if given:
        raise SaoError(f"pattern {pattern} fixes the degrees of all layers; leave out {given[0]}")
    return NMPattern.parse(pattern)


def _require_stack_memory(shapes: list[tuple[int, int]], counts: list[int]) -> None:
    # 8 bytes a one and a row are what finished layers keep; each construction asks for its own working memory.
    total = 8 * (sum(counts) + sum(m for m, _ in shapes)) if len(shapes) > 1 else 0
    require_memory(total, f"a stack of {len(shapes)} masks", "choose smaller sizes or degrees, or fewer layers")


def _build(row: Method, widths: Sequence[int], sizes: list[int], seed: int, options: dict[str, Any]) -> list[Mask]:
    """The masks; `sizes` are numbers of ones where the method keeps a number, and row degrees elsewhere."""
    # A construction is imported when it is asked for: `sao mask` loads one file, and SAO needs no scipy.
    build = load(row.mask)
    if row.whole_stack:
        masks: list[Mask] = build(widths, sizes)
        return masks
    taken = {name: options[name] for name in row.takes}
    layers = zip(widths[1:], widths, sizes, strict=False)
    return [build(m, n, size, seed=seed, layer=layer, **taken) for layer, (m, n, size) in enumerate(layers, 1)]
