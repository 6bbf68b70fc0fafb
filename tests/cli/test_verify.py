"""`sao verify`: keys, verdicts, exit codes, and input of every kind."""

import io
import math

import matplotlib.image
import networkx as nx
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import sao_cli


@pytest.fixture
def sao(sao_in_process):
    """Single commands in this process; pipes are real ones."""
    return sao_in_process


KEYS = {
    *("layer", "m", "n", "nnz", "density", "sparsity", "biregular", "c", "d", "row_degree", "column_degree"),
    *("components", "connected", "dead_inputs", "dead_outputs", "lambda_1", "lambda_2", "lambda_2_distinct"),
    *("bound", "spectral_gap", "ramanujan", "ramanujan_paper", "criterion", "holds", "error"),
}


def stream(*matrices, **options):
    """What scipy.io.mmwrite makes of the matrices, one after another."""
    file = io.BytesIO()
    for matrix in matrices:
        scipy.io.mmwrite(file, matrix, **options)
    return file.getvalue()


def test_the_card(pipe):
    done = pipe("sao mask --m 256 --n 256 --d 4 | sao verify")
    (row,) = done.rows
    assert done.code == 0
    assert set(row) >= KEYS
    assert row["command"] == "verify"
    assert (row["components"], row["connected"], row["biregular"]) == (64, False, True)
    assert (row["lambda_1"], row["lambda_2"], row["lambda_2_distinct"]) == (4, 4, 0)
    assert row["bound"] == pytest.approx(2 * math.sqrt(3))
    assert (row["ramanujan"], row["ramanujan_paper"], row["criterion"], row["holds"]) == (False, True, "paper", True)
    assert "64 components" in done.err
    assert "--method ramanujan" in done.err
    assert pipe("sao mask --d 4 | sao verify -q").err == ""


def test_the_standard_criterion(pipe):
    assert pipe("sao mask --m 256 --n 256 --d 4 | sao verify --criterion standard").code == 1
    for criterion in ("paper", "standard"):
        done = pipe(f"sao mask --d 4 --method ramanujan | sao verify --criterion {criterion}")
        assert (done.code, done.err) == (0, "")
        assert done.rows[0]["ramanujan"] is done.rows[0]["ramanujan_paper"] is True


def test_the_issues_second_example(pipe):
    done = pipe(
        "sao mask --m 512 --n 256 --c 8 --method ramanujan -o layer.npz && sao verify layer.npz --criterion standard"
    )
    assert done.code == 0
    assert (done.rows[0]["c"], done.rows[0]["d"]) == (8, 4)


@pytest.mark.parametrize("field", ["pattern", "real", "integer"])
@pytest.mark.parametrize("symmetry", ["general", "symmetric"])
def test_masks_made_by_others(sao, field, symmetry):
    petersen = nx.to_scipy_sparse_array(nx.petersen_graph(), dtype=int)  # the biadjacency of its double cover
    row = sao("verify", stdin=stream(petersen, field=field, symmetry=symmetry)).rows[0]
    assert (row["c"], row["d"], row["components"]) == (3, 3, 1)
    assert row["lambda_2"] == pytest.approx(2)
    assert row["ramanujan"] is True


def test_a_dense_array_and_a_weight_are_their_patterns(sao):
    weight = np.random.default_rng(0).normal(size=(6, 4)) * (np.arange(4) < 3)
    row = sao("verify", stdin=stream(weight)).rows[0]
    assert (row["nnz"], row["dead_inputs"], row["components"], row["biregular"]) == (18, 1, 2, False)


def test_a_stack_is_a_row_a_layer_and_one_verdict(pipe):
    done = pipe("(sao mask --method ramanujan; sao mask) | sao verify --criterion standard")
    assert [row["holds"] for row in done.rows] == [True, False]
    assert [row["layer"] for row in done.rows] == [1, 2]
    assert done.code == 1


def test_a_deep_stack_is_warned_of_once(pipe):
    done = pipe("sao mask --layers 50 | sao verify")
    assert done.err.count("\n") == 1
    assert "layer 1 (and 49 more layers): the paper's condition holds" in done.err


def test_explicit_zeros_and_duplicates_are_said(sao):
    text = b"%%MatrixMarket matrix coordinate real general\n2 2 4\n1 1 1\n1 1 2\n2 2 1\n2 1 0\n"
    done = sao("verify", stdin=text)
    assert done.rows[0]["nnz"] == 2
    assert "warning" in done.err
    assert "1 entry with the value 0" in done.err
    assert "1 entry at a position already given" in done.err


def test_an_irregular_mask_may_hold_by_the_standard_alone(pipe):
    line = "sao mask --method lrp --sparsity 0.8 --m 60 --n 60 -q | sao verify"
    paper, standard = pipe(line), pipe(f"{line} --criterion standard")
    assert (paper.code, standard.code) == (1, 0)
    assert "the mask is not biregular" in paper.err
    (row,) = standard.rows
    assert row["c"] == row["d"] == 12
    assert row["delta_s"] == pytest.approx(row["bound"] - row["lambda_2"])
    assert row["regularity_gap"] > 0


def test_a_report_file_and_a_table(sao, pipe, tmp_path):
    pipe("sao mask | sao verify -q -o report.jsonl")
    assert '"command": "verify"' in (tmp_path / "report.jsonl").read_text()
    table = pipe("sao mask --layers 2 | sao verify --table -q").out
    assert "lambda_2_" in table
    assert "distinct" in table
    assert "yes" in table
    single = pipe("sao mask | sao verify --table -q").out
    assert "spectral_gap" in single


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_picture(sao, pipe, tmp_path, suffix):
    masks = sao("mask", "--layers", 2, "--m", 64, "--n", 64).out.encode()
    assert sao("verify", "-q", "--plot", f"fig7.{suffix}", stdin=masks).code == 0
    data = (tmp_path / f"fig7.{suffix}").read_bytes()
    assert data[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")
    if suffix == "png":
        assert matplotlib.image.imread(tmp_path / "fig7.png").std() > 0.01
    again = pipe(f"sao mask --layers 2 --m 64 --n 64 | sao verify -q --plot again.{suffix}")
    assert again.code == 0
    assert (tmp_path / f"again.{suffix}").read_bytes() == data


def test_a_mask_too_large_for_its_eigenvalues_is_drawn_by_an_estimate_that_says_so(pipe, tmp_path):
    done = pipe("sao mask --m 5000 --n 5000 --method xnet | sao verify --criterion standard --plot a.svg")
    assert done.code == 1, done.err
    assert "the picture is of a stochastic density" in done.err
    assert "estimated" in (tmp_path / "a.svg").read_text()


def test_a_picture_of_many_layers_says_which_it_shows(sao, tmp_path):
    masks = sao("mask", "--layers", 23, "--m", 16, "--n", 16).out.encode()
    assert sao("verify", "-q", "--plot", "a.svg", stdin=masks).code == 0
    # matplotlib keeps a text's words in a comment beside its glyphs
    assert "the first 20 of 23 layers" in (tmp_path / "a.svg").read_text()


def test_hypercube_from_networkx_fails_the_standard_condition(sao):
    """Q_8: lambda_2 = 6 and 2 sqrt(7) = 5.29."""
    cube = nx.hypercube_graph(8)
    sides = nx.bipartite.sets(cube)
    matrix = nx.bipartite.biadjacency_matrix(cube, sorted(sides[0]))
    done = sao("verify", stdin=stream(sp.coo_array(matrix)))
    assert done.code == 1
    assert done.rows[0]["lambda_2"] == pytest.approx(6)
    assert done.rows[0]["ramanujan"] is False


def lifted_tie(k):
    """A k-lift of C_6 x K_{3,3} (cartesian): 5-regular and bipartite, lambda_2 = 1 + 3 = 4 = 2 sqrt(4), the bound."""
    graph = nx.cartesian_product(nx.cycle_graph(6), nx.complete_bipartite_graph(3, 3))
    base = nx.bipartite.biadjacency_matrix(graph, sorted(nx.bipartite.sets(graph)[0])).toarray()
    rng, lifted = np.random.default_rng(0), np.zeros((18, k, 18, k))
    for i, j in np.argwhere(base):
        lifted[i, :, j, :] = np.eye(k)[rng.permutation(k)]
    return stream(sp.coo_array(lifted.reshape(18 * k, 18 * k)))


def test_a_tie_holds(sao):
    done = sao("verify", "--criterion", "standard", stdin=lifted_tie(1))
    (row,) = done.rows
    assert (done.code, done.err) == (0, "")
    assert row["ramanujan"] is row["ramanujan_paper"] is row["holds"] is True
    assert (row["lambda_2"], row["bound"], row["delta_s"], row["error_kind"]) == (4, 4, 0, "bound")
    assert row["certificate"] == "dense svd, exact tie"


def test_a_tie_too_large_for_whole_numbers_is_not_guessed(sao):
    """540 on a side: the old eigenvalue of the lift is still there, and the new ones are below it."""
    done = sao("verify", "--criterion", "standard", stdin=lifted_tie(30))
    (row,) = done.rows
    assert done.code == 2
    assert row["ramanujan"] is row["ramanujan_paper"] is row["holds"] is None
    assert "too near to tell" in row["reason"]
    assert row["reason"] in done.err


HEADER = b"%%MatrixMarket matrix coordinate pattern general\n"


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "empty"),
        (b"hello\n", "Matrix Market"),
        (b"\x00\x01\x02\x03" * 100, "expected Matrix Market text"),
        (HEADER + b"2 2 2\n1 1\n", ["2 entries declared", "ends after 1"]),
        (HEADER + b"2 2 1\n1 1\n" + HEADER + b"2 2 2\n1 1\n", ["matrix 2", "cut off"]),
        (HEADER + b"2 2 1\n1 1\n2 2\n", "at least 2"),
        (HEADER + b"2 2 1\n3 1\n", ["3 1", "1 .. 2"]),
        (HEADER + b"2 2 1\n0 1\n", ["0 1", "counted from 1"]),
        (HEADER + b"0 2 0\n", "0 2 0"),
        (HEADER + b"1000000000000 1000000000000 1000000000000000\n1 1\n", "2^63"),
        (HEADER.replace(b"pattern", b"real") + b"2 2 1\n1 1 nan\n", "nan"),
        (HEADER.replace(b"pattern", b"complex") + b"2 2 1\n1 1 1 1\n", "complex"),
        (HEADER + b"2 x 1\n1 1\n", "size"),
        (HEADER + b"2 2 1\n1", "row column"),
        (HEADER.replace(b"coordinate pattern", b"array real") + b"1000000000 1000000000\n1\n", "is free"),
    ],
)
def test_bad_streams(expect_error, stdin, said):
    expect_error("verify", stdin=stdin, said=said)


def test_bad_files(expect_error, sao, tmp_path):
    (tmp_path / "folder").mkdir()
    np.savez(tmp_path / "two.npz", first=np.eye(2), second=np.eye(3))
    expect_error("verify", "nowhere.mtx", said="nowhere.mtx")
    expect_error("verify", "folder", said="folder")
    expect_error("verify", "/dev/null", said="empty")
    expect_error("verify", "two.npz", "--tensor", "frist", said="first")
    assert sao("verify", "two.npz", "--tensor", "second", "-q").rows[0]["n"] == 3
    expect_error("verify", "two.npz", "--plot", "picture.jpg", said=".png, .svg, .pdf")
    expect_error("verify", "two.npz", "--plot", "nowhere/a.png", said="nowhere")


def test_all_zero_mask(sao):
    done = sao("verify", stdin=HEADER + b"2 3 0\n")
    (row,) = done.rows
    assert done.code == 1
    assert (row["components"], row["dead_inputs"], row["dead_outputs"], row["lambda_1"]) == (5, 3, 2, 0)
    assert row["bound"] is None


def test_python_gives_the_same(pipe, tmp_path):
    row = pipe("sao mask --method ramanujan --m 60 --n 40 --d 4 -o a.mtx && sao verify a.mtx").rows[0]
    (mask,) = sao_cli.read_masks(tmp_path / "a.mtx")
    told = sao_cli.expansion(mask).to_dict()
    assert told == {key: row[key] for key in told}


def test_a_pattern_decides_the_exit_code(sao):
    stack = sao("mask", "--method", "nm", "--layers", 2, "--m", 8, "--n", 8).out.encode()
    done = sao("verify", "--criterion", "2:4", stdin=stack)
    assert (done.code, [row["holds"] for row in done.rows]) == (0, [True, True])
    assert [(row["nm"], row["ones_of_4"], row["criterion"]) for row in done.rows] == [("2:4", 2, "2:4")] * 2
    assert sao("verify", "--criterion", "1:4", stdin=stack).code == 1
    assert "or a pattern N:M" in sao("verify", "--criterion", "2-4", stdin=stack).err
