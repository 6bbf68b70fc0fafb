"""A report's faces: JSON lines and CSV for programs, tables for people."""

import contextlib
import io
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import click

from sao_cli.base.errors import SaoError, unknown_name
from sao_cli.cli.shared.forms import Form, asked_form
from sao_cli.cli.shared.streams import silence
from sao_cli.cli.shared.tables import PAGE, Drawing, flat, is_line, layout, markdown_table, terminal_table
from sao_cli.cli.shared.talk import Talk
from sao_cli.io.output import atomic_output, visible
from sao_cli.reports.report import Report, plain, report_line

Row = dict[str, Any]
FEW = 4096  # rows of a table that are not looked at
ROW_BYTES = 7000  # that a row of a table takes while it is laid out: measured
NAMED = 8  # columns that are left out of a table, and named


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
    """Write the rows as JSON lines, one as soon as it is there, or all of them as one table, or as CSV.

    `as_json` None chooses a table on a terminal, and the Form that was asked for comes first. `source` is the file that
    the rows are on, as it was named. A table of several rows shows the columns of their kind of `report`, or `columns`
    where these are given, "ks.pvalue" for a field of a field, and drawings last; a single row is shown whole, a line a
    field. With `output` the report goes to that file, whole or not at all; "-" is stdout. Where the reader of stdout
    goes away, all rows are taken nevertheless: they may be epochs of training, or decide a verdict.
    """
    talk = click.get_current_context().ensure_object(Talk)
    on_terminal = output in (None, "-") and sys.stdout.isatty()
    form = asked_form()
    kind = _kind(form, as_json, on_terminal)
    lines: Iterable[str]
    whole = (report_line(row, command, seed, source) for row in rows)  # as programs have them
    if kind == "json":
        lines = map(_json_line, _picked(whole, form.columns) if form.columns else whole)
    elif kind == "csv":
        lines = _csv_lines(_held(whole), form.columns)
    else:
        shown = report.table if columns is None else columns
        lines = [_table(_held(whole if form.columns else rows), shown, report.spare, form, kind, on_terminal, talk)]
    with atomic_output("-" if output is None else output) as file:
        for line in lines:
            talk.erase()
            with _until_closed(file):
                file.write(line.encode())
                file.flush()


def _kind(form: Form, as_json: bool | None, on_terminal: bool) -> str:
    if form.kind is not None:
        return form.kind
    if as_json is None or form.columns:
        return "table" if on_terminal else "json"
    return "json" if as_json else "table"


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


def _picked(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[Row]:
    """The columns of each row; what sums them up has others, and is left out."""
    for row in rows:
        if not is_line(row):
            told = flat(row)
            _require_columns([told], columns)
            yield {key: told[key] for key in columns if key in told}


def _require_columns(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Raise SaoError, with the nearest, for a column that none of the rows has."""
    known = dict.fromkeys(itertools.chain.from_iterable(rows))
    for key in columns if rows else ():
        if key not in known:
            raise SaoError(unknown_name("--columns: no row has", key, known))


def _csv_lines(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[str]:
    """A heading, and a line a row; lists are JSON, what is null is empty."""
    body = [flat(row) for row in rows if not is_line(row)]
    _require_columns(body, columns)
    keys = columns or list(dict.fromkeys(key for row in body for key in row if not isinstance(row[key], Drawing)))
    yield _csv_line(keys)
    yield from (_csv_line([_csv_cell(row.get(key)) for key in keys]) for row in body)


def _csv_line(cells: Sequence[str]) -> str:
    import csv

    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(cells)
    return file.getvalue()


def _csv_cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) else json.dumps(value, allow_nan=False)


def _table(
    rows: list[Row],
    columns: Sequence[str],
    spare: Sequence[str],
    form: Form,
    kind: str,
    on_terminal: bool,
    talk: Talk,
) -> str:
    told = layout(rows, columns, form.columns)
    _require_columns(told.rows, form.columns)
    if kind == "markdown":
        return markdown_table(told)
    colours = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    text, left_out = terminal_table(told, spare, None if on_terminal else PAGE, colours)
    if left_out:
        named = ", ".join(left_out[:NAMED]) + (" ..." if len(left_out) > NAMED else "")
        count = f"{len(left_out)} columns are" if len(left_out) > 1 else "1 column is"
        talk.say_at_the_end(f"{count} left out for want of room ({named}); --columns picks, --json and --csv have all")
    return text
