"""A field of a sweep's rows, summed up over the seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sao_cli.base.errors import SaoError, unknown_name
from sao_cli.reports.report import PAIR
from sao_cli.reports.sweeps import SweepSummary
from sao_cli.study.grid import SEED

Row = Mapping[str, Any]
TELLS = ("name", "layer", "depth", "method", "activation", "scheme", "chain")  # which of its rows a row of a run is
EPOCH = "epoch"


def unknown_field(field: str) -> str | None:
    """What is said of a field that no report has, with the nearest that one has; None where one has it."""
    from sao_cli.reports.declared import kinds, single_values

    known = dict.fromkeys(name for kind in kinds() for name in single_values(kind))
    if field in known:
        return None
    return unknown_name("no report has the field", field, known).partition("there are")[0].rstrip("; ")


class SeedValues(NamedTuple):
    """A field's `values`, one a run, of runs that have the parameters `over` in common, and of rows that are `of`."""

    over: dict[str, Any]
    of: dict[str, Any]
    values: list[float]
    failed: int


def summarise(field: str, rows: Iterable[Row]) -> list[SweepSummary]:
    """The field's mean and spread over the seeds, for each of the other parameters, in the order of the rows.

    As `by_seeds` puts them together, which tells what is raised.
    """
    return [SweepSummary(**spread(field, found)) for found in by_seeds(field, rows)]


def by_seeds(field: str, rows: Iterable[Row]) -> list[SeedValues]:
    """The field's values over the seeds, for each of the other parameters, in the order of the rows.

    Of the epochs of a run the last that has the field counts; of a run's other rows, each is put with those of
    other seeds that are on the same layer, activation, depth or name. Truths count as 1 and 0. `rows` are those of a
    sweep. Raises SaoError where no row has the field, or where it is no number.
    """
    found: dict[str, dict[int, float]] = {}
    told: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    failed: dict[str, set[int]] = {}
    for row in rows:
        over = {name: value for name, value in row["over"].items() if name != SEED}
        if row["record"] == "failure":
            failed.setdefault(_key(over), set()).add(row["run"])
        elif (value := number_of(row, field)) is not None:
            of = {} if EPOCH in row else {name: row[name] for name in TELLS if name in row and name not in over}
            key = _key([over, of])
            told.setdefault(key, (over, of))
            found.setdefault(key, {})[row["run"]] = value
    if not found:
        raise SaoError(f"no row has a value of {field}, so that there is nothing to sum up")
    several = len({_key(over) for over, _ in told.values()}) < len(told)
    return [
        SeedValues(over, of if several else {}, list(found[key].values()), len(failed.get(_key(over), ())))
        for key, (over, of) in told.items()
    ]


def spread(field: str, found: SeedValues) -> dict[str, Any]:
    """The fields of a SeedSpread."""
    values = found.values
    count, mean = len(values), math.fsum(values) / len(values)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1)) if count > 1 else None
    own = {"field": field, "mean": mean, "std": std, "least": min(values), "largest": max(values), "count": count}
    return {"over": found.over, "of": found.of, "failed": found.failed} | own


def number_of(row: Row, field: str) -> float | None:
    """The row's value of the field, "jacobian.mean" of a part; None where it has none. SaoError for no number."""
    value: Any = row
    for part in field.split("."):
        pair = isinstance(value, list) and part in PAIR and len(value) == len(PAIR)
        value = value[PAIR.index(part)] if pair else value.get(part) if isinstance(value, Mapping) else None
    if value is None or isinstance(value, bool | int | float):
        return None if value is None else float(value)
    raise SaoError(f"{field} is {value!r} in run {row['run']}, and only numbers have a mean")


def _key(told: Any) -> str:
    return repr(told)
