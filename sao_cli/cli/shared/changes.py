"""What prune and repair share at the terminal: patterns of names, and reports of changes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sao_cli.cli.shared.render import Row, emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Groups
from sao_cli.io.output import shown

if TYPE_CHECKING:
    from sao_cli.reports.changes import Changes

PATTERNS: dict[str, dict[str, Any]] = {  # the last is shown first
    "transpose": {"metavar": "PATTERN", "help": "Weights stored with inputs first: GPT-2, transposed convolutions;"},
    "groups": {"type": Groups(), "metavar": "PATTERN=G", "help": "Groups of channels of kernels, 'conv2.*=32';"},
    "exclude": {"metavar": "PATTERN", "help": "No names such as '*.lm_head.*';"},
    "include": {"metavar": "PATTERN", "help": "Only names such as 'encoder.*', and embeddings that it names;"},
}
NAMED = 5  # weights with several names that are told
SPARE = ("shape", "dead", "components", "effective_ones")  # columns that leave first where a terminal is narrow


def pattern_options(command: Any) -> Any:
    """--include and --exclude, for Structure.chosen, and --groups and --transpose, for Said."""
    for name, told in PATTERNS.items():
        told = told | {"help": f"{told['help']} may be repeated."}
        command = click.option(f"--{name}", multiple=True, **told)(command)
    return command


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
    changes: Changes[Any, Any],
    facts: Sequence[str],
    as_json: bool | None,
    output: str,
) -> None:
    """The rows of weights that were changed, or asked for and not, and the summary, to stdout.

    A table shows each of `facts` as "before -> after". Where `output` is stdout, there is no report.
    """
    if output == "-":
        return
    as_table = as_json is False or (as_json is None and sys.stdout.isatty())
    rows = [row.to_dict() for row in changes.rows]
    if as_table:
        rows = [_in_table(row, facts) for row in rows]
    columns = ("name", "shape", *facts, "kept_norm", "change", "stopped", "reason")
    summary = changes.summary.to_dict()
    emit(command, seed, [*rows, summary], as_json=as_json, output=None, columns=columns, spare=SPARE)


def say_tied(changes: Changes[Any, Any], talk: Talk) -> None:
    """Say which names are one weight, and were changed together."""
    tied = [row for row in changes.changed if row.tied_with]
    for row in tied[:NAMED]:
        names = ", ".join(map(shown, row.tied_with))
        talk.say(f"{shown(row.name)} is one weight with {names}, and they were changed together")
    if len(tied) > NAMED:
        talk.say(f"... and {len(tied) - NAMED} more weights with several names")


def _in_table(row: Row, facts: Sequence[str]) -> Row:
    """A row for people: facts as "before -> after"."""
    told = {"name": row["name"], "shape": "x".join(map(str, row["shape"])), "dtype": row["dtype"]}
    if "before" in row:
        before, after = _with_dead(row["before"]), _with_dead(row["after"])
        told |= {key: f"{_brief(before.get(key))} -> {_brief(after.get(key))}" for key in facts if key in after}
    told |= {key: row[key] for key in ("kept_norm", "change", "stopped") if key in row}
    return told | ({"reason": row["reason"]} if "reason" in row else {})


def _with_dead(facts: Row) -> Row:
    dead = [facts.get("dead_inputs"), facts.get("dead_outputs")]
    return facts if None in dead else {**facts, "dead": sum(dead)}


def _brief(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"
