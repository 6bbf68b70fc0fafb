"""The one error boundary: exit codes, closed pipes, full disks, interrupts, bugs, and silence where it is asked."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from sao_cli.base.memory import is_out_of_memory
from sao_cli.cli import main

from .kills import usual_signals

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("command", ["sao mask --m 4096 --n 4096", "sao reach --layers 50", "sao plan --widths 4x2000"])
def test_a_closed_pipe_is_no_error(pipe, command):
    done = pipe(f"{command} | head -1")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(pipe, tmp_path):
    done = pipe("ulimit -f 8; sao mask --m 4096 --n 4096 -o big.mtx")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "big.mtx" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_full_device_on_stdout_is_one_line(pipe):
    for command in ("sao mask --d 4", "sao plan"):
        done = pipe(f"{command} > /dev/full")
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert "standard output: the disk is full" in done.err


def test_a_disk_that_fills_half_way_is_no_success(pipe):
    """Unbuffered, Python's raw writes may stop half way: what was written was cut off, and the exit code was 0."""
    for unbuffered in ("", "1"):
        done = pipe(f"export PYTHONUNBUFFERED={unbuffered}; ulimit -f 8; sao mask --m 4096 --n 4096 > half.mtx")
        assert done.code == 2
        assert "standard output: it grew past the file-size limit" in done.err


def test_threads_limit_every_blas():
    code = (
        "from click.testing import CliRunner; from sao_cli.cli import main; import threadpoolctl\n"
        "CliRunner().invoke(main, ['plan', '--threads', '1'], catch_exceptions=False)\n"
        "import scipy.linalg\n"
        "print([pool['num_threads'] for pool in threadpoolctl.threadpool_info()])"
    )
    env = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert set(done.stdout.strip(" []\n").split(", ")) == {"1"}


def test_help_and_version(sao):
    assert sao("--version").out.startswith("sao, version ")
    for command in ("mask", "plan", "verify", "reach"):
        done = sao(command, "--help")
        assert done.code == 0
        assert "Example: sao " in done.out
    assert sao().code == 2


def test_no_threads_is_usage(expect_error):
    expect_error("plan", "--threads", 0, said="0")


def test_an_unknown_command_is_usage(expect_error):
    expect_error("vreify", said=["no command 'vreify'", "did you mean 'verify'"])
    expect_error("--nothing", said="--nothing")


def test_module_and_console_script_are_the_same():
    run = [sys.executable, "-m", "sao_cli", "plan"]
    assert b'"feasible"' in subprocess.run(run, capture_output=True, check=True).stdout


def test_a_bug_is_seventy_with_a_traceback(monkeypatch):
    monkeypatch.setattr("sao_cli.weights.plan.plan", lambda *_, **__: 1 / 0)
    done = CliRunner().invoke(main, ["plan"])
    assert done.exit_code == 70
    assert "ZeroDivisionError" in done.stderr
    assert "this is a bug" in done.stderr


class OutOfMemoryError(RuntimeError):
    """As torch's for a GPU."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), ""),
        (MemoryError("Unable to allocate 64.0 GiB"), ""),
        (
            RuntimeError(
                "[enforce fail] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
                "80000000000 bytes. Error code 12 (Cannot allocate memory)"
            ),
            " at a request for 80 GB",
        ),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:95] data. DefaultCPUAllocator: not enough memory: you tried to "
                "allocate 4096 bytes."
            ),
            " at a request for 4.1 kB",
        ),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), " at a request for 2.00 GiB"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), ""),
    ],
)
def test_memory_that_runs_out_is_one_line(monkeypatch, error, said):
    def exhaust(*_, **__):
        raise error

    monkeypatch.setattr("sao_cli.weights.plan.plan", exhaust)
    done = CliRunner().invoke(main, ["plan"])
    assert (done.exit_code, done.stderr) == (2, f"sao plan: memory ran out{said}; choose a smaller size\n")


def test_what_torch_really_says_is_known():
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_ctrl_c_in_a_long_verification(tmp_path):
    """A long thin circulant keeps Lanczos busy for a minute; SIGINT ends it with 130, one line, and no report file."""
    subprocess.run(
        [BIN / "sao", "mask", "--m", "200000", "--n", "200000", "--method", "radix", "-o", tmp_path / "a.npz"],
        check=True,
    )
    command = [BIN / "sao", "verify", tmp_path / "a.npz", "-o", tmp_path / "report.jsonl"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, preexec_fn=usual_signals, **pipes) as process:
        time.sleep(2.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert err.strip() == "sao verify: interrupted"
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def in_a_terminal(*arguments, seconds=20, **variables):
    """What `sao` writes when stdin, stdout and stderr are one terminal."""
    leader, follower = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120", **variables}
    env.pop("NO_COLOR" if "NO_COLOR" not in variables else "", None)
    process = subprocess.Popen([BIN / "sao", *arguments], stdin=follower, stdout=follower, stderr=follower, env=env)
    os.close(follower)
    shown = b""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the other side is gone
            break
        if not chunk:
            break
        shown += chunk
    os.close(leader)
    return process.wait(timeout=seconds), shown.decode()


def test_a_terminal_shows_a_summary_and_a_table():
    code, shown = in_a_terminal("mask", "--m", "64", "--n", "64")
    assert code == 0
    assert "MatrixMarket" not in shown
    assert "-o layer.mtx" in shown
    code, shown = in_a_terminal("reach", "--layers", "2")
    assert code == 0
    assert "minimum_possible" in shown
    assert '{"' not in shown


def test_colour_is_for_terminals_that_want_it(tmp_path):
    subprocess.run([BIN / "sao", "mask", "-o", tmp_path / "a.npz"], check=True)
    assert "\x1b[" in in_a_terminal("verify", tmp_path / "a.npz")[1]
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b[3" not in in_a_terminal("verify", tmp_path / "a.npz", **variables)[1]


def test_a_narrow_terminal_folds_names_and_keeps_numbers(tmp_path):
    subprocess.run([BIN / "sao", "mask", "--layers", "2", "--d", "8", "-o", tmp_path / "a.mtx"], check=True)
    _, shown = in_a_terminal("verify", tmp_path / "a.mtx", COLUMNS="80", NO_COLOR="1")
    assert "5.2915" in shown
    assert "…" not in shown


def test_progress_shows_after_a_second_and_is_cleared_before_the_result(tmp_path):
    size = ["--m", "30000", "--n", "30000", "--method", "radix"]
    subprocess.run([BIN / "sao", "mask", *size, "-o", tmp_path / "a.npz"], check=True)
    code, shown = in_a_terminal("verify", tmp_path / "a.npz", "--threads", "1", seconds=60)
    assert code == 1
    assert "lambda_2: " in shown
    before, line = shown.split("layer")[0].rsplit("\r", 1)
    assert before.endswith(" ")
    assert not line.strip()


def test_a_terminal_without_input_is_told_how():
    code, shown = in_a_terminal("verify")
    assert code == 2
    assert "pipe one in" in shown


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_a_narrow_terminal_loses_columns_and_no_digits(columns):
    methods = [
        "--method",
        "sao",
        "--method",
        "lmp",
        "--sparsity",
        "0.9",
        "--activation",
        "tanh",
        "--activation",
        "relu",
    ]
    _, shown = in_a_terminal("spectrum", "-q", *methods, COLUMNS=str(columns), NO_COLOR="1")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r", "").splitlines()
    assert max(map(len, lines)) <= columns
    assert ("sparsity" in "".join(lines)) is (columns == 140)
    rows = [line.split() for line in lines if line.strip().startswith(("sao ", "lmp "))]
    assert len(rows) == 4
    assert re.search(r"[0-9]e-[0-9]+", " ".join(rows[2])), "its p-value, whole"
