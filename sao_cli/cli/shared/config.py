"""What stands in the place of options' defaults: SAO_SEED and SAO_THREADS, and the user's config file."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import click

from sao_cli.base.errors import SaoError, unknown_name
from sao_cli.io.output import file_error, shown

VARIABLES = {"seed": "SAO_SEED", "threads": "SAO_THREADS"}  # and what may stand above the file's tables
PLACE = "SAO_CONFIG"


class Setting(NamedTuple):
    """What an option has by default, as the command line would have it, and the place that says so."""

    value: Any
    place: str


def config_file() -> str:
    """Where the config file is, or would be: in the platform's place, or what SAO_CONFIG says; "" is none."""
    named = os.environ.get(PLACE)
    return os.path.join(click.get_app_dir("sao"), "config.toml") if named is None else named


def settings_of(
    command: click.Command, name: str, commands: list[str], new_name: Callable[[str], str] = str
) -> dict[str, Setting]:
    """The settings of a command's options, by their parameters: the environment's, the file's table, the file's top.

    The tables of the file are named by `commands`; `new_name` gives what an option is called now. Raises SaoError for a
    name that there is not, with the nearest, and for what is no value of such an option.
    """
    options = {word.lstrip("-"): option for option, word in _words(command) if len(word) > 2}
    path = config_file()
    found: dict[str, Setting] = {}
    for key, value, place in _entries(_read(path), shown(path), name, commands, options, new_name):
        option = options[key]
        assert option.name is not None
        found[option.name] = Setting(_given(option, key, value, place), f"{place}: {key}")
    for key, variable in VARIABLES.items():
        if key in options and (text := os.environ.get(variable)):
            found[key] = Setting(text, variable)
    return found


def spelled(option: click.Option, value: Any) -> list[str]:
    """The words of a command line that say what a setting does."""
    if isinstance(value, bool):
        return [(option.opts if value else option.secondary_opts)[0]] if value or option.secondary_opts else []
    return [word for one in (value if isinstance(value, list) else [value]) for word in (option.opts[0], one)]


def _words(command: click.Command) -> Iterator[tuple[click.Option, str]]:
    for option in command.params:
        if isinstance(option, click.Option):
            yield from ((option, word) for word in (*option.opts, *option.secondary_opts))


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            import tomllib  # which only those have to load who have a file

            return tomllib.load(file)
    except OSError as error:
        if PLACE in os.environ and path:
            raise file_error(error, shown(path), "read") from error
        return {}  # where there is none, or it is not to be read
    except ValueError as error:  # no TOML, or no UTF-8
        raise SaoError(f"{shown(path)} is no TOML: {error}") from error


def _entries(
    config: Mapping[str, Any],
    path: str,
    name: str,
    commands: list[str],
    options: Mapping[str, click.Option],
    new_name: Callable[[str], str],
) -> Iterator[tuple[str, Any, str]]:
    """(option, value, place): what stands above the tables, then what is in the command's own."""
    for key, value in config.items():
        if not isinstance(value, dict) and key not in VARIABLES:
            tables = "; all others stand in the table of a command, as [train] has them"
            raise SaoError(unknown_name(f"{path}: above its tables stands no", key, VARIABLES) + tables)
        if isinstance(value, dict) and key not in commands:
            raise SaoError(unknown_name(f"{path}: no command", key, commands))
    yield from ((key, value, path) for key, value in config.items() if key in options and key in VARIABLES)
    for written, value in config.get(name, {}).items():
        key, place = new_name(f"--{written.replace('_', '-')}")[2:], f"{path}, [{name}]"
        if key not in options:
            raise SaoError(unknown_name(f"{place}: no option", key, options))
        yield key, value, place


def _given(option: click.Option, key: str, value: Any, place: str) -> Any:
    """A value of TOML as the command line would have it: text, a list of texts, or whether a flag is given."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise SaoError(f"{place}: {key} = {value!r}; it is true or false")
        return value if f"--{key}" in option.opts else not value
    several = value if option.multiple and isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in several):
        kind = "a number or a text, or a list of these" if option.multiple else "one number, or one text"
        raise SaoError(f"{place}: {key} = {value!r}; it is {kind}")
    texts = [str(one) for one in several]
    return texts if option.multiple else texts[0]
