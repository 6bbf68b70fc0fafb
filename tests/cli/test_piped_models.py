"""A checkpoint through a pipe: what reads it, as the file itself is read; and what is refused of one."""

import json
import subprocess

import click.testing
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sao_cli.base.errors import FormatError, MemoryLimitError
from sao_cli.cli import main
from sao_cli.io.checkpoints import open_checkpoint

NETS = "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))\n"
MODULE = ("--module", "nets.py:net", "--example", "1x6")
ROWS = {
    "audit": (),
    "prune": ("--sparsity", 0.5, "--all", "-o", "out.safetensors"),
    "repair": ("-o", "out.safetensors"),
}


@pytest.fixture
def files(tmp_path):
    """The same network in every format of one file; and a folder to run in."""
    torch.manual_seed(0)
    state = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).state_dict()
    (tmp_path / "nets.py").write_text(NETS)
    save_file(state, tmp_path / "m.safetensors")
    torch.save(state, tmp_path / "m.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "m.npz", **{name: tensor.numpy() for name, tensor in state.items()})
    np.save(tmp_path / "m.npy", state["0.weight"].numpy())
    return tmp_path


@pytest.fixture
def run(files, monkeypatch):
    """run("audit", stdin=b"..."): exit code, rows and stderr, in this process."""
    monkeypatch.chdir(files)

    def of(*arguments, stdin=b""):
        done = click.testing.CliRunner().invoke(main, [*map(str, arguments)], input=stdin)
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    return of


def without_source(rows):
    return [{key: value for key, value in row.items() if key != "source"} for row in rows]


@pytest.mark.parametrize("name", ["m.safetensors", "m.pt", "old.pt", "m.npz"])
@pytest.mark.parametrize("command", ["audit", "prune", "repair"])
def test_rows_of_a_pipe_are_those_of_the_file(run, files, command, name):
    _, of_file, _ = run(command, name, *ROWS[command])
    written = (files / "out.safetensors").read_bytes() if command != "audit" else b""
    code, piped, told = run(command, "-", *ROWS[command], stdin=(files / name).read_bytes())
    assert (code, told) == (0, "")
    assert {row["source"] for row in piped} == {"-"}
    assert without_source(piped) == without_source(of_file)
    if written:
        assert (files / "out.safetensors").read_bytes() == written


def test_several_jobs_read_one_pipe(run, files):
    whole = (files / "m.safetensors").read_bytes()
    assert run("audit", "--jobs", 4, stdin=whole) == run("audit", stdin=whole)


def test_one_array(run, files):
    _, (row, _), _ = run("audit", "-", stdin=(files / "m.npy").read_bytes())
    assert (row["name"], row["shape"]) == ("standard input", [8, 6])


def test_pruned_and_audited_in_one_pipe(pipe, files):
    prune = "sao prune m.pt -o - --method gmp --sparsity .9 --all"
    row = pipe(f"{prune} | sao audit -").rows[-1]
    assert (row["record"], row["source"]) == ("summary", "-")
    assert row["overall_sparsity"] == pytest.approx(1 - 8 / 80)


def test_each_command_stands_in_a_pipe(pipe, files):
    first, last = "sao prune -o - --sparsity .5 --all", "sao prune - -o - --sparsity .75 --all"
    done = pipe(f"{first} < m.safetensors | sao repair - -o - | {last} | sao audit")
    assert (done.code, done.err) == (0, "")
    assert done.rows[-1]["overall_sparsity"] == 0.75


def test_a_module_reads_the_weights_on_stdin(run, files):
    for command in ("audit", "reach"):
        _, of_file, _ = run(command, "m.safetensors", *MODULE)
        code, piped, told = run(command, *MODULE, stdin=(files / "m.safetensors").read_bytes())
        assert (code, told) == (0, "")
        assert without_source(piped) == without_source(of_file)
        assert {row["source"] for row in piped} == {"-"}


def test_the_page_names_standard_input(run, files):
    code, _, _ = run("audit", "--html", "page.html", stdin=(files / "m.safetensors").read_bytes())
    assert code == 0
    assert "<title>Audit of standard input</title>" in (files / "page.html").read_text()


@pytest.mark.parametrize("command", ["audit", "prune", "repair"])
@pytest.mark.parametrize(
    ("name", "cut", "said"),
    [
        ("m.safetensors", 0, "standard input: it is empty"),
        ("m.safetensors", 40, "the input ends after"),
        ("m.safetensors", -1, "tensor 2.weight: cut off: the file ends 1 byte before"),
        ("m.pt", -100, "a zip archive (.npz or .pt) that is damaged or cut off"),
        ("old.pt", -1, "cut off"),
        ("m.npz", -1, "a zip archive (.npz or .pt) that is damaged or cut off"),
        ("m.npy", -1, "cut off: the input ends 1 byte before the array does"),
        ("nets.py", None, "found b'from torch impor' at its start"),
    ],
)
def test_a_broken_pipe_is_one_line(run, files, command, name, cut, said):
    code, rows, told = run(command, "-", *ROWS[command], stdin=(files / name).read_bytes()[:cut])
    assert (code, rows, told.count("\n")) == (2, [], 1)
    assert "standard input" in told
    assert said in told
    assert not (files / "out.safetensors").exists()


@pytest.mark.parametrize("command", ["audit", "prune", "repair"])
def test_no_input(expect_error, run, files, command):
    expect_error(command, *ROWS[command], said="cat model.safetensors | sao", stdin=subprocess.DEVNULL)
    assert "standard input: it is empty" in run(command, *ROWS[command])[2]


def test_what_no_pipe_can_be(run, files):
    said = {
        "names files beside it": run("audit", stdin=b'{"weight_map": {"a": "m.safetensors"}}'),
        "both are standard input": run("audit", "-", "--compare", "-"),
        "the input ends after 1": run("audit", stdin=b"%%MatrixMarket matrix coordinate real general\n1 1 2\n1 1 1\n"),
        "the compressed data is damaged": run("audit", stdin=b"\x1f\x8b and so on"),
        "standard input: it is empty": run("audit", *MODULE),
    }
    for text, (code, rows, told) in said.items():
        assert (code, rows, told.count("\n")) == (2, [], 1)
        assert text in told


def test_the_file_on_stdin_is_not_written_over(files, pipe):
    before = (files / "m.safetensors").read_bytes()
    for command in ("prune --sparsity .5", "repair -"):
        done = pipe(f"sao {command} -o m.safetensors < m.safetensors")
        assert done.code == 2
        assert "would write over the file on standard input" in done.err
    assert pipe("sao audit --html m.safetensors < m.safetensors").code == 2
    assert (files / "m.safetensors").read_bytes() == before


def test_more_than_the_limit_is_refused(files, monkeypatch):
    monkeypatch.setattr("sao_cli.io.source.PIPED_LIMIT", 100)
    with (files / "m.safetensors").open("rb") as file:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": file}))
        with pytest.raises(FormatError, match="more than 4 GiB of what is held as a whole; save it"):
            open_checkpoint("-")


def test_a_copy_that_would_not_fit_is_refused(files, monkeypatch):
    monkeypatch.setattr("sao_cli.io.source.CHUNK", 1)
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 50)
    with (files / "m.safetensors").open("rb") as file:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": file}))
        with pytest.raises(MemoryLimitError, match="a copy of the input"):
            open_checkpoint("-")
