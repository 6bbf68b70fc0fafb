"""`sao audit`, `sao prune` and `sao repair` where a file does not tell all of a network."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import sao_cli.cli
from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=0):
        done = CliRunner().invoke(sao_cli.cli.main, [*map(str, arguments), "--json"])
        assert done.exit_code == code, done.output
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return {row.get("name", row.get("chain", "summary")): row for row in rows}, done.stderr

    return call


def written(path="out.safetensors"):
    with open_checkpoint(path) as checkpoint:
        return {name: checkpoint.file.read(name) for name in checkpoint.file.stored}


def test_layers_run_by_their_numbers_and_not_as_the_file_sorts_them(run):
    """Layer 2 passes the first units alone, and layer 10 reads the others alone: nothing passes."""
    layers = {f"{number}.weight": np.eye(16) for number in range(12)}
    layers["2.weight"][8:] = 0
    layers["10.weight"] = normal(16, 16)
    layers["10.weight"][:, :8] = 0
    write_checkpoint({name: layers[name] for name in sorted(layers)}, "a.safetensors")
    rows, _ = run("audit", "a.safetensors")
    assert rows[1]["layer_names"] == [f"{number}.weight" for number in range(12)]
    assert (rows[1]["reachable"], rows[1]["lost_inputs"], rows[1]["assumed"]) == (0, 16, "a plain stack")
    assert list(rows)[:12] == rows[1]["layer_names"]
    rows, stderr = run("prune", "a.safetensors", "-o", "out.safetensors", "--sparsity", 0.9, "--no-facts")
    assert {name for name, row in rows.items() if row.get("skipped") is True} == {"0.weight", "11.weight"}
    assert rows["summary"]["dense_ends"] == ["0.weight", "11.weight"]
    assert rows["summary"]["order"] == "numbered names"
    assert "no order" not in stderr


def test_where_names_tell_no_order_stderr_says_so(run):
    write_checkpoint({f"l.{name}.weight": normal(8, 8) for name in ("query", "key", "value", "out")}, "a.safetensors")
    rows, stderr = run("prune", "a.safetensors", "-o", "out.safetensors", "--sparsity", 0.5, "--no-facts")
    assert "the names tell no order of layers ('key' in l.key.weight" in stderr
    assert "kept dense: l.key.weight and l.value.weight; --all prunes them" in stderr
    assert (rows["summary"]["order"], rows["summary"]["dense_ends"]) == (None, ["l.key.weight", "l.value.weight"])
    assert "no order" not in run("prune", "a.safetensors", "-o", "b.safetensors", "--sparsity", 0.5, "--all")[1]


def test_what_was_achieved_is_told_with_the_ends_and_without(run):
    """0.9 is asked of widths whose nearest SAO mask has 0.875."""
    layers = {f"{number}.weight": normal(32, 32) for number in range(4)}
    write_checkpoint(layers, "a.safetensors")
    options = ("--method", "sao", "--sparsity", 0.9, "--no-facts")
    rows, stderr = run("prune", "a.safetensors", "-o", "out.safetensors", *options)
    summary = rows["summary"]
    assert (summary["asked_sparsity"], summary["sparsity"], summary["overall_sparsity"]) == (0.9, 0.875, 0.4375)
    zeros = sum(int((array == 0).sum()) for array in written().values())
    assert summary["overall_sparsity"] == zeros / summary["all_weights"] == zeros / 4096
    assert "asked for sparsity 0.9, achieved 0.875 in the 2 weights that were pruned, 0.4375 in all" in stderr
    exact = ("--sparsity", 0.5, "--no-facts", "--all")
    assert run("prune", "a.safetensors", "-o", "b.safetensors", *exact)[1] == ""


def tied():
    shared = normal(12, 8)
    return {"emb.weight": shared, "body.weight": normal(8, 8), "head.weight": shared}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_one_weight_under_two_names_stays_one(run, suffix):
    import torch

    tensors = {name: torch.as_tensor(array) for name, array in tied().items()}
    shared = tensors["emb.weight"]
    tensors["head.weight"] = shared
    tensors["turned.weight"] = shared.t() if suffix == "pt" else normal(3, 3)
    path = f"a.{suffix}"
    torch.save(tensors, path) if suffix == "pt" else write_checkpoint(tensors, path)
    rows, _ = run("audit", path)
    others = {"emb.weight", "turned.weight"} if suffix == "pt" else {"emb.weight"}
    assert set(rows["head.weight"]["tied_with"]) == others
    assert rows["summary"]["total_parameters"] == 96 + 64 + (0 if suffix == "pt" else 9)
    options = ("-o", "out.safetensors", "--include", "head.*")
    for command in (["prune", path, "--sparsity", 0.5, "--all"], ["repair", path]):
        rows, stderr = run(*command, *options)
        assert "head.weight is one weight with" in stderr
        assert set(rows["head.weight"]["tied_with"]) == others
        found = written()
        assert (found["head.weight"] != shared.numpy()).any()
        np.testing.assert_array_equal(found["emb.weight"], found["head.weight"])
        if suffix == "pt":
            np.testing.assert_array_equal(found["turned.weight"], found["head.weight"].T)
        np.testing.assert_array_equal(found["body.weight"], tensors["body.weight"])


def test_a_weight_that_is_excluded_under_one_name_stays_under_all(run):
    write_checkpoint(tied(), "a.safetensors")
    options = ("-o", "out.safetensors", "--sparsity", 0.5, "--all", "--no-facts")
    rows, _ = run("prune", "a.safetensors", *options, "--exclude", "emb.*")
    assert set(rows) == {"body.weight", "head.weight", "summary"}
    assert "one weight with emb.weight, which --exclude leaves" in rows["head.weight"]["reason"]
    rows, _ = run("prune", "a.safetensors", *options, "--method", "gmp")
    assert (rows["summary"]["weights"], rows["summary"]["nnz"]) == (160, 80)


def test_a_mask_beside_its_weight_counts_and_stays(run):
    weight, mask = normal(12, 16), (RNG.random((12, 16)) < 0.25).astype(np.float32)
    write_checkpoint({"fc.weight": weight, "fc.weight_mask": mask, "fc.bias": normal(12)}, "a.safetensors")
    rows, _ = run("audit", "a.safetensors")
    assert rows["fc.weight"]["sparsity"] == pytest.approx(1 - mask.mean())
    assert rows["fc.weight"]["masked_by"] == "fc.weight_mask"
    assert rows["summary"]["total_parameters"] == 12 * 16 + 12
    rows, stderr = run("repair", "a.safetensors", "-o", "out.safetensors")
    assert "dense tensor" not in stderr
    found = written()
    assert set(found) == {"fc.weight", "fc.weight_mask", "fc.bias"}
    np.testing.assert_array_equal(found["fc.weight_mask"], mask)
    assert not found["fc.weight"][mask == 0].any()
    assert rows["fc.weight"]["masked_by"] == "fc.weight_mask"


def test_weights_with_their_inputs_first_are_pruned_by_their_outputs(run):
    fc = normal(16, 64)
    gpt = {"h.0.c_fc.weight": fc, "h.0.c_fc.bias": normal(64), "h.0.c_attn.weight": normal(16, 16)}
    write_checkpoint(gpt, "a.safetensors")
    options = ("-o", "out.safetensors", "--method", "sao", "--d", 4, "--all")
    rows, _ = run("prune", "a.safetensors", *options)
    assert rows["h.0.c_fc.weight"]["transposed"]
    assert rows["h.0.c_fc.weight"]["after"]["row_degree"] == [4, 4]
    found = written()["h.0.c_fc.weight"]
    assert found.shape == (16, 64)
    assert set((found != 0).sum(axis=0)) == {4}
    run("repair", "out.safetensors", "-o", "again.safetensors", "--gain", 1, "--include", "*c_fc*")
    values = np.linalg.svd(written("again.safetensors")["h.0.c_fc.weight"].astype(float), compute_uv=False)
    np.testing.assert_allclose(values, 1, atol=1e-6)


def test_groups_and_transposition_can_be_said(run):
    kernels = {"a.weight": normal(8, 1, 3, 3), "b.weight": normal(8, 4, 1, 1), "c.weight": normal(8, 4, 3, 3)}
    write_checkpoint(kernels, "a.safetensors")
    rows, _ = run("audit", "a.safetensors", "--image", 6)
    for name in kernels:
        assert (rows[name]["groups"], rows[name]["n"], rows[name]["sigma_max"]) == (None, None, None)
        assert "--groups" in rows[name]["reason"]
    said = ("--groups", "a*=8", "--groups", "b*=2", "--transpose", "c*")
    rows, _ = run("audit", "a.safetensors", "--image", 6, *said)
    assert [(rows[name]["m"], rows[name]["n"], rows[name]["groups"]) for name in kernels] == [
        (8, 8, 8),
        (8, 8, 2),
        (4, 8, 1),
    ]
    blocks = [np.linalg.svd(kernels["b.weight"][rows, :, 0, 0]) for rows in (slice(4), slice(4, 8))]
    assert rows["b.weight"]["sigma_max"] == pytest.approx(max(block.S[0] for block in blocks), rel=1e-6)
    rows, _ = run("prune", "a.safetensors", "-o", "out.safetensors", "--method", "sao", "--d", 2, "--all", *said)
    assert rows["b.weight"]["after"]["components"] == 4
    assert "no SAO mask of 1 x 1" in rows["a.weight"]["reason"] or rows["a.weight"].get("skipped")
    assert set((written()["c.weight"] != 0).any(axis=(2, 3)).sum(axis=0)) == {2}
    rows, _ = run("repair", "a.safetensors", "-o", "out.safetensors", "--gain", 1, *said)
    for block in written()["b.weight"][:, :, 0, 0].reshape(2, 4, 4):
        np.testing.assert_allclose(np.linalg.svd(block.astype(float)).S, 1, atol=1e-6)
    rows, _ = run("repair", "a.safetensors", "-o", "out.safetensors", "--transpose", "b*")
    assert "skipped" in rows["a.weight"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--groups", "x*=2"], "no name matches 'x*'"),
        (["--groups", "a.weight=3"], "3 groups for 8 channels"),
        (["--groups", "a.weight"], "PATTERN=G"),
        (["--groups", "a.weight=0"], "PATTERN=G"),
        (["--transpose", "nothing"], "no name matches 'nothing'"),
    ],
)
@pytest.mark.parametrize(
    "command", [["audit"], ["prune", "-o", "b.safetensors", "--sparsity", 0.5], ["repair", "-o", "b.safetensors"]]
)
def test_what_is_said_of_nothing_is_an_error(run, tmp_path, command, options, said):
    write_checkpoint({"a.weight": normal(8, 2, 3, 3)}, "a.safetensors")
    rows, stderr = run(*command, "a.safetensors", *options, code=2)
    assert said in stderr
    assert not rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors"]


def test_checks_fail_on_a_missing_shard_and_a_tensor_that_is_cut_off(run, tmp_path):
    write_checkpoint({"a.weight": np.eye(4)}, "one.safetensors")
    names = {"a.weight": "one.safetensors", "b.weight": "two.safetensors", "b.bias": "two.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    rows, stderr = run("audit", "model.safetensors.index.json", "--check", "dead_inputs==0", code=1)
    assert "b.weight: dead_inputs is not known" in stderr
    assert "shard two.safetensors is missing" in stderr
    assert "b.bias" not in stderr
    assert (rows["b.weight"]["kind"], rows["b.weight"]["shape"], rows["b.bias"]["kind"]) == ("weight", None, None)
    assert (rows["summary"]["total_parameters"], rows["summary"]["unread"]) == (16, ["b.weight"])
    write_checkpoint({"a.weight": np.eye(4), "z.weight": np.eye(4)}, "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-8])
    _, stderr = run("audit", "cut.safetensors", "--check", "sigma_max<2", code=1)
    assert "z.weight: sigma_max is not known" in stderr
    assert "can't tell" in stderr


def test_a_lost_layer_ends_its_chain_and_says_so(run):
    layers = {f"{number}.weight": normal(6, 6) for number in range(5)}
    layers["2.weight"][0, 0] = np.nan
    write_checkpoint(layers, "a.safetensors")
    rows, _ = run("audit", "a.safetensors")
    assert [rows[number]["layer_names"] for number in (1, 2)] == [["0.weight", "1.weight"], ["3.weight", "4.weight"]]
    assert "2.weight ends it: nan at place (1, 1)" in rows[1]["reason"]
    rows, _ = run("audit", "a.safetensors", "--exclude", "2*", "--exclude", "4*")
    assert (rows[1]["layer_names"], rows[1]["reason"]) == (
        ["0.weight", "1.weight"],
        "2.weight ends it: it was left out",
    )


def test_comparing_a_network_with_its_negative_is_no_sameness(run):
    weight = normal(6, 6)
    write_checkpoint({"a": weight, "b": weight}, "one.safetensors")
    write_checkpoint({"a": -weight, "b": weight}, "two.safetensors")
    rows, _ = run("audit", "two.safetensors", "--compare", "one.safetensors")
    assert (rows["a"]["status"], rows["b"]["status"]) == ("changed", "same")
    assert set(rows["a"]["changes"]) == {"digest"}


def test_embeddings_that_are_named_are_weights(run):
    write_checkpoint({"time_embedding.weight": normal(8, 4), "fc.weight": normal(4, 8)}, "a.safetensors")
    assert run("audit", "a.safetensors")[0]["time_embedding.weight"]["reason"] == "embedding"
    assert run("audit", "a.safetensors", "--include", "*")[0]["time_embedding.weight"]["skipped"]
    for pattern in ("time_embedding.weight", "*embedding*", "time_emb*"):
        row = run("audit", "a.safetensors", "--include", pattern)[0]["time_embedding.weight"]
        assert (row["kind"], row["m"], row["n"]) == ("matrix", 8, 4)
    options = ("-o", "out.safetensors", "--sparsity", 0.5, "--all", "--no-facts")
    rows, _ = run("prune", "a.safetensors", *options, "--include", "*embedding*")
    assert rows["time_embedding.weight"]["after"]["nnz"] == 16


def test_repair_says_where_a_network_has_lost_its_norm(run):
    mask = RNG.random((9, 32, 32)) < 0.1
    layers = {f"{k}.weight": np.linalg.qr(normal(32, 32))[0] * mask[k] for k in range(9)}
    write_checkpoint(layers, "a.safetensors")
    rows, stderr = run("repair", "a.safetensors", "-o", "out.safetensors", "--steps", 2)
    gains = [row["gain"] for row in rows.values() if "gain" in row]
    assert rows["summary"]["log10_gain"] == pytest.approx(np.log10(gains).sum())
    assert f"{min(gains):.3g} at the least" in stderr
    assert "--gain 1 repairs a network pruned at init" in stderr
    assert run("repair", "a.safetensors", "-o", "out.safetensors", "--steps", 2, "--gain", 1)[1] == ""
    write_checkpoint({"0.weight": normal(32, 32)}, "b.safetensors")
    assert run("repair", "b.safetensors", "-o", "out.safetensors")[1] == ""
