"""Runs that are killed at moments spread over them, and what must be true of what they leave.

python tests/cli/kills.py 30    (30 moments of each command, each in a process of its own from its first import on)
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from sao_cli.cli import main
from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint

TRAIN = ["train", "--depth", "3", "--width", "16", "--epochs", "2", "--jacobian-at", "none", "-q", "-o", "run"]
COMMANDS = {
    "train": TRAIN,
    "prune": ["prune", "model.safetensors", "--sparsity", "0.9", "-q", "-o", "out.safetensors"],
    "audit": ["audit", "model.safetensors", "-q", "--html", "page.html"],
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
MADE = {"prune": "out.safetensors", "audit": "page.html"}
OLD = b"what was there before"


@dataclass
class Run:
    """How a run ended: its exit code or minus the signal, and how long it took."""

    code: int
    seconds: float


def prepare(folder: Path) -> None:
    """A model in `folder` whose pruning and audit take some tenths of a second."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    write_checkpoint({f"{k}.weight": rng.normal(size=(64, 64)) for k in range(16)}, folder / "model.safetensors")


def usual_signals() -> None:
    """In a child, before its program: signals as they usually are, whatever the tests were started by.

    nohup and a shell's background have them ignored, and what is ignored at the start stays so.
    """
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_DFL)


def forked(arguments: list[str], folder: Path, sent: signal.Signals | None, after: float) -> Run:
    """The command in a fork of this process, which has loaded what it needs, killed `after` seconds."""
    start = time.monotonic()
    if (child := os.fork()) == 0:
        code = 70
        try:
            os.chdir(folder)
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            main(arguments, prog_name="sao")
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    if sent is not None:
        time.sleep(after)
        os.kill(child, sent)
    _, status = os.waitpid(child, 0)
    return Run(os.waitstatus_to_exitcode(status), time.monotonic() - start)


def whole(arguments: list[str], folder: Path, sent: signal.Signals | None, after: float) -> Run:
    """The command in a process of its own, killed `after` seconds, its imports among them."""
    start = time.monotonic()
    command = [Path(sys.executable).with_name("sao"), *arguments]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, preexec_fn=usual_signals, **pipes) as process:
        if sent is not None:
            time.sleep(after)
            process.send_signal(sent)
        _, told = process.communicate(timeout=120)
    assert b"Traceback" not in told, told.decode()
    return Run(process.returncode, time.monotonic() - start)


def kill_at_moments(name: str, folder: Path, moments: int, run=forked, seed: int = 0) -> list[tuple[str, float, int]]:
    """Kill the command at so many moments, and look at what each leaves; (signal, moment, exit code) of each.

    AssertionError for a half-written file, one that is left behind (SIGKILL apart), an exit code that tells another
    story, and a result that is another one than that of a run that was not killed.
    """
    draws = random.Random(f"{name} {seed}")
    prepare(folder / "whole")
    done = run(COMMANDS[name], folder / "whole", None, 0)
    assert done.code == 0
    found = []
    for number in range(moments):
        sent = SIGNALS[number % len(SIGNALS)]
        after = done.seconds * (number + draws.random()) / moments
        here = folder / f"{name}{number}"
        prepare(here)
        if name in MADE and number % 2:
            (here / MADE[name]).write_bytes(OLD)
        code = run(COMMANDS[name], here, sent, after).code
        # -sent: before our handlers are there, and after, in Python's own beginning and end
        assert code in (0, 128 + sent, -sent), (sent, code, after, done)
        left = list(here.rglob(".sao-*.part"))
        assert not left or sent == signal.SIGKILL, left
        (_look_at_run if name == "train" else _look_at_file)(name, here, folder / "whole", run)
        found.append((sent.name, round(after, 3), code))
    return found


def _look_at_file(name, here, reference, run):
    """The file is the old one or none, or the new one, whole; a second run makes the new one."""
    path, right = here / MADE[name], (reference / MADE[name]).read_bytes()
    assert not path.exists() or path.read_bytes() in (OLD, right)
    assert run(COMMANDS[name], here, None, 0).code == 0
    assert path.read_bytes() == right


def _look_at_run(name, here, reference, run):
    """All files are whole, and the run goes on to the same bits; a run that had not begun begins."""
    folder = here / "run"
    if (folder / "metrics.jsonl").exists():
        assert all(json.loads(line)["epoch"] >= 0 for line in (folder / "metrics.jsonl").read_text().splitlines())
    for file in folder.glob("*.safetensors"):
        with open_checkpoint(file) as checkpoint:
            assert all(checkpoint.file.read(name) is not None for name in checkpoint.file.stored)
    begun = (folder / "settings.json").exists()
    assert run(["train", "--resume", "-q", "-o", "run"] if begun else TRAIN, here, None, 0).code == 0
    assert not list(folder.glob(".sao-*.part"))
    assert {path.name for path in folder.iterdir()} == {path.name for path in (reference / "run").iterdir()}
    assert (folder / "final.safetensors").read_bytes() == (reference / "run" / "final.safetensors").read_bytes()
    assert _rows(folder) == _rows(reference / "run")


def _rows(folder):
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def by_hand() -> None:
    """Kill each command at as many moments as the command line says, and print what came of it."""
    import tempfile

    moments = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    for name in COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            found = kill_at_moments(name, Path(folder), moments, whole)
        told = sorted(Counter((sent, code) for sent, _, code in found).items())
        counts = ", ".join(f"{sent} {code}: {count}" for (sent, code), count in told)
        click.echo(f"{name}: {len(found)} moments over {found[-1][1]:.2f} s: {counts}")


if __name__ == "__main__":
    by_hand()
