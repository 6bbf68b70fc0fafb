"""How far a layer's singular values reach: what the main picture of a page keeps of them."""

from __future__ import annotations

from typing import NamedTuple

from sao_cli.reports.audits import AuditRow


class Reach(NamedTuple):
    """The least, the median and the largest singular value, six digits each; `exact` False says estimated."""

    low: float
    median: float
    high: float
    exact: bool


def reach(row: AuditRow) -> Reach | None:
    """The Reach of a row's singular values, of which what rounding alone could have made is 0; None without values."""
    if row.singular_values is None or not len(row.singular_values):
        return None
    import numpy as np

    values = np.where(row.singular_values > (row.error or 0.0), row.singular_values, 0.0)
    low, middle, high = (float(f"{one:.6g}") for one in (values[-1], np.median(values), values[0]))
    return Reach(low, middle, high, row.exact is not False)
