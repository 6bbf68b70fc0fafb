"""BLAS on blocks of large symmetric matrices, where they are: scipy's wrappers would copy each block first.

scipy.linalg.cython_blas exports its routines as pointers (its documentation, "BLAS functions for Cython"), which take
blocks by their place and the length of a whole row.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def symmetric_product(lower: Values, rows: Values) -> Values:
    """(k, n) X A for the symmetric (n, n) A of this lower triangle, a block of a C-ordered matrix, and a C-ordered X.

    The upper triangle is not looked at. O(n^2 k), and A is read once.

    >>> symmetric_product(np.array([[1.0, 9.0], [2.0, 3.0]]), np.array([[1.0, 1.0]])).tolist()
    [[3.0, 5.0]]
    """
    count, n = rows.shape
    product = np.empty((count, n))
    # BLAS goes by columns: what it calls the upper triangle of A on the left of X^T is the lower one here
    _call("dsymm", "L", "U", n, count, 1.0, lower, rows, 0.0, product)
    return product


def subtract_rank_2k(lower: Values, left: Values, right: Values) -> None:
    """A - (X Y^T + Y X^T) in the lower triangle of A, a block of a C-ordered matrix, for C-ordered (n, k) X and Y.

    The upper triangle is not looked at. O(n^2 k), and A is read and written once.
    """
    n, count = left.shape
    _call("dsyr2k", "U", "T", n, count, -1.0, left, right, 1.0, lower)


def _call(name: str, *arguments: Any) -> None:
    routine = _routine(name)
    told: list[Any] = []
    for one in arguments:
        if isinstance(one, str):
            told.append(ctypes.c_char_p(one.encode()))
        elif isinstance(one, int):  # 8 bytes serve libraries whose integers have 4, in this order of bytes
            told.append(ctypes.byref(ctypes.c_int64(one)))
        elif isinstance(one, float):
            told.append(ctypes.byref(ctypes.c_double(one)))
        else:
            told += [ctypes.c_void_p(one.ctypes.data), ctypes.byref(ctypes.c_int64(one.strides[0] // one.itemsize))]
    routine(*told)


@functools.cache
def _routine(name: str) -> Any:
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__[name]
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.CFUNCTYPE(None)(get_pointer(capsule, get_name(capsule)))
