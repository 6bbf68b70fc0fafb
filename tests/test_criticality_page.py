"""docs/criticality.md: its commands' exit codes are those that it tells, and its code prints what it shows."""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from sao_cli.cli import main

PAGE = (Path(__file__).parent.parent / "docs" / "criticality.md").read_text()


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_code_prints_what_the_page_shows(capsys):
    exec(compile("".join(blocks("python")), "criticality.md", "exec"), {})
    assert capsys.readouterr().out == "".join(blocks("text"))


def test_the_commands_end_with_the_codes_that_the_page_tells():
    told = [int(code) for code in re.findall(r"The exit code is (\d)", PAGE)]
    codes = [CliRunner().invoke(main, shlex.split(line)[1:]).exit_code for line in blocks("sh")]
    assert codes == told == [1, 0]
