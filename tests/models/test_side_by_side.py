"""Checkpoints side by side, beside what numpy says of their arrays."""

import numpy as np
import pytest

from sao_cli import SaoError, compare_checkpoints, open_checkpoint, write_checkpoint
from sao_cli.models.side_by_side import overlap_of


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Three checkpoints of two layers: dense, pruned, and of another shape with a layer of its own."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    first = {"net.0.weight": rng.normal(size=(6, 4)), "net.2.weight": rng.normal(size=(3, 6))}
    kept = {name: weight * (np.abs(weight) > 0.7) for name, weight in first.items()}
    other = {"net.0.weight": rng.normal(size=(5, 4)), "net.4.weight": np.eye(5)}
    for name, tensors in (("first", first), ("kept", kept), ("other", other)):
        write_checkpoint(tensors, f"{name}.safetensors")
    return first, kept, other


def named(rows):
    return {(row.source, row.name): row for row in rows if row.record == "layer"}


def test_layers_beside_numpy(models):
    first, kept, _ = models
    rows = compare_checkpoints({"first": "first.safetensors", "kept": "kept.safetensors"})
    found = named(rows)
    for name, weight in first.items():
        own, before = found["kept", name], found["first", name]
        assert (before.against, before.status, before.differences, before.mask_overlap) == (None, None, None, None)
        assert (own.against, own.status) == ("first", "changed")
        assert own.sparsity == np.mean(kept[name] == 0)
        assert own.mask_overlap == np.mean(kept[name] != 0)
        assert own.relative_distance == pytest.approx(np.linalg.norm(kept[name] - weight) / np.linalg.norm(weight))
        values = [np.linalg.svd(one, compute_uv=False) for one in (weight, kept[name])]
        assert own.differences.sigma_max == pytest.approx(values[1][0] - values[0][0])
        assert own.differences.nnz == own.nnz - weight.size
        assert own.differences.dead_inputs == own.dead_inputs - 0
    assert [row.name for row in rows[:4:2]] == list(first)
    last = rows[-1]
    flat = [np.concatenate([one.ravel() for one in side.values()]) for side in (first, kept)]
    assert (last.layers, last.statuses) == (2, {"changed": 2})
    assert last.relative_distance == pytest.approx(np.linalg.norm(flat[1] - flat[0]) / np.linalg.norm(flat[0]))
    assert last.mask_overlap == last.overall_sparsity * -1 + 1 == np.mean(flat[1] != 0)


def test_what_is_missing_or_of_another_shape_says_so(models):
    rows = compare_checkpoints({"a": "first.safetensors", "b": "other.safetensors"})
    found = named(rows)
    assert found["b", "net.0.weight"].status == "reshaped"
    assert found["b", "net.0.weight"].reason == "it was 6 x 4 and is 5 x 4, so that their numbers are not compared"
    assert found["b", "net.0.weight"].differences.rank == 0
    assert found["b", "net.2.weight"].status == "only before"
    assert found["b", "net.2.weight"].sparsity is None
    assert found["b", "net.4.weight"].reason == "a has no such layer that was measured"
    assert ("a", "net.4.weight") not in found
    assert (rows[-1].mask_overlap, rows[-1].relative_distance) == (None, None)


def test_patterns_choose_and_open_checkpoints_do(models):
    with open_checkpoint("first.safetensors") as one:
        rows = compare_checkpoints({"a": one, "b": "kept.safetensors"}, include="*.2.*")
    assert {row.name for row in rows if row.record == "layer"} == {"net.2.weight"}
    same = compare_checkpoints({"a": "first.safetensors", "b": "first.safetensors"})
    assert {(row.status, row.relative_distance) for row in same[1:4:2]} == {("same", 0.0)}


def test_nothing_measured_is_an_error(models):
    write_checkpoint({"bias": np.zeros(3)}, "none.safetensors")
    with pytest.raises(SaoError, match=r"nothing in none\.safetensors was audited"):
        compare_checkpoints({"a": "first.safetensors", "b": "none.safetensors"})


def test_large_arrays_are_taken_in_pieces():
    rng = np.random.default_rng(0)
    old = rng.normal(size=(3000, 700)).astype(np.float32) * (rng.random((3000, 700)) < 0.5)
    new = old * (rng.random(old.shape) < 0.5)
    found = overlap_of(old, new)
    assert found.mask_overlap == (new != 0).sum() / (old != 0).sum()
    told = np.linalg.norm((new - old).astype(np.float64)) / np.linalg.norm(old.astype(np.float64))
    assert found.relative_distance == pytest.approx(told, rel=1e-12)
    assert overlap_of(np.zeros((2, 2)), np.eye(2)).relative_distance is None
    assert overlap_of(np.zeros((2, 2)), np.zeros((2, 2))).mask_overlap is None
