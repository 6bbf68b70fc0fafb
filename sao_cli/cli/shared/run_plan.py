"""The command lines of a sweep, one a point of its grid: looked at before any of them runs."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from sao_cli.base.errors import SaoError, unknown_name
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.config import spelled
from sao_cli.cli.shared.paths import InputFile, OutputFile, OutputFolder
from sao_cli.cli.shared.talk import Talk
from sao_cli.study.grid import SEED
from sao_cli.study.sweep_runs import Run

NOT_SWEPT = ("sweep", "completion", "help")
_SET = click.core.ParameterSource.DEFAULT_MAP
STREAMS = {"mask": ".mtx", "weights": ".mtx", "kernel": ".safetensors"}  # commands whose result is a matrix


def plan_runs(
    command: Sequence[str], cells: Sequence[Mapping[str, Any]], *, seed: int | None = None, rows: bool = True
) -> list[Run]:
    """A run for each cell of the grid: the command with `--name value` of each parameter, or with {name} filled in.

    Each is parsed as it will be when it runs. With `rows` commands whose result is a matrix print their summaries.
    `seed` is that of runs that name none. Raises UsageError for the first run that has an unknown option or a bad
    value, that reads standard input, or writes where another one does.
    """
    name, *given = command
    parsed_by = _command(name)
    runs: list[Run] = []
    written: dict[str, Run] = {}
    for number, cell in enumerate(cells, 1):
        arguments = _arguments(parsed_by, given, cell)
        run = Run(number, dict(cell), (name, *arguments))
        context = _parsed(parsed_by, arguments, run)
        if seed is not None and SEED in context.params and not _is_given(context, SEED):
            arguments += [f"--{SEED}", str(seed)]
            context = _parsed(parsed_by, arguments, run)
        arguments += _settings(context)  # which no worker knows
        if name in STREAMS and context.params.get("as_json") is None and (rows or context.params.get("output")):
            arguments.append("--json")
        elif context.params.get("as_json") is False or any(map(context.params.get, ("csv", "markdown", "columns"))):
            told = "the rows of runs are JSON; --table, --csv, --markdown and --columns stand before the command"
            raise click.UsageError(told)
        for path in _outputs(context):
            if (other := written.setdefault(os.path.realpath(path), run)) is not run:
                names = " and ".join(f"{{{name}}}" for name in cell if cell[name] != other.over[name])
                way = f"put {names} into its name, or keep the rows by -o before the command"
                raise click.UsageError(f"run {other.number} and {run} both write {path!r}; {way}")
        runs.append(
            run._replace(arguments=(name, *arguments), seed=context.params.get(SEED, 0), files=_inputs(context))
        )
    return runs


def _command(name: str) -> SaoCommand:
    from sao_cli.cli import COMMANDS, main

    with click.Context(main) as context:
        found = main.get_command(context, name)
    if found is None or name in NOT_SWEPT:
        known = [one for one in COMMANDS if one not in NOT_SWEPT]
        raise click.UsageError(unknown_name("no command to sweep:", name, known))
    assert isinstance(found, SaoCommand)
    return found


def _arguments(command: SaoCommand, given: Sequence[str], cell: Mapping[str, Any]) -> list[str]:
    """The command line after the command's name."""
    filled, left = list(given), dict(cell)
    for name, value in cell.items():
        if any(f"{{{name}}}" in word for word in filled):
            filled = [word.replace(f"{{{name}}}", str(value)) for word in filled]
            del left[name]
    return filled + [word for name, value in left.items() for word in _option(command, name, value)]


def _option(command: SaoCommand, name: str, value: Any) -> list[str]:
    """The option `name` with the value: a flag where it is true or false."""
    options = {word.lstrip("-"): one for one in command.params if isinstance(one, click.Option) for word in one.opts}
    word = command.new_name(f"--{name.replace('_', '-')}")[2:]
    if (option := options.get(word)) is None:
        known = [one for one in options if len(one) > 1 or one in ("m", "n", "d", "c")]
        said = unknown_name(f"--over {name}: sao {command.name} has no option", word, known)
        raise click.UsageError(f"{said}; {{{name}}} in the command is a place for it, too")
    dashes = "--" if f"--{word}" in option.opts else "-"
    if not option.is_flag:
        return [f"{dashes}{word}={value}"] if dashes == "--" else [f"-{word}", str(value)]
    if value not in ("true", "false"):
        raise click.UsageError(f"--over {name}={value}: {option.opts[0]} takes no value; write true or false")
    return [f"{dashes}{word}"] if value == "true" else list(option.secondary_opts[:1])


def _parsed(command: click.Command, arguments: Sequence[str], run: Run) -> click.Context:
    """The command's context, as it would be called."""
    from sao_cli.cli import main

    try:
        with click.Context(main, info_name="sao", obj=Talk()) as parent:
            return command.make_context(run.arguments[0], list(arguments), parent=parent)
    except (click.UsageError, SaoError) as error:
        told = error.format_message() if isinstance(error, click.ClickException) else str(error)
        raise click.UsageError(f"{run}: {told}") from error


def _settings(context: click.Context) -> list[str]:
    """What the user's settings have for options that are not given, as words of the command line."""
    words: list[str] = []
    for option in context.command.params:
        name = option.name or ""
        if isinstance(option, click.Option) and context.get_parameter_source(name) == _SET:
            words += spelled(option, (context.default_map or {})[name])
    return words


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE


def _outputs(context: click.Context) -> list[str]:
    """The files and folders that the run writes."""
    paths = [path for _, path in _named(context, OutputFile | OutputFolder)]
    if "-" in paths:
        raise click.UsageError("-o - of a run would take the place of its rows; name a file")
    return paths


def _inputs(context: click.Context) -> tuple[str, ...]:
    """The files that the run reads and that are here: a worker has to see them too."""
    named = [(kind, path) for kind, path in _named(context, InputFile) if path is not None]
    if any(path == "-" for _, path in named):
        raise click.UsageError("a run of a sweep reads no standard input; name a file")
    files = [file for kind, path in named for file in kind.files(path)]
    if (folder := context.params.get("data_folder")) is not None:
        files.append(folder)
    return tuple(os.path.abspath(file) for file in files if os.path.exists(file))


def _named(context: click.Context, kind: Any) -> list[tuple[Any, str]]:
    found = []
    for param in context.command.params:
        if isinstance(param.type, kind):
            given = context.params.get(param.name or "")
            found += [
                (param.type, path) for path in (given if isinstance(given, tuple) else (given,)) if path is not None
            ]
    return found
