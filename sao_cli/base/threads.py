"""BLAS threads, where more than one would only wait for each other."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

SMALL = 512  # the shorter side of a matrix whose decomposition takes some tens of milliseconds


THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # read when a library is loaded
_OF_BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # without OpenMP's, which is torch's too


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Inside it all linear algebra takes one thread: BLAS, OpenMP and torch, those that are loaded inside too.

    The number of threads decides in which order sums are taken, and so the last bits of results.
    """
    from threadpoolctl import threadpool_limits

    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch is not None else 1
    _let_anyone_set()
    try:
        with threadpool_limits(1):
            if torch is not None:
                torch.set_num_threads(1)
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(threads)
        _put_back(before)


@contextlib.contextmanager
def one_thread(side: int = 0) -> Iterator[None]:
    """Inside it BLAS takes one thread, if the matrices' shorter `side` is at most SMALL; vectors (0) always are.

    So do the libraries that are loaded inside. Of several threads that are inside at once, the last to leave gives back
    what each library had. A second thread gains small ones next to nothing, and waits actively where the cores are
    busy: with one other process on two cores, SVDs of 256 x 256 took thirty times as long with two threads, and a
    Lanczos step eight times.
    """
    if side > SMALL:
        yield
        return
    _inside.enter()
    try:
        yield
    finally:
        _inside.leave()


class _Inside:
    """Who is inside one_thread: the first takes BLAS's threads, and the last gives them back."""

    def __init__(self) -> None:
        self._lock, self._count = threading.Lock(), 0
        self._threads: dict[str, int] = {}
        self._environment: dict[str, str | None] = {}

    def enter(self) -> None:
        with self._lock:
            self._count += 1
            if self._count > 1:
                return
            libraries = _libraries()
            self._threads = {one.filepath: one.num_threads for one in libraries}
            self._environment = {name: os.environ.get(name) for name in _OF_BLAS}
            os.environ.update(dict.fromkeys(_OF_BLAS, "1"))  # for what is loaded inside
            _let_anyone_set()
            for one in libraries:
                one.set_num_threads(1)

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count:
                return
            _put_back(self._environment)
            _let_anyone_set()
            for one in _libraries():
                one.set_num_threads(self._threads.get(one.filepath, max(self._threads.values(), default=1)))
            _let_anyone_set()


_inside = _Inside()


def _let_anyone_set() -> None:
    """Have the thread that asks next be heard: from 3.7 on threadpoolctl heeds for OpenBLAS, whose threads are all
    threads', only the first that asked, while it lives, and lets the others ask in vain."""
    from threadpoolctl import OpenBLASController

    if hasattr(OpenBLASController, "clear_controlling_thread"):
        OpenBLASController.clear_controlling_thread(force=True)


def _put_back(variables: dict[str, str | None]) -> None:
    """The environment's variables as they were; None where there was none."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _libraries() -> list[Any]:
    """The BLAS libraries that are loaded now: looked for again, some milliseconds, once there are more modules."""
    import numpy  # noqa: F401  # so that its BLAS is among those that are found

    return _found(len(sys.modules))


@functools.lru_cache(maxsize=1)
def _found(_: int) -> list[Any]:
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
