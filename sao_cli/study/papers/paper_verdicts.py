"""Verdicts, computed of what a paper prints and of what is found here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from statistics import median

from sao_cli.study.papers.cells import CLAIM, EXACT, LAW, Cell, CellGroup

REPRODUCED, REFUTED, NOT_REPRODUCED, NOT_RUN = "reproduced", "refuted", "not reproduced", "not run"
Values = Sequence[float]


def printed(text: str) -> tuple[float, float]:
    """The least and the largest number that a paper may have rounded to `text`.

    >>> printed("0.80"), printed("2.5E-153")
    ((0.795, 0.805), (2.45e-153, 2.55e-153))
    """
    number = Decimal(text)
    if not number.is_finite():
        return float(number), float(number)
    half = Decimal(5).scaleb(int(number.as_tuple().exponent) - 1)
    return float(number - half), float(number + half)


def is_within(text: str, values: Values) -> bool:
    """Whether the number that a paper prints, as it is rounded, is between the least and the largest of the values.

    >>> is_within("0.80", [0.7951]), is_within("0.80", [0.79, 0.79]), is_within("0.80", [0.7, 0.9])
    (True, False, True)
    """
    low, high = printed(text)
    return min(values) <= high and max(values) >= low


def verdict(cell: Cell, part: CellGroup, values: Values) -> tuple[str, str | None]:
    """The verdict on a cell whose values, one a seed, its part has measured, and the reason.

    - Of other data, or at another scale: "not reproduced", whatever the number; the reason says which.
    - An "exact" number and a "law": "reproduced" where the paper's is_within, else "refuted".
    - A "claim": "reproduced" where all seeds have it, "refuted" where none has, else "not reproduced".
    - A "drawn" number: "reproduced" where the paper's is_within, else "not reproduced".
    """
    if part.missing is not None:
        return NOT_RUN, part.missing
    if not values:
        return NOT_REPRODUCED, "no finite number here"
    told = _claimed(values) if cell.kind == CLAIM else None
    if others := _others(part):
        return NOT_REPRODUCED, "; ".join([*others, told] if told else others)
    if told is not None:
        if all(values):
            return REPRODUCED, None
        return (NOT_REPRODUCED if any(values) else REFUTED), told
    assert cell.paper is not None
    if is_within(cell.paper, values):
        return REPRODUCED, None
    spread = _spread(values)
    if cell.kind == EXACT:
        return REFUTED, f"it is {spread}"
    if cell.kind == LAW:
        return REFUTED, f"it is {spread}, and never what the paper says of all"
    if cell.pooled is not None:
        return NOT_REPRODUCED, f"another number, of {part.seeds} seeds together"
    return NOT_REPRODUCED, f"outside the spread of {len(values)} seed{'s' * (len(values) > 1)}"


def summary(values: Values) -> tuple[float | None, float | None, float | None]:
    """The median, the least and the largest; None of no values."""
    return (median(values), min(values), max(values)) if values else (None, None, None)


def order_told(cell: Cell, cells: Mapping[str, tuple[Cell, Values]]) -> str | None:
    """Whether a cell is above and below the same others of its group as in the paper; None where none can be told.

    Two are told apart where both papers' numbers and the spreads here are. `cells` are by label, all of the item.
    """
    own = cells[cell.label][1]
    if not cell.group or not own or cell.paper is None:
        return None
    above: list[str] = []
    below: list[str] = []
    agreed = 0
    for other, values in cells.values():
        if other.group != cell.group or other.label == cell.label or not values or other.paper is None:
            continue
        theirs = _apart(*printed(cell.paper), *printed(other.paper))
        ours = _apart(min(own), max(own), min(values), max(values))
        agreed += bool(theirs and ours == theirs)
        if theirs and ours == -theirs:
            (above if ours > 0 else below).append(other.label)
    told = [f"{where} {', '.join(those)}" for where, those in (("above", above), ("below", below)) if those]
    if told:
        return f"another order: {' and '.join(told)} here"
    return "same order" if agreed else None


def finite(values: Sequence[float | None]) -> list[float]:
    """Those that are numbers, as long as all are; else none, since a spread of some would hide the others."""
    found = [float(value) for value in values if value is not None and math.isfinite(value)]
    return found if len(found) == len(values) else []


def _apart(low: float, high: float, other_low: float, other_high: float) -> int:
    """1 where the first interval is wholly above the second, -1 where it is wholly below, 0 where they meet."""
    return int(low > other_high) - int(high < other_low)


def _others(part: CellGroup) -> list[str]:
    told = [f"other data: {part.data}"] if part.data != part.own_data else []
    return told if part.scale is None else [*told, f"other scale: {part.scale}"]


def _claimed(values: Values) -> str:
    holding = sum(map(bool, values))
    if len(values) == 1:
        return "it holds" if holding else "it does not hold"
    return f"it holds for {holding} of {len(values)} seeds"


def _spread(values: Values) -> str:
    low, high = min(values), max(values)
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    """Six digits, and all of a count."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e9 else f"{value:.6g}"
