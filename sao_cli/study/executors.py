"""Where jobs run: in this process, in processes beside it, or on a Dask cluster; one interface, the same results."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from sao_cli.base.errors import LostJobError, SaoError
from sao_cli.base.in_order import run_in_order
from sao_cli.base.threads import THREAD_VARIABLES, single_threaded

__all__ = ["LocalProcesses", "ThisProcess", "executor", "run_in_order"]

TRIES = 3  # of a job whose worker dies: the first, and two elsewhere
AHEAD = 8  # jobs in flight for each process: enough that a slow one does not stop the others


@contextlib.contextmanager
def executor(jobs: int = 1, cluster: str | None = None) -> Iterator[Executor]:
    """An executor of concurrent.futures: this process, so many `jobs` in processes of their own, or a Dask cluster.

    Wherever a job runs, its linear algebra has one thread, so that results are the same bits everywhere; processes are
    spawned, and `cluster` is the address of a scheduler, as tcp://127.0.0.1:8786. Give it to `run_in_order`. After an
    error, and after Ctrl-C, what still runs is ended.

    Raises SaoError for jobs below 1 and for both, and ExecutorError where no scheduler or worker answers, or where
    a worker has other versions of what results depend on.

    >>> with executor() as here:
    ...     list(run_in_order(here, "builtins:dict", [{"a": 1}, {"a": 2}]))
    [{'a': 1}, {'a': 2}]
    """
    if jobs < 1:
        raise SaoError(f"jobs {jobs}: it is how many processes work at once, 1 or more")
    if cluster is not None and jobs != 1:
        raise SaoError(f"a cluster has its own workers, and jobs {jobs} is of this machine; give one of them")
    if cluster is not None:
        from sao_cli.study.dask_cluster import connected

        with connected(cluster) as there:
            yield there
        return
    here: ThisProcess | LocalProcesses = ThisProcess() if jobs == 1 else LocalProcesses(jobs)
    try:
        yield here
    except BaseException:
        here.end()
        raise
    finally:
        here.shutdown()


class ThisProcess(Executor):
    """An executor whose jobs run when they are submitted, in the thread that does."""

    ahead = 1

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done. KeyboardInterrupt passes."""
        future: Future[Any] = Future()
        try:
            with single_threaded():
                future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def end(self) -> None:
        """Nothing: no job outlives its submission."""


class LocalProcesses(Executor):
    """An executor of so many spawned processes, each with one thread of linear algebra.

    A job whose process dies (killed, out of memory) is tried again in another, twice, and is then a LostJobError: each
    process is a pool of its own, so that one that dies takes no other's job with it.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs, self.ahead = jobs, AHEAD * jobs
        self._queue: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._ended = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future of the call, in whichever process is free first."""
        future: Future[Any] = Future()
        self._queue.put((future, functools.partial(function, *args, **kwargs)))
        if len(self._threads) < self.jobs:
            thread = threading.Thread(target=self._serve, args=(len(self._threads),), daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let what was submitted end, or cancel what has not begun, and end the processes."""
        if cancel_futures:
            with contextlib.suppress(queue.Empty):
                while (item := self._queue.get_nowait()) is not None:
                    item[0].cancel()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def end(self) -> None:
        """End the processes, whatever they do, and cancel what has not begun."""
        self._ended = True
        for pool in list(self._pools.values()):
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.kill()
        self.shutdown(cancel_futures=True)

    def _serve(self, number: int) -> None:
        """One process's jobs, until there are no more."""
        while (item := self._queue.get()) is not None:
            future, job = item
            if self._ended:
                future.cancel()
            if future.set_running_or_notify_cancel():
                self._run(number, future, job)
        if (pool := self._pools.pop(number, None)) is not None:
            pool.shutdown()

    def _run(self, number: int, future: Future[Any], job: Callable[[], Any]) -> None:
        for _ in range(TRIES):
            try:
                pool = self._pools.setdefault(number, self._pools.get(number) or _fresh_pool())
                future.set_result(pool.submit(job).result())
                return
            except BrokenProcessPool:
                self._pools.pop(number).shutdown(wait=False)
                if self._ended:
                    break
            except BaseException as error:
                future.set_exception(error)
                return
        future.set_exception(
            LostJobError(
                f"its process died, {TRIES} times: killed, or out of memory (fewer --jobs leave each more); "
                "a script calls this under `if __name__ == '__main__':`"
            )
        )


def _fresh_pool() -> ProcessPoolExecutor:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(os.getcwd(),))


def _begin(folder: str) -> None:
    """In a spawned process: one thread, Ctrl-C is the parent's to answer, and no life after the parent's."""
    import multiprocessing

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    os.chdir(folder)
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if "numpy" in sys.modules:  # a user's script loaded it before this
        from threadpoolctl import threadpool_limits

        threadpool_limits(1)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
