"""What `--jobs 2` and a Dask cluster of two workers gain audit, prune, verify and spectrum --repeats: whole processes.

python tests/benchmarks/bench_jobs.py              22 float32 matrices of 1024 to 2048 (some minutes)
python tests/benchmarks/bench_jobs.py --smaller    of 512 to 1024

Beside wall time stands the processor time of the longest way: the command's own and that of its busiest worker, which
is what it takes on cores that nothing else uses.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import side_by_side as bench  # before numpy: it sets the number of BLAS threads

# isort: split
import numpy as np

from sao_cli import mask_stack, write_masks
from sao_cli.io.checkpoints import write_checkpoint

MATRICES, REPEATS = 22, 3
COLUMNS = ("where", "s", "of one process", "s, longest way", "of one process", "MB, all processes")
NOTES = """
The output is the same bytes in each place. What keeps two processes from half the time is their start, what one does
alone (choosing and writing in prune, reading in verify), and the last job, for which the other waits. On cores that
other work keeps busy a second process gains next to nothing, and small jobs do not repay its start.
"""
SAO = [sys.executable, "-m", "sao_cli"]


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


def processor(pid: int) -> float:
    """Seconds that a process has taken so far of the cores."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, told[11:13])) / os.sysconf("SC_CLK_TCK")


class Run(NamedTuple):
    """Seconds by the clock, those of the longest way, the peak of all processes together in MB, and the output."""

    wall: float
    longest: float
    peak: float
    printed: bytes


def measured(command: list[str], beside: list[int]) -> Run:
    """One run of the command, which workers `beside` it may work for."""
    before = {pid: processor(pid) for pid in beside}
    start = time.perf_counter()
    process = subprocess.Popen([*SAO, *command, "--json", "-q"], stdout=subprocess.PIPE)
    taken: dict[int, float] = {}
    peak, over = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            pids = [*family(process.pid), *beside]
            taken.update({pid: max(taken.get(pid, 0), processor(pid) - before.get(pid, 0)) for pid in pids})
            peak = max(peak, sum(map(resident, pids)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    printed, _ = process.communicate()
    wall = time.perf_counter() - start
    over.set()
    watcher.join()
    assert process.returncode in (0, 1)  # 1: a mask is not connected
    own = taken.pop(process.pid)
    return Run(wall, own + max(taken.values(), default=0.0), peak / 1e6, printed)


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


def commands(folder: Path, smaller: bool) -> dict[str, list[str]]:
    """What is measured, and the files that it reads."""
    model, masks = folder / "model.safetensors", folder / "masks.mtx"
    least = 512 if smaller else 1024
    checkpoint(model, least)
    told = f"{MATRICES} float32 matrices of {least} to {2 * least}"
    nodes = 20_000 if smaller else 100_000
    write_masks(mask_stack([nodes] * 9, method="ramanujan", d=4), masks)
    side = str(256 if smaller else 1024)
    return {
        f"audit, {told}": ["audit", str(model)],
        f"prune, {told}": ["prune", str(model), "-o", str(folder / "out.safetensors"), "--sparsity", "0.5", "--all"],
        f"verify, 8 masks of {nodes}": ["verify", str(masks)],
        f"spectrum, {side}": ["spectrum", "--method", "lmp", "--m", side, "--n", side, "--repeats", "20"],
    }


def compare(job: str, command: list[str], places: dict[str, tuple[list[str], list[int]]]) -> None:
    """A table: median seconds of each place, of the clock and of the longest way, beside one process, and memory."""
    runs: dict[str, list[Run]] = {place: [] for place in places}
    for _ in range(REPEATS):
        for place, (options, beside) in places.items():
            runs[place].append(measured([*command, *options], beside))
    assert len({one.printed for each in runs.values() for one in each}) == 1  # the same bytes
    alone = runs["one process"]
    rows = []
    for place, each in runs.items():
        row: list[object] = [place]
        for name in ("wall", "longest"):
            taken, theirs = (statistics.median(getattr(one, name) for one in some) for some in (each, alone))
            row += [taken, taken / theirs]
        rows.append([*row, max(one.peak for one in each)])
    bench.print_table(job, COLUMNS, rows)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        address, processes = cluster(Path(name))
        stack.callback(lambda: [process.kill() for process in processes])
        workers = [one.pid for one in processes[1:]]
        places = {"one process": ([], []), "--jobs 2": (["--jobs", "2"], [])}
        places |= {"Dask, 2 workers": (["--cluster", address], workers)}
        for told, command in commands(Path(name), "--smaller" in sys.argv).items():
            compare(told, command, places)


if __name__ == "__main__":
    main()
