"""Jobs on a Dask cluster: a scheduler's address in, an executor of concurrent.futures out, its failures in words."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import platform
import socket
import sys
import threading
import time
import traceback
import urllib.parse
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError
from functools import cache
from typing import Any

from sao_cli.base.errors import ExecutorError, FileError, LostJobError, SaoError
from sao_cli.base.threads import single_threaded
from sao_cli.io.output import brief

ANSWER = 10.0  # seconds that a scheduler has to answer
WORKERLESS = 60.0  # seconds that a cluster may be without any worker, as one that grows with its work is at first
AHEAD = 8  # jobs in flight for each of the cluster's threads
LEAST_AHEAD = 64  # and for a cluster that is yet to grow
TRIES = 3  # of a call whose result Dask drops
COMPARED = ("sao-cli", "python", "numpy", "scipy")  # what results depend on; torch too, of jobs that load it

_one_at_a_time = threading.Lock()  # a worker may have several threads; a job takes stdout, the folder and BLAS


@contextlib.contextmanager
def connected(address: str) -> Iterator[DaskCluster]:
    """An executor of the cluster whose scheduler is at `address`; see `sao_cli.study.executors.executor`."""
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise SaoError("a cluster needs distributed (Dask); pip install 'sao-cli[cluster]'") from error
    log = logging.getLogger("distributed")
    level = log.level
    log.setLevel(logging.CRITICAL)  # what goes wrong is said below, in a line
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions too, which are compared below
            client = _client(distributed, address)
        try:
            cluster = DaskCluster(client, address)
            cluster.require_workers()
            yield cluster
        finally:
            _leave(client)
    finally:
        log.setLevel(level)


def _client(distributed: Any, address: str) -> Any:
    """A client of the scheduler, made once something answers: one that fails to begin may block the next (Dask)."""
    try:
        _require_answer(address)
        return distributed.Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise ExecutorError(
            f"no scheduler answers at {address!r} within {ANSWER:.0f} s ({brief(error)}); start one (dask scheduler) "
            "and name its address, as in tcp://192.168.0.2:8786"
        ) from None


def _require_answer(address: str) -> None:
    """Raise OSError or ValueError where nothing listens, nor begins to, at the address of a scheduler."""
    place = urllib.parse.urlsplit(address if "://" in address else f"tcp://{address}")
    if not place.hostname or not place.port:
        raise ValueError("an address has a host and a port")
    deadline = time.monotonic() + ANSWER
    while True:
        try:
            socket.create_connection((place.hostname, place.port), timeout=ANSWER).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _leave(client: Any) -> None:
    with contextlib.suppress(Exception):  # of a scheduler that is gone there is nothing to take leave
        client.close(timeout=2)


class DaskCluster(Executor):
    """`Client.get_executor()`, whose jobs look first whether the worker would give the same results as this process.

    What runs on a worker runs alone in its process and with one thread of linear algebra, in the folder of the client
    where the worker sees it. Dask tries a job whose worker dies again elsewhere (its allowed-failures: 3 times).
    """

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address
        self._inner = client.get_executor(pure=False)
        self._left_alone_since: float | None = None

    @property
    def ahead(self) -> int:
        """How many jobs may be in flight."""
        return max(LEAST_AHEAD, AHEAD * sum(self._workers().values()))

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future of the call, on whichever worker the scheduler chooses."""
        future: Future[Any] = Future()
        self._hand_out(future, (on_worker, here(), os.getcwd(), function, args, kwargs), TRIES)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel what runs, or wait for it."""
        self._inner.shutdown(wait=wait and not cancel_futures)

    def require_workers(self) -> None:
        """Raise ExecutorError where there is no worker, or one that would not give the same results."""
        if not self._workers():
            self._require_one()
        for worker, told in self._client.run(versions, on_error="return").items():
            if isinstance(told, BaseException):
                raise ExecutorError(f"worker {worker} can't load sao ({told}); install the same version there")
            require_same_versions(here(), told, worker)

    def look(self) -> None:
        """Raise ExecutorError where no worker has been there for a minute, or the scheduler is gone."""
        if self._client.status != "running":
            raise self._gone()
        now = time.monotonic()
        if self._workers():
            self._left_alone_since = None
        elif self._left_alone_since is None:
            self._left_alone_since = now
        elif now - self._left_alone_since > WORKERLESS:
            raise self._no_worker()

    def explained(self, error: BaseException) -> BaseException:
        """An error of Dask as one of ours; other errors as they are."""
        if isinstance(error, ExecutorError | CancelledError) and self._client.status != "running":
            return self._gone()
        if type(error).__name__ == "KilledWorker":
            return LostJobError(f"the workers that tried it died ({getattr(error, 'last_worker', None) or error})")
        if type(error).__name__ == "FutureCancelledError":
            return self._gone()
        return error

    def _hand_out(self, future: Future[Any], call: tuple[Any, ...], tries: int) -> None:
        try:
            there: Future[Any] = self._inner.submit(*call)
        except Exception as error:  # of a client that has closed, and of arguments that do not travel
            if self._client.status == "running":
                raise
            raise self._gone() from error
        future.add_done_callback(lambda ended: ended.cancelled() and there.cancel())
        there.add_done_callback(lambda ended: self._take_in(future, call, tries - 1, ended))

    def _take_in(self, future: Future[Any], call: tuple[Any, ...], tries: int, there: Future[Any]) -> None:
        """Pass on how a call ended, or make it again where Dask dropped what it gave."""
        with contextlib.suppress(InvalidStateError):  # of a future that was cancelled meanwhile
            if there.cancelled():
                future.cancel()
            elif (error := there.exception()) is None:
                future.set_result(there.result())
            elif tries and _is_dropped(error):
                try:
                    self._hand_out(future, call, tries)
                except Exception as failure:
                    future.set_exception(failure)
            else:
                future.set_exception(error)

    def _workers(self) -> dict[str, int]:
        """The threads of each worker, as the client last heard."""
        told = self._client.scheduler_info(n_workers=-1) if _knows_all(self._client) else self._client.scheduler_info()
        return {name: worker["nthreads"] for name, worker in told["workers"].items()}

    def _require_one(self) -> None:
        """Wait for a worker: a cluster that grows with its work has none before there is some."""
        future = self._client.submit(versions, pure=False)
        try:
            future.result(timeout=WORKERLESS)
        except TimeoutError as error:
            raise self._no_worker() from error
        except Exception as error:
            raise ExecutorError(
                f"the cluster at {self._address} can't run sao ({brief(error)}); install the same version there, and "
                "on its scheduler"
            ) from error

    def _no_worker(self) -> ExecutorError:
        return ExecutorError(
            f"the scheduler at {self._address} had no worker for {WORKERLESS:.0f} s; start some: "
            f"dask worker {self._address} --nworkers N --nthreads 1"
        )

    def _gone(self) -> ExecutorError:
        return ExecutorError(f"the scheduler at {self._address} is gone; start it again, and ask again")


def _is_dropped(error: BaseException) -> bool:
    """Whether Dask's executor itself failed: it takes a result that it has for an error once the worker has died."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, TypeError | ValueError | AttributeError) and frames[-1].filename.endswith("cfexecutor.py")


def _knows_all(client: Any) -> bool:
    """Whether this version of Dask tells of five workers alone unless it is asked for all."""
    return "n_workers" in inspect.signature(client.scheduler_info).parameters


@cache
def here() -> dict[str, str]:
    """The versions of this process, and torch's."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in (*COMPARED, "torch"):
        with contextlib.suppress(PackageNotFoundError):
            found.setdefault(name, version(name))
    return found


def versions() -> dict[str, str]:
    """`here`, of a worker."""
    return here()


def require_same_versions(ours: dict[str, str], theirs: dict[str, str], worker: str, *names: str) -> None:
    """Raise ExecutorError where a worker has another version of something that results depend on."""
    for name in names or COMPARED:
        if ours.get(name) != theirs.get(name):
            raise ExecutorError(
                f"worker {worker} has {name} {theirs.get(name)}, and here it is {ours.get(name)}, so that results "
                "would differ; install the same versions everywhere"
            )


def on_worker(
    ours: dict[str, str], folder: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What a worker runs: the call, alone in its process, where its versions are `ours`."""
    worker = _name_of_worker()
    require_same_versions(ours, here(), worker)
    with _one_at_a_time, _in_folder(folder), single_threaded():
        try:
            result = function(*args, **kwargs)
        except (FileError, FileNotFoundError) as error:
            raise ExecutorError(
                f"worker {worker}: {error}; what jobs read lies under the same name for every worker, as on a disk "
                "that they share"
            ) from error
    if "torch" in sys.modules:
        require_same_versions(ours, here(), worker, "torch")
    return result


@contextlib.contextmanager
def _in_folder(folder: str) -> Iterator[None]:
    """Inside it relative paths are the client's, where the worker sees its folder."""
    before = os.getcwd()
    with contextlib.suppress(OSError):
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _name_of_worker() -> str:
    import distributed

    try:
        return f"{distributed.get_worker().address} ({platform.node()})"
    except ValueError:  # no worker: called as a function
        return platform.node()
