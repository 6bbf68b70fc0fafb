"""What a sweep adds to a run's own work, in processes and through Dask, and what a second process gains.

The projection to a cluster assumes runs of equal length, one worker a core, and a client that hands out and takes in
one run in the overhead measured here, one after another: N workers are kept busy while a run takes N times that.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import print_ratio

from sao_cli.cli.shared.one_run import run_command
from sao_cli.study.executors import LocalProcesses, executor, run_in_order

RUN = "sao_cli.cli.shared.one_run:run_command"
MASK = ["mask", "--m", "64", "--n", "64", "--d", "4"]
JOBS = 200
TRAININGS, EPOCHS = 40, 3


def per_job(where, jobs: int = JOBS) -> float:
    """Seconds a job of a sweep of small masks, after the workers have loaded what these need."""
    list(run_in_order(where, RUN, [{"arguments": MASK}] * 8))
    start = time.perf_counter()
    list(run_in_order(where, RUN, [{"arguments": [*MASK, "--seed", str(k)]} for k in range(jobs)]))
    return (time.perf_counter() - start) / jobs


@contextlib.contextmanager
def cluster(workers: int):
    """The address of a scheduler with so many workers on loopback."""
    dask = [sys.executable, "-m"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = Path(folder) / "scheduler.json"
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        started = [stack.enter_context(subprocess.Popen([*dask, "distributed.cli.dask_scheduler", *options], **quiet))]
        while not file.exists() or not file.read_text().strip().endswith("}"):
            time.sleep(0.1)
        options = ["--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        command = [*dask, "distributed.cli.dask_worker", *options, "--local-directory", folder]
        started += [stack.enter_context(subprocess.Popen(command, **quiet)) for _ in range(workers)]
        stack.callback(lambda: [one.kill() for one in started])  # before what waits for each
        yield json.loads(file.read_text())["address"]


def overheads() -> None:
    """A job's time in each place, less the command's own in this process."""
    run_command(MASK)
    start = time.perf_counter()
    for k in range(JOBS):
        run_command([*MASK, "--seed", str(k)])
    own = (time.perf_counter() - start) / JOBS
    print(f"the command itself: {own * 1e3:.1f} ms")
    with executor() as here:
        print(f"in this process: {(per_job(here) - own) * 1e3:+.1f} ms a job")
    with LocalProcesses(1) as pool:  # one, so that it is a job's own overhead, and not what a second one gains
        assert list(run_in_order(pool, "os:getpid", [{}])) != [os.getpid()]
        local = per_job(pool) - own
    print(f"in a process beside it: {local * 1e3:+.1f} ms a job (goal < 20: {'met' if local < 0.02 else 'MISSED'})")
    with cluster(1) as address, executor(cluster=address) as there:
        dask = per_job(there) - own
    print(f"through Dask: {dask * 1e3:+.1f} ms a job (goal < 60: {'met' if dask < 0.06 else 'MISSED'})")
    for seconds in (1, 30):
        print(f"projection: runs of {seconds} s keep about {seconds / max(dask, 1e-3):.0f} workers of a cluster busy")


def trainings() -> None:
    """A sweep of short trainings of the digits, in one process and in two."""
    asked = ["train", "--depth", "4", "--width", "64", "--epochs", str(EPOCHS), "--jacobian-at", "none"]
    jobs = [{"arguments": [*asked, "--seed", str(seed)]} for seed in range(TRAININGS)]
    times = []
    for count in (1, 2):
        with executor(count) as where:
            list(run_in_order(where, RUN, jobs[: 2 * count]))  # torch is loaded
            start = time.perf_counter()
            list(run_in_order(where, RUN, jobs))
            times.append(time.perf_counter() - start)
    print_ratio(f"{TRAININGS} trainings in two processes, against one", times[1], times[0], goal=1 / 1.8)


if __name__ == "__main__":
    overheads()
    trainings()
