"""What a benchmark prints, kept as JSON lines where it is run with --record; tests/benchmarks_page.py reads them.

python tests/benchmarks/bench_X.py [OPTION ...] --record            in tests/benchmarks/results, a file a benchmark
python tests/benchmarks/bench_X.py [OPTION ...] --record=FOLDER     elsewhere, for a trial

A file is replaced as a whole when the benchmark ends well; a run that fails, or is stopped, leaves it as it was.
"""

import atexit
import datetime
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "scipy", "torch", "numba")
SLOWING = ("PYTHONDONTWRITEBYTECODE", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # what changes times, where it is set
_rows: list[dict[str, Any]] = []


def record(kind: str, **row: Any) -> None:
    """Keeps a row until the run's end."""
    _rows.append({"record": kind, **row})


def rounded(value: Any) -> Any:
    """Numbers at five digits, in lists too; anything else as it is."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    return [rounded(one) for one in value] if isinstance(value, list | tuple) else value


def machine() -> dict[str, Any]:
    """The processor, the memory, and the versions of what is measured and of what it stands on."""
    return {
        "processor": _told_in("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int((_told_in("/proc/meminfo", "MemTotal") or "0").split()[0]) * 1024 / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "blas": _blas(),
        "gpu": _gpu(),
        "environment": slowing(),
    }


def slowing() -> list[str]:
    """What is set of the environment that changes times."""
    return [name for name in SLOWING if os.environ.get(name)]


def _told_in(file: str, key: str) -> str | None:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _blas() -> list[str]:
    import numpy  # noqa: F401 - so that there is one, where whole processes are measured
    from threadpoolctl import threadpool_info

    libraries = (one for one in threadpool_info() if one["user_api"] == "blas")
    told = {" ".join(filter(None, (one["internal_api"], one["version"], one.get("architecture")))) for one in libraries}
    return sorted(told)


def _gpu() -> str | None:
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_initialized() else None


def _begin() -> None:
    """Takes --record out of the command line, and the rest of it as the run's name."""
    asked = [one for one in sys.argv[1:] if one.partition("=")[0] == "--record"]
    if not asked:
        return
    sys.argv[1:] = [one for one in sys.argv[1:] if one not in asked]
    folder, script = Path(asked[-1].partition("=")[2] or RESULTS), Path(sys.argv[0])
    options = [one for one in sys.argv[1:] if "/" not in one]  # a folder says nothing of what is measured
    run = {
        "benchmark": script.stem,
        "command": " ".join([f"python tests/benchmarks/{script.name}", *options]),
        "date": datetime.date.today().isoformat(),
        "load": round(os.getloadavg()[0], 1),
    }
    parts = (script.stem.removeprefix("bench_"), *options, *slowing())
    name = "-".join(re.sub(r"\W+", "", one) for one in parts)
    atexit.register(_end, folder / f"{name}.jsonl", run, time.perf_counter())


def _end(path: Path, run: dict[str, Any], start: float) -> None:
    if hasattr(sys, "last_type") or not _rows:  # an exception that nothing caught, or nothing measured
        return
    run["seconds"] = round(time.perf_counter() - start)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text("".join(json.dumps(row) + "\n" for row in _all_rows(run)))
    aside.replace(path)


def _all_rows(run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"record": "run", **run}
    yield {"record": "machine", **machine()}
    for row in _rows:
        yield {key: rounded(value) for key, value in row.items()}


_begin()
