"""A grid of runs: parameters with their values, every combination of them in order, the last one fastest."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sao_cli.base.errors import SaoError, unknown_name

SEED = "seed"  # the parameter whose values repeat a run, and are no other run
MOST = 1_000_000  # runs of a grid, and values of a range
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?", re.ASCII)

Value = str | int | float
Axes = Mapping[str, Sequence[Any]]


def parse_axis(text: str) -> tuple[str, tuple[Value, ...]]:
    """The name and the values of "name=a,b,c": words, numbers, and ranges a..b and a..b:step, which include both ends.

    What reads as a number is one; a value with a comma stands in double quotes. Raises SaoError for what has no name,
    no value, one of them twice, and for a range that is empty or endless.

    >>> parse_axis("depth=2,1..3,0..1:0.5"), parse_axis('widths="300,100","100,100"')
    (('depth', (2, 1, 2, 3, 0.0, 0.5, 1.0)), ('widths', ('300,100', '100,100')))
    """
    name, equals, values = text.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    if not equals or not name or not values.strip():
        raise SaoError(f"--over {text!r}: write NAME=A,B,C or NAME=0..4, as in method=sao,snip")
    items = next(csv.reader([values], skipinitialspace=True))
    found = tuple(value for item in items for value in _values(item.strip(), text))
    return name, found


def grid(axes: Axes, zipped: Sequence[Sequence[str]] = ()) -> list[dict[str, Any]]:
    """Every combination of the axes' values, the last axis fastest; those `zipped` together take one step together.

    A group of zipped axes stands where its first one does. Raises SaoError for axes without values, for groups whose
    members have other numbers of values, or are no axes, and for over a million runs.

    >>> grid({"m": [4, 8], "n": [2, 4], "seed": range(2)}, zipped=[("m", "n")])[1:3]
    [{'m': 4, 'n': 2, 'seed': 1}, {'m': 8, 'n': 4, 'seed': 0}]
    """
    groups = _groups(axes, zipped)
    for name, values in axes.items():
        if not len(values):
            raise SaoError(f"{name} has no values, so that there is nothing to run")
    if (count := math.prod(len(axes[group[0]]) for group in groups)) > MOST:
        raise SaoError(f"a grid of {count} runs; a sweep has {MOST} at most, so make several")
    steps = [list(zip(*(axes[name] for name in group), strict=True)) for group in groups]
    names = [name for group in groups for name in group]
    cells = [dict(zip(names, itertools.chain(*point), strict=True)) for point in itertools.product(*steps)]
    return [{name: cell[name] for name in axes} for cell in cells]


def _groups(axes: Axes, zipped: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    together: dict[str, tuple[str, ...]] = {}
    for group in zipped:
        for name in group:
            if name not in axes:
                raise SaoError(unknown_name("zipped is no parameter", name, axes))
            if name in together:
                raise SaoError(f"{name} is zipped twice")
            together[name] = tuple(group)
        counts = {name: len(axes[name]) for name in group}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise SaoError(f"zipped parameters have as many values each, and these have {told}")
    return list(dict.fromkeys(together.get(name, (name,)) for name in axes))


def _values(item: str, text: str) -> Iterable[Value]:
    if not item:
        raise SaoError(f"--over {text!r}: a value is empty")
    if (found := _RANGE.fullmatch(item)) is not None:
        return _range(found[1], found[2], found[3], item)
    return (_plain(item),)


def _plain(item: str) -> Value:
    """The number that `item` reads as, else the text."""
    if re.fullmatch(r"[+-]?\d{1,18}", item, re.ASCII):
        return int(item)
    if re.fullmatch(_NUMBER, item, re.ASCII) and math.isfinite(float(item)):
        return float(item)
    return item


def _range(first: str, last: str, step: str | None, item: str) -> Iterable[Value]:
    """From `first` to `last`, in decimal numbers, so that 0..1:0.1 has 0.3."""
    low, high = Decimal(first), Decimal(last)
    by = Decimal(step) if step is not None else Decimal(1 if high >= low else -1)
    if not by or (high - low) / by < 0:
        raise SaoError(f"the range {item!r} never ends: its step leads away from its end, or nowhere")
    if (count := int((high - low) / by) + 1) > MOST:
        raise SaoError(f"the range {item!r} has {count} values; {MOST} are the most")
    return [_plain(format(low + k * by, "f")) if by % 1 or low % 1 else int(low + k * by) for k in range(count)]
