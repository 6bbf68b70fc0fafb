"""How much memory there is, asked before it is taken."""

import os
from pathlib import Path

from sao_cli.errors import MemoryLimitError


def require_memory(needed: float, what: str, way_out: str = "choose a smaller size") -> None:
    """Raise MemoryLimitError where `needed` bytes for `what` are more than is free now."""
    free = available_memory()
    if needed > free:
        raise MemoryLimitError(f"{what} needs {format_bytes(needed)}, and {format_bytes(free)} is free; {way_out}")


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
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return (
            float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if hasattr(os, "sysconf") else float("inf")
        )


def _container_memory() -> float:
    group = Path("/sys/fs/cgroup")
    try:
        return float((group / "memory.max").read_text()) - float((group / "memory.current").read_text())
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
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        used = 0
    return float(soft - used)
