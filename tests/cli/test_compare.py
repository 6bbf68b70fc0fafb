"""`sao compare`: its rows, its tables, its pictures, and what it reads from stdin."""

import json

import numpy as np
import pytest

from sao_cli import write_checkpoint


@pytest.fixture
def here(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 4))
    write_checkpoint({"net.0.weight": weight}, tmp_path / "a.safetensors")
    write_checkpoint({"net.0.weight": np.triu(weight)}, tmp_path / "b.safetensors")
    for name, shift in (("a", 0.0), ("b", 0.2)):
        rows = [
            {"record": "epoch", "epoch": epoch, "seed": seed, "test_accuracy": epoch / 2 + seed / 9 + shift}
            for seed in range(3)
            for epoch in range(2)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_checkpoints(sao_in_process, here):
    done = sao_in_process("compare", "a.safetensors", "b.safetensors", "--plot", "layers.png")
    assert (done.code, done.err) == (0, "")
    first, second, *summaries = done.rows
    assert (first["record"], first["command"], first["source"], first["against"]) == (
        *("layer", "compare", "a.safetensors"),
        None,
    )
    assert second["mask_overlap"] == 10 / 16
    assert second["differences"]["nnz"] == -6
    assert [row["source"] for row in summaries] == ["a.safetensors", "b.safetensors"]
    assert (here / "layers.png").stat().st_size > 1000


def test_a_checkpoint_on_stdin(sao_in_process, here):
    done = sao_in_process("compare", "a.safetensors", "-", stdin=(here / "b.safetensors").read_bytes())
    assert done.code == 0
    assert done.rows[1]["source"] == "-"
    assert done.rows[1]["mask_overlap"] == 10 / 16


def test_runs(sao_in_process, here):
    done = sao_in_process("compare", "a.jsonl", "b.jsonl", "--field", "test_accuracy", "--plot", "curves.svg")
    assert (done.code, done.err) == (0, "")
    _, second = done.rows
    assert (second["count"], second["against"]) == (3, "a.jsonl")
    assert second["difference"] == pytest.approx(0.2)
    assert 0 < second["pvalue"] < 1
    assert (here / "curves.svg").read_text().startswith("<?xml")


def test_reports_on_stdin(sao_in_process, here):
    rows = [
        {"record": "layer", "run": run, "over": {"d": d, "seed": seed}, "sigma_max": d + seed / 7}
        for run, (d, seed) in enumerate([(2, 0), (2, 1), (4, 0), (4, 1)], 1)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    done = sao_in_process("compare", stdin=lines)
    assert done.code == 0
    assert [row["over"] for row in done.rows] == [{"d": 2}, {"d": 4}]
    assert done.rows[1]["source"] == "-"


def test_a_table_tells_what_groups_are_of(sao_in_process, here):
    done = sao_in_process("compare", "a.jsonl", "b.jsonl", "--table")
    assert done.code == 0
    for word in ("source", "test_accuracy", "difference", "pvalue"):
        assert word in done.out.replace("\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.safetensors"], "and there is 1; name another"),
        (["a.safetensors", "gone"], "can't read gone"),
        (["a.safetensors", "a.jsonl"], "a.jsonl holds rows of runs, and others are checkpoints"),
        (["a.jsonl", "b.jsonl", "--field", "test_acuracy"], "did you mean 'test_accuracy'"),
        (["a.jsonl", "b.jsonl", "-o", "a.jsonl"], "-o would write over a.jsonl"),
        ([], "standard input: it is empty"),
    ],
)
def test_what_it_refuses(sao, here, words, said):
    done = sao("compare", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
