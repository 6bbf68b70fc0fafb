"""A real Dask scheduler and workers on loopback, and jobs that misbehave, in a module that workers can import."""

import json
import os
import subprocess
import sys
import time

import pytest

FRAGILE = """
import os, signal, time
from pathlib import Path

def die_once(marker, value):
    '''Kills its process the first time.'''
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value

def die(value, deadly):
    '''Kills its process for one value.'''
    if value == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return value

def later(value, seconds):
    time.sleep(seconds)
    return value

def threads():
    import numpy, threadpoolctl
    return [one["num_threads"] for one in threadpoolctl.threadpool_info()]

def read(path):
    from sao_cli.io.output import file_error
    try:
        return open(path).read()
    except OSError as error:
        raise file_error(error, path, "read") from error

def who():
    return os.getpid()
"""


@pytest.fixture(scope="session")
def fragile(tmp_path_factory):
    """The folder of the module `fragile`, on this process's path."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "fragile.py").write_text(FRAGILE)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


SOON = "5s"  # in place of 30: how long a result is asked of a worker that is dead


class Cluster:
    """A scheduler, and workers without nannies, so that one that is killed stays away."""

    def __init__(self, folder, jobs):
        self.folder, self.processes = folder, []
        path = os.pathsep.join(filter(None, (str(jobs), os.environ.get("PYTHONPATH"))))
        self.env = os.environ | {
            "PYTHONPATH": path,
            "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": SOON,
        }
        found = folder / "scheduler.json"
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", found]
        self.scheduler = self.start("scheduler", *options)
        deadline = time.monotonic() + 60
        while not found.exists() or not found.read_text().strip().endswith("}"):
            assert time.monotonic() < deadline
            assert self.scheduler.poll() is None
            time.sleep(0.05)
        self.address = json.loads(found.read_text())["address"]
        self.workers = [self.worker() for _ in range(2)]

    def start(self, kind, *options, first=None):
        """A process of Dask's, which finds modules and distributions in the folder `first` before all others."""
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, options)]
        env = self.env | ({} if first is None else {"PYTHONPATH": f"{first}{os.pathsep}{self.env['PYTHONPATH']}"})
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def worker(self, first=None):
        options = ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--local-directory", self.folder]
        return self.start("worker", self.address, *options, first=first)

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def dask(tmp_path_factory, fragile):
    pytest.importorskip("distributed")
    import dask

    cluster = Cluster(tmp_path_factory.mktemp("dask"), fragile)
    with dask.config.set({"distributed.comm.timeouts.connect": SOON}):
        yield cluster
    cluster.stop()
