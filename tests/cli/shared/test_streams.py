"""Standard streams: pipes whose reader goes, /dev/full, <&- and >&-, and which command reads stdin when."""

import re
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from sao_cli import sao_mask, write_masks
from sao_cli.cli import main
from sao_cli.io.checkpoints import write_checkpoint

from ..conftest import Done

FULL = "standard output: the disk is full"
CLOSED = "standard output: it is closed"


@pytest.fixture
def files(tmp_path):
    """A stack of 30 disconnected masks, and a checkpoint of as many weights."""
    write_masks([sao_mask(16, 16, 4, seed=seed) for seed in range(30)], tmp_path / "stack.mtx")
    weights = {f"{k}.weight": np.random.default_rng(k).normal(size=(8, 8)) for k in range(30)}
    write_checkpoint(weights, tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("line", "code", "made"),
    [
        ("sao verify stack.mtx --criterion standard -q", 1, []),
        ("sao audit model.safetensors -q --check 'sigma_min>9' --html page.html --table", 1, ["page.html"]),
        ("sao reach stack.mtx -o R.npz --plot R.svg", 0, ["R.npz", "R.svg"]),
        ("sao reach stack.mtx -o - --plot R.svg", 0, ["R.svg"]),
        ("sao prune model.safetensors --sparsity 0.5 -o p.safetensors -q", 0, ["p.safetensors"]),
        ("sao repair model.safetensors -o -", 0, []),
        ("sao weights --layers 9 --d 4 --json -o w.mtx", 0, ["w.mtx"]),
        ("sao plan --widths 4x3000", 0, []),
    ],
)
def test_a_closed_pipe_ends_the_printing_and_nothing_else(files, pipe, tmp_path, line, code, made):
    """The files are there and the verdict is what it is, as without the pipe, whose reader is gone before it begins."""
    done = pipe(f"{line} | sleep 0 ; exit ${{PIPESTATUS[0]}}")
    assert (done.code, done.out, done.err) == (code, "", "")
    for name in made:
        assert (tmp_path / name).stat().st_size > 0


def test_training_goes_on_where_nobody_reads_its_rows(pipe, tmp_path):
    done = pipe("sao train --depth 3 --width 8 --epochs 2 -o run -q | head -1")
    assert (done.code, done.err, len(done.rows)) == (0, "", 1)
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 3
    assert (tmp_path / "run" / "final.safetensors").exists()


def test_a_page_for_a_pipe_that_nobody_reads_loses_no_verdict(files, pipe):
    assert pipe("sao audit model.safetensors -q --check 'sigma_min>9' --html >(sleep 0) > report").code == 1


def test_hints_that_nobody_reads_are_no_failure(files, pipe):
    done = pipe("sao verify stack.mtx --criterion standard 2> >(sleep 0)")
    assert (done.code, len(done.rows)) == (1, 30)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sao --help >&-", CLOSED),
        ("sao mask --d 4 >&-", CLOSED),
        ("sao verify --help >/dev/full", FULL),
        ("sao repair model.safetensors -o - >/dev/full", FULL),
    ],
)
def test_a_closed_or_full_stdout_is_one_line(files, pipe, line, said):
    done = pipe(line)
    assert done.code == 2, done
    assert done.err.count("\n") == 1, done.err
    assert said in done.err


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("sao verify stack.mtx --criterion standard 2>/dev/full", 2),  # the reason of the verdict is lost
        ("sao verify stack.mtx --criterion standard -q 2>/dev/full", 1),
        ("sao mask --sparsity 0.9 -o m.mtx 2>&-", 2),
        ("sao vreify 2>/dev/full", 2),
        ("sao mask --d 4 >&- 2>&-", 2),
    ],
)
def test_a_closed_or_full_stderr_is_never_a_verdict(files, pipe, line, code):
    done = pipe(line)
    assert (done.code, done.err) == (code, "")
    assert "Traceback" not in done.out


def test_no_file_takes_the_number_of_a_closed_stream(pipe, tmp_path):
    done = pipe("sao mask --m 8 --n 8 --d 4 -o m.mtx <&- >&- 2>&-")
    assert done.code == 0
    assert (tmp_path / "m.mtx").read_text().startswith("%%MatrixMarket")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run("spectrum", stdin=b"...") in this process; stdin None is none: closed, a terminal or /dev/null."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, stdin=None):
        monkeypatch.setattr("sao_cli.cli.shared.streams.has_input", lambda: stdin is not None)
        done = CliRunner().invoke(main, [*map(str, arguments)], prog_name="sao", input=stdin)
        return Done(done.exit_code, done.stdout, done.stderr)

    return invoke


def test_what_counts_as_an_input(pipe):
    """A pipe and a file do; what is closed and /dev/null do not, as cron and ssh -n give it."""
    ask = f"{sys.executable} -c 'from sao_cli.cli.shared.streams import has_input; print(has_input())'"
    done = pipe(f"true | {ask}; {ask} < /dev/zero; echo > f; {ask} < f; {ask} < /dev/null; {ask} <&-")
    assert done.out.split() == ["True", "True", "True", "False", "False"]


@pytest.mark.parametrize("command", ["weights --json", "spectrum", "reach", "jacobian --inputs 1", "mask"])
def test_no_input_is_what_the_defaults_describe(run, command):
    done = run(*command.split())
    assert done.code == 0, done.err
    assert "256" in done.out
    assert re.search("no option describes layers, and this is (one layer|a network of 50 layers) of 256 x", done.err)
    assert run(*command.split(), "-q").err == ""


def test_no_input_where_one_is_needed(run, pipe):
    for done in (run("verify"), pipe("sao verify <&-")):
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert "pipe one in" in done.err


@pytest.mark.parametrize("command", ["weights", "spectrum", "reach", "jacobian", "verify", "jacobian --gain 2"])
def test_an_empty_pipe_is_an_error(run, command):
    """What came before it failed, so that nothing is made up in its place."""
    done = run(*command.split(), stdin=b"")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "standard input" in done.err or "-: it is empty" in done.err


def test_a_dash_is_always_standard_input(pipe):
    done = pipe("sao spectrum - <&-")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "standard input is closed" in done.err


@pytest.mark.parametrize(
    "command",
    ["reach --layers 2", "weights --d 2 --json", "spectrum --method lmp", "jacobian --depth 2", "jacobian --width 8"],
)
def test_options_that_describe_layers_leave_stdin_alone(run, command):
    """So a loop keeps its stdin."""
    done = run(*command.split(), "-q", stdin=b"what a loop reads")
    assert (done.code, done.err) == (0, "")


def test_an_input_and_a_description_of_another_one_exclude_each_other(expect_error, tmp_path):
    write_masks(sao_mask(4, 4, 2), tmp_path / "a.mtx")
    expect_error("spectrum", "a.mtx", "--d", 2, said="'a.mtx' and --d both describe the layers")
    expect_error("jacobian", "-", "--width", 2, said="standard input and --width both describe the layers")
    expect_error("reach", "--layers", 2, "--tensor", "a", said="--tensor chooses from a file that holds several")
    expect_error("verify", "", said="names no file")


def test_a_report_and_bytes_do_not_share_stdout(files, pipe, tmp_path):
    done = pipe("sao prune model.safetensors --sparsity 0.5 -o p.safetensors > report && sao prune model.safetensors "
                "--sparsity 0.5 -o - | cmp - p.safetensors")  # fmt: skip
    assert (done.code, done.out) == (0, "")
    assert pipe("sao mask --d 4 -o - --json | sao reach -o - | sao verify -q | wc -l").out.strip() == "1"
    assert not (tmp_path / "-").exists()
