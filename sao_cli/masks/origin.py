"""What every construction shares: the provenance that it leaves, and the memory that it asks for."""

from typing import Any

from sao_cli import __version__
from sao_cli.base.memory import require_memory


def provenance(method: str, m: int, n: int, d: int, *, seed: int, layer: int, **more: Any) -> dict[str, Any]:
    """Where a mask came from, in the order in which the stream's %sao line shows it; c is None for irregular ones."""
    c, rest = divmod(m * d, n)
    return {
        "version": __version__,
        "method": method,
        "m": m,
        "n": n,
        "c": None if rest else c,
        "d": d,
        "seed": seed,
        "layer": layer,
        **more,
    }


def require_mask_memory(m: int, n: int, nnz: int, bytes_per_one: int = 16) -> None:
    """Raise MemoryLimitError unless a mask of `nnz` ones can be built with `bytes_per_one` bytes of work each."""
    require_memory(
        nnz * bytes_per_one + 16 * (m + n), f"a mask of {m} x {n} with {nnz} ones", "choose smaller sizes or degrees"
    )
