"""The folder of a run of `sao train` as a checkpoint: its trained network, or one line on how to get there."""

import json
import shutil

import click.testing
import pytest
from safetensors.numpy import load_file

from sao_cli.base.errors import FileError
from sao_cli.cli import main
from sao_cli.io.checkpoints import open_checkpoint


def run(*arguments):
    done = click.testing.CliRunner().invoke(main, [*map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_a_run_is_its_trained_network(trained):
    with open_checkpoint(trained) as checkpoint:
        names = [entry.name for entry in checkpoint.entries]
        assert checkpoint.name == str(trained / "final.safetensors")
    assert sorted(names) == sorted(load_file(trained / "final.safetensors"))
    _, of_run, _ = run("audit", trained)
    _, of_file, _ = run("audit", trained / "final.safetensors")
    rows, same = (
        [{key: value for key, value in json.loads(line).items() if key != "source"} for line in text.splitlines()]
        for text in (of_run, of_file)
    )
    assert rows == same
    assert [row["layer_names"] for row in rows if row["record"] == "chain"] == [
        [f"net.{place}.weight" for place in (0, 2, 4, 6)]
    ]


def test_a_run_is_pruned_and_not_written_over(trained, tmp_path):
    code, _, told = run("prune", trained, "--sparsity", 0.8, "-o", tmp_path / "out.safetensors")
    assert code == 0, told
    code, _, told = run("prune", trained, "--sparsity", 0.5, "-o", trained / "final.safetensors")
    assert code == 2
    assert "would write over" in told


@pytest.mark.parametrize("left", [("settings.json", "metrics.jsonl"), ("settings.json", "last.safetensors")])
def test_a_run_that_is_not_finished(trained, tmp_path, left):
    for name in left:
        shutil.copy(trained / name, tmp_path / name)
    with pytest.raises(
        FileError, match=rf"not finished, without final.safetensors; `sao train --resume -o {tmp_path}`"
    ):
        open_checkpoint(tmp_path)
    code, out, told = run("audit", tmp_path)
    assert (code, out, told.count("\n")) == (2, "", 1)
    assert "is a run that is not finished" in told
