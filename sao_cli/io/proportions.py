"""How much a file may become: small files that were made to fill the memory, or the time, are told from weights."""

from __future__ import annotations

from sao_cli.base.errors import FormatError

_FOLD = 200  # deflate reaches 1032, on nothing but zeros; weights do not come near
_ANYHOW = 1 << 28  # bytes that any file may become
MOST_THINGS = 300_000  # tensors in a file; the largest networks that are published have some ten thousand


def require_proportion(held: int, becoming: int, name: str) -> None:
    """Raise FormatError, naming `name`, where `held` bytes would become `becoming`, over 200 times as many.

    Compression can do that, and a tensor of one number that is repeated. What stays within 268 MB always passes.
    """
    if becoming > max(_ANYHOW, _FOLD * held):
        fold = f"{held} bytes that would become {becoming}, more than {_FOLD}-fold"
        raise FormatError(f"{name}: it holds {fold}; if that is meant, save it uncompressed")


def require_count(things: int, name: str) -> None:
    """Raise FormatError, naming `name`, for more tensors or archive members than MOST_THINGS."""
    if things > MOST_THINGS:
        raise FormatError(f"{name}: it holds {things} things, and a network has no more than {MOST_THINGS} tensors")
