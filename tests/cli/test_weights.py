"""`sao weights`: what it writes, says, and refuses."""

import json

import numpy as np
import pytest

from sao_cli.io import read_matrices
from sao_cli.weights.build_weights import METHODS


@pytest.fixture
def sao(sao_in_process):
    """Single commands in this process; pipes are real ones."""
    return sao_in_process


EXACTLY_ORTHOGONAL = ("sao", "dense", "eoi", "two-stage")


def written(sao, tmp_path, *arguments, name="layer.mtx", stdin=b""):
    done = sao("weights", *arguments, "-o", name, "-q", stdin=stdin)
    assert done.code == 0, done.err
    assert done.err == ""
    return read_matrices(tmp_path / name)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_numbers_with_their_provenance(sao, tmp_path, method):
    [layer] = written(sao, tmp_path, "--method", method, "--m", 64, "--n", 64, "--d", 4, "--seed", 3)
    told = layer.mask.provenance
    expected = {"command": "weights", "method": method, "m": 64, "n": 64, "layer": 1}
    assert {key: told[key] for key in expected} == expected
    assert told.get("values_seed", told["seed"]) == 3
    assert told["values"]
    dense = layer.to_dense()
    if method in EXACTLY_ORTHOGONAL:
        np.testing.assert_allclose(dense @ dense.T, np.eye(64), atol=1e-13)
    if method in ("lmp", "gmp", "lrp"):
        assert layer.mask.nnz == 4 * 64


@pytest.mark.parametrize(("m", "n"), [(64, 96), (96, 64), (1, 1), (1, 8)])
@pytest.mark.parametrize("method", ["sao", "lmp", "eoi"])
def test_any_shape_is_taken(sao, tmp_path, method, m, n):
    [layer] = written(sao, tmp_path, "--method", method, "--m", m, "--n", n)
    assert layer.mask.shape == (m, n)
    if method in ("sao", "dense", "eoi"):
        values = np.linalg.svd(layer.to_dense(), compute_uv=False)
        np.testing.assert_allclose(values, 1, atol=1e-13)


@pytest.mark.parametrize("sparsity", [0, 0.992, 0.99999])
@pytest.mark.parametrize("method", ["lmp", "gmp", "lrp"])
def test_pruning_keeps_exactly_what_was_asked_and_tells_both_sparsities(sao, method, sparsity):
    done = sao("weights", "--method", method, "--sparsity", sparsity, "--m", 300, "--n", 784, "--json")
    [row] = done.rows
    kept = round((1 - sparsity) * 300 * 784)
    assert row["nnz"] == kept
    assert row["requested_sparsity"] == sparsity
    assert row["sparsity"] == 1 - kept / (300 * 784)


def test_global_pruning_counts_over_the_stack(sao):
    rows = sao("weights", "--method", "gmp", "--widths", "40,60,20", "--sparsity", 0.9, "--json").rows
    assert sum(row["nnz"] for row in rows) == round(0.1 * 40 * 60) + round(0.1 * 60 * 20)


def test_a_piped_mask_keeps_its_pattern_and_its_history(pipe, tmp_path):
    done = pipe("sao mask --m 32 --n 64 --d 4 --seed 5 | tee mask.mtx | sao weights --gain 1.5 -o layer.mtx -q")
    assert done.code == 0, done.err
    [mask], [layer] = read_matrices(tmp_path / "mask.mtx"), read_matrices(tmp_path / "layer.mtx")
    assert layer.mask == mask.mask
    told = layer.mask.provenance
    assert (told["command"], told["method"], told["values"], told["gain"]) == ("weights", "sao", "orthogonal", 1.5)
    np.testing.assert_allclose(layer.to_dense() @ layer.to_dense().T, 1.5**2 * np.eye(32), atol=1e-13)


def test_options_and_a_pipe_give_the_same_bytes(pipe):
    same = "sao mask --m 64 --n 64 --d 4 --seed 2 | sao weights --seed 2 | sha256sum"
    assert pipe(same).out == pipe("sao weights --m 64 --n 64 --d 4 --seed 2 | sha256sum").out


@pytest.mark.parametrize("method", ["sao", "xnet", "dense"])
@pytest.mark.parametrize("values", ["normal", "he-uniform", "isometry"])
def test_values_go_on_any_mask(sao, tmp_path, method, values):
    [layer] = written(sao, tmp_path, "--method", method, "--m", 16, "--n", 16, "--d", 4, "--values", values)
    assert layer.mask.provenance["values"] == values


def test_isometry_says_what_it_reached(sao):
    done = sao("weights", "--method", "ramanujan", "--m", 64, "--n", 64, "--values", "isometry", "--json")
    [row] = done.rows
    for key in ("residual", "residual_floor", "effective_ones", "structural_rank", "sigma_min", "sigma_max", "steps"):
        assert row[key] is not None
    assert "effective ones a row" in done.err


def test_two_stage_tells_its_connectivity_and_second_eigenvalue(sao, pipe):
    [row] = sao("weights", "--method", "two-stage", "--m", 64, "--n", 64, "--d", 4, "--json").rows
    verified = json.loads(pipe("sao mask --method two-stage --m 64 --n 64 --d 4 | sao verify --criterion standard").out)
    assert row["connected"] is verified["connected"] is True
    assert row["lambda_2"] == pytest.approx(verified["lambda_2"], rel=1e-9)


def test_looks_linear_says_what_its_singular_values_are(sao, tmp_path):
    done = sao("weights", "--looks-linear", "--d", 4, "-o", "layer.npy")
    assert "2 and 0 where H is orthogonal" in done.err
    values = np.linalg.svd(np.load(tmp_path / "layer.npy"), compute_uv=False)
    np.testing.assert_allclose(values, [2] * 128 + [0] * 128, atol=1e-13)


@pytest.mark.parametrize(("dtype", "suffix"), [("float32", "mtx"), ("bfloat16", "safetensors"), ("float16", "pt")])
def test_a_dtype_travels_with_the_weights(sao, tmp_path, dtype, suffix):
    [layer] = written(sao, tmp_path, "--d", 4, "--round-to", dtype, name=f"layer.{suffix}")
    assert layer.dtype == dtype


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "smp"], ["unknown method 'smp'", "did you mean 'lmp'"]),
        (["--d", 4, "--values", "orthogonall"], ["unknown values", "did you mean 'orthogonal'"]),
        (["--d", 4, "--round-to", "float8"], "unknown dtype 'float8'"),
        (["--d", 4, "--gain", -1], ["gain -1.0", "positive"]),
        (["--d", 4, "--gain", 0], "gain 0.0"),
        (["--d", 4, "--gain", "nan"], "gain nan"),
        (["--d", 4, "--gain", 1e308, "--round-to", "float32"], ["overflow"]),
        (["--method", "lmp", "--sparsity", 1], "sparsity 1.0 is outside"),
        (["--method", "lmp", "--sparsity", 0.9999999], "none of its"),
        (["--method", "lmp", "--sparsity", -0.1], "sparsity -0.1 is outside"),
        (["--method", "eoi", "--sparsity", 0.999], "sparsity"),
        (["--method", "eoi", "--d", 4, "--values", "normal"], "has values of its own"),
        (["--method", "lmp", "--arrangement", "minimal"], "arrangement 'minimal' is of SAO masks"),
        (["--looks-linear", "--d", 3], "d 3 is odd"),
        (["--looks-linear", "--m", 7, "--n", 7], "width 7 is odd"),
        (["--method", "ramanujan", "--values", "orthogonal"], "--values isometry"),
        (["--method", "dense", "--m", 10**7, "--n", 10**7], "is free"),
        (["--method", "lmp", "--sparsity", 0.99, "--m", 10**7, "--n", 10**7], "is free"),
        (["--method", "sao", "--d", 4, "-o", "nowhere/layer.mtx"], "there is no folder"),
        (["missing.mtx"], "missing.mtx"),
        (["missing.mtx", "--d", 4], "both describe the layers"),
    ],
)
def test_bad_options_are_one_line(expect_error, arguments, said):
    expect_error("weights", *arguments, said=said)


def test_weights_are_no_mask(sao, expect_error):
    numbers = sao("weights", "--m", 4, "--n", 4, "--d", 2).out.encode()
    expect_error("weights", stdin=numbers, said=["holds weights already", "sao spectrum"])


def test_a_mask_of_plain_ones_is_a_mask(sao, tmp_path):
    np.save(tmp_path / "ones.npy", np.kron(np.eye(4), np.ones((2, 2))))
    assert sao("weights", "ones.npy").code == 0


def test_masks_come_from_every_method(pipe):
    for method in METHODS:
        done = pipe(f"sao mask --method {method} --m 16 --n 16 --d 4 -q | head -2 | tail -1")
        told = json.loads(done.out.removeprefix("%sao "))
        assert told["method"] == method
        assert "values" not in told
