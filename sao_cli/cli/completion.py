"""`sao completion`: what makes a shell complete what is typed after `sao`."""

import click

from sao_cli.base.names import lines
from sao_cli.catalog import SHELLS
from sao_cli.cli.shared.command import SaoCommand, help_tells
from sao_cli.cli.shared.types import Named


@help_tells(shells=lines(SHELLS, default=False))
@click.command(cls=SaoCommand)
@click.argument("shell", type=Named("shell", SHELLS))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete commands, options and the names that these take.

    \b
    It takes effect by a line in the shell's own settings:
      {shells}

    Example: sao completion bash
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(click.Command("sao"), {}, "sao", "_SAO_COMPLETE").source(), nl=False)
