"""BLAS threads, where more than one would only wait for each other."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

SMALL = 512  # the shorter side of a matrix whose decomposition takes some tens of milliseconds


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
