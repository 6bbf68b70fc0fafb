"""`sao repair`: isometries on the masks that are there, everything else as it was."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.linalg import polar

import sao_cli.cli
from sao_cli.io.checkpoints import Lazy, open_checkpoint, write_checkpoint
from sao_cli.masks.sao import sao_mask


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


MODEL = {
    "dense.weight": normal(12, 8),
    "sparse.weight": normal(16, 16, seed=1) * sao_mask(16, 16, 4).to_dense(),
    "conv.weight": normal(4, 4, 3, 3),
    "one.weight": normal(8, 4, 1, 1, seed=2),
    "zero.weight": np.zeros((4, 4), np.float32),
    "dense.bias": normal(12),
}


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(MODEL, "model.safetensors", {"format": "pt"})
    return lambda *arguments: CliRunner().invoke(sao_cli.cli.main, ["repair", *map(str, arguments)])


def repaired(run, *arguments, model="model.safetensors"):
    done = run(model, "-o", "out.safetensors", "--json", *arguments)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    with open_checkpoint("out.safetensors") as checkpoint:
        tensors = {entry.name: checkpoint.file.read(entry.name) for entry in checkpoint.entries}
    return tensors, {row.get("name", "summary"): row for row in rows}


def test_matrices_become_isometries_of_their_own_scale(run):
    tensors, rows = repaired(run)
    for name in ("dense.weight", "sparse.weight", "one.weight"):
        before, after = MODEL[name].reshape(len(MODEL[name]), -1), tensors[name].reshape(len(MODEL[name]), -1)
        values = np.linalg.svd(after.astype(float), compute_uv=False)
        scale = np.sqrt((before.astype(float) ** 2).sum() / min(before.shape))
        np.testing.assert_allclose(values, scale, rtol=1e-5)
        assert rows[name]["gain"] == pytest.approx(scale, rel=1e-6)
        assert rows[name]["after"]["residual"] < 1e-5 < rows[name]["before"]["residual"]
        assert not after[before == 0].any()
        assert after.dtype == np.float32
    change = np.linalg.norm(tensors["dense.weight"] - MODEL["dense.weight"]) / np.linalg.norm(MODEL["dense.weight"])
    assert rows["dense.weight"]["change"] == pytest.approx(change, rel=1e-5)
    assert (rows["summary"]["repaired"], rows["summary"]["skipped_tensors"]) == (3, 2)


def test_the_gain_can_be_chosen(run):
    tensors, _ = repaired(run, "--gain", 1.5, "--include", "dense.weight")
    np.testing.assert_allclose(tensors["dense.weight"], 1.5 * polar(MODEL["dense.weight"])[0], atol=1e-6)


def test_what_is_skipped_has_its_reason_and_is_copied(run):
    tensors, rows = repaired(run)
    assert "3 x 3 convolution" in rows["conv.weight"]["reason"]
    assert "all zeros" in rows["zero.weight"]["reason"]
    for name in ("conv.weight", "zero.weight", "dense.bias"):
        assert tensors[name].tobytes() == MODEL[name].tobytes()
    with open_checkpoint("out.safetensors") as checkpoint:
        told = json.loads(checkpoint.metadata["sao"])["sparse.weight"]
    assert (told["command"], told["gain"]) == ("repair", "keep")


def test_other_masks_come_nearer_in_as_many_steps_as_allowed(run):
    rng = np.random.default_rng(0)
    write_checkpoint({"w": rng.normal(size=(32, 32)) * (rng.random((32, 32)) < 0.4)}, "random.safetensors")
    _, some = repaired(run, model="random.safetensors")
    _, one = repaired(run, "--steps", 1, model="random.safetensors")
    assert one["w"]["steps"] == 1 < some["w"]["steps"]
    residuals = [one["w"]["before"]["residual"], one["w"]["after"]["residual"], some["w"]["after"]["residual"]]
    assert residuals == sorted(residuals, reverse=True)
    assert 1 < some["w"]["after"]["effective_ones"] <= 32


def test_bfloat16_stays_bfloat16(run):
    write_checkpoint({"w": Lazy((8, 8), "bfloat16", lambda: normal(8, 8))}, "half.safetensors")
    _, rows = repaired(run, model="half.safetensors")
    with open_checkpoint("out.safetensors") as checkpoint:
        [entry] = checkpoint.entries
        assert entry.dtype == "bfloat16"
        values = np.linalg.svd(checkpoint.read(entry).astype(float), compute_uv=False)
    assert rows["w"]["after"]["sigma_min"] == pytest.approx(values[-1], rel=1e-9)


def test_a_table_shows_before_and_after(run):
    done = run("model.safetensors", "-o", "out.safetensors", "--table")
    assert done.exit_code == 0, done.output
    assert "residual" in done.stdout
    assert " -> " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gain", "0"], "'0' is no gain"),
        (["--gain", "inf"], "'inf' is no gain"),
        (["--gain", "much"], "'much' is no gain"),
        (["--steps", "0"], "0 is not in the range"),
        (["--include", "conv.*"], "nothing to repair: conv.weight: a 3 x 3 convolution"),
        (["--include", "*.bias"], "nothing to repair: dense.bias: bias"),
        (["--exclude", "nothing"], "matches none of 6 names"),
    ],
)
def test_bad_requests_are_one_line_and_write_nothing(run, tmp_path, arguments, said):
    done = run("model.safetensors", "-o", "out.safetensors", *arguments)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


def test_the_model_itself_is_not_overwritten(run):
    done = run("model.safetensors", "-o", "model.safetensors")
    assert done.exit_code == 2
    assert "which MODEL reads" in done.stderr
