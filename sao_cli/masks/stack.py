"""Masks by the name of their method: one, or the layers of a network."""

import difflib
from collections.abc import Sequence

from sao_cli.errors import SaoError
from sao_cli.mask import Mask
from sao_cli.masks.degrees import check_sizes, check_widths, density_of, resolve_degree
from sao_cli.memory import require_memory
from sao_cli.progress import Progress, silent

METHODS = ("sao", "ramanujan", "biregular", "xnet", "radix", "lrp")


def mask_stack(
    widths: Sequence[int],
    *,
    method: str = "sao",
    d: int | None = None,
    c: int | None = None,
    sparsity: float | None = None,
    arrangement: str = "random",
    seed: int = 0,
    progress: Progress = silent,
) -> list[Mask]:
    """The masks of a network whose layer widths, inputs first, are `widths`; each layer has a random stream of its own.

    One of `d`, `c` and `sparsity` fixes every layer's degree, as resolve_degree tells; by none of them it is the
    feasible degree nearest to 4. `method` is one of METHODS, and `arrangement` is of SAO masks alone. Raises
    SaoError for an unknown method and InfeasibleError for sizes and degrees that the method can't have. O(nnz),
    and for "ramanujan" the certificates besides.

    >>> [mask.shape for mask in mask_stack([784, 512, 256])]
    [(512, 784), (256, 512)]
    """
    check_method(method)
    check_widths(widths)
    if arrangement != "random" and method != "sao":
        raise SaoError(f"arrangement {arrangement!r} is of SAO masks; method {method!r} has none")
    shapes = list(zip(widths[1:], widths, strict=False))
    if method == "lrp":
        counts = [_kept(m, n, d, c, sparsity) for m, n in shapes]
        _require_stack_memory([(m, n, nnz) for (m, n), nnz in zip(shapes, counts, strict=True)])
        return [
            _layer(method, m, n, nnz, seed, layer)
            for layer, ((m, n), nnz) in enumerate(zip(shapes, counts, strict=True), 1)
        ]
    degrees = [resolve_degree(m, n, method, d=d, c=c, sparsity=sparsity) for m, n in shapes]
    _require_stack_memory([(m, n, m * degree) for (m, n), degree in zip(shapes, degrees, strict=True)])
    if method == "radix":
        from sao_cli.masks.radix import radix_stack

        return radix_stack(widths, degrees)
    return [
        _layer(method, m, n, degree, seed, layer, arrangement, progress)
        for layer, ((m, n), degree) in enumerate(zip(shapes, degrees, strict=True), 1)
    ]


def check_method(method: str) -> None:
    """Raise SaoError, with the nearest name, where no construction is called `method`."""
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SaoError(f"unknown method {method!r}; {hint}there are: {', '.join(METHODS)}")


def _require_stack_memory(layers: list[tuple[int, int, int]]) -> None:
    # 8 bytes a one and a row are what finished layers keep; each construction asks for its own working memory.
    total = sum(8 * (nnz + m) for m, _, nnz in layers) if len(layers) > 1 else 0
    require_memory(total, f"a stack of {len(layers)} masks", "choose smaller sizes or degrees, or fewer layers")


def _kept(m: int, n: int, d: int | None, c: int | None, sparsity: float | None) -> int:
    """Ones of a random-position mask: round((1 - s) m n) by sparsity, else d a row or c a column on average."""
    check_sizes(m, n)
    if sparsity is not None and d is None and c is None:
        return max(1, round(density_of(sparsity) * m * n))
    if c is not None and d is None and sparsity is None and 1 <= c <= m:
        return c * n
    return m * resolve_degree(m, n, "lrp", d=d, c=c, sparsity=sparsity)


def _layer(
    method: str,
    m: int,
    n: int,
    size: int,
    seed: int,
    layer: int,
    arrangement: str = "random",
    progress: Progress = silent,
) -> Mask:
    # Each construction is imported when it is asked for: `sao mask` loads one file, and SAO needs no scipy.
    if method == "sao":
        from sao_cli.masks.sao import sao_mask

        return sao_mask(m, n, size, seed=seed, layer=layer, arrangement=arrangement)
    if method == "ramanujan":
        from sao_cli.masks.ramanujan import ramanujan_mask

        return ramanujan_mask(m, n, size, seed=seed, layer=layer, progress=progress)
    if method == "biregular":
        from sao_cli.masks.biregular import biregular_mask

        return biregular_mask(m, n, size, seed=seed, layer=layer, progress=progress)
    if method == "xnet":
        from sao_cli.masks.xnet import xnet_mask

        return xnet_mask(m, n, size, seed=seed, layer=layer)
    from sao_cli.masks.lrp import lrp_mask

    return lrp_mask(m, n, size, seed=seed, layer=layer)
