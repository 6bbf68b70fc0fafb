"""A report's two faces: JSON lines for programs, a table for people."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from sao_cli.cli.shared.streams import silence
from sao_cli.cli.shared.talk import Talk
from sao_cli.io.output import atomic_output, visible
from sao_cli.reports.report import Report, plain, report_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Row = dict[str, Any]


class Drawing(NamedTuple):
    """A cell for people alone, which JSON leaves out: in a table of several rows, and in one of a single row."""

    wide: str
    tall: str


PAGE = 200  # characters of a table that no terminal bounds
FEW = 4096  # rows of a table that are not looked at
OF_LINES = ("record", "provenance")  # what a table does not show
ROW_BYTES = 7000  # that a row of a table takes while it is laid out: measured


def emit(
    command: str,
    seed: int,
    rows: Iterable[Row],
    *,
    as_json: bool | None,
    output: str | None,
    source: str | None = None,
    report: type[Report] = Report,
    columns: Sequence[str] | None = None,
) -> None:
    """Write the rows as JSON lines, one as soon as it is there, or all of them as one table.

    `as_json` None chooses a table on a terminal. `source` is the file that the rows are on, as it was named. A table of
    several rows shows the columns of their kind of `report`, or `columns` where these are given, "ks.pvalue" for a
    field of a field, and drawings last; a single row is shown whole, a line a field. With `output` the report goes to
    that file, whole or not at all; "-" is stdout. Where the reader of stdout goes away, all rows are taken
    nevertheless: they may be epochs of training, or decide a verdict.
    """
    talk = click.get_current_context().ensure_object(Talk)
    on_terminal = output in (None, "-") and sys.stdout.isatty()
    lines: Iterable[str]
    if as_json or (as_json is None and not on_terminal):
        lines = (_json_line(report_line(row, command, seed, source)) for row in rows)
    else:
        columns = report.table if columns is None else columns
        lines = [_table(_held(rows), columns, report.spare, None if on_terminal else PAGE)]
    with atomic_output("-" if output is None else output) as file:
        for line in lines:
            talk.erase()
            with _until_closed(file):
                file.write(line.encode())
                file.flush()


@contextlib.contextmanager
def _until_closed(file: IO[bytes]) -> Iterator[None]:
    """Where the reader of a pipe has gone, nothing more is written, and what else was asked for goes on."""
    try:
        yield
    except BrokenPipeError:
        silence(file)


def _held(rows: Iterable[Row]) -> list[Row]:
    """All rows, as a table needs them, each time they have doubled asked whether the table would fit."""
    from sao_cli.base.memory import require_memory

    held: list[Row] = []
    for row in rows:
        held.append(row)
        if len(held) >= FEW and not len(held) & (len(held) - 1):
            require_memory(2 * ROW_BYTES * len(held), f"a table of over {len(held)} rows", "--json has them one by one")
    return held


def _json_line(row: Row) -> str:
    told = {key: value for key, value in row.items() if not isinstance(value, Drawing)}
    return json.dumps(plain(told), allow_nan=False).replace("\x7f", "\\u007f") + "\n"  # all others json escapes


def _table(rows: list[Row], columns: Sequence[str], spare: Sequence[str], width: int | None) -> str:
    from rich.console import Console
    from rich.text import Text

    console = Console(width=width, file=sys.stdout, highlight=False, emoji=False, markup=False)
    lines = ["summary" in row or row.get("record") == "network" for row in rows]  # both are on all of it
    rows = [{visible(key): value for key, value in row.items() if key not in OF_LINES} for row in rows]
    body = [_flat(row) for row, is_line in zip(rows, lines, strict=True) if not is_line]
    if not any(row.get("name") for row in body):
        body = [{key: value for key, value in row.items() if key != "name"} for row in body]
    with console.capture() as capture:
        console.print(_tall(body[0]) if len(body) == 1 else _fitting(console, body, columns, spare))
        for row, is_line in zip(rows, lines, strict=True):
            if is_line:
                told = [Text.assemble(key, ": ", _cell(value)) for key, value in row.items() if key != "summary"]
                console.print(Text("  ") + Text(", ").join(told))
    return capture.get()


def _flat(row: Row) -> Row:
    """The row with fields of fields as "outer.inner"."""
    flat: Row = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{visible(inner)}": item for inner, item in value.items()}
        else:
            flat[key] = value
    return flat


def _tall(row: Row) -> "Table":
    """One row, a line a field."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("", "", box=box.SIMPLE, show_header=False)
    for key, value in row.items():
        table.add_row(key, Text(value.tall) if isinstance(value, Drawing) else _cell(value))
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

    there = dict.fromkeys(key for row in rows for key in row)
    drawn = [key for key in there if any(isinstance(row.get(key), Drawing) for row in rows)]
    shown = [key for key in columns or there if key in there and key not in drawn] + drawn
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    cells = {key: [_cell(row.get(key, "")) for row in rows] for key in shown}
    for key in shown:  # where room is short, a name folds and a number stays whole
        widest = max(map(len, cells[key]))
        table.add_column(_header(key), overflow="fold", min_width=min(widest, 24))
    for row in zip(*cells.values(), strict=True):
        table.add_row(*row)
    return table


def _header(key: str) -> str:
    """A long name on two lines, so that it does not widen a column of short numbers."""
    head, _, tail = key.rpartition("_")
    key = f"{head}_\n{tail}" if head and len(key) > 11 else key
    return key.replace(".", ".\n")


def _cell(value: Any) -> "Text":
    """A value for people. This is the gate for texts of files, of which none may do something to a terminal."""
    from rich.text import Text

    if value is None:
        return Text("-")
    if isinstance(value, bool):
        return Text("yes", "green") if value else Text("no", "red")
    if isinstance(value, float):
        return Text(f"{value:.6g}")
    if isinstance(value, dict):
        return Text(", ").join(Text(f"{visible(str(key))} ").append(_cell(one)) for key, one in value.items())
    if isinstance(value, list | tuple) and value and all(isinstance(item, dict) for item in value):
        return Text("\n").join(map(_cell, value))
    if isinstance(value, list | tuple) and not isinstance(value, Drawing):
        shown = [_cell(item) for item in value]
        return Text(", ").join(shown if len(shown) <= 16 else [*shown[:8], Text("..."), *shown[-4:]])
    return Text(value.wide if isinstance(value, Drawing) else visible(str(value)))
