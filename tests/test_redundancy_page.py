"""docs/redundancy.md: its code prints what the page says that it prints, and its commands run, with fewer epochs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from sao_cli.cli import main

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "redundancy.md").read_text()
BIN = Path(sys.executable).parent


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)


def run(line):
    """Exit code and stderr of a line: a pipe by a shell, a single command in this process, which has loaded torch."""
    if "|" not in line:
        done = CliRunner().invoke(main, shlex.split(line)[1:])
        return done.exit_code, done.stderr
    env = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_the_page_prints_what_it_says_and_its_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile("".join(blocks("python")), "redundancy.md", "exec"), {})
    assert capsys.readouterr().out == "".join(blocks("text"))
    lines = [line.replace("--epochs 260", "--epochs 1") for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) >= 6
    for line in lines:
        code, said = run(line)
        assert code == 0, (line, said)
    assert (tmp_path / "sizes.png").stat().st_size > 10_000
    for picture in re.findall(r"\]\((pictures/.*?)\)", PAGE):
        assert (DOCS / picture).stat().st_size > 10_000
