"""`sao kernel`, and `sao spectrum` of what it makes: real pipes where they matter, in this process elsewhere."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import load, load_file

from sao_cli.cli import main

from .conftest import Done


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run("kernel", "--d", 4) gives exit code, stdout and stderr, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        done = CliRunner().invoke(main, [*map(str, arguments)], prog_name="sao")
        return Done(done.exit_code, done.stdout, done.stderr)

    return invoke


def test_a_kernel_goes_through_a_pipe_to_its_spectrum(pipe):
    line = "sao kernel --scheme eco --c-out 16 --c-in 16 --size 3 --d 4 | sao spectrum --padding circular --dilation 3"
    [row] = pipe(f"{line} --image 9").rows
    assert (row["scheme"], row["m"], row["n"], row["sparsity"], row["exact"]) == ("eco", 1296, 1296, 0.75, True)
    assert row["isometry_error"] < 1e-13
    [row] = pipe(f"{line} --image 10").rows  # which does not divide 9
    assert row["sigma_max"] > 1.1
    assert "ECO kernels are orthogonal only" in row["reason"]


def test_a_delta_kernel_with_zero_padding_is_orthogonal(run):
    done = run(
        "kernel", "--scheme", "delta", "--c-out", 128, "--c-in", 128, "--size", 3, "--d", 4, "-o", "k.safetensors"
    )
    assert (done.code, done.out, done.err) == (0, "", "")
    [row] = run("spectrum", "k.safetensors", "--image", 32, "--padding", "zeros").rows
    assert (row["m"], row["kernel"], row["image"], row["d"]) == (128 * 1024, [128, 128, 3, 3], [32, 32], 4)
    assert max(abs(row["sigma_max"] - 1), abs(row["sigma_min"] - 1), row["ks"]["statistic"]) < 1e-14


def test_the_kernel_of_one_seed_is_the_same_bytes_in_file_and_stream(sao, tmp_path):
    described = [
        "kernel",
        "--c-out",
        "8",
        "--c-in",
        "12",
        "--size",
        "5x3",
        "--d",
        "3",
        "--seed",
        "7",
        "--round-to",
        "float32",
    ]
    assert sao(*described, "-o", "k.safetensors").code == 0
    kernel = load_file(tmp_path / "k.safetensors")["weight"]
    assert (kernel.shape, kernel.dtype) == ((8, 12, 5, 3), np.float32)
    again = CliRunner().invoke(main, described)
    assert np.array_equal(load(again.stdout_bytes)["weight"], kernel)


def test_a_summary_tells_what_was_made(run):
    done = run("kernel", "--scheme", "soc", "--c-out", 8, "--c-in", 8, "--d", 4, "--terms", 6, "--json")
    [row] = done.rows
    assert (row["command"], row["scheme"], row["terms"], row["shape"]) == ("kernel", "soc", 6, [8, 8, 11, 11])
    assert row["error_bound"] == pytest.approx(1 / 720)
    assert "within 0.0014 of 1" in done.err
    done = run("kernel", "--sparsity", 0.9, "--c-out", 8, "--c-in", 8, "--looks-linear", "--table")
    assert "sparsity 0.75" in done.err
    assert "2 and 0" in done.err


def test_a_tensor_of_a_checkpoint_is_measured_with_stride_and_padding(run, tmp_path):
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    tensors = {"features.3.weight": kernel, "features.3.bias": kernel[:, 0, 0, 0], "head.weight": kernel[:, :, 0, 0]}
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, tmp_path / "c.safetensors")
    asked = [
        "spectrum",
        "c.safetensors",
        "--tensor",
        "features.3.weight",
        "--image",
        "8",
        "--stride",
        "2",
        "--padding",
        "same",
    ]
    [row] = run(*asked).rows
    assert (row["m"], row["n"], row["stride"], row["output_image"]) == (64, 192, [2, 2], [4, 4])
    flat = np.linalg.svd(kernel.reshape(4, -1).astype(float), compute_uv=False)[0]
    assert row["reshaped_sigma_max"] == pytest.approx(flat)
    done = run(*asked[:3], "features.3.weigth", *asked[4:])
    assert (done.code, "features.3.weight" in done.err) == (2, True)


@pytest.mark.parametrize("padding", ["1", "zeros", "circular"])
def test_an_image_below_the_kernel_is_one_that_torch_takes(run, tmp_path, padding):
    weights = np.random.default_rng(0).standard_normal((3, 3, 3, 3))
    np.save(tmp_path / "w.npy", weights)
    mode = "circular" if padding == "circular" else "zeros"
    layer = torch.nn.Conv2d(3, 3, 3, padding=1, padding_mode=mode, bias=False, dtype=torch.float64)
    layer.weight.data = torch.from_numpy(weights)
    images = torch.eye(12, dtype=torch.float64).reshape(12, 3, 2, 2)
    expected = np.linalg.svd(layer(images).reshape(12, -1).detach().numpy(), compute_uv=False)
    for command in ("spectrum", "audit"):
        [row, *_] = run(command, "w.npy", "--image", 2, "--padding", padding, "--json").rows
        assert (row["sigma_max"], row["sigma_min"]) == pytest.approx((expected[0], expected[-1]))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kernel --scheme ecco", "did you mean 'eco'"),
        ("kernel --size 3by3", "'3by3' is no size"),
        ("kernel --scheme soc --size 4", "4"),
        ("kernel --d 5", "5"),
        ("kernel --c-out 0", "0"),
        ("kernel --c-out 100000 --c-in 100000", "is free"),
        ("kernel -o k.mtx", ".safetensors"),
        ("kernel --d 4 --sparsity 0.5", "exclude each other"),
        ("spectrum k.safetensors", "--image 32"),
        ("spectrum k.safetensors --image 2 --padding valid", "larger than an image of 2 with padding valid"),
        ("spectrum k.safetensors --image 8 --padding mirror", "'mirror'"),
        ("spectrum k.safetensors --image 8 --groups 3", "3 groups"),
        ("spectrum k.safetensors --image 8x8x8", "(8, 8, 8)"),
        ("spectrum k.safetensors --image 8 --activation tanh", "--activation is for matrices"),
        ("spectrum k.safetensors --image 0", "0"),
        ("spectrum k.safetensors --image 8 --stride 0", "0"),
        ("spectrum k.safetensors --image 100000 --padding zeros", "is free"),
        ("spectrum --method sao --image 8", "--image is for convolution kernels"),
        ("jacobian k.safetensors", "sao spectrum"),
        ("weights k.safetensors", "sao spectrum"),
    ],
)
def test_bad_input_gets_one_line(run, tmp_path, line, said):
    assert run("kernel", "--c-out", 8, "--c-in", 8, "-o", "k.safetensors").code == 0
    done = run(*line.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert said in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["k.safetensors"]


def test_the_jacobian_of_convolutional_networks(run):
    asked = "jacobian --arch cnn --depth 3 --depth 4 --width 8 --image 8 --d 4 --activation linear --method sao"
    rows = run(*asked.split()).rows
    assert [(row["depth"], row["m"], row["n"], row["activation"]) for row in rows] == [
        (3, 32, 192, "linear"),
        (4, 32, 192, "linear"),
    ]
    for row in rows:  # strides pass 2 x 2 pixels of 3 channels, and delta kernels keep their norms
        assert (row["rank"], row["resolved"], row["log10_sigma_min"]) == (12, 12 / 32, None)
        assert "can't be told from zero" in row["reason"]
        assert max(abs(row["log10_sigma_max"]), abs(row["log10_mean"]), row["log10_std"]) < 1e-13
    [row] = run(*["jacobian", "--arch", "lipconvnet", "--depth", "5", "--width", "4"]).rows
    assert row["activation"] == "max-min"
    assert row["log10_sigma_max"] < 1e-5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--arch resnet", "'resnet'"),
        ("--arch lipconvnet --method sao", "--method is not for --arch lipconvnet"),
        ("--arch cnn --c 2", "--c is not for --arch cnn"),
        ("--image 8", "--image is for --arch"),
        ("--arch cnn --scheme soc", "soc"),
        ("--arch cnn --depth 0", "0"),
        ("--arch lipconvnet --depth 7", "7"),
        ("--arch cnn --inputs 0", "0 inputs"),
        ("--arch cnn --width 30 --d 7", "7"),
    ],
)
def test_bad_networks_get_one_line(run, options, said):
    done = run("jacobian", *options.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert said in done.err


def test_reports_are_strict_json(run):
    assert run("kernel", "--c-out", 4, "--c-in", 4, "-o", "k.pt").code == 0
    done = run("spectrum", "k.pt", "--image", 5, "--singular-values")
    assert json.loads(done.out)["singular_values"] == pytest.approx([1.0] * 100)
