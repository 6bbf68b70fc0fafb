"""`sao help`: the help of a command."""

import click

from sao_cli.base.names import Row, table
from sao_cli.cli import COMMANDS
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.types import Named

NAMES = table(*(Row(*told) for told in COMMANDS.items()))


@click.command(cls=SaoCommand)
@click.argument("command", metavar="[COMMAND]", required=False, type=Named("command", NAMES))
@click.pass_context
def help(ctx: click.Context, /, command: str | None) -> None:
    """Show the help of COMMAND, or that of sao.

    Example: sao help train
    """
    group = ctx.parent
    assert group is not None
    assert isinstance(group.command, click.Group)
    if command is None:
        click.echo(group.get_help())
    elif (found := group.command.get_command(group, command)) is not None:
        found.make_context(command, ["--help"], parent=group)
