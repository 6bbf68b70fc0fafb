"""`sao sensitivity`: scores of a checkpoint's weights, as a chain or by a module, against the known values."""

import click.testing
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from sao_cli.cli import main
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.nets.layers.activation import activation_module

from ..nets.scores import known_networks as known
from .conftest import refused

METHODS = ("snip", "grasp", "grasp-abs", "synflow", "itersnip", "force", "magnitude", "random")
LAYER = {
    *("record", "command", "version", "seed", "source", "name", "shape", "parameters", "method", "score_share"),
    *("score_signed", "score_max", "zero_scores", "nan_scores"),
}
SUMMARY = {
    *("parameters", "samples", "labels", "loss", "sum_abs", "rounds", "temperature", "training_mode", "jacobian"),
    *("record", "command", "version", "seed", "source", "summary", "reason"),
}
NAMED = ("--module", "own.py:cnn", "--example", "1x1x6x6")
A = ("a.safetensors", "--data", "a.npz", "--activation", "tanh")


@pytest.fixture
def run(on_known):
    """on_known of this command, unless another is named."""
    return lambda *arguments, command="sensitivity", **given: on_known(command, *arguments, **given)


def test_the_known_values_of_snip(run):
    code, (*layers, summary), told = run(*A, "-o", "scores.safetensors")
    assert (code, told) == (0, "")
    assert [row["name"] for row in layers] == ["0.weight", "2.weight", "4.weight"]
    assert [row["shape"] for row in layers] == [[5, 6], [4, 5], [3, 4]]
    assert {frozenset(row) for row in layers} == {frozenset(LAYER)}
    assert set(summary) == SUMMARY
    shares = [row["score_share"] for row in layers]
    assert shares == pytest.approx([0.4914096388477034, 0.2747829589255536, 0.23380740222674306], rel=1e-12)
    assert summary["loss"] == pytest.approx(1.1498414632412413, rel=1e-12)
    assert summary["sum_abs"] == pytest.approx(0.49333875353956563, rel=1e-12)
    assert (summary["parameters"], summary["samples"], summary["labels"]) == (62, 8, "true")
    assert (summary["temperature"], summary["rounds"], summary["training_mode"]) == (1, None, False)
    assert summary["jacobian"] == {
        "mean": pytest.approx(0.24900087894232847, rel=1e-10),
        "std": pytest.approx(0.20929147651397684, rel=1e-10),
        "condition_pooled": pytest.approx(97.85649862110523, rel=1e-10),
    }
    scores = load_file("scores.safetensors")
    assert {name: (one.shape, str(one.dtype)) for name, one in scores.items()} == {
        name: (shape, "float64") for name, shape in (("0.weight", (5, 6)), ("2.weight", (4, 5)), ("4.weight", (3, 4)))
    }
    kept = np.argsort(-np.concatenate([scores[row["name"]].ravel() for row in layers]), kind="stable")[:12]
    assert sorted(kept) == [10, 12, 13, 15, 22, 28, 39, 48, 49, 53, 60, 61]


def test_the_known_values_of_the_others(run):
    (*layers, summary) = run(*A, "--labels", "uniform")[1]
    assert summary["sum_abs"] == pytest.approx(0.1291244293006889, rel=1e-12)
    (*layers, summary) = run(*A[:3], "--activation", "relu")[1]
    assert [row["score_signed"] for row in layers] == pytest.approx(3 * [0.002627686400143921], rel=1e-12)
    (*layers, summary) = run(*A, "--method", "grasp", "--temperature", 1)[1]
    assert -sum(row["score_signed"] for row in layers) == pytest.approx(-0.17429904063180018, rel=1e-9)
    (*layers, summary) = run(*A, "--method", "grasp")[1]
    assert -sum(row["score_signed"] for row in layers) == pytest.approx(-2.5978456930295593e-06, rel=1e-9)
    assert summary["temperature"] == 200
    (*layers, summary) = run("a.safetensors", "--method", "synflow")[1]
    assert [row["score_signed"] for row in layers] == pytest.approx(3 * [8.254363987259964], rel=1e-12)
    assert summary["samples"] is summary["loss"] is summary["jacobian"] is None
    assert "reads no samples" in summary["reason"]


def test_the_known_values_of_a_module(run):
    (*layers, summary) = run("cnn.safetensors", *NAMED, "--data", "cnn.npz")[1]
    assert summary["sum_abs"] == pytest.approx(0.8206729388151089, rel=1e-12)
    shares = [0.19929035859281433, 0.37309290477729773, 0.427616736629888]
    assert [row["score_share"] for row in layers] == pytest.approx(shares, rel=1e-12)
    done = run("cnn.safetensors", *NAMED, "--data", "cnn.npz", "--unit", "kernel", "-o", "kernels.safetensors")
    sums = [0.030191143752667952, 0.09874777931684664, 0.3509334839365766]
    assert [row["score_share"] * done[1][-1]["sum_abs"] for row in done[1][:-1]] == pytest.approx(sums, rel=1e-12)
    written = load_file("kernels.safetensors")["2.weight"]
    assert written.shape == (3, 4, 3, 3)
    assert (written == written[..., :1, :1]).all()
    (*layers, summary) = run("cnn.safetensors", *NAMED, "--method", "synflow")[1]
    assert [row["score_signed"] for row in layers] == pytest.approx(3 * [47.662576234839875], rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_tells_the_same_keys_and_reads_no_option_that_it_has_not(run, method):
    every = ("--temperature", 3, "--rounds", 2, "--samples", 6, "--seed", 1, "--sparsity", 0.5, "--biases")
    code, (*layers, summary), told = run(*A, "--method", method, *every)
    assert (code, told) == (0, "")
    assert {frozenset(row) for row in layers} == {frozenset(LAYER)}
    assert set(summary) == SUMMARY
    assert sum(row["score_share"] for row in layers) == pytest.approx(1)
    assert summary["samples"] == (None if method in ("synflow", "magnitude", "random") else 6)


def test_methods_in_rounds_say_how_far_they_go(run):
    code, rows, told = run(*A, "--method", "itersnip", "--rounds", 2)
    assert code == 0
    assert "down to --sparsity 0.9" in told
    left = sum(row["parameters"] - row["zero_scores"] for row in rows[:-1])
    assert 6 < left <= round(62 * 0.1**0.5)  # what the first round has left, but for what lies on no path


def test_a_network_that_has_learnt_its_samples_is_a_warning_of_both_commands(run):
    np.savez("learnt.npz", x=10 * np.eye(3), y=np.arange(3))
    write_checkpoint({"0.weight": np.eye(3) + 0.1, "1.weight": np.eye(3)}, "learnt.safetensors")
    asked = ("learnt.safetensors", "--data", "learnt.npz", "--activation", "linear", "--method", "snip")
    code, rows, err = run(*asked)
    assert (code, rows[-1]["loss"] < 0.01) == (0, True)
    assert "warning: the mean loss of the samples is " in err
    assert "and a guess's 1.1: the network has learnt them, so that snip's scores are mostly noise" in err
    pruned = run(*asked, "--sparsity", 0.5, "-o", "p.safetensors", command="prune")
    assert (pruned[0], "scores are mostly noise" in pruned[2]) == (0, True)


def test_fresh_batches_are_by_the_seed_and_need_a_size(run):
    asked = (*A, "--method", "itersnip", "--rounds", 3, "--fresh-batches")
    one, same, other = (run(*asked, "--samples", 3, *more)[1] for more in ((), (), ("--seed", 1)))
    plain = run(*(word for word in asked if word != "--fresh-batches"), "--samples", 3)[1]
    shares = [[row["score_share"] for row in rows[:-1]] for rows in (one, same, other, plain)]
    assert shares[0] == shares[1] not in shares[2:]
    assert one[-1]["samples"] == 8
    code, rows, err = run(*asked)
    assert (code, rows) == (2, [])
    assert "--fresh-batches: --samples N tells how many samples each round reads, as 100" in err
    masks = run(*asked, "--samples", 3, "--sparsity", 0.5, "-o", "p.safetensors", command="prune")
    assert masks[1][-1]["kept"] == 31


def test_biases_of_the_checkpoint_count_in_the_loss_and_as_scores(run):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 4), activation_module("silu"), nn.Linear(4, 3)).double()
    write_checkpoint({f"net.{key}": one.numpy() for key, one in net.state_dict().items()}, "b.safetensors")
    _, rows, _ = run("b.safetensors", *A[1:3], "--activation", "silu", "--biases", "-o", "b.scores.safetensors")
    x, y = known.batch_a()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    assert rows[-1]["loss"] == pytest.approx(loss.item(), rel=1e-12)
    scores = load_file("b.scores.safetensors")
    for name, one in net.named_parameters():
        np.testing.assert_allclose(scores[f"net.{name}"], (one * one.grad).abs().detach().numpy(), rtol=1e-10)
    assert {row["name"] for row in rows[:-1]} == {f"net.{name}" for name, _ in net.named_parameters()}


def test_weights_with_inputs_first_have_their_scores_as_they_are_stored(run):
    net = {f"h.{key}": one.numpy() for key, one in known.net_a().state_dict().items()}
    net |= {f"h.{place}.bias": np.full(size, 0.1) for place, size in ((0, 5), (2, 4), (4, 3))}
    write_checkpoint(net, "b.safetensors")
    write_checkpoint({key: one.T.copy() for key, one in net.items()}, "t.safetensors")
    for method in ("snip", "synflow", "force", "magnitude"):
        found = {}
        for name in ("b", "t"):
            asked = ("--method", method, "--sparsity", 0.5, "--rounds", 3)
            code, rows, told = run(f"{name}.safetensors", *A[1:], *asked, "-o", f"{name}.scores.safetensors")
            assert (code, told) == (0, "")
            assert [row["shape"] for row in rows[:-1]] == [
                list(one.shape) for one in load_file(f"{name}.safetensors").values() if one.ndim > 1
            ]
            found[name] = load_file(f"{name}.scores.safetensors")
        for name, one in found["b"].items():
            np.testing.assert_allclose(found["t"][name].T, one, rtol=1e-12)
    pruned = [
        load_file(f"{name}.pruned.safetensors")
        for name in ("b", "t")
        if run(
            f"{name}.safetensors",
            *A[1:],
            "--method",
            "itersnip",
            "--sparsity",
            0.7,
            "--no-facts",
            "-o",
            f"{name}.pruned.safetensors",
            command="prune",
        )[0]
        == 0
    ]
    for name in net:
        np.testing.assert_array_equal(pruned[0][name], pruned[1][name].T)


def test_a_run_tells_its_activation_and_a_pipe_is_read(run, tmp_path):
    done = click.testing.CliRunner().invoke(
        main,
        [
            "train",
            "--data",
            "digits",
            "--depth",
            "2",
            "--width",
            "8",
            "--method",
            "dense",
            "--epochs",
            "0",
            "--activation",
            "relu",
            "-o",
            "run",
        ],
    )
    assert done.exit_code == 0, done.stderr
    code, rows, told = run("run", "--data", "digits", "--samples", 100)
    assert (code, told) == (0, "")
    assert rows == run("run", "--data", "digits", "--samples", 100, "--activation", "relu")[1]
    assert rows[-1] != run("run", "--data", "digits", "--samples", 100, "--activation", "tanh")[1][-1]
    whole = (tmp_path / "a.safetensors").read_bytes()
    for model in (("-",), ()):
        piped = run(*model, *A[1:], stdin=whole)[1]
        assert [row | {"source": None} for row in piped] == [row | {"source": None} for row in run(*A)[1]]


def test_a_run_of_images_is_scored_as_what_runs(run):
    line = "train --data digits --arch lenet5 --method dense --init vs-g --epochs 0 -o run"
    assert click.testing.CliRunner().invoke(main, line.split()).exit_code == 0
    code, rows, told = run("run", "--data", "digits", "--samples", 60)
    assert (code, told) == (0, "")
    assert [len(row["shape"]) for row in rows[:-1]] == [4, 4, 2, 2]
    assert rows[-1]["loss"] > 0
    asked = ("--method", "snip", "--sparsity", 0.9, "--no-facts", "-o", "p.safetensors")
    code, rows, told = run("run", "--data", "digits", "--samples", 60, *asked, command="prune")
    assert code == 0
    assert rows[-1]["kept"] == rows[-1]["kappa"] == round(0.1 * sum(np.prod(row["shape"]) for row in rows[:-1]))


@pytest.mark.parametrize("picture", ["layers", "scores"])
def test_pictures_are_a_column_wide(run, tmp_path, picture):
    import matplotlib.image

    assert run(*A, "--method", "itersnip", "--sparsity", 0.5, "--plot", "p.png", "--picture", picture)[0] == 0
    assert matplotlib.image.imread(tmp_path / "p.png").shape[1] <= 3.5 * 300 + 1


def test_scores_that_can_not_be_computed_are_counted(run):
    huge = {key: 1e200 * one.numpy() for key, one in known.net_a().state_dict().items()}
    write_checkpoint(huge, "huge.safetensors")
    code, rows, told = run("huge.safetensors", *A[1:3], "--activation", "linear")
    assert code == 0, told
    *layers, summary = rows
    assert sum(row["nan_scores"] for row in layers)
    assert summary["sum_abs"] is None
    assert [row["score_share"] for row in layers] == 3 * [None]


def test_what_can_not_be_scored_is_refused_in_one_line(run, tmp_path):
    net = {key: one.numpy() for key, one in known.net_a().state_dict().items()}
    x, y = (one.numpy() for one in known.batch_a())
    for name, tensors in {
        "int8": net | {"2.weight": np.ones((4, 5), np.int8)},
        "bool": net | {"2.weight": np.ones((4, 5), bool)},
        "nan": net | {"2.weight": np.full((4, 5), np.nan)},
        "norm": net | {"1.weight": np.ones(5), "1.running_mean": np.ones(5), "1.running_var": np.ones(5)},
        "apart": {"q_proj.weight": np.eye(6), "head.weight": np.ones((3, 6))},
        "conv": {"0.weight": np.ones((4, 1, 3, 3)), "2.weight": np.ones((3, 4))},
        "bias": net | {"0.bias": np.ones(5), "2.bias": np.ones(3)},
    }.items():
        write_checkpoint(tensors, f"{name}.safetensors")
    np.savez("labels.npz", x=x, y=np.where(y == 2, 3, y))
    np.savez("negative.npz", x=x, y=y - 1)
    np.savez("wide.npz", x=np.ones((4, 7)), y=np.arange(4) % 3)
    out = ("-o", "out.safetensors")
    for model, said in {
        "int8": "2.weight|int8|dequantise",
        "bool": "2.weight is bool",
        "nan": "2.weight|must be a finite number",
        "norm": "no chain|--module FILE.py:NAME",
        "apart": "no chain|--module FILE.py:NAME",
        "conv": "0.weight is a kernel|--module FILE.py:NAME",
        "bias": "2.weight has 4 outputs, and its bias is (3,)",
        "gone": "gone.safetensors",
    }.items():
        refused(run, tmp_path, f"{model}.safetensors", *A[1:], *out, said=said)
    for data, said in {
        "labels.npz": "label 3, and the network has 3 outputs",
        "negative.npz": "y holds -1",
        "wide.npz": "its samples are 7, and the network's inputs are 6",
        "digits": "the network's inputs are 6",
    }.items():
        refused(run, tmp_path, A[0], "--data", data, *A[3:], *out, said=said)
    write_checkpoint({"0.weight": np.ones((7, 64))}, "seven.safetensors")
    refused(run, tmp_path, "seven.safetensors", "--data", "digits", *A[3:], said="digits has 10 classes|7 outputs")
    refused(run, tmp_path, A[0], *A[1:3], said="--activation NAME")
    refused(run, tmp_path, A[0], *A[3:], said="--data")
    refused(run, tmp_path, *A, "--temperature", 0, said="temperature 0")
    refused(run, tmp_path, *A, "--method", "snap", said="snip")
    refused(run, tmp_path, *A, "-o", "scores.npz", said=".safetensors")
    refused(run, tmp_path, *A, "--method", "force", "--sparsity", 1, said="sparsity 1")
    module = ("cnn.safetensors", *NAMED, "--data", "cnn.npz")
    refused(run, tmp_path, *module, "--method", "force", "--sparsity", 0.5, "--unit", "kernel", said="force has no")
    refused(run, tmp_path, *module[:3], said="--example")


def test_fewer_classes_in_a_file_than_outputs_are_said(run):
    x, y = (one.numpy() for one in known.batch_a())
    np.savez("two.npz", x=x, y=y % 2)
    code, _, told = run(A[0], "--data", "two.npz", *A[3:])
    assert code == 0
    assert "two.npz has 2 classes, and the network 3 outputs" in told
