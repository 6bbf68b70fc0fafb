"""Both sides of a benchmark in one run: one BLAS thread on each, medians, and peaks of memory in fresh processes.

Import this before numpy: BLAS libraries read their thread count once, when they are loaded.
"""

import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from recording import record  # takes --record out of the command line

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"


class Median(float):
    """A median of seconds that remembers what it is the median of."""

    times: tuple[float, ...]

    def __new__(cls, times: Iterable[float]) -> "Median":
        taken = tuple(times)
        self = super().__new__(cls, statistics.median(taken))
        self.times = taken
        return self


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
    return Median(seconds(call) for _ in range(repeats))


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
    return [Median(times) for times in taken]


def seconds(call: Callable[[], object]) -> float:
    """The wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory_mb(code: str) -> float:
    """The peak resident memory, in MB of 10**6 bytes, of a fresh Python process that runs `code`.

    The child reads its own high-water mark: ru_maxrss would begin at the parent's size on Linux.
    """
    return process_cost(code)[1]


def process_cost(code: str, talks: bool = True) -> tuple[float, float]:
    """Processor seconds of a fresh Python process that runs `code`, its threads' too, and its peak as above.

    Its stderr is this one's where it `talks`.
    """
    before = os.times()
    stderr = None if talks else subprocess.DEVNULL
    command = [sys.executable, "-c", code + PEAK]
    result = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=stderr)
    after = os.times()
    taken = after.children_user + after.children_system - before.children_user - before.children_system
    return taken, int(result.stdout.split("peak")[-1]) / 1e6


def print_ratio(
    job: str, ours: float, theirs: float, goal: float | None = None, unit: str = "s", *, instead: str | None = None
) -> None:
    """One line: both measurements, their ratio, and the goal for it where there is one.

    The page's table has the job and what one would use `instead`, which unless told is what stands in the job's name
    after " / " or "against". Of medians over the same turns the record has the quartiles of the turns' ratios, too.
    """
    ratio, named = ours / theirs, job.strip()
    if instead is None:
        named, *others = re.split(" / |,? against ", named, maxsplit=1)
        instead = others[0] if others else None
    met = None if goal is None else ratio <= goal
    verdict = "" if goal is None else f" (goal <= {goal:g}x, {'met' if met else 'MISSED'})"
    print(f"{job}: {ours:.4g} {unit} against {theirs:.4g} {unit} = {ratio:.4g}x{verdict}", flush=True)
    sides = {"ours": float(ours), "theirs": float(theirs), "unit": unit, "ratio": float(ratio)}
    record("ratio", job=named, instead=instead, **sides, goal=goal, met=met, quartiles=_quartiles(ours, theirs))


def _quartiles(ours: float, theirs: float) -> list[float] | None:
    """Between which the middle half of the turns' ratios are."""
    if not (isinstance(ours, Median) and isinstance(theirs, Median) and len(ours.times) == len(theirs.times) > 1):
        return None
    ratios = [one / other for one, other in zip(ours.times, theirs.times, strict=True) if other]
    return statistics.quantiles(ratios, n=4, method="inclusive")[::2] if len(ratios) > 1 else None


def print_value(name: str, value: float, unit: str = "", goal: float | None = None) -> None:
    """One line: a measurement that stands for itself, and the most that it should be where that is known."""
    met = None if goal is None else value <= goal
    verdict = "" if goal is None else f" (goal <= {goal:g} {unit}, {'met' if met else 'MISSED'})"
    print(f"{name}: {value:.4g} {unit}{verdict}", flush=True)
    record("value", name=name.strip(), value=float(value), unit=unit, goal=goal, met=met)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """A Markdown table, each row printed as soon as it is there; the rows."""
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    found = []
    for row in rows:
        print(f"| {' | '.join(map(_told, row))} |", flush=True)
        found.append(list(row))
    record("table", title=title, columns=list(columns), rows=found)
    return found


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str("" if value is None else value)


def print_growth(job: str, size: str, rows: Iterable[tuple[int, float, float]], goal: float | None = None) -> None:
    """A line for each size, with seconds and peak MB, and the exponents of both: of all sizes, of the last decade.

    The goal is for the exponent of time over all sizes.
    """
    print(f"\n{job}\n{size:>9} {'seconds':>10} {'peak MB':>8}")
    found = []
    for row in rows:
        found.append(row)
        print("{:>9} {:>10.4g} {:>8.1f}".format(*row), flush=True)
    sizes, *measured = zip(*found, strict=True)
    last = [place for place, one in enumerate(sizes) if 10 * one >= sizes[-1]]
    exponents = {}
    for name, values in zip(("time", "memory"), measured, strict=True):
        decade = growth_exponent([sizes[one] for one in last], [values[one] for one in last])
        exponents[name] = [growth_exponent(sizes, values), decade]
        print("exponent of {}: {:.2f}, of the last decade {:.2f}".format(name, *exponents[name]), flush=True)
    met = None if goal is None else exponents["time"][0] <= goal
    record("growth", job=job, size=size, rows=[list(row) for row in found], **exponents, goal=goal, met=met)


def growth_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of the least-squares line through (log size, log value)."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return slope / sum((a - mean_x) ** 2 for a in x)


def interleaved(calls: Sequence[Callable[[], object]], repeats: int = 11) -> list[float]:
    """The median wall time of each call, taken in turns, so that a busy moment of the machine burdens all alike."""
    rounds = [[seconds(call) for call in calls] for _ in range(repeats + 1)]
    return [Median(times) for times in zip(*rounds[1:], strict=True)]


def command_seconds(commands: Sequence[str], repeats: int = 11) -> tuple[list[float], list[float]]:
    """The median wall times, and the median processor times, of shell commands that take turns, pipes and all."""
    walls: list[list[float]] = [[] for _ in commands]
    busy: list[list[float]] = [[] for _ in commands]
    for turn in range(repeats + 1):
        for command, wall, processor in zip(commands, walls, busy, strict=True):
            before = _children_seconds()
            taken = seconds(lambda command=command: _run_quietly(command))
            wall += [taken] if turn else []
            processor += [_children_seconds() - before] if turn else []
    return [Median(times) for times in walls], [Median(times) for times in busy]


def _run_quietly(command: str) -> None:
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, stdout=subprocess.DEVNULL)


def _children_seconds() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
