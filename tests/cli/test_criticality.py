"""`sao criticality`: its rows, its verdict as an exit code, its pictures, and what it refuses."""

import matplotlib.image
import pytest

import sao_cli
from sao_cli.catalog import CRITICALITY_PICTURES

CST = ("--activation", "cst", "--activation-sparsity", 0.85)


def test_rows_are_the_librarys_a_depth_each(sao_in_process):
    asked = ("--depth", 30, "--depth", 100, "--width", 50, "--chains", 20, "--weights", "orthogonal", "--d", 20)
    done = sao_in_process("criticality", *CST, "--slope", 0.7, *asked, "--seed", 3)
    told = {"depths": (30, 100), "width": 50, "chains": 20, "weights": "orthogonal", "d": 20, "seed": 3}
    found = sao_cli.criticality("cst", activation_sparsity=0.85, slope=0.7, **told)
    assert [row["depth"] for row in done.rows] == [30, 100]
    for row, one in zip(done.rows, found, strict=True):
        assert (row["record"], row["command"], row["seed"], row["source"]) == ("depth", "criticality", 3, None)
        facts = sao_cli.reports.report.plain(one.to_dict())
        assert {name: row[name] for name in facts} == facts
        assert row["trainable_depth"] is None
    assert done.code == 0


def test_a_network_of_no_width_has_no_chains(sao_in_process):
    [row] = sao_in_process("criticality", "--activation", "tanh", "--sigma-w", 1.3**0.5, "--sigma-b", 0.05**0.5).rows
    assert row["width"] is row["q_std"] is row["escape"] is None
    assert row["chi_1"] == pytest.approx(0.880164, abs=1e-6)
    assert (row["verdict"], row["depth"], row["trainable_depth"]) == ("trainable", 30, 47)


@pytest.mark.parametrize(
    ("asked", "code", "verdict"),
    [
        (["--activation", "relu-tau", "--activation-sparsity", 0.85], 1, "half-stable"),
        ([*CST, "--clip", 1], 0, "trainable"),
        ([*CST, "--slope", 0.9, "--width", 50, "--depth", 1, "--depth", 30], 1, "several-fixed-points"),
    ],
)
def test_check_asks_whether_every_depth_is_trainable(sao_in_process, asked, code, verdict):
    done = sao_in_process("criticality", *asked, "--check")
    assert (done.code, done.rows[-1]["verdict"]) == (code, verdict)
    assert (f"sao criticality: {verdict}: " in done.err) is bool(code)
    assert sao_in_process("criticality", *asked).code == 0


def test_a_table_has_the_verdict(sao_in_process):
    out = sao_in_process("criticality", *CST, "--slope", 0.7, "--depth", 1, "--depth", 99, "--table").out
    assert "verdict" in out
    assert out.count("trainable ") == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--activation", "sigmoid"], "sigma_b^2 would be -5.54"),
        (["--activation", "softplus"], "sigma_b^2 would be -2.14"),
        (["--activation", "relu-tau", "--activation-sparsity", 0.4], "no edge of chaos"),
        ([], "--activation NAME says what follows each layer: linear, tanh"),
        (["--activation", "cts"], "did you mean 'cst'?"),
        (["--activation", "cst"], "cst needs one of activation_sparsity and tau"),
        ([*CST], "cst needs one of slope and clip"),
        ([*CST, "--slope", 0.7, "--clip", 1], "cst needs one of slope and clip"),
        ([*CST, "--tau", 1, "--clip", 1], "cst needs one of activation_sparsity and tau"),
        ([*CST, "--slope", 1], "slope 1.0: V'(q*)"),
        (["--activation", "cst", "--activation-sparsity", 1, "--clip", 1], "activation_sparsity 1.0"),
        (["--activation", "crelu", "--activation-sparsity", 0, "--clip", 1], "activation_sparsity 0.0"),
        (["--activation", "cst", "--tau", -1, "--clip", 1], "tau -1: cst would jump at 0"),
        (["--activation", "cst", "--tau", 1, "--clip", 0], "clip 0"),
        (["--activation", "tanh", "--tau", 1], "tanh takes no tau"),
        (["--activation", "tanh", "--q-star", 0], "q_star 0.0"),
        (["--activation", "tanh", "--q-star", "nan"], "q_star nan"),
        (["--activation", "tanh", "--sigma-w", 1], "sigma_w and sigma_b are examined together"),
        (["--activation", "tanh", "--sigma-w", -1, "--sigma-b", 0], "sigma_w -1"),
        (["--activation", "relu", "--sigma-w", 2, "--sigma-b", 1], "grows without end"),
        (["--activation", "tanh", "--depth", 0], "depth 0"),
        (["--activation", "tanh", "--width", 0], "width 0"),
        (["--activation", "tanh", "--width", 4, "--chains", 0], "chains 0"),
        (["--activation", "tanh", "--chains", 9], "--chains is of networks of some --width"),
        (["--activation", "tanh", "--width", 4, "--d", 5], "d 5"),
        (["--activation", "tanh", "--weights", "uniform"], "uniform"),
        (["--activation", "tanh", "--picture", "slope", "--plot", "p.png"], "--picture slope is of functions with a"),
        (["--activation", "tanh", "--picture", "maps", "--plot", "p.png"], "did you mean 'map'?"),
        (["--activation", "tanh", "--sigma-w", 0.5, "--sigma-b", 0, "--plot", "p.svg", "-q", "-o", "r"], "q dies out"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(sao_in_process, tmp_path, asked, said):
    done = sao_in_process("criticality", *asked)
    assert (done.code, done.out) == (2, ""), done
    assert done.err.startswith("sao criticality: ")
    assert said in done.err
    assert done.err.count("\n") == 1, done.err
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".png", ".svg")]


@pytest.mark.parametrize("picture", CRITICALITY_PICTURES)
def test_pictures_are_as_wide_as_a_column(sao_in_process, tmp_path, picture):
    asked = ("--slope", 0.7, "--width", 20, "--chains", 10, "--depth", 5, "--picture", picture)
    done = sao_in_process("criticality", *CST, *asked, "--plot", "p.png")
    assert (done.code, done.err) == (0, "")
    assert matplotlib.image.imread(tmp_path / "p.png").shape[1] == 1050


def test_chains_of_a_picture_have_a_width_that_is_told(sao_in_process):
    done = sao_in_process("criticality", "--activation", "tanh", "--depth", 3, "--plot", "p.svg", "--picture", "depth")
    assert done.err == "sao criticality: --picture depth is of chains of --width 300, as none is named\n"
