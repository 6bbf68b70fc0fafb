"""The forms that a report can have: which one was asked for, and which columns."""

import functools
import os
import sys
from typing import Any, NamedTuple

import click

KEY = __name__  # under which a context has its Form
BARE = ("C", "POSIX")  # locales that have no more than ASCII
POOR = ("linux", "vt100", "vt102", "vt220")  # terminals whose fonts have none of the blocks


class Form(NamedTuple):
    """What was asked for: "json", "table", "csv" or "markdown", None for what suits stdout; and columns, () for all."""

    kind: str | None = None
    columns: tuple[str, ...] = ()


class Columns(click.ParamType):  # type: ignore[type-arg]  # which only newer versions of click let one name
    """Keys of a report, with commas between them."""

    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The keys; BadParameter for none, and, before anything is done, for one that no report has."""
        named = value if isinstance(value, tuple) else tuple(one.strip() for one in str(value).split(","))
        if not all(named):
            self.fail(
                f"{value!r} names no column somewhere; write keys of the report, as in name,ks.pvalue", param, ctx
            )
        known = _declared()
        for key in named:
            if key.partition(".")[0] not in known:
                import difflib

                near = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                self.fail(f"no report has {key!r}; {hint}docs/json.md and `sao explain KEY` tell of all", param, ctx)
        return tuple(dict.fromkeys(named))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Keys of all reports, for the last column that is begun."""
        from click.shell_completion import CompletionItem

        from sao_cli.reports.declared import kinds, single_values

        before, comma, begun = incomplete.rpartition(",")
        known = dict.fromkeys(key for kind in kinds() if kind.record for key in single_values(kind))
        return [CompletionItem(f"{before}{comma}{key}") for key in known if key.startswith(begun)]


_OPTIONS = (
    click.option(
        "--json/--table",
        "as_json",
        default=None,
        help="Force JSON lines, or a table.  [default: a table on a terminal]",
    ),
    click.option("--csv", is_flag=True, help="Print comma-separated values: the rows, without what sums them up."),
    click.option("--markdown", is_flag=True, help="Print a table in Markdown."),
    click.option(
        "--columns",
        metavar="KEY,KEY,...",
        type=Columns(),
        help="Print these keys of the rows alone, in whichever form, as in name,ks.pvalue.",
    ),
)


def form_options(command: Any) -> Any:
    """--json/--table, --csv, --markdown and --columns.

    The command gets `as_json`: True where rows are to be whole, as for programs; False where they are for people;
    None where stdout decides. `asked_form` tells the rest to what prints them.
    """

    @functools.wraps(command)
    def formed(*args: Any, **kwargs: Any) -> Any:
        others = {name: kwargs.pop(name) for name in ("csv", "markdown")}
        form = _chosen(kwargs["as_json"], others, kwargs.pop("columns") or ())
        click.get_current_context().meta[KEY] = form
        if form.columns or form.kind == "csv":
            kwargs["as_json"] = True
        elif form.kind is not None:
            kwargs["as_json"] = form.kind == "json"
        return command(*args, **kwargs)

    for option in reversed(_OPTIONS):
        formed = option(formed)
    return formed


def asked_form() -> Form:
    """The Form of the command that runs."""
    context = click.get_current_context(silent=True)
    found: Form = Form() if context is None else context.meta.get(KEY, Form())
    return found


def ascii_only() -> bool:
    """Whether stdout can't show blocks: by its encoding, the locale that is named, or the terminal's font."""
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        return True
    variables = [os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if variables[1] == "C.UTF-8":  # which Python itself puts there, where the locale is C
        variables[1] = None
    return next((one for one in variables if one), "") in BARE or os.environ.get("TERM") in POOR


def _declared() -> set[str]:
    """The keys of all reports."""
    from sao_cli.reports.declared import kinds
    from sao_cli.reports.report import facts_of

    return {key for kind in kinds() for key in facts_of(kind)}


def _chosen(as_json: bool | None, others: dict[str, bool], columns: tuple[str, ...]) -> Form:
    """Raises UsageError for two forms; a form of the user's settings gives way to what is given."""
    named = [name for name, given in others.items() if given]
    source = click.get_current_context().get_parameter_source("as_json")
    if named and source is click.core.ParameterSource.DEFAULT_MAP:
        as_json = None
    given = [f"--{name}" for name in named] + (["--json/--table"] if as_json is not None else [])
    if len(given) > 1:
        raise click.UsageError(f"{given[0]} and {given[1]} exclude each other; give one of them")
    kind = named[0] if named else {True: "json", False: "table", None: None}[as_json]
    return Form(kind, columns)
