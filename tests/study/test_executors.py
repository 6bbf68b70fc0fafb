"""One interface, three places: the same results in the same order, and what is said of workers that die."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future

import pytest

from sao_cli.base.errors import ExecutorError, LostJobError, SaoError
from sao_cli.base.in_order import run_in_order
from sao_cli.masks.sao import sao_mask
from sao_cli.study import dask_cluster
from sao_cli.study.executors import executor

SLEEPS = [{"value": k, "seconds": 0.2 if k == 0 else 0.0} for k in range(6)]


def ran(where, function, jobs, **more):
    return list(run_in_order(where, function, jobs, **more))


def test_results_come_in_the_jobs_order_and_are_kept_as_they_end(fragile):
    ended, told = [], []
    with executor(2) as pool:
        found = ran(
            pool,
            "fragile:later",
            SLEEPS,
            progress=lambda *one: told.append(one),
            finished=lambda number, _: ended.append(number),
        )
    assert found == list(range(6))
    assert sorted(ended) == found
    assert told == [("runs", k, 6) for k in range(1, 7)]
    assert ended[0] != 0  # the slow one ends after others


def test_no_more_jobs_are_in_flight_than_the_executor_takes(fragile):
    with executor(2) as pool:
        pool.ahead = 3
        rows = run_in_order(pool, "fragile:later", [{"value": k, "seconds": 0.0} for k in range(10)])
        assert next(rows) == 0
        assert pool._queue.qsize() <= 3
        assert list(rows) == list(range(1, 10))


def test_this_process_runs_a_job_when_its_turn_comes(fragile):
    ended = []
    with executor() as here:
        rows = run_in_order(here, "fragile:later", SLEEPS[1:], finished=lambda number, _: ended.append(number))
        assert ended == []
        assert next(rows) == 1
        assert ended == [0]


def test_linear_algebra_has_one_thread_everywhere(fragile):
    with executor() as here, executor(2) as pool:
        for where in (here, pool):
            assert set(ran(where, "fragile:threads", [{}])[0]) == {1}


def test_a_process_that_dies_leaves_its_job_to_another(fragile, tmp_path):
    jobs = [{"marker": str(tmp_path / str(k)), "value": k} for k in range(4)]
    (tmp_path / "1").touch()
    (tmp_path / "3").touch()
    with executor(2) as pool:
        assert ran(pool, "fragile:die_once", jobs) == list(range(4))
    assert len(list(tmp_path.iterdir())) == 4


def test_a_job_that_always_kills_is_lost_and_the_others_are_not(fragile):
    jobs = [{"value": k, "deadly": 1} for k in range(4)]
    with executor(2) as pool:
        assert ran(pool, "fragile:die", jobs, lost=lambda number, error: (number, str(error)[:25])) == [
            *(0, (1, "its process died, 3 times")),
            *(2, 3),
        ]
    with pytest.raises(LostJobError, match="its process died, 3 times"), executor(2) as pool:
        ran(pool, "fragile:die", jobs)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_error_ends_all(fragile, jobs):
    with pytest.raises(SaoError, match="d = 3"), executor(jobs) as pool:
        ran(pool, "sao_cli.masks.sao:sao_mask", [{"m": 8, "n": 8, "d": 3}] + [{"m": 8, "n": 8, "d": 2}] * 3)


class _Dropping:
    """Dask's executor as it is when workers die: it has the first results, and takes them for errors."""

    status = "running"

    def __init__(self, drops):
        self.drops, self.calls, self.code = drops, 0, compile("typ, exc, tb = result", "/dask/cfexecutor.py", "exec")

    def get_executor(self, pure):
        return self

    def submit(self, function, *arguments):
        self.calls += 1
        future = Future()
        try:
            result = function(*arguments)
            if self.calls <= self.drops:
                exec(self.code, {"result": result})
            future.set_result(result)
        except Exception as error:
            future.set_exception(error)
        return future


def test_a_result_that_dask_drops_is_asked_for_again():
    pytest.importorskip("distributed")  # by which a job names its worker
    dropping = _Dropping(2)
    cluster = dask_cluster.DaskCluster(dropping, "tcp://127.0.0.1:1")
    assert cluster.submit(int, "7").result(timeout=5) == 7
    assert dropping.calls == 3
    with pytest.raises(ValueError, match="invalid literal"):  # the job's own
        cluster.submit(int, "seven").result(timeout=5)
    assert dropping.calls == 4
    with pytest.raises(TypeError, match="cannot unpack"):
        dask_cluster.DaskCluster(_Dropping(3), "tcp://127.0.0.1:1").submit(int, "7").result(timeout=5)


def test_an_error_ends_what_still_runs(fragile):
    start = time.monotonic()
    with pytest.raises(ZeroDivisionError), executor(2) as pool:
        [1 / row for row in run_in_order(pool, "fragile:later", [{"value": k, "seconds": 600 * k} for k in range(2)])]
    assert time.monotonic() - start < 300


ORPHANS = """
import os, sys
from sao_cli.study.executors import executor, run_in_order
sys.path.insert(0, sys.argv[1])
if __name__ == "__main__":
    with executor(2) as pool:
        for pid in run_in_order(pool, "fragile:who", [{}] * 6):
            print(pid, flush=True)
        next(run_in_order(pool, "fragile:later", [{"value": 0, "seconds": 60}] * 4))
"""


def test_no_process_outlives_the_one_that_it_works_for(fragile, tmp_path):
    (tmp_path / "script.py").write_text(ORPHANS)
    command = [sys.executable, tmp_path / "script.py", fragile]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pids = {int(parent.stdout.readline()) for _ in range(6)}
        parent.kill()
    deadline = time.monotonic() + 10
    while alive := [pid for pid in pids if os.path.exists(f"/proc/{pid}/exe")]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"jobs": 0}, "jobs 0: it is how many processes"),
        ({"jobs": 2, "cluster": "tcp://127.0.0.1:1"}, "give one of them"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, said):
    with pytest.raises(SaoError, match=said), executor(**asked):
        pass


def test_a_scheduler_that_was_never_there(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(dask_cluster, "ANSWER", 0.5)
    for address in ("tcp://127.0.0.1:9", "nowhere", "tcp://"):
        with pytest.raises(ExecutorError, match="no scheduler answers at '"), executor(cluster=address):
            pass


def test_without_distributed_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SaoError, match=r"pip install 'sao-cli\[cluster\]'"), executor(cluster="tcp://127.0.0.1:9"):
        pass


def test_versions_that_differ_are_refused():
    ours = dask_cluster.here()
    dask_cluster.require_same_versions(ours, dict(ours), "w")
    with pytest.raises(ExecutorError, match=r"worker w has numpy 1\.0, and here it is .* install the same"):
        dask_cluster.require_same_versions(ours, ours | {"numpy": "1.0"}, "w")
    dask_cluster.require_same_versions(ours, ours | {"torch": "1.0"}, "w")  # compared where a job has loaded it
    assert {"sao-cli", "python", "numpy", "scipy", "torch"} <= set(ours)


def test_a_worker_looks_at_its_versions_before_it_works():
    pytest.importorskip("distributed")
    pytest.importorskip("torch")  # whose version counts where it is loaded
    ours = dask_cluster.here()
    assert dask_cluster.on_worker(ours, "/nowhere", max, (1, 2), {}) == 2
    with pytest.raises(ExecutorError, match="has scipy"):
        dask_cluster.on_worker(ours | {"scipy": "0"}, "/nowhere", max, (1, 2), {})
    with pytest.raises(ExecutorError, match="has torch"):
        dask_cluster.on_worker(ours | {"torch": "0"}, "/nowhere", max, (1, 2), {})


def test_a_cluster_gives_what_this_process_gives_when_a_worker_dies_and_says_when_its_scheduler_does(dask, tmp_path):
    asked = [{"m": 64, "n": 64, "d": 4, "seed": seed} for seed in range(8)]
    marked = [{"marker": str(tmp_path / str(k // 4)), "value": k} for k in range(8)]
    (tmp_path / "0").touch()
    with executor(cluster=dask.address) as cluster:
        found = ran(cluster, "sao_cli.masks.sao:sao_mask", asked)
        assert [one.indices.tolist() for one in found] == [sao_mask(**one).indices.tolist() for one in asked]
        assert set(ran(cluster, "fragile:threads", [{}])[0]) == {1}
        with pytest.raises(ExecutorError, match=r"worker tcp://.*: can't read missing\.txt: no such file; .* disk"):
            ran(cluster, "fragile:read", [{"path": "missing.txt"}])
        assert ran(cluster, "fragile:die_once", marked) == list(range(8))
        assert sum(worker.poll() is None for worker in dask.workers) == 1
        rows = run_in_order(cluster, "fragile:later", [{"value": k, "seconds": k / 2} for k in range(9)])
        assert next(rows) == 0
        dask.scheduler.send_signal(signal.SIGKILL)
        with pytest.raises(ExecutorError, match=f"the scheduler at {dask.address} is gone"):
            list(rows)


def test_a_worker_of_another_version_ends_the_sweep_with_its_name(dask, tmp_path):
    with executor(cluster=dask.address) as cluster:
        told = tmp_path / "sao_cli-9.9.dist-info" / "METADATA"
        told.parent.mkdir()
        told.write_text("Metadata-Version: 2.1\nName: sao-cli\nVersion: 9.9\n")
        dask.worker(first=tmp_path)
        rows = run_in_order(cluster, "fragile:later", [{"value": k, "seconds": 0.1} for k in range(1000)])
        with pytest.raises(ExecutorError, match=r"worker tcp://.* has sao-cli 9\.9, and here it is .*, so that"):
            list(rows)
    with pytest.raises(ExecutorError, match="has sao-cli 9"), executor(cluster=dask.address):
        pass  # said before anything runs


def test_dask_s_own_word_for_a_lost_job_is_ours():
    distributed = pytest.importorskip("distributed")
    error = distributed.scheduler.KilledWorker("job", "tcp://w:1", 3)

    class Client:
        status = "running"

        def get_executor(self, **_):
            return None

    told = dask_cluster.DaskCluster(Client(), "tcp://s:1").explained(error)
    assert isinstance(told, LostJobError)
