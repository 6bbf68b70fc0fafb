"""The text of docs/cli.md, from the commands' own --help: python tests/cli_reference.py > docs/cli.md"""

import sys

import click
from click.testing import CliRunner

from sao_cli.cli import COMMANDS, main


def reference() -> str:
    """Every command's help at 100 columns, as Markdown."""
    parts = ["# Commands\n\nGenerated from `--help` by `python tests/cli_reference.py > docs/cli.md`.\n"]
    for command in ("", *COMMANDS):
        arguments = [command, "--help"] if command else ["--help"]
        done = CliRunner().invoke(main, arguments, prog_name="sao", terminal_width=100, catch_exceptions=False)
        parts.append(f"## `{' '.join(['sao', *arguments[:-1]])}`\n\n```text\n{click.unstyle(done.stdout)}```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(reference())
