"""A report's two faces: JSON lines for programs, a table for people."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from sao_cli import __version__
from sao_cli.cli.talk import Talk
from sao_cli.results import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Row = dict[str, Any]


class Drawing(NamedTuple):
    """A cell for people alone, which JSON leaves out: in a table of several rows, and in one of a single row."""

    wide: str
    tall: str


PAGE = 200  # characters of a table that no terminal bounds


def emit(
    command: str,
    seed: int,
    rows: Iterable[Row],
    *,
    as_json: bool | None,
    output: str | None,
    columns: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Write the rows as JSON lines, one as soon as it is there, or all of them as one table.

    `as_json` None chooses a table on a terminal. `columns` are those that a table of several rows shows, "ks.pvalue"
    for a field of a field; a single row is shown whole, a line a field. Where a terminal is too narrow, those named in
    `spare` leave first. With `output` the report goes to that file, whole or not at all.
    """
    from sao_cli.io.files import atomic_output, standard_output

    talk = click.get_current_context().ensure_object(Talk)
    head = {"command": command, "version": __version__, "seed": seed}
    on_terminal = output is None and sys.stdout.isatty()
    lines: Iterable[str]
    if as_json or (as_json is None and not on_terminal):
        lines = (_json_line(head | row) for row in rows)
    else:
        lines = [_table(list(rows), columns, spare, None if on_terminal else PAGE)]
    with standard_output() if output is None else atomic_output(output) as file:
        for line in lines:
            talk.erase()
            file.write(line.encode())
            file.flush()


def _json_line(row: Row) -> str:
    told = {key: value for key, value in row.items() if not isinstance(value, Drawing)}
    return json.dumps(plain(told), allow_nan=False) + "\n"


def _table(rows: list[Row], columns: Sequence[str], spare: Sequence[str], width: int | None) -> str:
    from rich.console import Console

    console = Console(width=width, file=sys.stdout, highlight=False, emoji=False)
    body = [_flat(row) for row in rows if "summary" not in row]
    with console.capture() as capture:
        console.print(_tall(body[0]) if len(body) == 1 else _fitting(console, body, columns, spare))
        for row in rows:
            if "summary" in row:
                console.print(
                    "  " + ", ".join(f"{key}: {_cell(value)}" for key, value in row.items() if key != "summary")
                )
    return capture.get()


def _flat(row: Row) -> Row:
    """The row with fields of fields as "outer.inner"."""
    flat: Row = {}
    for key, value in row.items():
        flat |= {f"{key}.{inner}": item for inner, item in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _tall(row: Row) -> "Table":
    """One row, a line a field."""
    from rich import box
    from rich.table import Table

    table = Table("", "", box=box.SIMPLE, show_header=False)
    for key, value in row.items():
        table.add_row(key, _escaped(value.tall) if isinstance(value, Drawing) else _cell(value))
    return table


def _fitting(console: "Console", rows: list[Row], columns: Sequence[str], spare: Sequence[str]) -> "Table":
    """A line a row, without as many of the columns to spare as there is no room for."""
    unbounded = console.options.update(width=PAGE * 10)  # else a measure is never more than the terminal has
    table = _wide(rows, columns)
    for count in range(1, len(spare) + 1):
        if console.measure(table, options=unbounded).minimum <= console.width:
            break
        table = _wide(rows, [key for key in columns if key not in spare[:count]])
    return table


def _wide(rows: list[Row], columns: Sequence[str]) -> "Table":
    """A line a row, of the columns that are asked for and there."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = [key for key in columns or rows[0] if any(key in row for row in rows)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    cells = {key: [_cell(row.get(key, "")) for row in rows] for key in shown}
    for key in shown:  # where room is short, a name folds and a number stays whole
        widest = max(len(Text.from_markup(cell, emoji=False)) for cell in cells[key])
        table.add_column(_header(key), overflow="fold", min_width=min(widest, 24))
    for row in zip(*cells.values(), strict=True):
        table.add_row(*row)
    return table


def _header(key: str) -> str:
    """A long name on two lines, so that it does not widen a column of short numbers."""
    head, _, tail = key.rpartition("_")
    key = f"{head}_\n{tail}" if head and len(key) > 11 else key
    return key.replace(".", ".\n")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "[green]yes[/]" if value else "[red]no[/]"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple) and not isinstance(value, Drawing):
        shown = [_cell(item) for item in value]
        return ", ".join(shown if len(shown) <= 16 else [*shown[:8], "...", *shown[-4:]])
    return _escaped(value.wide if isinstance(value, Drawing) else str(value))


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
