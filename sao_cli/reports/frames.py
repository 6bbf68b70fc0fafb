"""Reports in a notebook: any number of them as a pandas.DataFrame, and as a table of HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from sao_cli.base.errors import SaoError
from sao_cli.reports.report import Report, value_of

R = TypeVar("R", bound=Report)
SHOWN = 100  # rows of a notebook's table


class Framed:
    """What gives reports when it is iterated, and so becomes a DataFrame or a notebook's table."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def to_frame(self) -> Any:
        """A pandas.DataFrame, a line a report; parts are dicts. Raises SaoError where pandas is not installed."""
        try:
            import pandas as pd  # type: ignore[import-untyped,unused-ignore]  # it is no dependency
        except ImportError as error:
            raise SaoError("to_frame makes a pandas.DataFrame, and there is no pandas: pip install pandas") from error
        return pd.DataFrame([one.to_dict() for one in self])

    def _repr_html_(self) -> str:
        return "".join(_table(rows) for rows in _by_kind(self))


class Reports(Framed, list[R]):
    """A list of reports that notebooks show as a table, and `to_frame` makes a pandas.DataFrame of."""

    __iter__ = list.__iter__


def _by_kind(reports: Iterable[Report]) -> Iterator[list[Report]]:
    """Reports of one kind together, in the order of the kinds' first."""
    found: dict[type[Report], list[Report]] = {}
    for one in reports:
        found.setdefault(type(one), []).append(one)
    return iter(found.values())


def _table(rows: list[Report]) -> str:
    """The columns that a table of that kind has, without those that are empty, or all of a kind without one."""
    kind = type(rows[0])
    told = [_cells(row, kind.table) for row in rows[:SHOWN]]
    keys = [key for key in told[0] if any(cells.get(key) not in (None, (), {}) for cells in told)]
    head = "".join(f"<th>{html.escape(key)}</th>" for key in keys)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(_text(cells.get(key)))}</td>' for key in keys)}</tr>" for cells in told
    )
    more = f"<p>{len(rows) - SHOWN} more rows; to_frame() has all</p>" if len(rows) > SHOWN else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cells(row: Report, columns: tuple[str, ...]) -> dict[str, Any]:
    return {key: value_of(row, key) for key in columns} if columns else row.to_dict()


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)
