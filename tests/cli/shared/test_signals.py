"""Ctrl-C, SIGTERM and SIGHUP: nothing half-written, nothing left behind, and an exit code that tells which."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sao_cli.cli import main

from ..conftest import BIN
from ..kills import usual_signals

KILLS = Path(__file__).parent.with_name("kills.py")
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": usual_signals}
WRITING = """
import sys, time
from sao_cli.cli import main
from sao_cli.cli.shared.talk import Talk
from sao_cli.io import output

def work(*_, **__):
    with output.atomic_output("out.bin") as file:
        file.write(b"half")
        file.flush()
        print("writing", flush=True)
        while True:
            time.sleep(60)

import sao_cli.weights.plan
sao_cli.weights.plan.plan = work
main(["plan"], prog_name="sao")
"""


@pytest.mark.parametrize(
    ("sent", "said"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "hung up")],
)
def test_a_signal_ends_a_write_with_nothing_left(tmp_path, sent, said):
    (tmp_path / "out.bin").write_bytes(b"old")
    command = [sys.executable, "-c", WRITING]
    with subprocess.Popen(command, cwd=tmp_path, **PIPES) as process:
        assert process.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 2
        process.send_signal(sent)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (128 + sent, "", f"sao plan: {said}\n")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    """As nohup has it, and a shell for what it runs in the background."""
    ask = "import signal; from sao_cli.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
    ask += "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, signal.getsignal(signal.SIGTERM))"
    done = subprocess.run(["nohup", sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert "True <function" in done.stdout


@pytest.mark.parametrize("module", ["click", "sao_cli.cli.shared.talk", "numpy", "sao_cli.weights.plan"])
def test_ctrl_c_while_something_is_imported(tmp_path, module):
    """It was a traceback, or exit code 1, which is a verdict: click's own word for Ctrl-C."""
    early = (
        "import os, signal, sys\n"
        "class Finder:\n"
        f"    def find_spec(self, name, *_):\n        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from sao_cli.cli import main\nmain(['plan'], prog_name='sao')\n"
    )
    done = subprocess.run([sys.executable, "-c", early], check=False, cwd=tmp_path, timeout=60, **PIPES)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr in ("", "sao: interrupted\n", "sao plan: interrupted\n")


def test_an_interrupt_from_within_is_one_too(monkeypatch):
    """As of a debugger, or in a thread that has no signals."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sao_cli.weights.plan.plan", interrupt)
    done = CliRunner().invoke(main, ["plan"], prog_name="sao")
    assert (done.exit_code, done.stderr) == (130, "sao plan: interrupted\n")


def test_sigterm_in_training_says_how_to_go_on(tmp_path):
    command = [BIN / "sao", "train", "--depth", "3", "--width", "8", "--epochs", "1000", "--jacobian-at", "none"]
    with subprocess.Popen([*command, "-o", "run"], cwd=tmp_path, **PIPES) as process:
        assert [process.stdout.readline()[:20] for _ in range(2)] == ['{"record": "epoch", '] * 2
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "of 1000 is kept; `sao train --resume -o run` goes on\nsao train: terminated\n" in err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "settings.json",
        "metrics.jsonl",
        "last.safetensors",
    }


def test_runs_that_are_killed_at_any_moment(tmp_path):
    """A dozen moments of training, pruning and auditing; kills.py has more of them by hand."""
    ask = (
        f"import sys; sys.path.insert(0, {str(KILLS.parent)!r}); import kills, pathlib\n"
        "import torch, sklearn.datasets, scipy.sparse.linalg, sao_cli.nets.training.loop, sao_cli.nets.training.data\n"
        "torch.set_num_threads(1)\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "for name in kills.COMMANDS:\n"
        "    (here / name).mkdir()\n"
        "    print(name, kills.kill_at_moments(name, here / name, 4))\n"
    )
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", ask], env=env, check=False, **PIPES)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.count("SIGKILL") == 3
