"""The rows of a report as a table for people, on a terminal or in Markdown."""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sao_cli.cli.shared.forms import ascii_only
from sao_cli.io.output import visible

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

Row = dict[str, Any]
PAGE = 200  # characters of a table that no terminal bounds
NAME = 24  # characters that a name has at least, before it folds
GAP = 2  # characters between two columns, and beside the first and the last one together
WORDS = 12  # characters of a line that a text of several words has at least
HEADING = 11  # characters of a heading that stand on one line, however narrow its column is
OF_LINES = ("record", "provenance")  # what a table does not show
OF_ALL = ("network", "chain")  # records that are on several rows together, as every summary is


class Drawing(NamedTuple):
    """A cell for people alone, which JSON leaves out: in a table of several rows, and in one of a single row."""

    wide: str
    tall: str


class Column(NamedTuple):
    """One column of a table: what stands in it, the lines of its heading, and the least characters that it takes."""

    cells: "list[Text]"
    heading: list[str]
    least: int


def drawing(values: Any, high: float | None = None) -> Drawing:
    """Singular values, by a histogram from 0 to `high`, and by one of several lines."""
    from sao_cli.cli.shared.histogram import bars, sparkline

    plain = ascii_only()
    return Drawing(sparkline(values, high=high, ascii=plain), "\n".join(bars(values, ascii=plain)))


class Layout(NamedTuple):
    """Rows of a table, its `columns` in their order, what stands in `lines` below it."""

    rows: list[Row]
    columns: list[str]
    lines: list[Row]


def is_line(row: Row) -> bool:
    """Whether a row stands below the table, since it is on all of it."""
    return "summary" in row or row.get("record") in OF_ALL


def flat(row: Row) -> Row:
    """The row with fields of fields as "outer.inner"."""
    told: Row = {}
    for key, value in row.items():
        if isinstance(value, dict):
            told |= {f"{key}.{visible(str(inner))}": item for inner, item in value.items()}
        else:
            told[key] = value
    return told


def layout(rows: Iterable[Row], columns: Sequence[str], asked: Sequence[str] = ()) -> Layout:
    """What the table has: `columns` where they are there, all where there are none, or those that are `asked` for.

    Drawings stand last. What is asked for has no lines below it.
    """
    rows = list(rows)
    if asked:
        return Layout([flat(row) for row in rows if not is_line(row)], list(asked), [])
    told = [{visible(key): value for key, value in row.items() if key not in OF_LINES} for row in rows]
    of_all = [one for one, row in zip(told, rows, strict=True) if is_line(row)]
    lines = [{key: value for key, value in one.items() if key != "summary" and value != {}} for one in of_all]
    body = [flat(one) for one, row in zip(told, rows, strict=True) if not is_line(row)]
    there = dict.fromkeys(key for row in body for key in row)
    if not any(row.get("name") for row in body):
        there.pop("name", None)
    if len(body) == 1:
        return Layout(body, list(there), lines)
    drawn = [key for key in there if any(isinstance(row.get(key), Drawing) for row in body)]
    return Layout(body, [key for key in columns or there if key in there and key not in drawn] + drawn, lines)


def terminal_table(told: Layout, spare: Sequence[str], width: int | None, colours: bool) -> tuple[str, list[str]]:
    """The table in so many characters, the terminal's where None, and the columns for which there was no room.

    Headings and numbers are never cut: columns go that have no value, then those to `spare`, then the last ones.
    """
    from rich.console import Console
    from rich.text import Text

    system: Any = "auto" if colours else None
    console = Console(width=width, file=sys.stdout, highlight=False, emoji=False, markup=False, color_system=system)
    left_out: list[str] = []
    with console.capture() as capture:
        if len(told.rows) == 1:
            console.print(_tall(console.width, told.rows[0], told.columns))
        else:
            table, left_out = _fitting(console.width, told, spare)
            console.print(table)
        for row in told.lines:
            parts = [Text.assemble(key, ": ", cell(value)) for key, value in row.items()]
            console.print(Text("  ") + Text(", ").join(parts))
    text = capture.get()
    return (text.encode("ascii", "backslashreplace").decode() if ascii_only() else text), left_out


def markdown_table(told: Layout) -> str:
    """The table in Markdown, of whatever width: a single row's is a line a field; and the lines below it."""
    if len(told.rows) == 1 and len(told.columns) > 1:
        [row] = told.rows
        found = [["", ""], ["---", "---"], *([key, _marked(row.get(key))] for key in told.columns)]
    else:
        found = [told.columns, ["---"] * len(told.columns)]
        found += [[_marked(row.get(key, "")) for key in told.columns] for row in told.rows]
    text = "".join(f"| {' | '.join(cells)} |\n" for cells in found) if told.columns else ""
    for row in told.lines:
        parts = [f"{key}: {_marked(value)}" for key, value in row.items()]
        text += f"\n{', '.join(parts)}\n"
    return text


def cell(value: Any) -> "Text":
    """A value for people. This is the gate for texts of files, of which none may do something to a terminal."""
    from rich.text import Text

    if value is None:
        return Text("-")
    if isinstance(value, bool):
        return Text("yes", "green") if value else Text("no", "red")
    if isinstance(value, float):
        return Text(f"{value:.6g}")
    if isinstance(value, dict):
        return Text(", ").join(Text(f"{visible(str(key))} ").append(cell(one)) for key, one in value.items())
    if isinstance(value, list | tuple) and value and all(isinstance(item, dict) for item in value):
        return Text("\n").join(map(cell, value))
    if isinstance(value, list | tuple) and not isinstance(value, Drawing):
        shown = [cell(item) for item in value]
        return Text(", ").join(shown if len(shown) <= 16 else [*shown[:8], Text("..."), *shown[-4:]])
    return Text(value.wide if isinstance(value, Drawing) else visible(str(value)))


def _tall(width: int, row: Row, columns: Sequence[str]) -> "Table":
    """One row, a line a field."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    room = width - max(map(len, columns)) - 3 * GAP
    table = Table("", "", box=box.SIMPLE, show_header=False)
    for key in columns:
        value = row.get(key)
        fits = isinstance(value, Drawing) and max(map(len, value.tall.splitlines()), default=0) <= room
        table.add_row(key, Text(value.tall) if isinstance(value, Drawing) and fits else cell(value))
    return table


def _fitting(width: int, told: Layout, spare: Sequence[str]) -> "tuple[Table, list[str]]":
    """A line a row, of as many columns as there is room for, and the others."""
    columns = {key: _column(key, told.rows) for key in told.columns}
    empty = [key for key in columns if all(row.get(key) in (None, "", [], ()) for row in told.rows)]
    order = [key for key in dict.fromkeys([*empty, *spare, *reversed(told.columns)]) if key in columns]
    shown = dict(columns)
    for key in order[:-1]:
        if sum(column.least + GAP for column in shown.values()) <= width:
            break
        del shown[key]
    return _wide(list(shown.values())), [key for key in columns if key not in shown]


def _column(key: str, rows: Sequence[Row]) -> Column:
    """Where room is short, a text folds, and a heading and a number stay whole."""
    cells = [cell(row.get(key, "")) for row in rows]
    widest = max((text.cell_len for text in cells), default=0)
    whole = all(isinstance(row.get(key), int | float | Drawing | None) for row in rows)
    heading = _heading(key, max(widest, HEADING))
    return Column(cells, heading, max(*map(len, heading), widest if whole else min(_longest_word(cells), NAME)))


def _wide(columns: Sequence[Column]) -> "Table":
    from rich.table import Table

    table = Table(box=_box(), pad_edge=False, collapse_padding=True)
    for column in columns:
        table.add_column("\n".join(column.heading), overflow="fold", min_width=column.least)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


def _longest_word(texts: "Iterable[Text]") -> int:
    """Its characters; at least WORDS, where there are texts of so many."""
    told = [text.plain for text in texts]
    widest = max(map(len, told), default=0)
    return max([min(widest, WORDS), *(len(word) for text in told for word in text.split())])


def _box() -> Any:
    from rich import box

    if not ascii_only():
        return box.SIMPLE_HEAD
    return box.Box(str(box.SIMPLE_HEAD).replace("─", "-"), ascii=True)


def _heading(key: str, width: int) -> list[str]:
    """A long name on several lines, so that it does not widen a column of short numbers."""
    lines = [""]
    for part in re.findall(r"[^_. ]*[_. ]*", key):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _marked(value: Any) -> str:
    """A value as a cell in Markdown."""
    if isinstance(value, Drawing):
        return f"`{value.wide}`"  # whose blanks count
    return cell(value).plain.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")
