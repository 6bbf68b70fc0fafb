"""`sao doctor`: what an installation has and lacks."""

import locale
import os
import shutil
import sys
from collections.abc import Iterator

import click

from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.failures import FAILS
from sao_cli.cli.shared.forms import ascii_only
from sao_cli.cli.shared.options import common_options
from sao_cli.cli.shared.paths import Folder
from sao_cli.cli.shared.render import emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.reports.installations import BROKEN, FINE, NOTE, Finding

VARIABLES = ("TERM", "NO_COLOR", "COLUMNS", "LANG", "LC_ALL", "SAO_CONFIG", "SAO_SEED", "SAO_THREADS")


@click.command(cls=SaoCommand)
@click.option("--data-folder", metavar="FOLDER", type=Folder(), help="Look for data in this folder.")
@common_options
@click.pass_obj
def doctor(talk: Talk, /, data_folder: str | None, seed: int, as_json: bool | None, output: str | None) -> int | None:
    """Tell what an installation has and lacks: versions, linear algebra and its threads, devices, extras, data, the
    terminal; of what is missing, the command that brings it.

    Each thing is looked at by itself, so that one which is broken hides no other. A row's status is "fine", "note",
    "missing" (what some tasks need, as an extra or data) or "broken" (what sao needs).

    Exit codes: 0 sao can work here, whatever is missing; 1 something is broken, which the last lines of stderr name.

    Example: sao doctor --json | jq -r 'select(.remedy) | [.name, .remedy] | @tsv'
    """
    from sao_cli.study.installation import careful
    from sao_cli.study.installation import doctor as examined

    found = [*examined(data_folder), *careful("terminal", _terminal)]
    emit("doctor", seed, (one.to_dict() for one in found), as_json=as_json, output=output, report=Finding)
    broken = [one for one in found if one.status == BROKEN]
    for one in broken:
        said = f"{one.name} is broken: {one.found or 'it is not there'}"
        talk.error(said if one.remedy is None else f"{said}; {one.remedy}")
    return FAILS if broken else None


def _terminal() -> Iterator[Finding]:
    told = "a terminal" if sys.stdout.isatty() else "no terminal, so that reports are JSON lines"
    width = shutil.get_terminal_size().columns
    yield Finding(topic="terminal", name="stdout", status=FINE, found=f"{told}; {width} columns")
    encoding = sys.stdout.encoding or "none"
    plain = ascii_only()
    remedy = "export LANG=C.UTF-8" if plain else None
    yield Finding(topic="terminal", name="encoding", status=NOTE if plain else FINE, found=encoding, remedy=remedy)
    yield Finding(topic="terminal", name="locale", status=FINE, found=locale.setlocale(locale.LC_CTYPE))
    for name in VARIABLES:
        if (value := os.environ.get(name)) is not None:
            yield Finding(topic="terminal", name=name, status=FINE, found=value)
