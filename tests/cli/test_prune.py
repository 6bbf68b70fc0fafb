"""`sao prune`: what it keeps, what it copies, what it tells, and what it refuses."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import sao_cli.cli
from sao_cli.io.checkpoints import Lazy, open_checkpoint, write_checkpoint


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def in_bfloat16(array):
    return (array.view(np.uint32) & 0xFFFF0000).view(np.float32)


MODEL = {
    "_first.weight": normal(16, 12),
    "a.weight": normal(16, 16, seed=1),
    "a.bias": np.array([np.nan, np.inf, -0.0], np.float32),
    "b.weight": 3 * normal(16, 32, seed=2),
    "conv.weight": normal(8, 16, 3, 3, seed=3),
    "half.weight": in_bfloat16(normal(8, 16, seed=4)),
    "odd.weight": normal(15, 16, seed=5),
    "z_last.weight": normal(4, 16, seed=6),
    "steps": np.array(7, np.int64),
}
PRUNED = ("a.weight", "b.weight", "conv.weight", "half.weight", "odd.weight")


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tensors = MODEL | {"half.weight": Lazy((8, 16), "bfloat16", lambda: MODEL["half.weight"])}
    write_checkpoint(tensors, "model.safetensors", {"format": "pt"})
    return lambda *arguments: CliRunner().invoke(sao_cli.cli.main, ["prune", *map(str, arguments)])


def pruned(run, *arguments, model="model.safetensors"):
    """The tensors by name, and the rows."""
    done = run(model, "-o", "out.safetensors", "--json", *arguments)
    assert done.exit_code == 0, done.output
    with open_checkpoint("out.safetensors") as checkpoint:
        tensors = {entry.name: checkpoint.read(entry) for entry in checkpoint.entries if entry.kind != "skipped"}
    return tensors, [json.loads(line) for line in done.stdout.splitlines()]


def refused(run, *arguments):
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_two_of_four_inputs_stay(run):
    tensors, rows = pruned(run, "--method", "nm", "--pattern", "2:4")
    for name in PRUNED:
        groups = tensors[name].reshape(len(tensors[name]), -1, 4, tensors[name][0, 0].size)
        assert (np.count_nonzero(groups, axis=2) == 2).all()
    assert rows[-1]["asked_sparsity"] == rows[-1]["sparsity"] == 0.5
    told = {row["name"]: row for row in rows if row["record"] == "layer"}
    assert {told[name]["after"]["nnz"] / told[name]["before"]["nnz"] for name in PRUNED} == {0.5}
    with open_checkpoint("out.safetensors") as checkpoint:
        assert '"pattern": "2:4"' in checkpoint.metadata["sao"]
    audited = CliRunner().invoke(sao_cli.cli.main, ["audit", "out.safetensors", "--include", "[a-y]*.weight", "--json"])
    assert {json.loads(line)["nm"] for line in audited.stdout.splitlines() if '"m": ' in line} == {"2:4"}
    asked = ("model.safetensors", "-o", "x.safetensors")
    assert "--sparsity: the --pattern of nm says" in refused(run, *asked, "-s", 0.5, "--method", "nm")
    assert "is of method nm, and lmp has none" in refused(run, *asked, "--pattern", "2:4")
    assert "is no N:M pattern" in refused(run, *asked, "--pattern", "4:2")


def test_local_magnitudes_keep_the_largest_of_each(run):
    tensors, rows = pruned(run, "--sparsity", 0.75, "--no-facts")
    for name in ("a.weight", "b.weight", "half.weight", "odd.weight"):
        dense = MODEL[name]
        least = np.sort(np.abs(dense), axis=None)[-round(dense.size / 4)]
        np.testing.assert_array_equal(tensors[name], np.where(np.abs(dense) >= least, dense, 0))
    norms = np.linalg.norm(MODEL["conv.weight"], axis=(2, 3))
    live = norms >= np.sort(norms, axis=None)[-32]
    np.testing.assert_array_equal(tensors["conv.weight"], MODEL["conv.weight"] * live[..., None, None])
    assert rows[-1]["pruned"] == 5
    assert rows[-1]["sparsity"] == 0.75


def test_global_magnitudes_are_compared_over_all_weights(run):
    names = ("a.weight", "b.weight", "half.weight", "odd.weight")
    tensors, rows = pruned(run, "--sparsity", 0.9, "--method", "gmp", "--exclude", "conv.*", "--no-facts")
    flat = np.concatenate([np.abs(MODEL[name]).reshape(-1) for name in names])
    least = np.sort(flat)[-round(0.1 * flat.size)]
    for name in names:
        np.testing.assert_array_equal(tensors[name], np.where(np.abs(MODEL[name]) >= least, MODEL[name], 0))
    assert rows[-1]["nnz"] == round(0.1 * flat.size)


def test_global_pruning_of_equal_magnitudes_keeps_the_first_and_warns_of_collapse(run):
    write_checkpoint({name: np.ones((4, 4)) for name in "xyz"}, "ones.safetensors")
    done = run("ones.safetensors", "-o", "out.safetensors", "--method", "gmp", "--d", 2, "--all", "--sparsity", 0.5)
    assert done.exit_code == 2
    done = run("ones.safetensors", "-o", "out.safetensors", "--method", "gmp", "--sparsity", 0.5, "--all", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["after"]["nnz"] for row in rows[:3]] == [16, 8, 0]
    told = "nothing is left of z: layer collapse, unless signals pass beside it, which --module FILE.py:NAME tells;"
    assert told in done.stderr


def test_random_pruning_follows_the_seed(run):
    one, _ = pruned(run, "--sparsity", 0.5, "--method", "lrp", "--no-facts")
    two, _ = pruned(run, "--sparsity", 0.5, "--method", "lrp", "--no-facts", "--include", "b.*")
    other, _ = pruned(run, "--sparsity", 0.5, "--method", "lrp", "--no-facts", "--seed", 1)
    np.testing.assert_array_equal(one["b.weight"], two["b.weight"])
    assert (one["b.weight"] != other["b.weight"]).any()
    assert np.count_nonzero(other["b.weight"]) == 256


def test_sao_masks_are_sao_masks_and_those_without_one_are_skipped(run):
    tensors, rows = pruned(run, "--sparsity", 0.75, "--method", "sao")
    told = {row["name"]: row for row in rows[:-1]}
    for name in ("a.weight", "b.weight", "half.weight", "conv.weight"):
        after = told[name]["after"]
        assert after["biregular"]
        assert after["components"] == 4
        assert told[name]["d"] == MODEL[name].shape[1] // 4
        assert after["sparsity"] == 0.75
        share = (tensors[name].astype(float) ** 2).sum() / (MODEL[name].astype(float) ** 2).sum()
        assert told[name]["kept_norm"] == pytest.approx(share, rel=1e-6)
        assert 0.3 < told[name]["kept_norm"] <= told[name]["kept_norm_bound"] < 1
    assert told["odd.weight"]["skipped"]
    assert "gcd(15, 16) = 1" in told["odd.weight"]["reason"]
    np.testing.assert_array_equal(tensors["odd.weight"], MODEL["odd.weight"])


def test_facts_before_and_after_are_the_audits(run):
    tensors, rows = pruned(run, "--sparsity", 0.5, "--include", "a.weight")
    [row] = rows[:-1]
    for when, dense in (("before", MODEL["a.weight"]), ("after", tensors["a.weight"])):
        values = np.linalg.svd(dense.astype(float), compute_uv=False)
        assert row[when]["sigma_max"] == pytest.approx(values[0], rel=1e-5)
        assert row[when]["sigma_min"] == pytest.approx(values[-1], rel=1e-3)
        assert row[when]["dead_inputs"] == int((dense == 0).all(axis=0).sum())


def test_all_else_is_copied_byte_for_byte_with_names_and_metadata(run):
    pruned(run, "--sparsity", 0.5, "--no-facts")
    with open_checkpoint("out.safetensors") as checkpoint, open_checkpoint("model.safetensors") as before:
        assert [(one.name, one.dtype) for one in checkpoint.entries] == [
            (one.name, one.dtype) for one in before.entries
        ]
        for name in ("_first.weight", "z_last.weight", "a.bias", "steps"):
            assert checkpoint.file.read(name).tobytes() == MODEL[name].tobytes()
        assert checkpoint.metadata["format"] == "pt"
        told = json.loads(checkpoint.metadata["sao"])
    assert set(told) == set(PRUNED)
    assert (told["a.weight"]["command"], told["a.weight"]["sparsity"]) == ("prune", 0.5)


def test_the_ends_stay_dense_unless_all_is_said(run):
    _, rows = pruned(run, "--sparsity", 0.5, "--no-facts")
    reasons = {row["name"]: row["reason"] for row in rows[:-1] if "reason" in row}
    assert reasons.keys() == {"_first.weight", "z_last.weight"}
    _, rows = pruned(run, "--sparsity", 0.5, "--no-facts", "--all")
    assert [row["name"] for row in rows[:-1]] == [name for name in MODEL if name.endswith("weight")]


def test_pruned_pairs_become_one_tensor_under_the_files_own_names(run):
    import torch

    mask = (np.arange(256).reshape(16, 16) % 2).astype(np.float32)
    state = {"module.a.weight_orig": MODEL["a.weight"], "module.a.weight_mask": mask, "module.b.weight": normal(4, 4)}
    saved = {
        "state_dict": {name: torch.from_numpy(one) for name, one in state.items()},
        "optimizer": {"x": torch.ones(2)},
    }
    torch.save(saved, "wrapped.pt")
    done = run("wrapped.pt", "-o", "out.safetensors", "--sparsity", 0.75, "--all", "--include", "a.*", "--json")
    assert done.exit_code == 0, done.output
    assert "1 weight that several tensors made" in done.stderr
    assert "left out: optimizer state" in done.stderr
    with open_checkpoint("out.safetensors") as checkpoint:
        assert list(checkpoint.file.stored) == ["module.a.weight", "module.b.weight"]
        weight = checkpoint.read(checkpoint.entries[0])
    assert np.count_nonzero(weight) == 64
    assert not weight[mask == 0].any()


def test_a_table_shows_before_and_after_and_no_escapes(run):
    write_checkpoint({"one": normal(8, 8), "\x1b[31mtwo": normal(8, 8)}, "names.safetensors")
    done = run("names.safetensors", "-o", "out.safetensors", "--sparsity", 0.5, "--all", "--table")
    assert done.exit_code == 0, done.output
    assert "0 -> 0.5" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sparsity", 1], "sparsity 1.0 is outside"),
        (["--sparsity", -0.1], "outside 0 <= sparsity < 1"),
        (["--sparsity", "nan"], "outside 0 <= sparsity < 1"),
        ([], "give --sparsity or --d"),
        (["--d", 2, "--sparsity", 0.5], "give --sparsity or --d"),
        (["--d", 0], "--d 0"),
        (["--sparsity", 0.5, "--method", "loo"], "unknown method 'loo'"),
        (["--sparsity", 0.5, "--include", "c.weight"], "matches none of 9 names"),
        (["--sparsity", 0.5, "--include", "_first.*"], "the first weight in the order of names, kept dense; --all"),
        (["--sparsity", 0.75, "--method", "sao", "--include", "odd.*"], "nothing to prune: odd.weight: no SAO mask"),
        (["--d", 17, "--include", "a.weight"], "d = 17"),
    ],
)
def test_bad_requests_are_one_line_and_write_nothing(run, tmp_path, arguments, said):
    assert said in refused(run, "model.safetensors", "-o", "out.safetensors", *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


@pytest.mark.parametrize(
    ("model", "output", "said"),
    [
        ("model.safetensors", "out.pt", "end the name in .safetensors"),
        ("model.safetensors", "./model.safetensors", "which MODEL reads"),
        (".", "model.safetensors", "which MODEL reads"),
        ("model.safetensors", None, "-o OUT.safetensors"),
        ("missing.safetensors", "out.safetensors", "missing.safetensors"),
    ],
)
def test_bad_files_are_refused(run, model, output, said):
    named = [] if output is None else ["-o", output]
    assert said in refused(run, model, *named, "--sparsity", 0.5)


def test_a_tensor_that_can_not_be_copied_stops_it(run, tmp_path):
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-20])
    assert "can't be copied: cut off" in refused(run, "cut.safetensors", "-o", "out.safetensors", "--sparsity", 0.5)


def test_wrong_numbers_are_skipped_and_copied(run):
    tensors = {"a": normal(8, 8), "b": np.full((4, 4), np.nan), "c": normal(8, 8)}
    write_checkpoint(tensors, "nan.safetensors")
    done = run("nan.safetensors", "-o", "out.safetensors", "--sparsity", 0.5, "--all", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert "every value must be a finite number" in rows[1]["reason"]
    with open_checkpoint("out.safetensors") as checkpoint:
        assert np.isnan(checkpoint.file.read("b")).all()


def test_an_sao_mask_that_is_sparse_enough_stays(run):
    from sao_cli import sao_weight

    own = sao_weight(16, 16, 2, seed=3).to_dense().astype(np.float32)
    denser = sao_weight(16, 16, 8, seed=4).to_dense().astype(np.float32)
    ragged = np.where(np.eye(16) > 0, 1, own).astype(np.float32)
    weights = {"a": MODEL["a.weight"], "own": own, "denser": denser, "ragged": ragged, "z": MODEL["b.weight"]}
    write_checkpoint(weights, "sao.safetensors")
    tensors, rows = pruned(run, "--method", "sao", "--d", 4, "--no-facts", model="sao.safetensors")
    found = {row["name"]: row for row in rows if "name" in row}
    assert np.array_equal(tensors["own"], own)
    assert (found["own"]["d"], found["own"]["kept_norm"], found["own"]["kept_norm_bound"]) == (2, 1.0, 1.0)
    assert found["denser"]["d"] == found["ragged"]["d"] == 4
    assert (np.count_nonzero(tensors["denser"], axis=1) == 4).all()
