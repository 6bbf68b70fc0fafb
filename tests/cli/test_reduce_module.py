"""`sao reduce --module`: layers of a network as it runs."""

import pytest

from sao_cli.io.checkpoints import open_checkpoint

NETWORK = """
from torch import nn
def make():
    print("made")
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4))
"""


@pytest.fixture
def model(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    (tmp_path / "net.py").write_text(NETWORK)
    sides = [(16, 8), (12, 16), (4, 12)]
    drawn = {f"{2 * place}.weight": torch.randn(side) for place, side in enumerate(sides)}
    drawn |= {f"{2 * place}.bias": torch.randn(side[0]) for place, side in enumerate(sides)}
    save_file(drawn, tmp_path / "m.safetensors")
    return "m.safetensors"


def test_a_pruned_network_becomes_smaller_through_a_pipe(model, pipe, tmp_path):
    prune = f"sao prune {model} --method gmp --all --sparsity 0.9 -q -o -"
    done = pipe(f"{prune} | sao reduce - --features --module net.py:make --example 1x8 -o small.safetensors --inputs 9")
    assert done.code == 0
    assert done.err == "made\n"
    *rows, summary = done.rows
    assert [row["name"] for row in rows] == ["0.weight", "2.weight", "4.weight"]
    assert rows[2]["reason"] == "its units are outputs of the network"
    with open_checkpoint(tmp_path / "small.safetensors") as small:
        shapes = {entry.name: entry.shape for entry in small.entries}
    assert [tuple(row["new_shape"]) for row in rows] == [shapes[row["name"]] for row in rows]
    assert shapes["0.weight"][0] == shapes["2.weight"][1] < 16
    assert (summary["samples"], summary["order"]) == (9, "as run")
    assert summary["output_error_max"] < 1e-5


def test_what_a_module_leaves_no_room_for(model, expect_error):
    module = ("--features", "--module", "net.py:make", "--example", "1x8", "-o", "small.safetensors")
    expect_error("reduce", model, *module, "--activation", "relu", said="leave out --activation")
    expect_error("reduce", model, *module, "--chain", "0,2", said="leave out --chain")
    expect_error("reduce", model, *module[:3], *module[5:], said="--module needs the shape of its input")
    expect_error("reduce", model, *module[3:], said="--example")
    expect_error("reduce", model, *module[:6], model, said=model)
