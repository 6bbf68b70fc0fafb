"""An audit on a real Dask cluster: the bytes of this process, whichever worker dies, and a file that none sees."""

import json
import signal

import numpy as np
import pytest

import sao_cli
from sao_cli.base.errors import ExecutorError
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.study.executors import executor


def printed(run, *arguments):
    done = run("audit", *map(str, arguments))
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.fixture
def run():
    from click.testing import CliRunner

    from sao_cli.cli import main

    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_an_audit_on_a_cluster_gives_the_bytes_of_this_process(dask, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)  # relative paths are the client's
    rng = np.random.default_rng(0)
    layers = {f"net.{2 * k}.weight": rng.normal(size=(40, 40)).astype(np.float32) for k in range(8)}
    write_checkpoint(layers, "model.safetensors")
    asked = ("model.safetensors", "--json")
    here = printed(run, *asked)
    page, other = tmp_path / "here.html", tmp_path / "there.html"
    assert printed(run, *asked, "--html", page) == here
    assert printed(run, *asked, "--cluster", dask.address, "--html", other) == here
    assert _data(page) == _data(other)
    with executor(cluster=dask.address) as cluster:
        audit = sao_cli.audit_checkpoint("model.safetensors", executor=cluster)
        first = next(iter(audit))
        dask.workers[0].send_signal(signal.SIGKILL)
        rows = [json.loads(line) for line in here.splitlines()]
        assert [row.sigma_max for row in audit] == [row["sigma_max"] for row in rows if row["record"] == "layer"]
        assert audit.rows[0] is first
        unseen = sao_cli.audit_checkpoint("model.safetensors", executor=cluster)
        (tmp_path / "model.safetensors").rename(tmp_path / "gone")
        with pytest.raises(
            ExecutorError, match=r"worker tcp://.*can't read model\.safetensors: no such file; .*; what jobs"
        ):
            unseen.rows  # noqa: B018


def _data(page):
    """The page without the command that made it."""
    return [line for line in page.read_text().splitlines() if "--html" not in line]
