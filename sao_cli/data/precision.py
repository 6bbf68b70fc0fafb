"""In which precision numbers were born, and how they are rounded to another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.names import check
from sao_cli.catalog import DTYPES
from sao_cli.data.arrays import Values

PRECISIONS = {name: 2.0**-row.bits for name, row in DTYPES.items()}  # and their eps
SMALLEST = {"float64": 2.0**-1074, "float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}


def rounded(values: NDArray[Any], dtype: str) -> Values:
    """`values` (float64) rounded to the nearest number of `dtype`, ties to even; overflow gives infinity."""
    if dtype == "float64":
        return np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        narrow: NDArray[Any] = np.asarray(values).astype("float16" if dtype == "float16" else "float32")
    if dtype == "bfloat16":
        bits = narrow.view(np.uint32)
        narrow = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return narrow.astype(np.float64)


def rounded_within(values: NDArray[Any], dtype: str) -> Values:
    """`values` rounded to `dtype`. Raises SaoError for an unknown name, FormatError for a value that overflows it."""
    check("dtype", dtype, DTYPES)
    found = rounded(values, dtype)
    if not np.isfinite(found).all():
        largest = np.abs(values).max()
        raise FormatError(f"a weight of {largest:.6g} overflows {dtype}; choose a smaller gain or a wider dtype")
    return found


def precision_of(dtype: np.dtype[Any]) -> str:
    """The name in PRECISIONS of a numpy dtype, float64 for all others."""
    return dtype.name if dtype.name in PRECISIONS else "float64"


def converted(part: NDArray[Any], dtype: str, where: str) -> NDArray[Any]:
    """`part` in the dtype that torch calls `dtype`, little-endian; bfloat16 as its 16 bits."""
    narrow = np.dtype("float32" if dtype == "bfloat16" else dtype)
    if part.dtype.kind in "fc" and narrow.kind in "biu":
        raise FormatError(f"{where}: made of dtype {part.dtype}, and told to be {dtype}; round it first")
    with np.errstate(over="ignore"):
        found: NDArray[Any] = part.astype(narrow.newbyteorder("<"), copy=False)
    if dtype == "bfloat16":
        bits = found.view("<u4")
        found = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
        found = np.where(np.isnan(part), np.uint16(0x7FC0), found).astype("<u2")
    overflowed = _is_infinite(found, dtype) & np.isfinite(part) if narrow.kind == "f" else False
    if np.any(overflowed):
        largest = np.abs(part[overflowed]).max()
        raise FormatError(f"{where}: a value of {largest:.6g} overflows {dtype}; choose a wider dtype")
    return found


def _is_infinite(found: NDArray[Any], dtype: str) -> NDArray[np.bool_]:
    infinite: NDArray[np.bool_] = (found & 0x7FFF) == 0x7F80 if dtype == "bfloat16" else np.isinf(found)
    return infinite
