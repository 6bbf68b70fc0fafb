"""What all commands have in common: their options are looked at together, before any work."""

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import click

from sao_cli.base import collector
from sao_cli.base.errors import SaoError
from sao_cli.cli.shared.config import settings_of
from sao_cli.cli.shared.paths import refuse_overwriting
from sao_cli.cli.shared.talk import Talk

# Where help has what several commands share: headings, and the parameters under each.
HEADINGS = {
    "Layers that are built": "m n layers widths method d c sparsity pattern arrangement",
    "Weights that are read": "tensor include exclude groups transpose",
    "A network of your own": "module examples norms",
    "Data": "data data_folder samples labels",
    "Edge of chaos": "activation_sparsity slope q_star sigma_w sigma_b",
    "Result": "checks listed output as_json csv markdown columns html",
    "Picture": "plot drawn picture title plot_width dpi",
    "Running": "seed device jobs cluster threads quiet help",
}
# What options were called until 0.1, by what they are called; a command that has the new one takes the old one too.
RENAMED = {
    "--storage": "--layers",
    "--singular-values": "--values",
    "--input-file": "--inputs",
    "--round-to": "--dtype",
}
LIGHT = ("compare", "completion", "doctor", "help", "paper", "plan", "sweep")  # commands that load no numpy themselves
REST = "Options"  # the heading of what stands under no other


def help_tells(**texts: str) -> Callable[[click.Command], click.Command]:
    """Put each of the texts in the place of {its name} in a command's help."""

    def told(command: click.Command) -> click.Command:
        command.help = inspect.cleandoc(command.help or "")
        for name, text in texts.items():
            command.help = command.help.replace(f"{{{name}}}", text)
        return command

    return told


class SaoCommand(click.Command):
    """A command that takes no option twice, unless it is a list, and writes no file over another.

    What is not given is as the user's settings have it. `headings` are the command's own, which help has before
    those of HEADINGS, unless they are among them.
    """

    def __init__(self, *args: Any, headings: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headings = headings or {}

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """A context whose defaults are the settings of the group's user; `default_map` {} of the group is none."""
        group = parent.command if parent is not None else None
        completing = extra.get("resilient_parsing", False)
        if isinstance(group, click.Group) and parent is not None and parent.default_map is None and not completing:
            found = settings_of(self, info_name or "", group.list_commands(parent), self.new_name)
            extra["default_map"] = {name: setting.value for name, setting in found.items()}
            parent.meta[__name__] = {name: setting.place for name, setting in found.items()}
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command once numpy is there, which all but a few need, while the garbage collector rests."""
        if ctx.info_name not in LIGHT:
            import numpy  # noqa: F401
        collector.wake()
        return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, then refuse what no option tells by itself."""
        given = self._renamed(ctx, args)
        try:
            rest = super().parse_args(ctx, list(given))
        except click.BadParameter as error:
            name = error.param.name if error.param is not None else None
            if name is None or ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT_MAP:
                raise
            raise SaoError(f"{ctx.meta[__name__][name]}: {error.message}") from error
        if not ctx.resilient_parsing:
            self._refuse_repeated(ctx, given)
            refuse_overwriting(ctx)
        return rest

    def new_name(self, word: str) -> str:
        """What the option that is written so is called now."""
        words = {name for option in self.params for name in option.opts}
        return next((new for new, old in RENAMED.items() if old == word and new in words and old not in words), word)

    def _renamed(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The words with options called as they are now, which is said where they were not."""
        words: list[str] = []
        for place, word in enumerate(args):
            if word == "--":
                return words + args[place:]
            old, equals, value = word.partition("=")
            if (new := self.new_name(old)) != old:
                told = (
                    f"{old} is called {new} now, since it means another thing elsewhere; the next release won't know it"
                )
                ctx.ensure_object(Talk).say_at_the_end(told)
            words.append(new + equals + value)
        return words

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, each under its heading: the command's own, or else the shared one."""
        tables = (HEADINGS, self.headings)
        heading_of = {name: heading for told in tables for heading, names in told.items() for name in names.split()}
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*self.headings, REST, *HEADINGS)}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)) is not None:
                name = "help" if "--help" in option.opts else option.name or ""  # click has a name of its own for it
                sections[heading_of.get(name, REST)].append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def _refuse_repeated(self, ctx: click.Context, given: list[str]) -> None:
        _, _, order = self.make_parser(ctx).parse_args(given)
        for option, times in Counter(order).items():
            if times > 1 and isinstance(option, click.Option) and not (option.multiple or option.count):
                names = "/".join((*option.opts, *option.secondary_opts))
                raise click.UsageError(f"{names} is given {times} times, and only one can count; give it once", ctx)
