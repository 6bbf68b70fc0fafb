"""Reports in a notebook: any number of them as a pandas.DataFrame, and as a table of HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sao_cli.base.errors import SaoError
from sao_cli.reports.report import Report, value_of

R = TypeVar("R", bound=Report)
SHOWN = 100  # rows of a notebook's table
LISTED = 8  # values of a list in one of its cells


class Framed:
    """What gives reports when it is iterated, and so becomes a DataFrame or a notebook's table."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def to_frame(self) -> Any:
        """A pandas.DataFrame, a line a report or dict; parts are dicts. Raises SaoError where there is no pandas."""
        try:
            import pandas as pd  # type: ignore[import-untyped,unused-ignore]  # it is no dependency
        except ImportError as error:
            raise SaoError("to_frame makes a pandas.DataFrame, and there is no pandas: pip install pandas") from error
        return pd.DataFrame([one if isinstance(one, dict) else one.to_dict() for one in self])

    def _repr_html_(self) -> str:
        return "".join(_table_of_kind(rows) for rows in _by_kind(self))


class Reports(Framed, list[R]):
    """A list of reports that notebooks show as a table, and `to_frame` makes a pandas.DataFrame of."""

    __iter__ = list.__iter__


class Rows(Framed, list[dict[str, Any]]):
    """A list of dicts, not all with the same keys, that becomes a table or a pandas.DataFrame as Reports do."""

    __iter__ = list.__iter__

    def _repr_html_(self) -> str:
        return _table(self[:SHOWN], len(self)) if self else ""


def _by_kind(reports: Iterable[Report]) -> Iterator[list[Report]]:
    """Reports of one kind together, in the order of the kinds' first."""
    found: dict[type[Report], list[Report]] = {}
    for one in reports:
        found.setdefault(type(one), []).append(one)
    return iter(found.values())


def _table_of_kind(rows: list[Report]) -> str:
    """The columns that a table of that kind has, or all of a kind without one."""
    return _table([_cells(row, type(row).table) for row in rows[:SHOWN]], len(rows))


def _table(told: Sequence[dict[str, Any]], rows: int) -> str:
    """What is told of the first of so many rows, in the columns that are not empty."""
    keys = dict.fromkeys(key for cells in told for key, value in cells.items() if not _is_empty(value))
    head = "".join(f"<th>{html.escape(key)}</th>" for key in keys)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(_text(cells.get(key)))}</td>' for key in keys)}</tr>" for cells in told
    )
    more = f"<p>{rows - len(told)} more rows; to_frame() has all</p>" if rows > len(told) else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cells(row: Report, columns: tuple[str, ...]) -> dict[str, Any]:
    """What a row has in these columns; of a changed weight, both what its fact was `before` and what it is `after`."""
    told = row.to_dict()
    if not columns:
        return told
    after = told.get("after", {})
    changed = {key: f"{_text(told['before'].get(key))} -> {_text(after[key])}" for key in columns if key in after}
    known = [key for key in columns if key in changed or key.partition(".")[0] in told]  # facts may be unmeasured
    return {key: changed.get(key) or value_of(row, key) for key in known}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, tuple | dict) and not value)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        more = f", ... ({len(value)})" if len(value) > LISTED else ""
        return ", ".join(map(_text, value[:LISTED])) + more
    return str(value)
