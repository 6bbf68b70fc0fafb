"""Activations that take numbers, in every command that measures or scores by an activation."""

import json

import numpy as np
import pytest

import sao_cli
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.weights.build_weights import weight_stack

NUMBERS = {
    "relu-tau": ["--tau", 0.5],
    "soft-threshold": ["--tau", 0.5],
    "crelu": ["--tau", 0.5, "--clip", 1],
    "cst": ["--tau", 0.5, "--clip", 1],
}
SMALL = ("--m", 16, "--n", 16, "--d", 4)


def function(name):
    return ActivationFunction(name, *NUMBERS[name][1::2])


@pytest.fixture
def model(tmp_path):
    write_checkpoint(
        {f"{k}.weight": np.random.default_rng(k).normal(size=(8, 8)) for k in range(3)}, tmp_path / "m.safetensors"
    )
    return tmp_path / "m.safetensors"


@pytest.mark.parametrize("name", NUMBERS)
def test_a_layer_s_spectrum_is_the_library_s(sao_in_process, name):
    [row] = sao_in_process("spectrum", *SMALL, "--activation", name, *NUMBERS[name]).rows
    [weight] = weight_stack([16, 16], method="sao", d=4)
    assert row["activation"] == str(function(name))
    assert row["rank"] == sao_cli.spectrum(weight, function(name)).rank < 16


@pytest.mark.parametrize("name", NUMBERS)
def test_a_chain_s_jacobian_is_the_library_s(sao_in_process, name):
    asked = ("--depth", 2, "--width", 16, "--d", 16, "--input-std", 2)
    [row] = sao_in_process("jacobian", *asked, "--activation", name, *NUMBERS[name]).rows
    weights = weight_stack([16] * 3, method="sao", d=16)
    [found] = sao_cli.nets.network_jacobian(weights, function(name), depths=[2], input_std=2)
    assert row["activation"] == str(function(name))
    assert (row["mean"], row["rank"]) == (found.mean, found.rank)
    assert 0 < row["rank"] < 16


@pytest.mark.parametrize("name", NUMBERS)
def test_scores_are_of_the_chain_with_it(sao_in_process, model, name):
    asked = ("--method", "snip", "--data", "x.npz", "--samples", 8, "--activation", name, *NUMBERS[name])
    rng = np.random.default_rng(0)
    np.savez(model.with_name("x.npz"), x=rng.normal(size=(8, 8)), y=np.arange(8))
    *_, told = sao_in_process("sensitivity", model, *asked).rows
    with sao_cli.open_checkpoint(model) as checkpoint:
        found = sao_cli.nets.scores.score_checkpoint(
            checkpoint, "snip", activation=function(name), data="x.npz", samples=8
        )
    assert told["sum_abs"] == pytest.approx(sum(np.abs(one).sum() for one in found.scores.values()))
    done = sao_in_process("prune", model, *asked, "--sparsity", 0.5, "-o", "pruned.safetensors")
    assert done.code == 0, done.err
    assert json.loads(done.out.splitlines()[-1])["kept"] == 96


def test_a_number_goes_to_those_that_take_it_and_all_are_those_that_take_none(sao_in_process):
    asked = [one for name in ("crelu", "relu-tau", "all") for one in ("--activation", name)]
    rows = sao_in_process("spectrum", *SMALL, *asked, "--tau", 1, "--clip", 2).rows
    assert [row["activation"] for row in rows[:3]] == ["crelu(tau=1,clip=2)", "relu-tau(tau=1)", "linear"]
    assert len(rows) == 2 + len(sao_cli.catalog.PLAIN_ACTIVATIONS)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--activation", "tanh", "--tau", 1], "--tau 1 is for --activation relu-tau, soft-threshold, crelu or cst"),
        (["--activation", "relu-tau", "--tau", 1, "--clip", 1], "--clip 1 is for --activation crelu or cst; leave it"),
        (["--activation", "crelu", "--tau", 1], "activation 'crelu' needs tau and clip"),
        (["--activation", "cst", "--tau", -1, "--clip", 1], "tau -1: cst would jump at 0"),
        (["--activation", "cst", "--tau", 1, "--clip", 0], "clip 0: it is a number above 0"),
        (["--activation", "relu-tau", "--tau", "nan"], "tau nan: it is a finite number"),
    ],
)
@pytest.mark.parametrize("command", ["spectrum", "jacobian", "sensitivity"])
def test_numbers_that_do_not_fit_are_refused_in_a_line(sao_in_process, model, command, asked, said):
    done = sao_in_process(command, *([model, "--data", "digits"] if command == "sensitivity" else []), *asked)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
