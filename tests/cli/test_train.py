"""`sao train`: its rows, the folder it keeps, going on, and how it ends before its time. In this process."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from sao_cli import cli
from sao_cli.io import output as files
from sao_cli.io.checkpoints import open_checkpoint
from sao_cli.nets.training.loop import Training

from .conftest import Done

SMALL = ["--depth", 3, "--width", 16, "--epochs", 2]
KEYS = """record command version seed source
    data arch method depth width widths phase epoch epochs sparsity jacobian train_loss
    train_accuracy test_loss test_accuracy learning_rate seconds
    jacobian_dense jacobian_pruned jacobian_repaired repairs signals rare
    kappa kept compression effective effective_sparsity effective_compression collapsed_layers ties_at_threshold
    zero_scores reachable lost_inputs unreached_outputs unknown assumed reason"""


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run("--depth", 5) gives exit code, stdout and stderr, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(cli.COMMANDS, "train", "train a sparse network on real data")

    def invoke(*arguments):
        done = CliRunner().invoke(cli.main, ["train", *map(str, arguments)], prog_name="sao")
        return Done(done.exit_code, done.stdout, done.stderr)

    return invoke


@pytest.fixture
def expect_line(run, tmp_path):
    """Assert exit code 2, nothing on stdout, one line that says `said`, and no file made or changed."""

    def check(*arguments, said):
        before = content(tmp_path)
        done = run(*arguments)
        assert (done.code, done.out) == (2, ""), done
        assert done.err.count("\n") == 1, done.err
        assert done.err.startswith("sao train: ")
        assert said in done.err
        assert content(tmp_path) == before

    return check


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def timeless(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_run_keeps_its_rows_its_settings_and_its_network(run, tmp_path):
    done = run(*SMALL, "--d", 2, "-o", "run/")
    assert done.code == 0, done.err
    assert done.err == "sao train: the trained network is in run/final.safetensors\n"
    assert [(row["epoch"], row["jacobian"] is not None) for row in done.rows] == [(0, True), (1, False), (2, True)]
    assert set(done.rows[0]) == set(KEYS.split())
    assert done.rows[2]["test_accuracy"] > 0.5
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == {
        "settings.json", "metrics.jsonl", "last.safetensors", "final.safetensors"
    }  # fmt: skip
    assert [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] == done.rows
    assert json.loads((folder / "settings.json").read_text())["settings"]["learning_rate"] == 0.01
    with open_checkpoint(folder / "final.safetensors") as checkpoint:
        kinds = {entry.name: entry.kind for entry in checkpoint.entries}
        assert kinds["net.2.weight"] == "matrix"
        inner = next(entry for entry in checkpoint.entries if entry.name == "net.2.weight")
        assert (checkpoint.read(inner) != 0).sum(axis=1).tolist() == [2] * 16


def test_hidden_widths_and_random_labels_are_settings_of_the_run(run, tmp_path):
    done = run("--widths", "16x2,8", "--d", 4, "--random-labels", "--epochs", 1, "--jacobian-at", "none", "-o", "run")
    assert done.code == 0, done.err
    assert {(row["depth"], row["width"], *row["widths"]) for row in done.rows} == {(3, 16, 16, 16, 8)}
    told = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    assert (told["widths"], told["depth"], told["random_labels"]) == ([16, 16, 8], None, True)
    with open_checkpoint(tmp_path / "run" / "final.safetensors") as checkpoint:
        shapes = [entry.shape for entry in checkpoint.entries if entry.kind == "matrix"]
    assert shapes == [(16, 64), (16, 16), (8, 16), (10, 8)]
    assert run("--resume", "-o", "run", "--widths", "16,16,8").code == 0


def test_a_network_pruned_by_scores_goes_on_without_scoring_again(run, monkeypatch, tmp_path):
    asked = ["--widths", "16,16", "--method", "snip", "--sparsity", 0.9, "--prune-samples", 99, "--init", "vs-g"]
    asked += ["--isometry", "--epochs", 1, "-q"]
    whole = run(*asked, "-o", "whole")
    assert whole.code == 0, whole.err
    first = whole.rows[0]
    assert first["sparsity"] == pytest.approx(0.9, abs=1e-3)
    means = [first[f"jacobian_{step}"]["mean"] for step in ("dense", "pruned", "repaired")]
    assert means[1] < means[2]
    assert len(first["repairs"]) == 3
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*asked, "-o", "run").code == 130
    monkeypatch.setattr("sao_cli.nets.training.preparation.prune_by_scores_", None)  # not to be called
    assert run("--resume", "-o", "run", "-q").code == 0
    one, two = (tmp_path / name / "final.safetensors" for name in ("run", "whole"))
    assert one.read_bytes() == two.read_bytes()


def test_a_check_of_every_row_decides_the_exit_code(run, expect_line, tmp_path):
    asked = ["--widths", "16,16", "--method", "erk", "--sparsity", 0.997, "--epochs", 1]
    done = run(*asked, "--check", "reachable>0.5", "--check", "jacobian.m==10", "-o", "run")
    assert done.code == 1
    assert [row["epoch"] for row in done.rows] == [0, 1]
    assert "epoch 0: reachable is" in done.err
    assert "epoch 1: reachable is" in done.err
    assert "jacobian.m" not in done.err
    assert (tmp_path / "run" / "final.safetensors").exists()
    assert run(*asked, "--check", "kept==4", "-q").code == 0
    expect_line(*asked, "--check", "reach>0", said="unknown field 'reach'; did you mean")


def test_without_a_folder_nothing_is_kept(run, tmp_path):
    done = run(*SMALL, "--jacobian-at", "none")
    assert [row["epoch"] for row in done.rows] == [0, 1, 2]
    assert all(row["jacobian"] is None for row in done.rows)
    assert "nothing but the rows is kept" in done.err
    assert not list(tmp_path.iterdir())


def test_a_run_begins_at_the_edge_of_chaos_and_goes_on_there(run, tmp_path):
    asked = ["--activation", "cst", "--activation-sparsity", 0.6, "--slope", 0.5]
    whole = run(*SMALL, *asked, "-o", "whole")
    assert whole.code == 0, whole.err
    told = json.loads((tmp_path / "whole" / "settings.json").read_text())["settings"]
    assert (told["method"], told["gain"], told["q_star"]) == ("dense", told["sigma_w"], 1.0)
    assert all(told[name] > 0 for name in ("tau", "clip", "sigma_w", "sigma_b"))
    assert [len(row["signals"]["by_layer"]) for row in whole.rows] == [3, 3, 3]
    assert run(*SMALL, *asked, "-o", "whole", "--resume").code == 0  # at its end already
    (tmp_path / "half").mkdir()
    for name in ("settings.json", "last.safetensors"):
        (tmp_path / "half" / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    (tmp_path / "half" / "last.safetensors").unlink()
    assert timeless(run("--resume", "-o", "half").rows) == timeless(whole.rows)
    final = [(tmp_path / name / "final.safetensors").read_bytes() for name in ("whole", "half")]
    assert final[0] == final[1]
    table = run("--depth", 3, "--width", 16, "--epochs", 1, *asked, "--q-star", 2, "--table", "-q")
    assert "activation_sparsity" in table.out.replace("\n", "") or "signals" in table.out


def test_no_epochs_leave_the_network_as_it_was_made(run, tmp_path):
    done = run("--depth", 3, "--width", 16, "--epochs", 0, "-o", "fresh", "--method", "lmp-s", "--sparsity", 0.9)
    assert [row["epoch"] for row in done.rows] == [0]
    assert done.rows[0]["sparsity"] == pytest.approx(0.9, abs=2e-3)
    assert (tmp_path / "fresh" / "final.safetensors").exists()


def test_a_table_is_a_line_an_epoch(run):
    done = run(*SMALL, "--table", "-q")
    assert {"jacobian.", "log10_", "sigma_max"} <= set(done.out.split())
    assert done.out.count(" train ") == 3


def test_bad_requests_are_one_line(expect_line, run, tmp_path):
    expect_line("--data", "digit", said="did you mean 'digits'")
    expect_line("--width", 16, "--d", 3, "-o", "run", said="nearest feasible")
    expect_line("--method", "lmp-s", "--sparsity", 0.999999, "-o", "run", said="")
    expect_line("--method", "snip", "--d", 4, said="method 'snip' compares all layers; give it a sparsity")
    expect_line("--method", "snip", "--sparsity", 0.9, "--prune-labels", "ture", said="did you mean 'true'")
    expect_line("--widths", "9,9", "--method", "snip", "--sparsity", 0.9999999, "-o", "run", said="keeps none")
    expect_line("--isometry", said="isometry repairs what is pruned before training")
    expect_line("--init", "vs-g", said="method 'sao' has values of its own")
    expect_line("--activation", "cst", said="cst needs one of activation_sparsity and tau")
    expect_line("--activation", "sigmoid", "--q-star", 1, "-o", "run", said="sigma_b^2 would be -5.54")
    expect_line("--init", "normal", "--method", "dense", said="give init_gamma")
    expect_line("--widths", "300,x", said="'x' is no width")
    expect_line("--widths", "300,100", "--depth", 2, said="take the place of depth and width; leave depth out")
    expect_line("--arch", "lenet5", "--width", 16, said="hidden layers of 20,50,500; leave width out")
    expect_line("--milestones", "50;150", said="'50;150' is no epoch")
    expect_line("--jacobian-at", "first", said="'first' is no epoch")
    expect_line("--device", "cuda:64", "-o", "run", said="is not there")
    expect_line("--resume", said="name it by -o")
    expect_line("--resume", "-o", "none", said="it has no settings.json")
    (tmp_path / "file").write_text("x")
    expect_line("-o", "file/run", said="'file' is a file")
    assert run(*SMALL, "-o", "run").code == 0
    expect_line(*SMALL, "-o", "run", said="--resume goes on with it")
    expect_line("--resume", "-o", "run", "--epochs", 3, said="--epochs 3: the run to resume has 2")
    (tmp_path / "run" / "settings.json").write_text("{")
    expect_line("--resume", "-o", "run", said="settings.json can't be read")


def test_a_damaged_checkpoint_is_one_line(expect_line, run, tmp_path):
    assert run(*SMALL, "-o", "run").code == 0
    last = tmp_path / "run" / "last.safetensors"
    whole = last.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        last.write_bytes(whole[:size])
        expect_line("--resume", "-o", "run", said="last.safetensors")


class Killed(BaseException):
    """In the place of SIGKILL: nothing is cleaned up after it."""


@pytest.mark.parametrize("method", ["sao", "lmp-t"])
def test_a_run_killed_in_a_write_goes_on_to_the_same_end(run, monkeypatch, tmp_path, method):
    arguments = [*SMALL, "--method", method, "-q"]
    whole = run(*arguments, "-o", "whole")
    kept, replace = [], files.os.replace

    def dying(source, target):
        kept.append(target)
        if len([one for one in kept if str(one).endswith("last.safetensors")]) == 2:
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", dying)
        patch.setattr(files.os, "unlink", lambda path: None)
        with pytest.raises(Killed):
            CliRunner().invoke(cli.main, ["train", *map(str, arguments), "-o", "run"], catch_exceptions=False)
    assert list((tmp_path / "run").glob(".sao-*.part"))
    (tmp_path / "run" / "metrics.jsonl").write_text('{"half a li')
    done = run("--resume", "-o", "run", "-q")
    assert done.code == 0, done.err
    assert [row["epoch"] for row in done.rows] == [row["epoch"] for row in whole.rows][1:]
    assert not list((tmp_path / "run").glob(".sao-*.part"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert timeless(lines) == timeless(whole.rows)
    one, two = (tmp_path / name / "final.safetensors" for name in ("run", "whole"))
    assert one.read_bytes() == two.read_bytes()


def test_ctrl_c_keeps_the_last_epoch_and_says_how_to_go_on(run, monkeypatch, tmp_path):
    learn = Training._train

    def interrupted(self, epoch, before):
        if epoch == 2:
            raise KeyboardInterrupt
        return learn(self, epoch, before)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_train", interrupted)
        done = run(*SMALL, "-o", "run")
    assert done.code == 130
    assert "epoch 1 of 2 is kept; `sao train --resume -o run` goes on" in done.err
    assert not (tmp_path / "run" / "final.safetensors").exists()
    again = run("--resume", "-o", "run", "--device", "cpu")
    assert (again.code, [row["epoch"] for row in again.rows]) == (0, [2])
    complete = run("--resume", "-o", "run")
    assert (complete.code, complete.out) == (0, "")


def test_divergence_ends_with_what_is_kept(run, tmp_path):
    done = run(*SMALL, "--learning-rate", 1e30, "-o", "run", "-q")
    assert done.code == 2
    assert [row["epoch"] for row in done.rows] == [0]
    assert "so training diverged" in done.err
    assert "epoch 0 is kept in run/last.safetensors" in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run" / "final.safetensors").exists()


def test_the_same_seed_gives_the_same_network(run, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(len(list(tmp_path.iterdir())))
        np.random.seed(len(name))  # noqa: NPY002 - neither may matter
        assert run("--depth", 3, "--width", 16, "--epochs", 1, "--seed", seed, "-o", name).code == 0
    a, b, c = ((tmp_path / name / "final.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_a_network_that_fuses_goes_on_to_the_same_end_and_is_read_by_other_commands(run, tmp_path):
    asked = ["--depth", 3, "--width", 12, "--activation", "relu", "--rare", 300, "--tau-cos", 0.3, "--tau-euc", 50]
    asked += ["--check-every", 5, "--jacobian-at", "none"]
    run(*asked, "--epochs", 3, "-o", "whole")
    assert run(*asked, "--epochs", 3, "-o", "part", "--check", "rare.fusions<1").code == 1
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    told = [row["rare"] for row in rows]
    assert told[0]["fusions"] == 0 < told[3]["fusions"]
    assert told[3]["parameters"] < told[0]["parameters"]
    (tmp_path / "part" / "final.safetensors").unlink()
    done = run("--resume", "--rare", 20, "-o", "part")
    assert done.code == 2
    assert "--rare 20.0: the run to resume has 300.0; leave it out" in done.err
    run("--resume", "-o", "part")
    first, second = ((tmp_path / folder / "final.safetensors").read_bytes() for folder in ("whole", "part"))
    assert first == second
    with open_checkpoint(tmp_path / "whole") as checkpoint:
        shapes = {entry.name: entry.shape for entry in checkpoint.entries if entry.kind == "matrix"}
    assert list(shapes.values()) == [(12, 64), (12, 12), (12, 12), (10, 12)]
    assert sum(layer["fusions"] for layer in told[3]["cores"]) == told[3]["fusions"]
