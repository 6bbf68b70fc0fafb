"""A function over a grid of its parameters, its results as rows for pandas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from sao_cli.base.errors import ExecutorError, SaoError
from sao_cli.base.in_order import call, run_in_order
from sao_cli.base.progress import Progress, silent
from sao_cli.reports.frames import Rows
from sao_cli.reports.report import Report, plain
from sao_cli.study.executors import executor as opened
from sao_cli.study.grid import Axes, grid

Row = dict[str, Any]


def sweep(
    function: str | Callable[..., Any],
    *,
    over: Axes,
    zipped: Sequence[Sequence[str]] = (),
    fixed: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Rows:
    """The results of `function` for every combination of the values `over` its parameters, as rows for pandas.

    A row has `run` (from 1), the parameters, and what the function gave: the fields of a report or a mapping, those of
    its parts as "ks.pvalue", a row each of several; anything else is `result`. A SaoError is the row's `failure`. The
    last parameter varies fastest, those `zipped` take one step together, and `fixed` are the same in all runs.

    `executor` is any of concurrent.futures, or what `sao_cli.executor(jobs=2)` or `sao_cli.executor(cluster=...)`
    opens: the rows are the same, in the same order. There the function is one that a worker can import, or its name,
    as in "sao_cli:spectrum". Raises SaoError for a grid that makes no sense, and ExecutorError where workers or their
    scheduler are gone.

    >>> from sao_cli import reachability, mask_stack
    >>> def reach(d, seed):
    ...     return reachability(mask_stack([64] * 7, d=d, seed=seed)).summary
    >>> rows = sweep(reach, over={"d": [2, 4], "seed": range(2)})
    >>> [(row["run"], row["d"], row["seed"], row["minimum_possible"]) for row in rows]
    [(1, 2, 0, 6), (2, 2, 1, 6), (3, 4, 0, 3), (4, 4, 1, 3)]
    """
    cells = grid(over, zipped)
    jobs = [{"function": function, "keywords": {**(fixed or {}), **cell}} for cell in cells]
    if executor is None:
        with opened() as here:
            found = list(run_in_order(here, result_or_failure, jobs, progress))
    else:
        found = list(run_in_order(executor, result_or_failure, jobs, progress))
    return Rows(
        {"run": number, **cell, **_beside(cell, row)}
        for number, (cell, result) in enumerate(zip(cells, found, strict=True), 1)
        for row in _rows(result)
    )


def result_or_failure(function: str | Callable[..., Any], keywords: dict[str, Any]) -> Any:
    """What the function gives, or the text of its SaoError as a row: what a worker runs."""
    try:
        return call(function, keywords)
    except ExecutorError:
        raise
    except SaoError as error:
        return {"failure": str(error)}


def _rows(result: Any) -> list[Row]:
    if isinstance(result, Report | Mapping):
        return [_flat(result)]
    if isinstance(result, list | tuple) and result and all(isinstance(one, Report | Mapping) for one in result):
        return [_flat(one) for one in result]
    return [{"result": result}]


def _flat(result: Report | Mapping[str, Any]) -> Row:
    """The fields, and those of its parts by their names in it."""
    flat: Row = {}
    for key, value in (plain(result) if isinstance(result, Report) else result).items():
        if isinstance(value, Report | Mapping):
            flat |= {f"{key}.{inner}": one for inner, one in _flat(value).items()}
        else:
            flat[str(key)] = value
    return flat


def _beside(cell: Row, row: Row) -> Row:
    """The row under other names where it says otherwise what its parameters say."""
    return {(f"result.{key}" if key in cell and cell[key] != value else key): value for key, value in row.items()}
