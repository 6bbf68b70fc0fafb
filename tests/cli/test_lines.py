"""Every line of every report says what it is, what made it, and of what."""

import json

import pytest
from click.testing import CliRunner

from sao_cli.cli import main

HEAD = ["record", "command", "version", "seed", "source"]
BUILDING = {
    "mask --m 8 --n 8 --d 2": ["layer"],
    "weights --m 8 --n 8 --d 2": ["layer"],
    "kernel --c-out 2 --c-in 2": ["layer"],
    "plan --m 8 --n 8": ["layer"],
    "plan --cnn --depth 2": ["layer", "layer"],
    "reach --m 8 --n 8 --d 2 --layers 2": ["depth", "depth", "summary"],
    "spectrum --m 8 --n 8 --d 2": ["layer"],
    "jacobian --width 8 --d 2 --depth 2": ["depth"],
    "train --depth 2 --width 8 --epochs 0 --jacobian-at none": ["epoch"],
}
READING = {  # a mask of 8 x 8 and its weights, which the command reads
    "verify mask.mtx": ["layer"],
    "reach mask.mtx": ["depth", "summary"],
    "weights mask.mtx": ["layer"],
    "spectrum w.safetensors": ["layer"],
    "jacobian w.npz": ["depth"],
    "audit w.safetensors": ["layer", "summary"],
    "audit w.npz": ["layer", "summary"],
    "audit w.safetensors --compare old.safetensors": ["change", "summary"],
    "prune w.safetensors --all --d 1 -o out.safetensors": ["layer", "summary"],
    "reduce w.safetensors --dense -o out.safetensors": ["layer", "summary"],
    "repair w.safetensors -o out.safetensors": ["layer", "summary"],
}


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """rows("verify mask.mtx") are the lines that it prints."""
    monkeypatch.chdir(tmp_path)

    def run(command):
        done = CliRunner().invoke(main, [*command.split(), "-q"], catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def files(rows):
    rows("mask --m 8 --n 8 --d 2 --seed 7 -o mask.mtx")
    for name in ("w.safetensors", "w.npz", "old.safetensors"):
        rows(f"weights mask.mtx -o {name}")


@pytest.mark.parametrize(("command", "records"), BUILDING.items(), ids=str)
def test_what_options_build_has_no_source(rows, command, records):
    found = rows(f"{command} --json")
    assert [row["record"] for row in found] == records
    assert all(list(row)[:5] == HEAD and "provenance" not in row for row in found)
    assert {row["source"] for row in found} == {None}
    assert {row["command"] for row in found} == {command.split()[0]}


@pytest.mark.parametrize(("command", "records"), READING.items(), ids=str)
def test_what_is_read_has_its_source_and_tells_its_origin(rows, files, command, records):
    found = rows(f"{command} --json --seed 3")
    assert [row["record"] for row in found] == records
    assert all(list(row)[:5] == HEAD for row in found)
    assert {row["source"] for row in found} == {command.split()[1]}
    assert {row["seed"] for row in found} == {3}
    for row in found:
        told = row.get("provenance")
        assert (told and (told["method"], told["seed"], told["d"])) == (
            ("sao", 7, 2) if row["record"] in ("layer", "depth") else None
        )


def test_a_pipe_is_a_source_and_a_foreign_file_tells_no_origin(rows, pipe, tmp_path):
    [row] = pipe("sao mask --m 8 --n 8 --d 2 | sao verify").rows
    assert (row["source"], row["provenance"]["command"]) == ("-", "mask")
    (tmp_path / "foreign.mtx").write_text("%%MatrixMarket matrix coordinate pattern general\n2 2 2\n1 1\n2 2\n")
    [row] = rows("verify foreign.mtx --criterion paper")
    assert (row["source"], "provenance" in row) == ("foreign.mtx", False)
