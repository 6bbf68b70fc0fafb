"""Whether stdin is read: one rule for all commands, decided before anything heavy is imported."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from sao_cli import sao_mask, write_masks
from sao_cli.cli import main
from sao_cli.cli.shared import streams

BUILDS = ["weights", "spectrum --gain 2", "reach --rank", "jacobian --activation relu"]
READS = ["verify", "audit", "rank", "sensitivity"]
REWRITES = ["prune --sparsity 0.5 -o out.safetensors", "repair -o out.safetensors", "reduce -o out.safetensors"]
HEAVY = ("torch", "scipy.linalg", "scipy.sparse", "scipy.stats", "matplotlib", "sao_cli.models", "sao_cli.measure")
CLOSED = "import os, sys; os.close(0); os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize("words", [*BUILDS, "mask"])
def test_what_the_defaults_describe_is_built_and_said(words, monkeypatch):
    monkeypatch.setattr(streams, "has_input", lambda: False)
    done = CliRunner().invoke(main, words.split())
    assert (done.exit_code, bool(done.stdout)) == (0, True)
    assert "no option describes layers, and this is " in done.stderr


@pytest.mark.parametrize("words", [*BUILDS, *READS])
def test_an_empty_pipe_is_an_error(words):
    done = CliRunner().invoke(main, words.split(), input=b"")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "standard input: it is empty" in done.stderr


def test_a_closed_stdin_is_no_input():
    command = [sys.executable, "-c", CLOSED, sys.executable, "-m", "sao_cli", "weights", "-q"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.startswith(b"%%MatrixMarket")


def test_no_input_is_told_before_anything_heavy_is_imported(tmp_path):
    commands = [words.split() for words in (*READS, *REWRITES)]
    told = (
        f"import sys\nfrom sao_cli.cli import main\nfor words in {commands!r}:\n"
        "    try: main(words)\n"
        f"    except SystemExit as done: print(done.code, *set(sys.modules).intersection({HEAVY!r}))"
    )
    quiet = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "check": True, "cwd": tmp_path}
    done = subprocess.run([sys.executable, "-c", told], **quiet)
    assert done.stdout.splitlines() == ["2"] * len(commands)
    lines = done.stderr.splitlines()
    assert len(lines) == len(commands)
    assert all("no input: name a file, or pipe one in" in line for line in lines)


@pytest.mark.parametrize("words", ['spectrum --d "$d"', 'jacobian --width 16 --depth "$d"', "audit m.mtx"])
def test_a_loop_keeps_its_stdin(words, tmp_path):
    write_masks(sao_mask(8, 8, 2), tmp_path / "m.mtx")
    loop = f'while read d; do "{sys.executable}" -m sao_cli {words} >/dev/null || exit 3; echo "$d"; done'
    done = subprocess.run(["bash", "-c", loop], input=b"2\n4\n", cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"2\n4\n"), done.stderr
