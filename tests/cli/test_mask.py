"""`sao mask` and `sao plan`, as processes."""

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from safetensors.numpy import load_file

import sao_cli
from sao_cli.masks.build_masks import METHODS


@pytest.fixture
def sao(sao_in_process):
    """Single commands in this process; pipes are real ones."""
    return sao_in_process


def test_a_stream_that_everything_reads(sao, tmp_path):
    done = sao("mask", "--m", 256, "--n", 256, "--d", 4)
    lines = done.out.splitlines()
    assert done.code == 0
    assert done.err == ""
    assert lines[0] == "%%MatrixMarket matrix coordinate pattern general"
    assert lines[1].startswith('%sao {"version": ')
    assert lines[2] == "256 256 1024"
    assert len(lines) == 3 + 1024
    (tmp_path / "mask.mtx").write_text(done.out)
    read = scipy.io.mmread(tmp_path / "mask.mtx")
    np.testing.assert_array_equal(read.toarray(), sao_cli.sao_mask(256, 256, 4).to_dense())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_by_its_name(sao, method):
    done = sao("mask", "--m", 48, "--n", 96, "--method", method, "--sparsity", 0.9)
    assert done.code == 0
    assert f'"method": "{method}"' in done.out.splitlines()[1]
    assert "asked for sparsity 0.9" in done.err
    assert sao("mask", "--m", 48, "--n", 96, "--method", method, "--sparsity", 0.9, "-q").err == ""


def test_the_same_seed_gives_the_same_bytes(sao):
    first, again, other = (sao("mask", "--layers", 2, "--seed", seed).out for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("name", ["a.mtx", "a.mtx.gz", "a.npz", "a.npy", "a.safetensors", "a.pt"])
def test_files_by_suffix(sao, tmp_path, name):
    done = sao("mask", "--m", 12, "--n", 6, "--d", 3, "-o", name)
    assert (done.code, done.out, done.err) == (0, "", "")
    (mask,) = sao_cli.read_masks(tmp_path / name)
    assert mask == sao_cli.sao_mask(12, 6, 3)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_files_are_the_ecosystems_own(sao, tmp_path):
    sao("mask", "--m", 12, "--n", 6, "--d", 3, "-o", "a.npz")
    sao("mask", "--m", 12, "--n", 6, "--d", 3, "-o", "a.npy")
    sao("mask", "--m", 6, "--n", 6, "--layers", 2, "--d", 3, "-o", "a.safetensors")
    dense = sao_cli.sao_mask(12, 6, 3).to_dense()
    np.testing.assert_array_equal(sp.load_npz(tmp_path / "a.npz").toarray() != 0, dense)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), dense)
    assert list(load_file(tmp_path / "a.safetensors")) == ["layer.1", "layer.2"]


def test_a_failed_write_leaves_the_old_file(expect_error, sao, tmp_path):
    sao("mask", "-o", "a.npy")
    before = (tmp_path / "a.npy").read_bytes()
    expect_error("mask", "--layers", 2, "-o", "a.npy", said="one matrix")
    assert (tmp_path / "a.npy").read_bytes() == before


def test_summary_instead_of_the_matrix(sao):
    (row,) = sao("mask", "--json", "-q").rows
    assert row["command"] == "mask"
    assert (row["m"], row["n"], row["c"], row["d"], row["nnz"], row["seed"]) == (256, 256, 4, 4, 1024, 0)
    table = sao("mask", "--layers", 3, "--table")
    assert "sparsity" in table.out
    assert "-o layer.mtx" in table.err


def test_widths_make_a_chain(sao):
    rows = sao("mask", "--widths", "784,512,256x2,10", "--json", "-q").rows
    assert [(row["m"], row["n"]) for row in rows] == [(512, 784), (256, 512), (256, 256), (10, 256)]


def test_plan(sao):
    rows = sao("plan", "--widths", "784,512,256x49,10", "--sparsity", 0.98).rows
    assert len(rows) == 51
    assert list(rows[0]) == [
        "record",
        "command",
        "version",
        "seed",
        "source",
        "layer",
        "m",
        "n",
        "c",
        "d",
        "sparsity",
        "parameters",
        "feasible",
    ]
    assert rows[2]["d"] == 4
    assert rows[2]["sparsity"] == pytest.approx(1 - 4 / 256)
    assert rows[2]["parameters"] == 1024
    assert rows[2]["feasible"] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert sao("plan", "--m", 12, "--n", 18).rows[0]["feasible"] == [3, 6, 9, 18]
    assert "feasible" in sao("plan", "--table").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--m", 300, "--n", 784, "--d", 4], ["d = 4", "gcd(300, 784) = 4", "nearest feasible (c, d): (75, 196)"]),
        (["--d", 4, "--sparsity", 0.9], "--d and --sparsity exclude each other"),
        (["--d", 4, "--c", 4], "--d and --c exclude each other"),
        (["--widths", "4,4", "--m", 4], "--widths and --m exclude each other"),
        (["--d", 300], "d is from 1 to 256"),
        (["--d", 0], "d = 0"),
        (["--m", 0], "m = 0"),
        (["--n", -5], "n = -5"),
        (["--m", "four"], "four"),
        (["--layers", 0], "--layers 0"),
        (["--layers", 2, "--m", 4, "--n", 8], ["--layers 2 of 4 x 8 do not chain", "--widths 8,4,4"]),
        (["--widths", "4"], "describe no layer"),
        (["--widths", "4,x"], "is no width"),
        (["--widths", "4,4x1x2"], "is no width"),
        (["--widths", "4,4x0"], "'4x0' is no width"),
        (["--widths", "4,4x"], "'4x' is no width"),
        (["--widths", "4x1000000000000"], ["1000000000000 layers", "is free"]),
        (["--sparsity", 1], "sparsity 1.0"),
        (["--sparsity", "nan"], "sparsity nan"),
        (["--method", "ramanujn"], "did you mean 'ramanujan'"),
        (["--method", "ramanujan", "--d", 1], "c >= 2 and d >= 2"),
        (["--arrangement", "sorted"], "random, minimal"),
        (["--method", "lrp", "--arrangement", "minimal"], "is of SAO masks"),
        (["--seed", -1], "-1"),
        (["--m", 10**9, "--n", 10**9], ["1000000000 x 1000000000", "is free"]),
        (["--layers", 10**12], "is free"),
        (["--m", 10**30], "2**62"),
        (["-o", "a.xyz"], [".xyz", ".mtx"]),
        (["-o", "nowhere/a.mtx"], "nowhere"),
        (["-o", "."], "."),
        (["--bogus"], "--bogus"),
        (["extra"], "extra"),
    ],
)
def test_bad_requests(expect_error, arguments, said):
    expect_error("mask", *arguments, said=said)


def test_plan_refuses_too(expect_error):
    expect_error("plan", "--d", 5, said="nearest feasible (c, d)")
    expect_error("plan", "--method", "nothing", said="unknown method 'nothing'")
    expect_error("plan", "--method", "xnet", "--n", 10**9, said="is free")
