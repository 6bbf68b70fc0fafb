"""`sao plan --cnn` and `--lipconvnet`: what it prints, what it says, and which options it refuses together."""

import json

import pytest
from click.testing import CliRunner

from sao_cli.cli import main

KEYS = ["layer", "m", "n", "c", "d", "sparsity", "parameters", "feasible", "kernel", "stride", "side", "scheme"]


@pytest.fixture
def plan():
    """plan("--cnn") in this process: its rows, and what it said."""

    def run(*arguments):
        done = CliRunner().invoke(main, ["plan", "--json", *map(str, arguments)])
        assert done.exit_code == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    return run


@pytest.mark.parametrize(
    ("target", "total"), [([], 286_560), (["--sparsity", 0.5], 143_712), (["--d", 4], 36_576), (["--c", 4], 36_576)]
)
def test_the_papers_cnn_of_32_layers(plan, target, total):
    rows, said = plan("--cnn", "--depth", 32, "--width", 32, "--form", "cifar10", *target)
    assert len(rows) == 32
    assert list(rows[0])[5:] == KEYS
    assert sum(row["parameters"] for row in rows) == total
    assert said == (
        f"sao plan: {total} parameters in 32 convolutions, of which the first is dense; biases and the classifier are "
        "not counted\n"
    )
    assert (rows[0]["n"], rows[0]["d"], rows[0]["sparsity"]) == (3, 3, 0)
    assert [(row["kernel"], row["stride"], row["side"]) for row in rows[1:4]] == [
        ([3, 3], [2, 2], 32),
        ([3, 3], [2, 2], 16),
        ([3, 3], [1, 1], 8),
    ]


def test_lipconvnet(plan):
    rows, said = plan("--lipconvnet", "--depth", 10, "--sparsity", 0.5)
    assert [row["scheme"] for row in rows] == ["soc"] * 4 + ["eco"] * 6
    assert [row["sparsity"] for row in rows] == [0, *[0.5] * 9]
    assert f"{864 + sum(row['m'] * row['n'] * row['kernel'][0] ** 2 // 2 for row in rows[1:])} parameters" in said
    assert [row["side"] for row in plan("--lipconvnet", "--image", 72)[0]] == [72, 36, 18, 9, 3]


def test_defaults_forms_and_quiet(plan):
    assert plan("--cnn", "-q") == (plan("--cnn", "--depth", 32, "--width", 32)[0], "")
    assert len(plan("--cnn", "--form", "cinic10", "--depth", 8, "--image", 64)[0]) == 10
    assert len(plan("--lipconvnet")[0]) == 5


def test_as_a_process_with_a_table(sao):
    done = sao("plan", "--cnn", "--depth", 3, "--d", 4, "--table")
    assert done.code == 0
    assert "3, 3" in done.out
    assert "3168 parameters in 3 convolutions" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cnn", "--lipconvnet"], "--cnn and --lipconvnet exclude each other"),
        (["--cnn", "--m", "32"], "--cnn and --m exclude each other"),
        (["--lipconvnet", "--widths", "4,4"], "--lipconvnet and --widths exclude each other"),
        (["--cnn", "--layers", "2"], "--cnn and --layers exclude each other"),
        (["--depth", "3"], "--depth describes a convolutional network; name it"),
        (["--form", "cifar10", "--m", "3"], "--form describes a convolutional network"),
        (["--lipconvnet", "--width", "8"], "--width is of --cnn alone"),
        (["--lipconvnet", "--form", "cifar10"], "--form is of --cnn alone"),
        (["--cnn", "--d", "4", "--sparsity", "0.5"], "--d and --sparsity exclude each other"),
        (["--cnn", "--form", "mnist"], "unknown form 'mnist'"),
        (["--cnn", "--depth", "0"], "depth 0"),
        (["--cnn", "--d", "5"], "nearest feasible (c, d)"),
        (["--cnn", "--sparsity", "1"], "sparsity 1.0"),
        (["--cnn", "--method", "lamp"], "unknown method 'lamp'"),
        (["--cnn", "--depth", "1000000000000"], "is free"),
        (["--cnn", "--method", "xnet", "--width", "1000000000"], "is free"),
        (["--lipconvnet", "--depth", "7"], "the nearest depth is 5"),
        (["--lipconvnet", "--image", "32"], "a multiple of 72"),
        (["--lipconvnet", "--method", "xnet"], "SAO masks"),
    ],
)
def test_bad_requests(arguments, said):
    done = CliRunner().invoke(main, ["plan", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("sao plan: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
