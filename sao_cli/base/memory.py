"""How much memory there is, asked before it is taken."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator

from sao_cli.base.errors import MemoryLimitError

# What torch says where it has no class for it: its CPU allocators, MPS, and cuBLAS, whose workspace is memory too.
_REFUSED = re.compile(
    "alloc_cpu|not enough memory|can't allocate memory|out of memory|failed to alloc|alloc_failed|invalid buffer size",
    re.IGNORECASE,
)
_AMOUNT = re.compile(r"tried to allocate (\d+) bytes|tried to allocate ([\d.]+ [KMGT]i?B)", re.IGNORECASE)


LAYER_BYTES = 4000  # of a stack: a layer's mask, values and provenance, and the copies on the way out; measured 2 kB
MODULE_BYTES = 20_000  # of a network: a layer's modules, parameters and hooks; measured 8 to 19 kB


def require_layers(layers: int, what: str, each: int = LAYER_BYTES) -> None:
    """Raise MemoryLimitError where so many layers, however small, are more than fits."""
    require_memory(float(each) * layers, f"{what} of {layers} layers", "choose fewer layers")


def require_memory(needed: float, what: str, way_out: str = "choose a smaller size") -> None:
    """Raise MemoryLimitError where `needed` bytes for `what` are more than is free now."""
    free = available_memory()
    if needed > free:
        raise MemoryLimitError(f"{what} needs {format_bytes(needed)}, and {format_bytes(free)} is free; {way_out}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, torch's too: told by name and text, so that torch is not needed.

    torch raises OutOfMemoryError for a GPU, and a plain RuntimeError where its CPU allocator fails.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 bytes"))
    True
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and bool(_REFUSED.search(str(error)))


def out_of_memory_text(error: BaseException) -> str:
    """One line about such an error: its own where this project made it, else how much was asked for.

    >>> out_of_memory_text(RuntimeError("alloc_cpu: you tried to allocate 80000000000 bytes. Error code 12"))
    'memory ran out at a request for 80 GB; choose a smaller size'
    """
    if isinstance(error, MemoryLimitError):
        return str(error)
    found = _AMOUNT.search(str(error))
    asked = "" if not found else f" at a request for {format_bytes(int(found[1])) if found[1] else found[2]}"
    return f"memory ran out{asked}; choose a smaller size"


@contextlib.contextmanager
def telling_memory(text: Callable[[], str]) -> Iterator[None]:
    """Raise MemoryLimitError with `text` where memory runs out inside."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryLimitError) or not is_out_of_memory(error):
            raise
        raise MemoryLimitError(text()) from error


def available_memory() -> int:
    """Bytes that this process can still take: the least of free memory, container limit and address-space limit."""
    return int(min(_system_memory(), _container_memory(), _address_space()))


def format_bytes(count: float) -> str:
    """`count` bytes for a person: 3.1 GB, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} EB"


def _system_memory() -> float:
    try:
        lines = _text("/proc/meminfo").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return (
            float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if hasattr(os, "sysconf") else float("inf")
        )


def _container_memory() -> float:
    group = "/sys/fs/cgroup"
    try:
        return float(_text(f"{group}/memory.max")) - float(_text(f"{group}/memory.current"))
    except (OSError, ValueError):  # no cgroup v2 here, or its limit is "max"
        return float("inf")


def _address_space() -> float:
    try:
        import resource
    except ImportError:
        return float("inf")
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return float("inf")
    try:
        used = int(_text("/proc/self/statm").split()[0]) * resource.getpagesize()
    except OSError:
        used = 0
    return float(soft - used)


def _text(path: str) -> str:
    """All of a small file, without pathlib, which takes longer to import than all of this."""
    with open(path, encoding="utf-8") as file:
        return file.read()
