"""Checkpoints where a stack is read: by verify, spectrum, reach and weights, from files, folders, runs and pipes."""

import gzip
import json
import subprocess
import sys

import click.testing
import numpy as np
import pytest
from safetensors.numpy import load_file

from sao_cli import Matrix, mask_stack, read_stack, write_matrices
from sao_cli.cli import main
from sao_cli.io.checkpoints import write_checkpoint

RNG = np.random.default_rng(0)
SPARSE = [mask.to_dense() * RNG.normal(size=mask.shape) for mask in mask_stack([16, 16, 16, 16], d=4)]
NET = {f"net.{2 * place}.weight": weight for place, weight in enumerate(SPARSE)}
NET |= {f"net.{2 * place}.bias": np.ones(16) for place in range(3)}
SOURCES = ("command", "source", "name", "provenance", "method")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run("verify", ..., stdin=b"..."): exit code, rows and stderr, in this process and a folder with NET in it."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(NET, "net.safetensors")
    write_matrices([Matrix.from_dense(weight) for weight in SPARSE], "net.mtx")

    def of(*arguments, stdin=b""):
        done = click.testing.CliRunner().invoke(main, [*map(str, arguments)], input=stdin)
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    return of


def facts(rows):
    return [{key: value for key, value in row.items() if key not in SOURCES} for row in rows]


@pytest.mark.parametrize("command", ["verify", "spectrum", "reach"])
def test_a_checkpoint_is_the_stack_of_its_matrices(run, command, tmp_path):
    code, rows, told = run(command, "net.safetensors")
    of_stack = run(command, "net.mtx")
    assert (code, facts(rows)) == (of_stack[0], facts(of_stack[1]))
    assert "left out of net.safetensors, as no weights: bias (3)" in told
    assert ("a plain stack is assumed" in told) is (command == "reach")
    whole = (tmp_path / "net.safetensors").read_bytes()
    for piped in (run(command, "-", stdin=whole), run(command, stdin=whole)):
        assert facts(piped[1]) == facts(rows)
        assert {row["source"] for row in piped[1]} == {"-"}
    if command != "reach":
        assert [row["name"] for row in rows] == ["net.0.weight", "net.2.weight", "net.4.weight"]
        assert {row["name"] for row in of_stack[1]} == {None}


@pytest.mark.parametrize("command", ["verify", "spectrum", "reach"])
def test_names_and_patterns_pick_the_layers(run, command):
    names = ("net.4.weight", "net.0.weight")
    by_name = run(command, "net.safetensors", *(word for name in names for word in ("--tensor", name)))
    write_matrices([Matrix.from_dense(NET[name]) for name in names], "two.mtx")
    assert facts(by_name[1]) == facts(run(command, "two.mtx")[1])
    by_pattern = run(command, "net.safetensors", "--exclude", "net.4.*")
    write_matrices([Matrix.from_dense(weight) for weight in SPARSE[:2]], "two.mtx")
    assert facts(by_pattern[1]) == facts(run(command, "two.mtx")[1])


def test_a_run_is_a_stack(run, trained):
    _, rows, _ = run("reach", trained)
    final = load_file(trained / "final.safetensors")
    write_matrices([Matrix.from_dense(final[f"net.{place}.weight"]) for place in (0, 2, 4, 6)], "run.mtx")
    assert facts(rows) == facts(run("reach", "run.mtx")[1])
    assert len(run("verify", trained)[1]) == 4


def test_masks_of_a_checkpoint_get_values(run):
    masks = {f"net.{2 * place}.weight": weight != 0 for place, weight in enumerate(SPARSE)}
    write_checkpoint(masks, "masks.safetensors")
    code, _, told = run("weights", "masks.safetensors", "-o", "made.safetensors", "--json")
    assert code == 0, told
    made = read_stack("made.safetensors")
    for weight, mask in zip(made, masks.values(), strict=True):
        np.testing.assert_array_equal(weight.mask.to_dense(), mask)
        np.testing.assert_allclose(weight.to_dense() @ weight.to_dense().T, np.eye(16), atol=1e-12)
    code, _, told = run("weights", "net.safetensors")
    assert (code, told.count("\n")) == (2, 1)
    assert "holds weights already" in told
    assert "--values isometry" in told


def test_the_pattern_of_weights_gets_the_values_that_are_asked_for(run):
    code, _, told = run("weights", "net.safetensors", "--values", "normal", "-o", "made.safetensors", "--json")
    assert code == 0
    assert "own values are left out, of 3 layers" in told
    for weight, before in zip(read_stack("made.safetensors"), SPARSE, strict=True):
        np.testing.assert_array_equal(weight.to_dense() != 0, before != 0)
        assert not np.allclose(weight.to_dense(), before)


@pytest.mark.parametrize("name", ["net.mtx", "net.mtx.gz", "net.npz", "net.safetensors.gz"])
@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("audit", ()),
        ("rank", ()),
        ("sensitivity", ("--method", "synflow")),
        ("prune", ("--sparsity", 0.9, "--all", "-o", "new.safetensors")),
        ("repair", ("-o", "new.safetensors")),
        ("reduce", ("--dense", "-o", "new.safetensors")),
    ],
)
def test_a_stack_in_any_format_is_a_model(run, name, command, asked, tmp_path):
    write_matrices([Matrix.from_dense(weight) for weight in SPARSE], name if name.startswith("net.m") else "net.npz")
    write_matrices([Matrix.from_dense(weight) for weight in SPARSE], "same.safetensors")
    (tmp_path / "net.safetensors.gz").write_bytes(gzip.compress((tmp_path / "same.safetensors").read_bytes()))
    code, rows, told = run(command, name, *asked)
    assert code == 0, told
    assert len(rows) > 3
    assert facts(rows) == facts(run(command, "same.safetensors", *asked)[1])
    assert facts(run(command, *asked, stdin=(tmp_path / name).read_bytes())[1]) == facts(rows)


def test_arrays_that_savez_numbers_are_a_stack(run):
    np.savez("arrays.npz", *SPARSE)
    assert facts(run("reach", "arrays.npz")[1]) == facts(run("reach", "net.mtx")[1])


def test_layers_of_text_have_names(run):
    _, [row], _ = run("spectrum", "net.mtx", "--tensor", "layer.2")
    assert row["sigma_max"] == pytest.approx(np.linalg.norm(SPARSE[1], 2))
    assert [row["name"] for row in run("verify", "net.mtx", "--exclude", "layer.2")[1]] == ["layer.1", "layer.3"]
    packed = gzip.compress(gzip.compress(b"%%MatrixMarket matrix coordinate pattern general\n1 1 1\n1 1\n"))
    code, _, told = run("audit", stdin=packed)
    assert (code, told.count("\n")) == (2, 1)
    assert "expected Matrix Market text" in told


def test_matrices_and_kernels_in_one_checkpoint(run):
    conv, wide = RNG.normal(size=(4, 3, 3, 3)), RNG.normal(size=(5, 16))
    named = {"net.0.weight": conv, "net.0.bias": np.ones(4), "net.2.weight": wide, "net.2.bias": np.ones(5)}
    write_checkpoint(named, "conv.safetensors")
    code, rows, _ = run("spectrum", "conv.safetensors", "--image", 4)
    assert code == 0
    assert [(row["layer"], row["name"], row["m"]) for row in rows] == [(1, "net.0.weight", 64), (2, "net.2.weight", 5)]
    assert rows[1]["sigma_max"] == pytest.approx(np.linalg.norm(wide, 2))
    _, [alone], _ = run("spectrum", "conv.safetensors", "--image", 4, "--tensor", "net.0.weight")
    assert rows[0]["sigma_max"] == alone["sigma_max"]
    code, rows, told = run("reach", "conv.safetensors")
    assert [(row["inputs"], row["outputs"], row["reachable"]) for row in rows[:2]] == [(3, 16, 1), (3, 5, 1)]
    code, rows, told = run("spectrum", "conv.safetensors")
    assert (code, told.count("\n")) == (2, 1)
    assert "--image 32" in told


@pytest.mark.parametrize("command", ["reach", "weights"])
def test_no_order_is_one_line_with_the_way_out(run, command):
    write_checkpoint({"fc.weight": np.eye(4), "conv.weight": np.eye(4), "fc.bias": np.ones(4)}, "named.safetensors")
    code, rows, told = run(command, "named.safetensors")
    assert (code, rows, told.count("\n")) == (2, [], 1)
    assert "its 2 weights are no plain stack: the names do not tell where conv.weight runs; --tensor NAME" in told
    assert ("--module FILE.py:NAME tells" in told) is (command == "reach")
    for name in ("verify", "spectrum"):
        assert [row["name"] for row in run(name, "named.safetensors")[1]] == ["conv.weight", "fc.weight"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("reach", "--include", "net.*", "--d", 4), "--include chooses from a file"),
        (("verify", "net.mtx", "--include", "net.*"), "the nearest are layer.1"),
        (("verify", "net.safetensors", "--tensor", "net.0.weight", "--include", "*"), "give one of them"),
        (("verify", "net.safetensors", "--include", "nat.*"), "matches none of 6 names; the nearest are net."),
        (("reach", "net.safetensors", "-o", "net.safetensors"), "which FILE reads"),
        (("reach", "net.safetensors", "--exclude", "net.2.*"), "net.2.weight runs between them, and is left out"),
    ],
)
def test_what_can_t_be_picked(run, arguments, said):
    code, rows, told = run(*arguments)
    assert (code, rows, told.count("\n")) == (2, [], 1)
    assert said in told


def test_a_stream_of_matrices_needs_no_checkpoint(tmp_path):
    """So that it starts as fast as it did."""
    call = "main(['verify', '-'], standalone_mode=False); print(sorted(sys.modules), file=sys.stderr)"
    code = f"import sys; from sao_cli.cli import main; {call}"
    stack = b"%%MatrixMarket matrix coordinate pattern general\n2 2 2\n1 1\n2 2\n"
    done = subprocess.run([sys.executable, "-c", code], input=stack, capture_output=True, check=False)
    assert b"'sao_cli.models.stack'" in done.stderr
    for name in (b"sao_cli.io.checkpoints.checkpoint", b"sao_cli.io.checkpoints.structure", b"sao_cli.models.select"):
        assert name not in done.stderr
