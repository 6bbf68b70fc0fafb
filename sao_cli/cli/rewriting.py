"""A checkpoint written anew with some of its weights changed: what `sao prune` and `sao repair` have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sao_cli.cli.audit_layers import chosen_entries
from sao_cli.cli.render import Row, emit
from sao_cli.cli.talk import Talk
from sao_cli.errors import SaoError

if TYPE_CHECKING:
    from sao_cli.io.checkpoints import Checkpoint, Entry

SPARE = ("shape", "dead", "components", "effective_ones")  # columns that leave first where a terminal is narrow
NAMED = 5  # weights that a message names
_PROVENANCE = "sao"


@dataclass(frozen=True)
class Choice:
    """The weights of a checkpoint that are to change, and why the others among those asked for are not, by name."""

    entries: list[Entry]
    skipped: dict[str, str] = field(default_factory=dict)

    def without(self, why: Callable[[Entry], str | None]) -> Choice:
        """The choice without those entries for which there is a reason."""
        kept, skipped = [], dict(self.skipped)
        for entry in self.entries:
            reason = why(entry)
            if reason is None:
                kept.append(entry)
            else:
                skipped[entry.name] = reason
        return Choice(kept, skipped)

    def require_any(self, what: str) -> None:
        """Raise SaoError, with the reasons, where no entry is left."""
        if self.entries:
            return
        from sao_cli.io.files import shown

        told = [f"{shown(name)}: {reason}" for name, reason in list(self.skipped.items())[:NAMED]]
        rest = len(self.skipped) - NAMED
        reasons = "; ".join(told) + (f"; and {rest} more" if rest > 0 else "")
        raise SaoError(f"nothing to {what}: {reasons or 'there is no matrix and no kernel'}")


def pattern_options(command: Any) -> Any:
    """--include and --exclude, for chosen_entries."""
    for name, what in (("exclude", "No names such as '*.lm_head.*'"), ("include", "Only names such as 'encoder.*'")):
        option = click.option(f"--{name}", multiple=True, metavar="PATTERN", help=f"{what}; may be repeated.")
        command = option(command)
    return command


def weights_asked_for(checkpoint: Checkpoint, include: Sequence[str], exclude: Sequence[str]) -> Choice:
    """The matrices and kernels that the patterns let through; SaoError for a pattern that matches nothing."""
    chosen = chosen_entries(checkpoint, include, exclude)
    weights = [entry for entry in chosen if entry.kind != "skipped"]
    return Choice(weights, {entry.name: entry.reason or "no weight" for entry in chosen if include and entry.reason})


def read_or_reason(checkpoint: Checkpoint, entry: Entry, look: Callable[[Any], str | None]) -> str | None:
    """Why the entry can't be read, or what `look` says against the array that it is."""
    from sao_cli.io.files import shown

    try:
        return look(checkpoint.read(entry))
    except SaoError as error:
        where = f"{checkpoint.name}: tensor {shown(entry.name)}"
        return str(error).removeprefix(where).lstrip(": ")


def require_output(model: str, output: str | None) -> str:
    """The file to write; refused before any work are none, another suffix, and what is read."""
    if output is None:
        raise click.UsageError("name the file for the changed model: -o OUT.safetensors")
    if not output.endswith(".safetensors"):
        raise click.UsageError(f"-o {output!r}: a checkpoint is written as safetensors; end the name in .safetensors")
    if _is_part_of(model, output):
        raise click.UsageError(f"-o {output!r} is the model or a part of it, which stays as it is; name another file")
    return output


def _is_part_of(model: str, output: str) -> bool:
    """Whether an existing `output` is the model or, where that is a folder or an index, stands beside its shards."""
    if not os.path.exists(output) or not os.path.exists(model):
        return False
    if os.path.samefile(model, output):
        return True
    folder = model if os.path.isdir(model) else os.path.dirname(model) or "."
    several = os.path.isdir(model) or model.endswith(".json")
    return several and os.path.samefile(folder, os.path.dirname(os.path.realpath(output)) or ".")


def write_changed(
    checkpoint: Checkpoint,
    entries: Sequence[Entry],
    change: Callable[[Entry, Any], Any],
    output: str,
    told: Mapping[str, Mapping[str, Any]],
    talk: Talk,
) -> None:
    """Write `checkpoint` to `output`, each of `entries` as `change` makes it of what it was, in its own dtype.

    All else is copied, names and metadata too. `told` is the provenance of each entry, by name. Memory: one weight, and
    what `change` needs for it.
    """
    from sao_cli.io.checkpoints import Lazy, write_checkpoint
    from sao_cli.io.checkpoints.copies import changed_tensors, stored_names

    done = 0

    def make(entry: Entry) -> Any:
        nonlocal done
        talk("changing weights", done, len(entries))
        done += 1
        return change(entry, checkpoint.read(entry))

    changes = {entry: Lazy(entry.shape, entry.dtype, partial(make, entry)) for entry in entries}
    names = stored_names(checkpoint, entries)
    own = {names[entry]: dict(told[entry.name]) for entry in entries}
    write_checkpoint(changed_tensors(checkpoint, changes), output, _metadata(checkpoint, own))
    say_what_changed_form(checkpoint, entries, talk)


def say_what_changed_form(checkpoint: Checkpoint, entries: Sequence[Entry], talk: Talk) -> None:
    """Say which weights are one tensor now, and what was left out."""
    joined = sum(len(entry.parts) > 1 for entry in entries)
    if joined:
        talk.say(
            f"{joined} {'weight' if joined == 1 else 'weights'} that several tensors made are one dense tensor each"
        )
    for entry in checkpoint.entries:
        if not entry.parts:
            talk.say(f"left out: {entry.reason}")


def _metadata(checkpoint: Checkpoint, own: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The metadata of the checkpoint, and provenance by tensor under "sao", as write_safetensors keeps it."""
    from sao_cli.io.provenance import named_provenance, provenance_json

    before = named_provenance(checkpoint.metadata.get(_PROVENANCE, ""))
    return {**checkpoint.metadata, _PROVENANCE: provenance_json({**before, **own})}


def emit_changes(
    command: str,
    seed: int,
    checkpoint: Checkpoint,
    choice: Choice,
    changed: Mapping[str, Row],
    summary: Row,
    facts: Sequence[str],
    as_json: bool | None,
) -> None:
    """The rows of weights that were changed, or asked for and not, in the file's order, and the summary, to stdout.

    A table shows each of `facts` as "before -> after".
    """
    as_table = as_json is False or (as_json is None and sys.stdout.isatty())
    rows = []
    for entry in checkpoint.entries:
        if entry.name in changed:
            rows.append(changed[entry.name])
        elif entry.name in choice.skipped:
            told = {"name": entry.name, "kind": entry.kind, "shape": list(entry.shape), "dtype": entry.dtype}
            rows.append({**told, "skipped": True, "reason": choice.skipped[entry.name]})
    if as_table:
        rows = [_in_table(row, facts) for row in rows]
    columns = ("name", "shape", *facts, "kept_norm", "change", "stopped", "reason")
    emit(command, seed, [*rows, summary], as_json=as_json, output=None, columns=columns, spare=SPARE)


def _in_table(row: Row, facts: Sequence[str]) -> Row:
    """A row for people: facts as "before -> after", and no name or reason that could do something to a terminal."""
    from sao_cli.io.files import shown

    told = {"name": shown(row["name"]), "shape": "x".join(map(str, row["shape"])), "dtype": row["dtype"]}
    if "before" in row:
        before, after = _with_dead(row["before"]), _with_dead(row["after"])
        told |= {key: f"{_brief(before.get(key))} -> {_brief(after.get(key))}" for key in facts if key in after}
    told |= {key: row[key] for key in ("kept_norm", "change", "stopped") if key in row}
    return told | ({"reason": shown(row["reason"])} if "reason" in row else {})


def _with_dead(facts: Row) -> Row:
    dead = [facts.get("dead_inputs"), facts.get("dead_outputs")]
    return facts if None in dead else {**facts, "dead": sum(dead)}


def _brief(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"
