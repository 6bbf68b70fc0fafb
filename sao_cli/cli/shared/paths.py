"""Options that name files: refused before any work is what could not be written after it, or would destroy an input."""

import os
import stat
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.names import refusal
from sao_cli.catalog import DATA
from sao_cli.io.output import descriptor, file_error, shown

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PICTURES = (".png", ".svg", ".pdf")
STDOUT = 1

Identity = tuple[int, int, str]  # device and number of a file, or those of the folder and the name that it will have


class PathType(click.ParamType):  # type: ignore[type-arg]  # which only newer versions of click let one name
    """A path, which shells complete, or one of `names` that stand for something else."""

    name, kind = "file", "file"
    names: tuple[str, ...] = ()

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        """The names that begin so, after the word for shells to complete the paths that do."""
        from click.shell_completion import CompletionItem

        named = [CompletionItem(name) for name in self.names if name.startswith(incomplete)]
        return [CompletionItem(incomplete, type=self.kind), *named]


class Folder(PathType):
    """The folder that data lie in."""

    name, kind = "folder", "dir"


class OutputFile(PathType):
    """A file to write. "-", or another name of standard output, is "-" where the bytes may go there."""

    def __init__(self, *, stream: bool = False) -> None:
        self.stream = stream

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path; BadParameter for what can't be written."""
        path = str(value)
        if path == "-" or descriptor(path) == STDOUT:
            if not self.stream:
                self.fail(f"{path!r} is standard output, and the report goes there; name a file", param, ctx)
            return "-"
        if (problem := _unwritable(path)) is not None:
            self.fail(problem, param, ctx)
        return path


class Picture(OutputFile):
    """A picture to write, its format told by its suffix."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path, as OutputFile has it."""
        if not str(value).lower().endswith(PICTURES):
            self.fail(f"{value!r} ends in none of {', '.join(PICTURES)}, so its format is not known", param, ctx)
        return super().convert(value, param, ctx)


class OutputFolder(PathType):
    """A folder to write into, which may be there."""

    name, kind = "folder", "dir"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path; BadParameter for what names no folder."""
        if value in ("", "-") or "\0" in value:
            self.fail(f"{value!r} names no folder", param, ctx)
        return str(value)


class InputFile(PathType):
    """A file to read, "-" for standard input, or one of `names` that stand for something else."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path; BadParameter for the empty one, as of a shell's variable that is not set."""
        if not value:
            self.fail(f"{value!r} names no file", param, ctx)
        return str(value)

    def files(self, path: str) -> list[str]:
        """All files that are read where `path` is named."""
        return [] if path in self.names else [path]


class Model(InputFile):
    """A checkpoint: a file, an index of shards, or a folder with either."""

    def files(self, path: str) -> list[str]:
        """The file, and its shards."""
        if path == "-":
            return [path]
        from sao_cli.io.checkpoints import checkpoint_files

        return [path, *checkpoint_files(path)]


class ModuleName(InputFile):
    """FILE.py:NAME, or PACKAGE.MODULE:NAME, which names no file."""

    name = "module"

    def files(self, path: str) -> list[str]:
        """The file whose code is run."""
        place, _, _ = path.rpartition(":")
        return [place] if place.endswith(".py") else []


class Data(InputFile):
    """Labelled data by their name in the catalog, or a .npz file."""

    name = "data"

    def __init__(self) -> None:
        super().__init__(*DATA)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name or the path; BadParameter, with the nearest name, for what is neither."""
        file = str(value).lower().endswith(".npz")
        if not file and (said := refusal("data", value, DATA, ", or a FILE.npz with arrays x and y")):
            self.fail(said, param, ctx)
        return super().convert(value, param, ctx)


def refuse_overwriting(ctx: click.Context) -> None:
    """Raise UsageError where an option would write onto an input, or onto another option's file.

    Files are told by what they are and not by their names, so that links, hard links and other paths are known.
    """
    written: dict[Identity, str] = {}
    for name, _, path in _named(ctx, OutputFile):
        if path == "-" or (file := _identity(path)) is None:  # what stdout is redirected to is the shell's
            continue
        if (other := written.setdefault(file, name)) is not name:
            raise click.UsageError(f"{other} and {name} both write {shown(path)}; give each a file of its own", ctx)
    if not written:
        return
    for reader, kind, path in _named(ctx, InputFile):
        for part in kind.files(path):
            if (writer := written.get(_identity(part) or (0, 0, ""))) is not None:
                what = "the file on standard input" if part == "-" else shown(part)
                raise click.UsageError(f"{writer} would write over {what}, which {reader} reads; name another", ctx)


def _named(ctx: click.Context, kind: type[Any]) -> Iterator[tuple[str, Any, str]]:
    """Name, type and path of each option and argument of that type; stdin too, where an argument leaves it open."""
    for param in ctx.command.params:
        if not isinstance(param.type, kind):
            continue
        name = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name.strip("[]")
        given = ctx.params.get(param.name or "")
        for path in given if isinstance(given, tuple) else (given,):
            if path is not None or isinstance(param, click.Argument):
                yield name, param.type, path or "-"


def _identity(path: str) -> Identity | None:
    """What two paths that lead to one file have in common; None for no regular file, as /dev/null or a pipe.

    A file that is not there yet is known by its folder. "-" is what standard input is redirected from.
    """
    try:
        if path == "-":
            return _of_status(os.fstat(sys.stdin.fileno()))
        target = os.path.realpath(path)
        if os.path.lexists(target):
            return _of_status(os.stat(target))
        folder = os.stat(os.path.dirname(target))
        return folder.st_dev, folder.st_ino, os.path.normcase(os.path.basename(target))
    except (OSError, ValueError, AttributeError):  # nothing there, no path, or no stdin: said by whoever opens it
        return None


def _of_status(status: os.stat_result) -> Identity | None:
    return (status.st_dev, status.st_ino, "") if stat.S_ISREG(status.st_mode) else None


def _unwritable(path: str) -> str | None:
    """Why a file could not be written to `path`, as far as can be told before."""
    folder = os.path.dirname(path)
    if not path or "\0" in path:
        return f"{path!r} names no file"
    if os.path.isdir(path):
        return f"{path!r} is a folder; name a file in it"
    if not os.path.isdir(folder or "."):
        return f"{path!r}: there is no folder {folder!r}; make it first"
    try:
        os.stat(path)
    except FileNotFoundError:
        if not os.access(os.path.dirname(os.path.realpath(path)), os.W_OK):
            return f"{path!r}: no file can be made in its folder; choose another"
    except (OSError, ValueError) as error:
        return str(file_error(error, shown(path), "write")) if isinstance(error, OSError) else f"{path!r} is no path"
    return None
