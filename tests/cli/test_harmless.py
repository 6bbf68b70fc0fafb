"""Texts of files and of the command line reach no terminal and no picture raw: ESC, C1, marks of direction, DEL."""

import json
import re
import unicodedata

import numpy as np
import pytest
from click.testing import CliRunner

from sao_cli import sao_mask
from sao_cli.cli import main
from sao_cli.cli.shared.talk import Talk
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.io import write_matrices
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.io.output import visible

EVIL = "\x1b]0;title\x07\x9b31m\u202e\x7f\r\b\u2066[bold]$\\frac{$"


def raw(text):
    """The characters of `text` that could do something to a terminal; line ends may."""
    return {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") and one != "\n"}


@pytest.fixture
def evil(monkeypatch, tmp_path):
    """A stack of two weights and a checkpoint, whose names and provenance are evil."""
    monkeypatch.chdir(tmp_path)
    told = {"method": EVIL, "scheme": EVIL, EVIL: EVIL, "list": [EVIL, "\ud800"], "values": EVIL}
    masks = [Mask.from_dense(sao_mask(4, 4, 2).to_dense(), told) for _ in range(2)]
    write_matrices([Matrix(mask) for mask in masks], "masks.mtx")
    write_matrices([Matrix.from_dense(mask.to_dense() * 0.5, told) for mask in masks], "weights.mtx")
    write_checkpoint({EVIL: np.eye(4), f"{EVIL}2": np.ones((4, 4)), f"{EVIL}.bias": np.ones(4)}, "m.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "weights masks.mtx --table",
        "weights masks.mtx --json",
        "weights masks.mtx",
        "weights weights.mtx",
        "verify masks.mtx --table",
        "spectrum weights.mtx --table",
        "spectrum weights.mtx --json",
        "jacobian weights.mtx --table --device cpu",
        "jacobian weights.mtx --json --device cpu",
        "audit m.safetensors --table --check sigma_min>9",
        "audit m.safetensors --json --check sigma_min>9",
        "audit m.safetensors --table --compare m.safetensors",
        "audit m.safetensors --include EVIL",
        "prune m.safetensors --sparsity .5 --all --table -o p.safetensors",
        "repair m.safetensors --table -o p.safetensors",
        "mask -o EVIL/a.mtx",
        "mask -o EVIL.mtx -q",
        "mask --method EVIL",
        "mask --EVIL",
        "mask --m EVIL",
        "EVIL",
        "spectrum EVIL",
        "spectrum weights.mtx --tensor EVIL",
        "plan --widths EVIL",
        "train --data EVIL",
        "train --resume -o EVIL",
        "audit EVIL",
    ],
)
def test_no_stream_carries_them(evil, line):
    done = CliRunner().invoke(main, [word.replace("EVIL", EVIL) for word in line.split()], prog_name="sao")
    assert done.exit_code in (0, 1, 2), done.output
    assert not raw(done.stdout)
    assert not raw(done.stderr)
    if "--json" in line:  # where nothing is lost
        row = json.loads(done.stdout.splitlines()[0])
        assert EVIL in (row.get("method"), row.get("name"))


@pytest.mark.parametrize("line", ["spectrum weights.mtx --plot", "jacobian weights.mtx --device cpu --plot"])
@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_no_picture_carries_them(evil, line, suffix):
    """A picture with "$\\frac{$" in a name ended in a traceback of matplotlib."""
    done = CliRunner().invoke(main, [*line.split(), f"a.{suffix}", "-q"])
    assert done.exit_code == 0, done.output
    if suffix == "svg":
        assert not raw((evil / "a.svg").read_text())


def test_no_page_carries_them(evil):
    assert CliRunner().invoke(main, ["audit", "m.safetensors", "-q", "--html", "a.html"]).exit_code == 0
    assert not raw((evil / "a.html").read_text())


def test_colours_are_left():
    """What a table itself says is coloured; the same from a file is text."""
    from sao_cli.cli.shared.tables import cell

    assert cell(True).style == "green"
    assert cell("[red]no[/]").plain == "[red]no[/]"
    assert not cell("[red]no[/]").spans


def test_what_is_visible():
    assert visible("ascii, α, 重み, 😀") == "ascii, α, 重み, 😀"
    assert visible("a\tb\nc\x1b\x9b\x7f\u202e\ud800\u2028") == r"a\tb\nc\x1b\x9b\x7f\u202e\ud800\u2028"


def test_talk_is_one_line_and_harmless(capsys):
    talk = Talk()
    talk.name = "sao \x1b[2J"
    talk.say(f"one\ntwo {EVIL}")
    talk.warn(EVIL)
    talk.bug(ValueError(EVIL))
    told = capsys.readouterr().err
    assert not raw(told)
    assert told.startswith(r"sao \x1b[2J: one\ntwo ")
    assert re.search("^sao .*: warning: ", told, re.MULTILINE)
    assert not raw(talk.last_words("interrupted"))
