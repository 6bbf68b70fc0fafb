"""Checkpoints made smaller: what is stored stands for what was there, to the error that is told."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import sao_cli
from sao_cli.base.errors import FileError, SaoError
from sao_cli.cli import main
from sao_cli.io.checkpoints import Lazy, open_checkpoint, write_checkpoint
from sao_cli.measure.redundancy.fusing import fuse
from sao_cli.nets import RareLinear
from sao_cli.reports.changes import SkippedWeight


def chain(dtype=np.float64, seed=0):
    """Three layers with biases, of which the second has parallel columns and rows, a zero column and a zero row."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal(shape) for shape in ((9, 6), (8, 9), (4, 8))]
    weights[1][:, 1], weights[1][:, 2] = 2 * weights[1][:, 3], -3 * weights[1][:, 3]
    weights[1][5], weights[1][:, 7] = -0.5 * weights[1][6], 0.0
    weights[1][2] = 0.0
    tensors = {}
    for place, weight in enumerate(weights):
        tensors |= {f"net.{2 * place}.weight": weight, f"net.{2 * place}.bias": rng.standard_normal(len(weight))}
    return {name: tensor.astype(dtype) for name, tensor in tensors.items()}


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reduced(tensors, **asked):
    """Stored tensors, weights as they are read, rows by name, and the summary."""
    write_checkpoint(tensors, "model.safetensors", {"format": "pt"})
    rows, summary = sao_cli.reduce_checkpoint("model.safetensors", "small.safetensors", **asked)
    with open_checkpoint("small.safetensors") as checkpoint:
        stored = {name: checkpoint.file.read(name) for name in checkpoint.file.stored}
        read = {entry.name: checkpoint.read(entry) for entry in checkpoint.entries}
    return stored, read, {row.name: row for row in rows}, summary


def forward(tensors, x, phi):
    for place in range(3):
        x = x @ tensors[f"net.{2 * place}.weight"].T + tensors[f"net.{2 * place}.bias"]
        x = phi(x) if place < 2 else x
    return x


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 3e-7)])
@pytest.mark.parametrize("rule", ["svd", "paper"])
def test_parallel_vectors_are_one_and_the_product_is_what_was_there(dtype, tolerance, rule):
    tensors = chain(dtype)
    stored, read, rows, summary = reduced(tensors, rule=rule, activation="tanh")
    name = "net.2.weight"
    assert stored[name].shape == rows[name].new_shape == (6, 6)
    assert (rows[name].fusions, rows[name].zero) == (3, 2)
    assert {key.rpartition(".")[2] for key in stored if key.startswith("net.2.")} == {
        *("weight", "bias", "row_index", "row_scale", "col_index", "col_scale")
    }
    assert np.count_nonzero(stored["net.2.row_scale"]) == 7
    assert np.count_nonzero(stored["net.2.col_scale"]) == 8
    assert stored["net.2.row_index"].dtype == np.int64
    for key, tensor in tensors.items():
        assert read[key].dtype == dtype
        np.testing.assert_allclose(read[key], tensor, atol=tolerance * 10)
    error = np.linalg.norm(read[name].astype(float) - tensors[name]) / np.linalg.norm(tensors[name].astype(float))
    assert rows[name].error_frobenius == pytest.approx(error, rel=0.3, abs=1e-16)
    assert (summary.parameters, summary.new_parameters) == (9 * 6 + 72 + 32 + 21, 9 * 6 + 36 + 32 + 21)
    assert summary.output_error_max <= (1e-12 if dtype == np.float64 else 1e-5)
    assert (summary.order, summary.assumed, summary.samples) == ("numbered names", "a plain stack", 64)
    for other in ("net.0.weight", "net.4.weight"):
        assert stored[other].tobytes() == tensors[other].tobytes()
        assert (rows[other].fusions, rows[other].new_shape) == (0, tensors[other].shape)


def test_the_output_error_is_that_of_the_written_network():
    tensors = chain()
    _, read, rows, summary = reduced(tensors, tau_cos=0.1, tau_euc=9.0, activation="relu", seed=3, inputs=50)
    x = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(1, 3))).standard_normal((50, 6))
    before, after = (forward(one, x, lambda h: np.maximum(h, 0)) for one in (tensors, read))
    size = np.sqrt(np.square(before).mean())
    assert summary.fusions > 3
    assert summary.output_error_rms == pytest.approx(np.sqrt(np.square(after - before).mean()) / size)
    assert summary.output_error_max == pytest.approx(abs(after - before).max() / size)
    assert summary.samples == 50
    row = rows["net.2.weight"]
    difference = read["net.2.weight"] - tensors["net.2.weight"]
    assert row.error_frobenius == pytest.approx(np.linalg.norm(difference) / np.linalg.norm(tensors["net.2.weight"]))
    assert row.error_spectral == pytest.approx(
        np.linalg.norm(difference, 2) / np.linalg.norm(tensors["net.2.weight"], 2)
    )


def test_a_rare_linear_loads_what_was_written():
    tensors = chain(np.float32)
    stored, read, _, _ = reduced(tensors)
    layer = RareLinear(9, 8)
    state = {name.removeprefix("net.2."): torch.tensor(one) for name, one in stored.items() if "net.2." in name}
    layer.load_state_dict(state, strict=False)
    assert layer.shape == (6, 6)
    np.testing.assert_allclose(layer.to_dense().detach().numpy(), read["net.2.weight"], atol=1e-6)


def test_dense_keeps_names_and_shapes_and_expands_what_was_factored():
    tensors = chain()
    stored, _, rows, summary = reduced(tensors, dense=True)
    assert {name: one.shape for name, one in stored.items()} == {name: one.shape for name, one in tensors.items()}
    assert rows["net.2.weight"].fusions == 3
    assert (rows["net.2.weight"].new_shape, rows["net.2.weight"].parameters_saved) == ((8, 9), 0)
    assert np.linalg.matrix_rank(stored["net.2.weight"]) == 6
    assert summary.new_parameters == summary.parameters
    factored, read, _, _ = reduced(tensors)
    assert "net.2.row_index" in factored
    expanded, _, rows, _ = reduced(factored, dense=True, tau_cos=0.0)
    assert {name: one.shape for name, one in expanded.items()} == {name: one.shape for name, one in tensors.items()}
    np.testing.assert_allclose(expanded["net.2.weight"], read["net.2.weight"], atol=1e-14)


def test_a_factored_checkpoint_is_fused_further():
    tensors = chain()
    tensors["net.2.weight"][3] = tensors["net.2.weight"][4] + 0.05 * np.arange(9)
    first, _, _, _ = reduced(tensors)
    again, read, rows, _ = reduced(first, tau_cos=0.02, tau_euc=1.0)
    assert again["net.2.weight"].shape < first["net.2.weight"].shape
    assert rows["net.2.weight"].shape == (8, 9)
    assert len(again) == len(first)
    np.testing.assert_allclose(read["net.2.weight"], tensors["net.2.weight"], atol=0.3)


def test_lossless_fuses_multiples_alone():
    tensors = chain(np.float32)
    near = tensors["net.4.weight"]
    near[1] = near[0] * (1 + np.float32(1e-4) * np.arange(8, dtype=np.float32))
    _, _, rows, summary = reduced(tensors, lossless=True, activation="silu")
    assert (rows["net.2.weight"].fusions, rows["net.4.weight"].fusions) == (3, 0)
    assert summary.output_error_max <= 1e-5
    assert reduced(tensors)[2]["net.4.weight"].fusions == 1
    tensors["net.2.weight"][1] *= 1e-6  # below the floor, and no zero
    assert reduced(tensors, lossless=True)[2]["net.2.weight"].zero == 2
    assert reduced(tensors)[2]["net.2.weight"].zero == 3


def test_transposed_weights_and_half_precision():
    weight = np.outer(np.arange(1.0, 6), [1.0, -2.0, 0.5]) + np.eye(5, 3)
    weight[4] = 2 * weight[3]
    tensors = {"h.0.attn.c_attn.weight": Lazy((5, 3), "bfloat16", lambda: weight)}
    stored, read, rows, _ = reduced(tensors, transpose=["*"])
    row = rows["h.0.attn.c_attn.weight"]
    assert (row.transposed, row.new_shape, row.fusions) == (True, (4, 3), 1)
    assert stored["h.0.attn.c_attn.row_scale"].dtype == np.float32
    np.testing.assert_allclose(read["h.0.attn.c_attn.weight"], weight, rtol=2**-7)


def test_what_can_not_be_factored_is_skipped_with_its_reason():
    rng = np.random.default_rng(0)
    twice = np.repeat(rng.standard_normal((4, 3)), 2, axis=0)
    kernel = np.repeat(rng.standard_normal((2, 3, 3, 3)), 2, axis=0)
    tensors = {
        "one.weight": twice,
        "conv.weight": kernel,
        "conv.bias": np.zeros(4),
        "masked.weight": twice + 2,
        "masked.weight_mask": np.ones((8, 3)),
        "tied.weight": twice + 1,
        "tie.weight": twice + 1,
        "own": twice - 1,
        "int8.weight": np.ones((4, 4), np.int8),
    }
    _, _, rows, _ = reduced(tensors)
    why = {name: row.reason for name, row in rows.items() if isinstance(row, SkippedWeight)}
    assert {name: text.split(",")[0].split(";")[0] for name, text in why.items()} == {
        "conv.weight": "a kernel",
        "masked.weight": "masked.weight_mask is multiplied in",
        "tie.weight": "one weight with tied.weight",
        "own": "its name does not end in .weight",
    }
    assert rows["one.weight"].new_shape == (4, 3)
    dense, _, rows, _ = reduced(tensors, dense=True, tau_cos=1e-9)
    assert {name for name, row in rows.items() if isinstance(row, SkippedWeight)} == {"masked.weight"}
    assert (rows["conv.weight"].fusions, rows["tie.weight"].fusions, rows["own"].fusions) == (2, 4, 4)
    assert {name: one.shape for name, one in dense.items()} == {name: one.shape for name, one in tensors.items()}
    np.testing.assert_allclose(dense["conv.weight"], kernel, atol=1e-14)
    assert dense["tied.weight"].tobytes() == dense["tie.weight"].tobytes()


def test_features_make_layers_smaller_and_change_no_output():
    tensors = chain()
    tensors["net.0.weight"][4] = 0.0  # constant
    tensors["net.0.weight"][5], tensors["net.0.bias"][5] = (
        2 * tensors[f"net.0.{one}"][6] for one in ("weight", "bias")
    )
    stored, _, rows, summary = reduced(tensors, features=True, lossless=True, activation="relu", dense=True)
    first = rows["net.0.weight"]
    assert (first.constant, first.merged, first.unread) == (1, 1, 1)
    assert stored["net.0.weight"].shape == first.new_shape == (6, 6)
    assert stored["net.2.weight"].shape == (7, 6)
    assert sorted(stored) == sorted(tensors)
    assert summary.output_error_max <= 1e-12
    saved = sum(tensors[name].size - stored[name].size for name in tensors)
    assert summary.parameters - summary.new_parameters == saved
    x = np.random.default_rng(1).standard_normal((30, 6))
    before, after = (forward(one, x, lambda h: np.maximum(h, 0)) for one in (tensors, stored))
    np.testing.assert_allclose(after, before, atol=1e-12)
    assert [row.fusions for row in rows.values()] == [0, 0, 0]


def test_features_and_then_fusing():
    tensors = chain()
    _, read, rows, summary = reduced(tensors, features=True, tau_cos=1e-4, activation="relu")
    assert rows["net.0.weight"].unread == 1
    assert rows["net.2.weight"].fusions == 3
    assert (rows["net.2.weight"].new_shape, read["net.2.weight"].shape) == ((6, 6), (7, 8))
    assert summary.output_error_max <= 1e-12


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tau_cos": -1.0}, "--tau-cos -1.0"),
        ({"tau_euc": -0.1}, "--tau-euc -0.1"),
        ({"floor": 1.0}, "--floor 1.0"),
        ({"rule": "papr"}, "did you mean 'paper'"),
        ({"lossless": True, "tau_cos": 1e-3}, "--lossless admits exact merges only"),
        ({"features": True}, "--features needs an --activation"),
        ({"features": True, "activation": "relu", "floor": 0.1}, "--floor: --features fuses nothing unless"),
        ({"features": True, "activation": "relu", "include": "net.0.*"}, "--chain names the layers that lose units"),
        ({"chain": ["net.0", "net.2"]}, "give its --activation too"),
        ({"activation": "rely"}, "did you mean 'relu'"),
        ({"include": "net.7*"}, "matches none of"),
        ({"include": "net.0.bias"}, "nothing to reduce: net.0.bias: bias"),
        ({"activation": "relu", "data": "digits"}, "inputs of 64 numbers, and the network reads 6"),
    ],
)
def test_what_can_not_be_is_refused(asked, said, folder):
    write_checkpoint(chain(), "model.safetensors")
    with pytest.raises(SaoError, match=said):
        sao_cli.reduce_checkpoint("model.safetensors", "small.safetensors", **asked)
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]


def test_nothing_is_written_onto_the_input_and_a_failure_leaves_the_old_file(folder, monkeypatch):
    write_checkpoint(chain(), "model.safetensors")
    whole = (folder / "model.safetensors").read_bytes()
    with pytest.raises(FileError, match="write to another file"):
        sao_cli.reduce_checkpoint("model.safetensors", "model.safetensors")
    (folder / "small.safetensors").write_bytes(b"old")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sao_cli.io.checkpoints.saving._write", fail)
    with pytest.raises(KeyboardInterrupt):
        sao_cli.reduce_checkpoint("model.safetensors", "small.safetensors")
    assert (folder / "small.safetensors").read_bytes() == b"old"
    assert (folder / "model.safetensors").read_bytes() == whole
    assert len(list(folder.iterdir())) == 2


def test_python_gives_what_the_command_gives():
    write_checkpoint(chain(), "model.safetensors")
    told = [
        "--activation",
        "relu-tau",
        "--tau",
        "0.1",
        "--tau-cos",
        "1e-3",
        "--chain",
        "net.0,net.2.weight",
        "--inputs",
    ]
    done = CliRunner().invoke(main, ["reduce", "model.safetensors", "-o", "command.safetensors", *told, "9", "--json"])
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    function = sao_cli.ActivationFunction("relu-tau", tau=0.1)
    names = ["net.0", "net.2.weight"]
    rows, summary = sao_cli.reduce_checkpoint(
        "model.safetensors", "python.safetensors", activation=function, tau_cos=1e-3, chain=names, inputs=9
    )
    for row, line in zip([*rows, summary], lines, strict=True):
        assert row.to_dict().items() <= line.items()
    with open("python.safetensors", "rb") as one, open("command.safetensors", "rb") as other:
        assert one.read() == other.read()
    assert (summary.order, summary.samples) == ("as named", 9)
    with open_checkpoint("python.safetensors") as checkpoint:
        told = json.loads(checkpoint.metadata["sao"])["net.2.weight"]
    assert (told["command"], told["rule"], told["tau_cos"], told["floor"]) == ("reduce", "svd", 1e-3, 1e-3)


def test_digits_are_inputs():
    rng = np.random.default_rng(0)
    tensors = {"net.0.weight": rng.standard_normal((5, 64)), "net.2.weight": rng.standard_normal((3, 5))}
    tensors["net.0.weight"][:, 9] = tensors["net.0.weight"][:, 8]
    _, _, rows, summary = reduced(tensors, activation="relu", data="digits", inputs=20)
    assert (rows["net.0.weight"].fusions, summary.samples) == (1, 20)
    assert summary.output_error_max <= 1e-12


def test_without_a_chain_the_reason_is_told():
    tensors = {"a.weight": np.eye(3), "b.weight": np.eye(4)}
    summary = reduced(tensors, activation="relu")[3]
    assert (summary.output_error_max, summary.samples) == (None, None)
    assert "--chain NAME,NAME" in summary.reason
    kernels = {"net.0.weight": np.ones((3, 2, 3, 3)), "net.2.weight": np.eye(3)}
    assert "net.0.weight is a kernel" in reduced(kernels, activation="relu")[3].reason
    assert reduced(tensors)[3].reason.startswith("no --activation")


def test_a_matrix_is_fused_as_fuse_does_it():
    rng = np.random.default_rng(4)
    weight = rng.standard_normal((12, 4)) @ rng.standard_normal((4, 30)) + 0.05 * rng.standard_normal((12, 30))
    stored, _, _, _ = reduced({"w.weight": weight}, tau_cos=0.02, tau_euc=5.0, floor=0.0, rule="paper")
    fused, fusions = fuse(weight, tau_cos=0.02, tau_euc=5.0, floor=0.0, rule="paper")
    assert fusions > 0
    assert stored["w.weight"].tobytes() == fused.weight.tobytes()
    assert stored["w.col_index"].tolist() == fused.col_index.tolist()
