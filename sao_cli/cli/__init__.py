"""The command group: commands load when they are called, and one boundary turns errors into exit codes."""

import sys

try:
    import contextlib
    import errno
    import importlib
    import os
    import warnings
    from collections.abc import Iterator
    from typing import TYPE_CHECKING, Any

    import click

    from sao_cli import __version__
    from sao_cli.base import collector
    from sao_cli.base.errors import SaoError, unknown_name
    from sao_cli.cli.shared.config import config_file
    from sao_cli.cli.shared.signals import end_on_signals
    from sao_cli.cli.shared.streams import flush_stdout, hold_places
    from sao_cli.cli.shared.talk import Talk
    from sao_cli.io.output import file_error, visible
except KeyboardInterrupt:  # there is nobody yet to say so
    sys.exit(130)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "mask": "build a mask, or a stack of them",
    "plan": "tell which degrees are feasible",
    "verify": "verify the eigenvalue conditions of a mask",
    "reach": "compute who reaches whom through a stack",
    "weights": "put values on a mask",
    "kernel": "build a convolution kernel",
    "spectrum": "compute singular values, and test them against a dense layer",
    "jacobian": "compute the singular values of a deep network's Jacobian",
    "criticality": "tell where signals neither die nor explode",
    "train": "train a network from any initialisation",
    "paper": "make the tables and figures of the papers anew",
    "audit": "audit a checkpoint, layer by layer",
    "rank": "tell how redundant the weights of a checkpoint are",
    "sensitivity": "score how much each weight of a checkpoint matters",
    "prune": "prune a checkpoint to a target sparsity",
    "reduce": "make the weights of a checkpoint smaller",
    "repair": "make a checkpoint's layers isometric on the masks that they have",
    "sweep": "run a command over a grid of parameters, here or on a cluster",
    "compare": "compare runs or checkpoints side by side",
    "explain": "tell what a key, a method or a verdict means",
    "doctor": "tell what this installation has and lacks",
    "completion": "print what makes a shell complete commands, options and names",
    "help": "show the help of a command",
}
USAGE, BUG, INTERRUPTED = 2, 70, 130
_FILE = "defaults of options, in TOML: `seed = 1`, and under `[train]` `epochs = 5`; SAO_CONFIG names another file"
_VARIABLES = [("SAO_SEED, SAO_THREADS", "defaults of --seed and --threads"), ("NO_COLOR", "no colours")]
_UNWRITABLE = {errno.EBADF, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # of a stream that takes no more


class SaoGroup(click.Group):
    """A click group whose commands are imported on demand and whose every failure leaves by one door."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The whole program, in a process of its own, which signals may end."""
        collector.rest()
        talk = Talk()
        end_on_signals(talk)
        hold_places()
        try:
            return self.main(*args, obj=talk, **kwargs)
        finally:
            collector.leave()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"sao_cli.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(unknown_name("no command", args[0], COMMANDS), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):  # from the table above: help needs none of the commands loaded
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Settings"):
            formatter.write_dl([(_short(config_file()) or "SAO_CONFIG", _FILE), *_VARIABLES])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without a word, the help: on stdout, as where it is asked for, and yet no success."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit(USAGE)
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        named = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        with _boundary(extra.get("obj") or Talk()):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        if "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":  # click does not look
            ctx.color = False
        talk = ctx.ensure_object(Talk)
        with _boundary(talk):
            code = super().invoke(ctx)
            talk.finish()
            flush_stdout()  # a full disk shows here, and not at the interpreter's end
            raise click.exceptions.Exit(code or 0)


@contextlib.contextmanager
def _boundary(talk: Talk) -> Iterator[None]:
    """Turn whatever is raised inside into click's Exit, with a code that the group's help names, and one line."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = talk.show_warning  # type: ignore[assignment]
            warnings.simplefilter("always")
            yield
            return
    except click.exceptions.Exit as end:
        code = end.exit_code
    except BrokenPipeError:
        code = 0
    except Exception as error:
        code = _report(error, talk)
    except KeyboardInterrupt:
        if parting := talk.parting():
            talk.say(parting)
        talk.error("interrupted")
        code = INTERRUPTED
    finally:
        talk.erase()
    with contextlib.suppress(OSError):
        flush_stdout()
    raise click.exceptions.Exit(code if code > 1 or not talk.unheard else USAGE)


def _report(error: Exception, talk: Talk) -> int:
    """Say what went wrong; gives back the exit code."""
    from sao_cli.base.memory import is_out_of_memory, out_of_memory_text

    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        talk.name = context.command_path if context else talk.name
        talk.error(_one_line(error.format_message()))
    elif isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
        talk.error(str(file_error(error, "standard output", "write")))
    elif isinstance(error, SaoError | OSError):
        talk.error(_one_line(str(error)))
    elif is_out_of_memory(error):
        talk.error(_one_line(out_of_memory_text(error)))
    else:
        talk.bug(error)
        return BUG
    return USAGE


def _short(path: str) -> str:
    """A path of the user's as shells write it."""
    home = os.path.expanduser("~")
    return f"~{path.removeprefix(home)}" if path.startswith(home + os.sep) else visible(path)


def _one_line(text: str) -> str:
    return " ".join(text.split())


@click.group("sao", cls=SaoGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="sao")
def main() -> None:
    """Build, verify and measure the masks and weights of sparse neural networks.

    Masks and weights travel between commands as Matrix Market text, reports leave as JSON lines (tables on a terminal).

    Exit codes: 0 done, or the property holds; 1 it does not; 2 usage or bad input; 70 a bug; 130 interrupted, 143 and
    129 ended by SIGTERM and SIGHUP.

    Example: sao mask --m 256 --n 256 --d 4 | sao verify
    """
