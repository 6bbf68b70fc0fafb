"""What prune, reduce and repair share at the terminal: patterns of names, and reports of changes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sao_cli.cli.shared.options import NAMES, repeated_options
from sao_cli.cli.shared.render import Row, emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Groups
from sao_cli.io.output import shown
from sao_cli.reports.report import Report, origin

if TYPE_CHECKING:
    from sao_cli.reports.changes import Changes, ChosenWeight

SAID: dict[str, dict[str, Any]] = {
    "groups": {"type": Groups(), "metavar": "PATTERN=G", "help": "Groups of channels of kernels, 'conv2.*=32';"},
    "transpose": {"metavar": "PATTERN", "help": "Weights stored with inputs first: GPT-2, transposed convolutions;"},
}
NAMED = 5  # weights with several names that are told


def pattern_options(command: Any) -> Any:
    """--include and --exclude, for Structure.chosen, and --groups and --transpose, for Said."""
    return repeated_options({**NAMES, **SAID})(command)


def require_output(output: str | None) -> str:
    """The file to write; refused before any work are none, and another suffix."""
    if output is None:
        raise click.UsageError("name the file for the changed model: -o OUT.safetensors, or -o - for a pipe")
    from sao_cli.io.checkpoints.saving import require_suffix

    require_suffix(output)
    return output


def emit_changes(
    command: str,
    seed: int,
    model: str,
    changes: Changes[Any, Any],
    report: type[Report],
    as_json: bool | None,
    output: str,
) -> None:
    """The rows of weights that were changed, or asked for and not, and the summary, to stdout.

    Where `output` is stdout, there is no report.
    """
    if output == "-":
        return
    as_table = as_json is False or (as_json is None and sys.stdout.isatty())
    make = partial(_in_table, columns=report.table) if as_table else _line
    rows = [*map(make, changes.rows), changes.summary.to_dict()]
    emit(
        command,
        seed,
        rows,
        as_json=as_json,
        output=None,
        source=model,
        report=report,
        columns=(*report.table, "reason"),
    )


def say_tied(changes: Changes[Any, Any], talk: Talk) -> None:
    """Say which names are one weight, and were changed together."""
    tied = [row for row in changes.changed if row.tied_with]
    for row in tied[:NAMED]:
        names = ", ".join(map(shown, row.tied_with))
        talk.say(f"{shown(row.name)} is one weight with {names}, and they were changed together")
    if len(tied) > NAMED:
        talk.say(f"... and {len(tied) - NAMED} more weights with several names")


def _line(row: ChosenWeight) -> Row:
    return row.to_dict() | origin(row.provenance)


def _in_table(row: ChosenWeight, columns: Sequence[str]) -> Row:
    """A row for people: columns that are no keys of its own are facts, "before -> after"."""
    told = row.to_dict()
    before, after = told.get("before", {}), told.get("after", {})
    facts = {key: f"{_brief(before[key])} -> {_brief(after[key])}" for key in columns if key in after}
    shown_row = {key: facts.get(key, told.get(key)) for key in columns if key in told or key in facts}
    sides = {key: "x".join(map(str, told[key])) for key in ("shape", "new_shape") if key in told}
    return shown_row | sides | ({"reason": told["reason"]} if told.get("reason") is not None else {})


def _brief(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"
