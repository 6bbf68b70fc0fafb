"""`sao jacobian --module`: a network of the user's own, at normal inputs or at data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from sao_cli import write_checkpoint
from sao_cli.cli import main
from sao_cli.cli.shared import streams
from sao_cli.io.datasets.samples import load_samples
from sao_cli.nets.jacobians.points import drawn_inputs
from sao_cli.nets.jacobians.trained import TrainedRun

from .conftest import Done

NETS = """
import torch
from torch import nn

def net():
    print("made")
    torch.manual_seed(0)
    parts = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Dropout(), nn.Flatten(), nn.Linear(108, 5)
    return nn.Sequential(*parts)

def vector():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 8), nn.GELU())

def pair():
    return nn.LSTM(4, 3)

def ids():
    return nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(streams, "has_input", lambda: False)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def sao(*arguments, stdin=b""):
    done = CliRunner().invoke(main, ["jacobian", *map(str, arguments)], prog_name="sao", input=stdin)
    return Done(done.exit_code, done.stdout, done.stderr)


def network():
    namespace = {}
    exec(NETS, namespace)
    return namespace["net"]().double().eval()


def by_jacrev(model, x):
    jacobian = torch.func.jacrev(model)(torch.from_numpy(np.array(x)))
    return torch.linalg.svdvals(jacobian.detach().reshape(-1, x.size)).numpy()


def test_normal_inputs():
    done = sao("-", "--module", "nets.py:net", "--example", "1x1x8x8", "--inputs", 3, "--input-std", 0.5, stdin=saved())
    assert done.code == 0, done.err
    [row] = done.rows
    x = drawn_inputs(3, (1, 1, 8, 8), 0.5)
    values = np.array([by_jacrev(moved_network(), one) for one in x])
    assert (row["record"], row["module"], row["source"]) == ("module", "Sequential", "-")
    assert (row["m"], row["n"], row["inputs"], row["rank"]) == (5, 64, 3, 5)
    facts = (row["mean"], row["variance"], row["sigma_max"], row["sigma_min"])
    np.testing.assert_allclose(facts, (values.mean(), values.var(), values.max(), values.min()), rtol=1e-9)
    assert row["condition"] == pytest.approx((values[:, 0] / values[:, -1]).max(), rel=1e-9)
    assert "made" in done.err


def moved_network():
    model = network().float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
        model[1].running_mean += 0.25
    return model.double()


def saved():
    state = moved_network().float().state_dict()
    write_checkpoint({name: tensor.numpy() for name, tensor in state.items()}, "saved.safetensors")
    return Path("saved.safetensors").read_bytes()


def test_data_are_standardised_test_images():
    done = sao("--module", "nets.py:net", "--example", "1x1x8x8", "--inputs", 2, "--data", "digits")
    assert done.code == 0, done.err
    x = load_samples("digits", split="test").x[:2]
    values = np.array([by_jacrev(network(), one[None]) for one in x])
    assert done.rows[0]["mean"] == pytest.approx(values.mean(), rel=1e-9)
    flat = sao("--module", "nets.py:vector", "--example", "1x64", "--inputs", 2, "--data", "digits")
    assert flat.rows[0]["n"] == 64


def test_data_of_a_file_are_used_as_they_are():
    x = 100 + np.arange(3 * 64).reshape(3, 1, 8, 8) % 7
    np.savez("few.npz", x=x, y=np.arange(3))
    for example in ("1x1x8x8", "2x1x8x8"):
        given = x if example[0] == "1" else np.stack([x, x], axis=1)
        np.savez("few.npz", x=given, y=np.arange(3))
        done = sao("--module", "nets.py:net", "--example", example, "--inputs", 3, "--data", "few.npz")
        assert done.code == 0, done.err
        values = by_jacrev(network(), x[1][None].astype(float))
        sigma = done.rows[0]["sigma_max"]
        assert sigma == pytest.approx(max(by_jacrev(network(), one[None].astype(float))[0] for one in x), rel=1e-9)
        assert done.rows[0]["sigma_min"] <= values[-1] * (1 + 1e-9)


def test_a_chain_and_a_built_network_at_data():
    done = sao("--depth", 2, "--width", 64, "--data", "digits", "--inputs", 4)
    assert (done.code, done.rows[0]["inputs"]) == (0, 4), done.err
    wrong = sao("--depth", 2, "--width", 32, "--data", "digits")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "its samples are 1x8x8, and the network's inputs are 32" in wrong.err


@pytest.mark.parametrize("arch", ["fnn", "lenet5"])
def test_a_run_at_its_test_images_is_what_its_own_rows_tell(here, arch):
    sizes = ["--depth", 3, "--width", 16] if arch == "fnn" else ["--method", "dense"]
    told = ["--epochs", 0, "--jacobian-at", 0, "-q", "-o", "run", "--seed", 2]
    trained = CliRunner().invoke(main, ["train", "--arch", arch, *map(str, [*sizes, *told])], prog_name="sao")
    assert trained.exit_code == 0, trained.stderr
    [row] = Done(0, trained.stdout, "").rows
    [found] = sao("run", "--data", "digits", "--inputs", 8).rows
    assert found["mean"] == pytest.approx(row["jacobian"]["mean"], rel=1e-4)
    assert found["log10_sigma_max"] == pytest.approx(row["jacobian"]["log10_sigma_max"], abs=1e-4)
    assert TrainedRun.of("run").samples("digits", inputs=2).shape == ((2, 64) if arch == "fnn" else (2, 1, 24, 24))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--example", "ids:1x4"], "real numbers, not whole numbers"),
        (["--example", "1x1x8x8", "--example", "1x2"], "one input of real numbers, not several inputs"),
        (["--example", "1x1x8x8", "--norms", "strict"], "no room for --norms"),
        (["--example", "1x1x8x8", "--depth", 2], "no room for --depth"),
        (["--example", "1x1x8x8", "--activation", "relu"], "no room for --activation"),
        (["--example", "1x1x8x8", "--picture", "depth"], "no room for --picture"),
        (["--example", "1x1x8x8", "--inputs", 0], "0 inputs"),
        (["--example", "1x1x8x8", "--data", "digits", "--inputs", 400], "there are from 1 to 360"),
        (["--example", "1x1x8x8", "--data", "digits", "--input-std", 2], "--input-std is of normal inputs"),
        (["--example", "1x1x8x8", "--data-folder", "."], "--data-folder is of --data"),
        (["--example", "1x1x7x7", "--data", "digits"], "its samples are 1x8x8, and the network's inputs are 1x7x7"),
        (["--example", "1x2x8x8"], "can't take a"),
        (["--example", "1x1x8x8", "--dtype", "float16"], "can't resolve"),
    ],
)
def test_what_does_not_go_with_a_module_is_one_line(arguments, said):
    done = sao("--module", "nets.py:net", *arguments)
    lines = [line for line in done.err.splitlines() if line != "made"]
    assert (done.code, done.out, len(lines)) == (2, "", 1), done
    assert said in lines[0]


def test_a_module_of_several_outputs_is_one_line():
    done = sao("--module", "nets.py:pair", "--example", "5x4")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "a Jacobian is of one tensor" in done.err


def test_a_table_draws_the_logarithms():
    done = sao("--module", "nets.py:vector", "--example", "1x64", "--table")
    assert "█" in done.out


def test_its_picture():
    done = sao("--module", "nets.py:net", "--example", "1x1x8x8", "--inputs", 3, "--plot", "a.svg")
    assert done.code == 0, done.err
    picture = Path("a.svg").read_text()
    assert "Sequential" in picture
    assert "Jacobian 5 x 64 at 3 inputs" in picture
