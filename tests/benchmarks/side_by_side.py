"""Both sides of a benchmark in one run: one BLAS thread on each, medians, and peaks of memory in fresh processes.

Import this before numpy: BLAS libraries read their thread count once, when they are loaded.
"""

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

PEAK = """
def _peak():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except OSError:
        import resource, sys
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print("peak", _peak())
"""


def median_seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """The median wall time of `repeats` calls, after one that is not counted (imports, caches)."""
    call()
    return statistics.median(seconds(call) for _ in range(repeats))


def processor_seconds(calls: Sequence[Callable[[], object]], repeats: int = 5) -> list[float]:
    """The median processor time of each of some calls, which take turns, after one of each that is not counted.

    What other processes take of the cores is left out; what they take of caches and memory meets all calls alike.
    """
    taken: list[list[float]] = [[] for _ in calls]
    for turn in range(repeats + 1):
        for call, times in zip(calls, taken, strict=True):
            start = time.process_time()
            call()
            times += [time.process_time() - start] if turn else []
    return [statistics.median(times) for times in taken]


def seconds(call: Callable[[], object]) -> float:
    """The wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory_mb(code: str) -> float:
    """The peak resident memory, in MB of 10**6 bytes, of a fresh Python process that runs `code`.

    The child reads its own high-water mark: ru_maxrss would begin at the parent's size on Linux.
    """
    result = subprocess.run([sys.executable, "-c", code + PEAK], check=True, stdout=subprocess.PIPE, text=True)
    return int(result.stdout.split("peak")[-1]) / 1e6


def print_ratio(job: str, ours: float, theirs: float, goal: float | None = None, unit: str = "s") -> None:
    """One line: both measurements, their ratio, and the goal for it where there is one."""
    ratio = ours / theirs
    verdict = "" if goal is None else f" (goal <= {goal:g}x, {'met' if ratio <= goal else 'MISSED'})"
    print(f"{job}: {ours:.4g} {unit} against {theirs:.4g} {unit} = {ratio:.4g}x{verdict}")


def growth_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of the least-squares line through (log size, log value)."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return slope / sum((a - mean_x) ** 2 for a in x)


def interleaved(calls: Sequence[Callable[[], object]], repeats: int = 11) -> list[float]:
    """The median wall time of each call, taken in turns, so that a busy moment of the machine burdens all alike."""
    rounds = [[seconds(call) for call in calls] for _ in range(repeats + 1)]
    return [statistics.median(times) for times in zip(*rounds[1:], strict=True)]
