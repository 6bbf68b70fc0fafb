"""What all commands have in common: their options are looked at together, before any work."""

import inspect
from collections import Counter
from collections.abc import Callable

import click

from sao_cli.cli.shared.paths import refuse_overwriting


def help_tells(**texts: str) -> Callable[[click.Command], click.Command]:
    """Put each of the texts in the place of {its name} in a command's help."""

    def told(command: click.Command) -> click.Command:
        command.help = inspect.cleandoc(command.help or "")
        for name, text in texts.items():
            command.help = command.help.replace(f"{{{name}}}", text)
        return command

    return told


class SaoCommand(click.Command):
    """A command that takes no option twice, unless it is a list, and writes no file over another."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, then refuse what no option tells by itself."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            self._refuse_repeated(ctx, given)
            refuse_overwriting(ctx)
        return rest

    def _refuse_repeated(self, ctx: click.Context, given: list[str]) -> None:
        _, _, order = self.make_parser(ctx).parse_args(given)
        for option, times in Counter(order).items():
            if times > 1 and isinstance(option, click.Option) and not (option.multiple or option.count):
                names = "/".join((*option.opts, *option.secondary_opts))
                raise click.UsageError(f"{names} is given {times} times, and only one can count; give it once", ctx)
