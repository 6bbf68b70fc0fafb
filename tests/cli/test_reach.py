"""`sao reach`: the rows, the summary, the matrix that it keeps, and its picture."""

import matplotlib.image
import numpy as np
import pytest
import scipy.sparse as sp

import sao_cli


@pytest.fixture
def sao(sao_in_process):
    """Single commands in this process; pipes are real ones."""
    return sao_in_process


KEYS = ["layer", "inputs", "outputs", "reachable", "odd_paths", "rank_f2", "unreached_outputs", "lost_inputs", "full"]


def test_the_card(sao):
    done = sao("reach", "--layers", 5)
    *depths, summary = done.rows
    assert done.code == 0
    assert [row["layer"] for row in depths] == [1, 2, 3, 4, 5]
    assert list(depths[0]) == ["record", "command", "version", "seed", "source", *KEYS]
    assert depths[0]["reachable"] == depths[0]["odd_paths"] == 4 / 256
    assert depths[4]["reachable"] > 0.9
    assert not depths[4]["full"]
    assert {key: summary[key] for key in ("summary", "layers", "full_at", "minimum_possible")} == {
        "summary": True,
        "layers": 5,
        "full_at": None,
        "minimum_possible": 4,
    }


def test_minimal_is_full_as_early_as_can_be(pipe, tmp_path):
    done = pipe("sao mask --layers 4 --arrangement minimal | sao reach --plot reach.png")
    assert done.rows[-1]["full_at"] == done.rows[-1]["minimum_possible"] == 4
    assert matplotlib.image.imread(tmp_path / "reach.png").std() > 0.05


def test_options_and_a_stream_describe_the_same(sao, pipe):
    *piped, summary = pipe("sao mask --layers 3 --seed 5 | sao reach --seed 5").rows
    *built, same = sao("reach", "--layers", 3, "--seed", 5).rows
    assert [row.pop("provenance")["layer"] for row in piped] == [1, 2, 3]
    assert {row.pop("source") for row in (*piped, summary)} == {"-"}
    assert {row.pop("source") for row in (*built, same)} == {None}
    assert [*piped, summary] == [*built, same]


@pytest.mark.parametrize("over", ["boolean", "f2"])
def test_the_matrix_is_kept(sao, tmp_path, over):
    done = sao("reach", "--layers", 3, "--m", 64, "--n", 64, "-o", "R.npz", "--over", over)
    paths = np.eye(64, dtype=int)
    for mask in sao_cli.mask_stack([64] * 4):
        paths = paths @ mask.to_dense(int).T
    expected = paths > 0 if over == "boolean" else paths % 2 == 1
    np.testing.assert_array_equal(sp.load_npz(tmp_path / "R.npz").toarray() != 0, expected)
    assert done.rows[2]["reachable"] == (paths > 0).mean()
    assert done.rows[2]["odd_paths"] == (paths % 2 == 1).mean()


def test_rank(sao):
    ranks = [row["rank_f2"] for row in sao("reach", "--layers", 2, "--m", 32, "--n", 32, "--rank").rows[:-1]]
    assert ranks[0] == 8
    assert ranks[1] <= 8


def test_a_single_mask_is_a_stack_of_one(pipe):
    done = pipe("sao mask --m 8 --n 12 --d 3 | sao reach")
    assert [row.get("layer") for row in done.rows] == [1, None]
    assert done.rows[0]["inputs"] == 12


def test_table(sao):
    out = sao("reach", "--layers", 2, "--table").out
    assert "reachable" in out
    assert "minimum_possible: -" in out


@pytest.mark.parametrize("layers", [1, 2, 30])
def test_pictures_of_shallow_and_deep_stacks(sao, tmp_path, layers):
    assert sao("reach", "--layers", layers, "--m", 64, "--n", 64, "--plot", "a.svg", "--over", "f2").code == 0
    assert (tmp_path / "a.svg").stat().st_size > 5000


def test_bad_input(expect_error, sao):
    expect_error("reach", said="empty")
    first, second = (sao("mask", "--m", m, "--n", n, "--d", d).out for m, n, d in ((8, 4, 2), (4, 6, 3)))
    expect_error("reach", stdin=(first + second).encode(), said=["layer 2", "6", "8"])
    expect_error("reach", "a.mtx", "--layers", 2, said="both describe the layers")
    expect_error("reach", "--layers", 2, "--d", 5, said="nearest feasible")
    expect_error("reach", "--layers", 2, "--over", "f3", said="f3")
    expect_error("reach", "--layers", 1, "--m", 10**5, "--n", 10**5, "-o", "R.xyz", said=".xyz")
