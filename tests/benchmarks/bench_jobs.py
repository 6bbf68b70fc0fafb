"""`sao audit` of one checkpoint in one process, in two, and on a Dask cluster of two workers: whole processes.

python tests/benchmarks/bench_jobs.py              22 float32 matrices of 1024 to 2048 (some minutes)
python tests/benchmarks/bench_jobs.py --smaller    of 512 to 1024
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import side_by_side  # noqa: F401 - before numpy: it sets the number of BLAS threads

# isort: split
import numpy as np

from sao_cli.io.checkpoints import write_checkpoint

MATRICES, REPEATS = 22, 3
AUDIT = [sys.executable, "-m", "sao_cli", "audit", "--json", "-q"]


def checkpoint(path: Path, side: int) -> None:
    rng = np.random.default_rng(0)
    sides = [side, side * 3 // 2, side * 2]
    shapes = [(sides[k % 3], sides[(k + 1) % 3]) for k in range(MATRICES)]
    write_checkpoint({f"b{k}.weight": rng.normal(size=one).astype(np.float32) for k, one in enumerate(shapes)}, path)


def family(pid: int) -> list[int]:
    """A process and those that it started, theirs too."""
    found = [pid]
    for parent in found:
        for children in Path("/proc").glob(f"{parent}/task/*/children"):
            with contextlib.suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def measured(options: list[str], output: Path, beside: list[int] | None = None) -> tuple[float, float, bytes]:
    """Wall seconds, the peak of all processes together in MB, and what was printed."""
    start = time.perf_counter()
    process = subprocess.Popen([*AUDIT, *options, "-o", str(output)])
    peak, over = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, sum(map(resident, [*family(process.pid), *(beside or [])])))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    taken = time.perf_counter() - start
    over.set()
    watcher.join()
    assert code == 0
    return taken, peak / 1e6, output.read_bytes()


def cluster(folder: Path) -> tuple[str, list[subprocess.Popen[bytes]]]:
    """The address of a scheduler on loopback, and its processes and two workers'."""
    found = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}

    def start(kind: str, *options: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", f"distributed.cli.dask_{kind}", *options], **quiet)

    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(found))
    scheduler = start("scheduler", *options)
    while not found.exists() or not found.read_text().strip().endswith("}"):
        time.sleep(0.1)
    address = json.loads(found.read_text())["address"]
    workers = [start("worker", address, "--no-nanny", "--no-dashboard", "--nthreads", "1") for _ in range(2)]
    return address, [scheduler, *workers]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "model.safetensors"
        checkpoint(path, 512 if "--smaller" in sys.argv else 1024)
        address, processes = cluster(folder)
        pids = [one.pid for one in processes[1:]]
        asked = {
            "one process": ([], []),
            "--jobs 2": (["--jobs", "2"], []),
            "Dask, 2 workers": (["--cluster", address], pids),
        }
        found = {name: [] for name in asked}
        try:
            for _ in range(REPEATS):
                for name, (options, beside) in asked.items():
                    found[name].append(measured([str(path), *options], folder / "rows", beside))
        finally:
            for process in processes:
                process.kill()
        assert len({rows for runs in found.values() for *_, rows in runs}) == 1  # the same bytes
        alone = sorted(one[0] for one in found["one process"])[REPEATS // 2]
        for name, runs in found.items():
            taken = sorted(one[0] for one in runs)[REPEATS // 2]
            print(f"{name:16s} {taken:7.2f} s {taken / alone:5.2f}x   {max(one[1] for one in runs):5.0f} MB")


if __name__ == "__main__":
    main()
