"""`sao jacobian`: what it prints, draws and refuses. In this process, since each new one would load torch again."""

import io
import math

import numpy as np
import pytest
from click.testing import CliRunner

from sao_cli.cli import main
from sao_cli.data.matrix import Matrix
from sao_cli.io import write_matrices
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.masks.sao import sao_mask
from sao_cli.measure.criticality.variance_map import edge_of_chaos, sparse_activation
from sao_cli.nets.jacobians.chain import network_jacobian
from sao_cli.weights.build_weights import weight_stack

from .conftest import Done

KEYS = """record command version seed source
    depth method activation gain sigma_b m n inputs mean variance log10_sigma_max log10_sigma_min
    log10_mean log10_std rank resolved participation predicted_log10_mean_square predicted_relative_variance device
    dtype reason"""


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run("--depth", 5, stdin=b"...") gives exit code, stdout and stderr, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, stdin=b""):
        done = CliRunner().invoke(main, ["jacobian", *map(str, arguments)], prog_name="sao", input=stdin)
        return Done(done.exit_code, done.stdout, done.stderr)

    return invoke


@pytest.fixture
def expect_line(run):
    """Assert exit code 2, nothing on stdout, and one line that says `said`."""

    def check(*arguments, said, stdin=b""):
        done = run(*arguments, stdin=stdin)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("sao jacobian: ")
        assert done.err.count("\n") == 1
        assert said in done.err

    return check


def text(stack):
    buffer = io.BytesIO()
    write_matrices(stack, buffer)
    return buffer.getvalue()


def test_rows_by_method_activation_and_depth(run):
    arguments = "--depth 3 --depth 5 --width 32 --method sao --method rg-n --d 4 --activation tanh --activation relu"
    done = run(*arguments.split(), "--gain", 1.1, "--device", "cpu")
    assert (done.code, done.err) == (0, "")
    assert [(row["method"], row["activation"], row["depth"]) for row in done.rows] == [
        (method, activation, depth) for method in ("sao", "rg-n") for activation in ("tanh", "relu") for depth in (3, 5)
    ]
    assert sorted(done.rows[0]) == sorted(KEYS.split())
    assert list(done.rows[0])[:9] == KEYS.split()[:9]
    assert done.rows[0]["gain"] == 1.1
    [expected] = network_jacobian(weight_stack([32] * 6, d=4, gain=1.1), "tanh", depths=[5], device="cpu")
    assert {key: done.rows[1][key] for key in expected.to_dict()} == expected.to_dict()


def test_a_stack_is_read(pipe, run):
    done = pipe("sao weights --layers 20 --m 32 --n 32 | sao jacobian --inputs 3 --device cpu")
    assert done.code == 0, done.err
    assert (done.rows[0]["depth"], done.rows[0]["inputs"]) == (20, 3)
    stack = text(weight_stack([32] * 21))
    chosen = run("-", "--depth", 4, "--depth", 9, "--activation", "linear", stdin=stack)
    assert [row["depth"] for row in chosen.rows] == [4, 9]
    assert chosen.rows[1]["mean"] == pytest.approx(1)


def test_a_thousand_layers(run):
    [row] = run("--depth", 1000, "--width", 16, "--gain", 1.1, "--activation", "linear").rows
    assert row["log10_sigma_max"] == pytest.approx(1000 * np.log10(1.1), rel=1e-10)
    assert row["log10_sigma_min"] == pytest.approx(1000 * np.log10(1.1), rel=1e-10)


@pytest.mark.parametrize("picture", ["depth", "histogram"])
def test_pictures(run, tmp_path, picture):
    arguments = f"--depth 2 --depth 6 --width 16 --method sao --method rg-n --plot a.svg --picture {picture}"
    done = run(*arguments.split())
    assert done.code == 0, done.err
    assert "rg-n" in (tmp_path / "a.svg").read_text()


def test_by_layer_is_a_row_a_layer(run, tmp_path):
    done = run("--depth", 3, "--width", 16, "--by-layer", "--plot", "a.svg")
    assert [row["depth"] for row in done.rows] == [1, 2, 3]
    assert "layer, each alone" in (tmp_path / "a.svg").read_text()


def test_a_picture_tells_the_kernels_that_are_on_a_mask(run, tmp_path):
    """Bare "sao" over normal kernels read as if SAO were at fault."""
    done = run("--arch", "cnn", "--depth", 2, "--width", 4, "--image", 8, "--scheme", "normal", "--plot", "a.svg")
    assert done.code == 0, done.err
    assert "sao, normal kernels" in (tmp_path / "a.svg").read_text()


def test_tables_draw_the_logarithms(run):
    done = run("--depth", 2, "--depth", 6, "--width", 16, "--table")
    assert "█" in done.out
    assert "log10_mean" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--width", 16, "--depth", 0], "--depth 0"),
        (["--width", 0], "0"),
        (["--width", 16, "--d", 3], "nearest feasible"),
        (["--width", 16, "--method", "soa"], "did you mean 'sao'"),
        (["--width", 16, "--activation", "tahn"], "did you mean 'tanh'"),
        (["--width", 16, "--device", "tpu"], "unknown device 'tpu'"),
        (["--width", 16, "--device", "cuda:64"], "is not there"),
        (["--width", 16, "--dtype", "float16"], "can't resolve"),
        (["--width", 16, "--inputs", 0], "0 inputs"),
        (["--width", 16, "--gain", -1], "gain -1.0"),
        (["--width", 16, "--plot", "a.gif"], ".png, .svg, .pdf"),
        (["missing.npy", "--width", 16], "both describe the layers"),
        ([], "it is empty"),
        (["-", "--gain", 2], "both describe the layers"),
    ],
)
def test_bad_input_is_one_line(expect_line, arguments, said):
    expect_line(*arguments, said=said)


def test_bad_stacks_are_one_line(expect_line):
    weights = text(weight_stack([8, 16]))
    expect_line(stdin=weights + weights, said="layer 2 reads 8 numbers, and layer 1 gives 16")
    expect_line("-", "--depth", 2, stdin=weights, said="depth 2: the network has 1 layers")
    expect_line(stdin=text([Matrix(sao_mask(8, 8, 2))]), said="layer 1 is a mask")


@pytest.fixture
def checkpoint(tmp_path):
    """Ten layers whose numbered names make a stack, with biases; text order would put net.10 before net.2."""
    stack = weight_stack([12] * 11, method="rg-n", d=3, seed=4)
    tensors = {}
    for number, weight in enumerate(stack):
        tensors[f"net.{2 * number}.weight"] = weight.to_dense()
        tensors[f"net.{2 * number}.bias"] = np.ones(12)
    write_checkpoint(tensors, tmp_path / "model.safetensors")
    return stack


def values(rows):
    return [(row["depth"], row["log10_sigma_max"], row["log10_mean"]) for row in rows]


def expected(stack, *depths, activation="tanh"):
    return values([row.to_dict() for row in network_jacobian(stack, activation, depths=depths)])


def test_a_checkpoint_is_a_stack_of_its_weights(run, checkpoint):
    done = run("model.safetensors", "--activation", "silu", "--depth", 3, "--depth", 10)
    assert done.code == 0, done.err
    assert values(done.rows) == expected(checkpoint, 3, 10, activation="silu")
    assert "bias" in done.err
    assert "plain stack" in done.err
    assert values(run(".", "--depth", 10).rows) == expected(checkpoint, 10)
    part = run("model.safetensors", "--include", "net.[024].*")
    assert values(part.rows) == expected(checkpoint[:3], 3)


def test_weights_are_named_in_the_order_in_which_they_run(run, checkpoint, tmp_path):
    names = ["--tensor", "net.18.weight", "--tensor", "net.0.weight"]
    piped = run(*names, stdin=(tmp_path / "model.safetensors").read_bytes())
    assert values(piped.rows) == expected([checkpoint[9], checkpoint[0]], 2)


def test_a_stack_with_a_gap_is_one_line(expect_line, checkpoint):
    expect_line("model.safetensors", "--exclude", "net.2.*", said="net.2.weight runs between them")
    expect_line("model.safetensors", "--include", "a", "--tensor", "b", said="give one of them")


CST = ("--activation", "cst", "--activation-sparsity", 0.85, "--slope", 0.7)


def test_layers_begin_at_the_edge_of_chaos(run):
    """Of each method, whose weights are sigma_w times its own, with biases of the seed and inputs by which q_1 = q*."""
    told = run("--depth", 4, "--width", 64, "--d", 32, "--method", "dense", "--method", "sao", *CST, "--device", "cpu")
    assert told.code == 0, told.err
    phi = sparse_activation("cst", activation_sparsity=0.85, slope=0.7)
    start = edge_of_chaos(phi)
    std = math.sqrt(1 - start.sigma_b**2) / start.sigma_w
    for row, method in zip(told.rows, ("dense", "sao"), strict=True):
        stack = weight_stack([64] * 5, method=method, d=32, gain=start.sigma_w)
        [wanted] = network_jacobian(stack, phi, sigma_b=start.sigma_b, input_std=std, depths=[4], device="cpu")
        assert row["mean"] == pytest.approx(wanted.mean, rel=1e-12)
        assert (row["gain"], row["sigma_b"], row["method"]) == (start.sigma_w, start.sigma_b, method)
        assert row["predicted_log10_mean_square"] == pytest.approx(wanted.predicted_log10_mean_square, rel=1e-9)
    told = run("--depth", 3, "--width", 16, "--activation", "tanh", "--sigma-w", 1.5, "--sigma-b", 0.2)
    assert [(row["gain"], row["sigma_b"]) for row in told.rows] == [(1.5, 0.2)]


def test_a_stack_that_is_read_gets_biases_alone(run):
    stack = weight_stack([16] * 4, gain=1.3)
    [row] = run("-", "--activation", "tanh", "--sigma-b", 0.3, "--device", "cpu", stdin=text(stack)).rows
    [wanted] = network_jacobian(stack, "tanh", sigma_b=0.3, depths=[3], device="cpu")
    assert (row["mean"], row["gain"], row["sigma_b"]) == (pytest.approx(wanted.mean, rel=1e-12), 1.3, 0.3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*CST, "--gain", 1.1], "--gain is sigma_w"),
        ([*CST, "--tau", 1], "cst needs one of activation_sparsity and tau"),
        (["--activation", "tanh", "--slope", 0.5], "tanh takes no clip"),
        (["--activation", "tanh", "--sigma-b", 0.5, "--depth", 2], "give both"),
        (["--activation", "sigmoid", "--q-star", 1], "sigma_b^2 would be -5.54"),
        (["--arch", "cnn", "--q-star", 1], "--q-star is not for --arch cnn"),
    ],
)
def test_what_has_no_edge_of_chaos_is_one_line(run, arguments, said):
    done = run("--width", 16, *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert said in done.err
