"""What a sweep adds to a run's own work, in processes and through Dask, and what a second process gains.

python tests/benchmarks/bench_sweep.py    a minute

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

from side_by_side import interleaved, median_seconds, print_ratio, print_value

from sao_cli.cli.shared.one_run import run_command
from sao_cli.study.executors import LocalProcesses, executor, run_in_order

RUN = "sao_cli.cli.shared.one_run:run_command"
MASK = ["mask", "--m", "64", "--n", "64", "--d", "4"]
JOBS = 200
TRAININGS, EPOCHS = 20, 3


def per_job(where, jobs: int = JOBS) -> float:
    """Seconds a job of a sweep of small masks, after the workers have loaded what these need; the median of sweeps."""
    asked = [{"arguments": [*MASK, "--seed", str(k)]} for k in range(jobs)]
    return median_seconds(lambda: list(run_in_order(where, RUN, asked))) / jobs


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
    own = median_seconds(lambda: [run_command([*MASK, "--seed", str(k)]) for k in range(JOBS)]) / JOBS
    print_value("the command itself, sao mask of 64 x 64", own, "s")
    with executor() as here:
        print_value("added to a run in this process", max(per_job(here) - own, 0.0), "s")
    with LocalProcesses(1) as pool:  # one, so that it is a job's own overhead, and not what a second one gains
        assert list(run_in_order(pool, "os:getpid", [{}])) != [os.getpid()]
        print_value("added to a run in a process beside it", max(per_job(pool) - own, 0.0), "s", 0.02)
    with cluster(1) as address, executor(cluster=address) as there:
        dask = max(per_job(there) - own, 1e-3)
    print_value("added to a run through Dask, scheduler and worker on loopback", dask, "s", 0.06)
    for length in (1, 30):
        print_value(f"workers of a cluster that runs of {length} s keep busy, projected", length / dask)


def trainings() -> None:
    """A sweep of short trainings of the digits, in one process and in two."""
    asked = ["train", "--depth", "4", "--width", "64", "--epochs", str(EPOCHS), "--jacobian-at", "none"]
    jobs = [{"arguments": [*asked, "--seed", str(seed)]} for seed in range(TRAININGS)]
    with executor(1) as one, executor(2) as two:
        calls = [lambda: list(run_in_order(two, RUN, jobs)), lambda: list(run_in_order(one, RUN, jobs))]
        ours, theirs = interleaved(calls, 5)
    print_ratio(f"{TRAININGS} trainings of the digits in two processes, against one", ours, theirs, goal=1 / 1.8)


if __name__ == "__main__":
    overheads()
    trainings()
