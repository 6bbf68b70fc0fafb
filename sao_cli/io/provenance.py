"""Provenance (where a matrix came from) as the one-line JSON that streams and files carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sao_cli.data.arrays import Values
from sao_cli.data.mask import Mask
from sao_cli.data.precision import PRECISIONS, rounded

if TYPE_CHECKING:
    from sao_cli.data.kernel import Kernel, Weight

_DEPTH = 50
_ZERO_KERNELS = "zero_kernels"


def provenance_json(provenance: Mapping[str, Any]) -> str:
    """`provenance` as strict JSON in a line of printable ASCII, keys in their order; NaN and infinities become null."""
    try:
        return json.dumps(dict(provenance), allow_nan=False).replace("\x7f", "\\u007f")
    except (TypeError, ValueError):  # numpy's numbers, NaN; imported only now, since the reports' classes take 3 ms
        from sao_cli.reports.report import plain

        return json.dumps(plain(dict(provenance)), allow_nan=False).replace("\x7f", "\\u007f")


def parsed_provenance(text: str | bytes) -> dict[str, Any] | None:
    """The provenance that `text` holds, unknown keys included, or None where it is no JSON object, or one too deep."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and not _is_deeper(found, _DEPTH) else None


def _is_deeper(found: Any, levels: int) -> bool:
    """Whether lists and objects lie inside each other more than `levels` deep: all that writes them would recurse."""
    inside = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return not levels or any(_is_deeper(one, levels - 1) for one in inside)


def named_provenance(text: str | bytes) -> dict[str, dict[str, Any]]:
    """The provenance by tensor name that `text` holds; empty where it holds none."""
    return {name: own for name, own in (parsed_provenance(text) or {}).items() if isinstance(own, dict)}


def provenance_of(weight: Weight) -> dict[str, Any]:
    """The weight's provenance, and the positions of kernels that its mask keeps though they are zero as wholes.

    Those are what dense values could not tell: "zero_kernels", [output, input] each, counted from 0.
    """
    told = dict(weight.mask.provenance)
    if len(weight.shape) > 2 and weight.values is not None:
        zero = weight.mask.to_dense() & ~(weight.values != 0).any(axis=tuple(range(2, weight.values.ndim)))
        if zero.any():
            told[_ZERO_KERNELS] = np.argwhere(zero).tolist()
    return told


def with_zero_kernels(kernel: Kernel) -> Kernel:
    """The kernel with what its provenance tells of zero kernels in its mask; as it is where that can't be true."""
    told = kernel.mask.provenance.get(_ZERO_KERNELS)
    if not isinstance(told, list) or not all(map(_is_position, told)):
        return kernel
    kept = kernel.mask.to_dense()
    if not all(0 <= row < kept.shape[0] and 0 <= column < kept.shape[1] for row, column in told):
        return kernel
    kept[tuple(np.array(told, dtype=np.intp).reshape(-1, 2).T)] = True
    rest = {key: value for key, value in kernel.mask.provenance.items() if key != _ZERO_KERNELS}
    return replace(kernel, mask=Mask.from_dense(kept, rest))


def _is_position(told: object) -> bool:
    return isinstance(told, list) and len(told) == 2 and all(type(place) is int for place in told)


def provenance_with_dtype(weight: Weight) -> dict[str, Any]:
    """The weight's provenance, and its dtype where the format could not tell it: float64 goes without saying."""
    told = provenance_of(weight)
    if weight.values is not None and weight.dtype != "float64":
        told["dtype"] = weight.dtype
    return told


def told_dtype(
    provenance: Mapping[str, Any] | None, values: Values | None, stored: str = "float64"
) -> tuple[dict[str, Any] | None, str]:
    """The provenance without its dtype, and that dtype where every value is exact in it; else the `stored` one."""
    if provenance is not None and values is not None and _is_exact(values, dtype := provenance.get("dtype")):
        return {key: value for key, value in provenance.items() if key != "dtype"}, str(dtype)
    return None if provenance is None else dict(provenance), stored if stored in PRECISIONS else "float64"


def _is_exact(values: Values, dtype: object) -> bool:
    return isinstance(dtype, str) and dtype in PRECISIONS and bool((rounded(values, dtype) == values).all())
