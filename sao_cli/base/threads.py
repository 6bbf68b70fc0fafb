"""BLAS threads, where more than one would only wait for each other."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any

SMALL = 512  # the shorter side of a matrix whose decomposition takes some tens of milliseconds


THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # read when a library is loaded


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
    try:
        with threadpool_limits(1):
            if torch is not None:
                torch.set_num_threads(1)
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(threads)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def one_thread(side: int = 0) -> Iterator[None]:
    """Inside it BLAS takes one thread, if the matrices' shorter `side` is at most SMALL; vectors (0) always are.

    A second thread gains them next to nothing, and waits actively where the cores are busy: with one other process on
    two cores, SVDs of 256 x 256 took thirty times as long with two threads, and a Lanczos step eight times.
    """
    if side > SMALL:
        yield
        return
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _libraries() -> Any:
    import numpy  # noqa: F401  # so that its BLAS is among those that are found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
