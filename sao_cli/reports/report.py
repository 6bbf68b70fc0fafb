"""Frozen dataclasses, one a kind of report; `to_dict()` gives what strict JSON can hold."""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

BOUND, ESTIMATE = "bound", "estimate"  # what an error is: never exceeded, or only likely


@dataclass(frozen=True, kw_only=True)
class Report:
    """A row of a report."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python values, in order; NaN and infinities become None."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self) if item.repr}


def plain(value: Any) -> Any:
    """`value` with numpy scalars and arrays, tuples, mappings and reports as what json.dumps(allow_nan=False) takes."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Report):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
