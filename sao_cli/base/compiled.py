"""Loops that numba compiles, where the extra `fast` is there and they repay its import."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

ONES = 2**20  # of a mask, from which its loops repay numba's import and compilation, 0.3 s to 0.8 s


def is_worth_it(ones: int) -> bool:
    """Whether loops over so many ones are to be compiled: numba is loaded, or is there and the ones are many."""
    return "numba" in sys.modules or (ones >= ONES and importlib.util.find_spec("numba") is not None)


def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """`loop`, compiled at its first call, and kept on disk for the next process.

    Its operations stay as they are written: nothing is fused or put in another order, so that results are the bits of
    numpy's. Loops index by unsigned numbers: signed ones might count from the end, which takes a fifth more time.
    """
    import numba

    try:
        result: Callable[..., Any] = numba.njit(cache=True, nogil=True)(loop)
    except RuntimeError:  # no folder that it may write to
        result = numba.njit(nogil=True)(loop)
    return result
