"""Masks by the name of their method: one, or the layers of a network."""

from collections.abc import Sequence

from sao_cli.base.errors import SaoError, unknown_name
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.data.mask import Mask
from sao_cli.masks.degrees import check_widths, layer_counts

METHODS = ("sao", "ramanujan", "biregular", "xnet", "radix", "lrp", "two-stage")


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
    counts = [layer_counts(m, n, method, d=d, c=c, sparsity=sparsity) for m, n in shapes]
    sizes = [kept.nnz if kept.d is None else kept.d for kept in counts]
    _require_stack_memory(shapes, [kept.nnz for kept in counts])
    if method == "radix":
        from sao_cli.masks.radix import radix_stack

        return radix_stack(widths, sizes)
    return [
        _layer(method, m, n, size, seed, layer, arrangement, progress)
        for layer, ((m, n), size) in enumerate(zip(shapes, sizes, strict=True), 1)
    ]


def check_method(method: str) -> None:
    """Raise SaoError, with the nearest name, where no construction is called `method`."""
    if method not in METHODS:
        raise SaoError(unknown_name("unknown method", method, METHODS))


def _require_stack_memory(shapes: list[tuple[int, int]], counts: list[int]) -> None:
    # 8 bytes a one and a row are what finished layers keep; each construction asks for its own working memory.
    total = 8 * (sum(counts) + sum(m for m, _ in shapes)) if len(shapes) > 1 else 0
    require_memory(total, f"a stack of {len(shapes)} masks", "choose smaller sizes or degrees, or fewer layers")


def _layer(
    method: str,
    m: int,
    n: int,
    size: int,
    seed: int,
    layer: int,
    arrangement: str,
    progress: Progress,
) -> Mask:
    """One mask; `size` is its number of ones for "lrp", and its row degree for the others."""
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
    if method == "two-stage":
        from sao_cli.masks.two_stage import two_stage_mask

        return two_stage_mask(m, n, size, seed=seed, layer=layer, progress=progress)
    from sao_cli.masks.lrp import lrp_mask

    return lrp_mask(m, n, size, seed=seed, layer=layer)
