"""Real processes: one fixture runs a command line, another a bash pipe, both with stdout and stderr apart."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click.testing
import numpy as np
import pytest

from sao_cli.cli import main
from sao_cli.io.checkpoints import write_checkpoint

from ..study.clusters import dask, fragile

__all__ = ["dask", "fragile"]
BIN = Path(sys.executable).parent


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def rows(self):
        return [json.loads(line, parse_constant=_refuse) for line in self.out.splitlines()]


def _refuse(constant):
    raise ValueError(f"{constant} is not strict JSON")


def _run(arguments, stdin, cwd):
    # So that a developer's own settings change nothing.
    env = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1", "TERM": "dumb"}
    env.pop("PYTHONUNBUFFERED", None)
    feed = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run(arguments, capture_output=True, env=env, cwd=cwd, timeout=120, check=False, **feed)
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@pytest.fixture
def sao(tmp_path):
    """sao("mask", "--d", 4, stdin=b"...") in an empty folder; stdin is empty unless given."""
    return lambda *arguments, stdin=b"": _run(["sao", *map(str, arguments)], stdin, tmp_path)


@pytest.fixture
def sao_in_process(tmp_path, monkeypatch):
    """The same in this process, where torch is there already: for what it takes seconds to load."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments, stdin=b""):
        with pytest.MonkeyPatch.context() as patch:
            if stdin is subprocess.DEVNULL:
                patch.setattr("sao_cli.cli.shared.streams.has_input", lambda: False)
            given = stdin if isinstance(stdin, bytes) else b""
            done = click.testing.CliRunner().invoke(main, [*map(str, arguments)], input=given, prog_name="sao")
        return Done(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def pipe(tmp_path):
    """pipe("sao mask | sao verify") by bash, with pipefail, in an empty folder."""
    return lambda line: _run(["bash", "-o", "pipefail", "-c", line], subprocess.DEVNULL, tmp_path)


@pytest.fixture
def expect_error(sao, tmp_path):
    """Assert that a command leaves exit code 2, one line on stderr that says all of `said`, and no file behind."""

    def check(*arguments, said, stdin=b""):
        before = sorted(tmp_path.rglob("*"))
        done = sao(*arguments, stdin=stdin)
        assert done.code == 2, done
        assert done.out == ""
        assert done.err.count("\n") == 1, done.err
        assert done.err.startswith("sao")
        for text in [said] if isinstance(said, str) else said:
            assert text in done.err, done.err
        assert sorted(tmp_path.rglob("*")) == before

    return check


KNOWN_CNN = """
from torch import nn

def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.Tanh(), nn.Conv2d(4, 3, 3, stride=2, padding=1, bias=False),
        nn.Tanh(), nn.Flatten(), nn.Linear(27, 3, bias=False),
    ).double()
"""


@pytest.fixture
def on_known(tmp_path, monkeypatch):
    """on_known("prune", "a.safetensors", ..., stdin=b"..."): exit code, rows and stderr, in a folder of known networks.

    Net A and the CNN of tests/nets/scores/known_networks.py are there, their batches as .npz, and own.py:cnn.
    """
    from ..nets.scores import known_networks as known

    monkeypatch.chdir(tmp_path)
    for name, net, (x, y) in (("a", known.net_a(), known.batch_a()), ("cnn", known.cnn(), known.batch_cnn())):
        write_checkpoint({key: one.numpy() for key, one in net.state_dict().items()}, f"{name}.safetensors")
        np.savez(f"{name}.npz", x=x.numpy(), y=y.numpy())
    (tmp_path / "own.py").write_text(KNOWN_CNN)

    def run(command, *arguments, stdin=b""):
        done = click.testing.CliRunner().invoke(main, [command, *map(str, arguments)], input=stdin)
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    return run


def refused(run, folder, *arguments, said, **given):
    """Assert that `run` leaves exit code 2, one line that says all of "this|that", and no file behind in the folder."""
    before = sorted(folder.rglob("*"))
    code, rows, told = run(*arguments, **given)
    assert (code, rows, told.count("\n")) == (2, [], 1), told
    for one in said.split("|"):
        assert one in told
    assert sorted(one for one in folder.rglob("*") if "__pycache__" not in str(one)) == before


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a run of `sao train`, of two epochs on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    asked = ("--data", "digits", "--depth", "3", "--width", "16", "--epochs", "2", "--jacobian-at", "none")
    done = click.testing.CliRunner().invoke(main, ["train", *asked, "-o", str(folder)])
    assert done.exit_code == 0, done.stderr
    return folder
