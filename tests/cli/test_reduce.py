"""`sao reduce`: pipes, streams and what it says."""

import numpy as np
import pytest

from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    shapes = ((24, 16), (20, 24), (10, 20))
    tensors = {f"net.{2 * place}.weight": rng.standard_normal(shape) for place, shape in enumerate(shapes)}
    tensors |= {f"net.{2 * place}.bias": rng.standard_normal(shape[0]) for place, shape in enumerate(shapes)}
    tensors["net.2.weight"][3] = -2 * tensors["net.2.weight"][4]
    write_checkpoint({name: one.astype(np.float32) for name, one in tensors.items()}, tmp_path / "m.safetensors")
    return "m.safetensors"


def shapes(path):
    with open_checkpoint(path) as checkpoint:
        return {name: one.shape for name, one in checkpoint.file.stored.items()}


def test_a_pruned_network_becomes_smaller_through_a_pipe(model, pipe, tmp_path):
    prune = f"sao prune {model} --method gmp --all --sparsity 0.95 -q -o -"
    done = pipe(f"{prune} | sao reduce - --features --lossless --activation relu --dense -o small.safetensors")
    assert (done.code, done.err) == (0, "")
    *rows, summary = done.rows
    found = shapes(tmp_path / "small.safetensors")
    assert [tuple(row["new_shape"]) for row in rows] == [found[row["name"]] for row in rows]
    assert found["net.0.weight"][0] == found["net.2.weight"][1] == found["net.0.bias"][0] < 24
    assert summary["output_error_max"] <= 1e-5
    assert summary["new_parameters"] == sum(np.prod(shape) for shape in found.values())
    assert not any(name.endswith("_index") for name in found)


def test_bytes_go_through_a_pipe_to_audit_and_the_report_is_not_printed(model, pipe):
    done = pipe(f"sao reduce {model} -o - --activation tanh | sao audit - --json | jq -c '[.name, .shape, .rank]'")
    assert (done.code, done.err) == (0, "")
    assert '["net.2.weight",[20,24],19]' in done.out
    assert "row_index" not in done.out
    assert pipe(f"sao reduce {model} -o small.safetensors | head -1").code == 0


def test_the_table_tells_shapes(model, sao):
    done = sao("reduce", model, "-o", "small.safetensors", "--table")
    assert done.code == 0
    assert "20x24  19x24" in done.out
    assert "new_parameters: " in done.out


def test_bad_input_is_one_line(model, expect_error, tmp_path):
    expect_error("reduce", model, said="-o OUT.safetensors")
    expect_error("reduce", model, "-o", model, said="name another")
    expect_error("reduce", "-o", "s.safetensors", "-", said="empty")


CNN = """
from torch import nn

def cnn():
    return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 12),
                         nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
"""


def test_a_module_s_kernels_and_matrices_lose_units(sao_in_process, tmp_path):
    (tmp_path / "own_cnn.py").write_text(CNN)
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((6, 1, 3, 3))
    kernel[2], kernel[4] = 2 * kernel[1], 0.0
    tensors = {"0.weight": kernel, "0.bias": np.array([1.0, 2, 4, 0, -1, 3])}
    for name, shape in (("4", (12, 96)), ("7", (3, 12))):
        tensors |= {f"{name}.weight": rng.standard_normal(shape), f"{name}.bias": rng.standard_normal(shape[0])}
    tensors |= {f"5.{one}": np.ones(12) for one in ("weight", "running_var")}
    tensors |= {f"5.{one}": np.zeros(12) for one in ("bias", "running_mean")}
    write_checkpoint({name: one.astype(np.float32) for name, one in tensors.items()}, tmp_path / "m.safetensors")
    told = ("--module", "own_cnn.py:cnn", "--example", "1x1x8x8", "--json")
    done = sao_in_process("reduce", "m.safetensors", "-o", "s.safetensors", "--features", *told, "--data", "digits")
    assert (done.code, done.err) == (0, "")
    rows = {row.get("name"): row for row in done.rows}
    assert (rows["0.weight"]["merged"], rows["0.weight"]["constant"]) == (1, 1)
    assert rows["0.weight"]["new_shape"] == [4, 1, 3, 3]
    assert rows["4.weight"]["new_shape"] == [12, 64]
    assert "norm" in rows["4.weight"]["reason"].lower()
    assert rows[None]["output_error_max"] <= 1e-5
    assert rows[None]["samples"] > 300
    fused = sao_in_process(
        "reduce", "s.safetensors", "-o", "f.safetensors", *told, "--tau-cos", "0.3", "--tau-euc", "99"
    )
    assert fused.code == 2  # the module has the shapes of before
    fused = sao_in_process(
        "reduce", "m.safetensors", "-o", "f.safetensors", *told, "--tau-cos", "0.5", "--tau-euc", "99"
    )
    assert fused.code == 0, fused.err
    assert fused.rows[-1]["fusions"] > 0
    assert 1e-3 < fused.rows[-1]["output_error_rms"] < 10
    both = sao_in_process("reduce", "m.safetensors", "-o", "f.safetensors", *told, "--activation", "relu")
    assert (both.code, "--module tells the network" in both.err) == (2, True)
