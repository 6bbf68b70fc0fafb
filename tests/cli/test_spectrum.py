"""`sao spectrum`: what it prints, draws, and refuses."""

import math

import numpy as np
import pytest

import sao_cli


@pytest.fixture
def sao(sao_in_process):
    """Single commands in this process; pipes are real ones."""
    return sao_in_process


TABLE_6 = {  # SAO, Table 6: p-values, and k of D = k/256 that the exact law makes them of
    "1": 0,
    "0.83958": 14,
    "0.99998": 7,
    "0.41603": 20,
    "4.23E-153": 256,
    "4.74E-107": 228,
    "2.07E-30": 130,
    "1.42E-96": 219,
    "8.92E-54": 170,
    "1.53E-62": 182,
    "2.97E-102": 224,
    "2.55E-93": 216,
}
KEYS = """record command version seed source
    layer name method activation m n nnz sparsity c d sigma_max sigma_min mean std rank condition
    isometry_error frobenius_norm stable_rank effective_rank within exact density_error error_kind ks repeats reason"""


def printed(pvalue):
    """As the paper prints it: three digits and an exponent where it is small, five decimals else."""
    if pvalue > 1e-3:
        return f"{pvalue:.5f}".rstrip("0").rstrip(".")
    return f"{pvalue:.2E}".replace("E-0", "E-")


def test_a_row_has_every_key(sao):
    done = sao("spectrum", "--method", "lmp", "--sparsity", 0.992)
    [row] = done.rows
    assert (done.code, done.err) == (0, "")
    assert sorted(row) == sorted(KEYS.split())
    assert list(row)[:7] == KEYS.split()[:7]
    assert list(row["ks"])[:2] == ["statistic", "pvalue"]
    assert {"n1", "n2", "reference", "resolution"} <= set(row["ks"])
    assert (row["method"], row["activation"], row["ks"]["reference"]) == ("lmp", "linear", "dense")
    assert f"{row['ks']['pvalue']:.4e}" == "4.2323e-153"


@pytest.mark.parametrize(("text", "k"), TABLE_6.items(), ids=TABLE_6)
def test_table_6_to_its_printed_digits(sao, tmp_path, text, k):
    """Diagonal weights whose singular values differ in k of 256 places from the reference's."""
    values = np.linspace(1, 2, 256)
    np.save(tmp_path / "reference.npy", np.diag(values))
    values[:k] = 0.5
    np.save(tmp_path / "layer.npy", np.diag(values))
    [row] = sao("spectrum", "layer.npy", "--reference", "reference.npy").rows
    assert row["ks"]["statistic"] == k / 256
    assert printed(row["ks"]["pvalue"]) == text
    assert (row["ks"]["n1"], row["ks"]["n2"], row["ks"]["reference"]) == (256, 256, "reference.npy")


def test_the_issues_pipes(pipe):
    for line in (
        "sao mask --m 256 --n 256 --d 4 | sao weights | sao spectrum",
        "sao weights --method eoi --m 300 --n 784 --sparsity 0.95 | sao spectrum --reference dense",
    ):
        done = pipe(line)
        assert done.code == 0, done.err
        assert done.rows[0]["ks"]["pvalue"] == 1.0
        assert done.rows[0]["isometry_error"] < 1e-12


def test_many_methods_and_all_activations(pipe, tmp_path):
    methods = "--method sao --method rg-s --method lmp --method lrp"
    done = pipe(f"sao spectrum {methods} --sparsity 0.992 --activation all --input-std 0.9 --plot table6.svg")
    assert done.code == 0, done.err
    assert len(done.rows) == 44
    assert [row["method"] for row in done.rows[::11]] == ["sao", "rg-s", "lmp", "lrp"]
    assert all(row["ks"]["pvalue_holm"] >= row["ks"]["pvalue"] for row in done.rows)
    assert "hard-tanh" in (tmp_path / "table6.svg").read_text()


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.pdf"])
@pytest.mark.parametrize("picture", ["density", "cdf"])
def test_pictures(sao, tmp_path, name, picture):
    done = sao("spectrum", "--method", "lrp", "--m", 32, "--n", 32, "--plot", name, "--picture", picture)
    assert done.code == 0, done.err
    assert (tmp_path / name).stat().st_size > 1000


def test_tables_show_a_histogram_and_json_does_not(sao):
    wide = sao("spectrum", "--method", "sao", "--method", "lmp", "--sparsity", 0.9, "--m", 32, "--n", 32, "--table")
    assert "█" in wide.out
    assert "lmp" in wide.out
    tall = sao("spectrum", "--method", "lmp", "--sparsity", 0.9, "--m", 32, "--n", 32, "--table")
    assert "ks.pvalue" in tall.out
    assert "singular values" in tall.out
    assert "singular values" not in sao("spectrum", "--method", "lmp", "--m", 32, "--n", 32, "--json").out


def test_values_are_descending_and_those_of_numpy(sao, tmp_path):
    sao("weights", "--method", "rg-n", "--m", 12, "--n", 18, "--d", 3, "-o", "layer.npy")
    [row] = sao("spectrum", "layer.npy", "--singular-values").rows
    exact = np.linalg.svd(np.load(tmp_path / "layer.npy"), compute_uv=False)
    np.testing.assert_allclose(row["singular_values"], exact, atol=1e-13)


def test_a_stack_is_a_row_a_layer(pipe):
    rows = pipe("sao weights --widths 16,32,8 | sao spectrum --activation tanh --activation relu").rows
    assert [(row["layer"], row["m"], row["activation"]) for row in rows] == [
        (1, 32, "tanh"),
        (1, 32, "relu"),
        (2, 8, "tanh"),
        (2, 8, "relu"),
    ]


def test_precision_comes_from_the_file_or_from_the_option(sao, tmp_path):
    sao("weights", "--d", 4, "--round-to", "float32", "-o", "layer.npy")
    coarse = sao("spectrum", "layer.npy").rows[0]
    assert coarse["ks"]["resolution"] == pytest.approx(10 * 16 * 2.0**-23, rel=1e-3)
    assert coarse["ks"]["pvalue"] == 1.0
    np.save(tmp_path / "double.npy", np.load(tmp_path / "layer.npy").astype(float))
    assert sao("spectrum", "double.npy").rows[0]["ks"]["pvalue"] < 1e-9
    assert sao("spectrum", "double.npy", "--round-to", "float32").rows[0]["ks"]["pvalue"] == 1.0
    assert sao("spectrum", "double.npy", "--resolution", 1e-5).rows[0]["ks"]["pvalue"] == 1.0


def test_repeats_and_inputs(sao, tmp_path):
    [row] = sao("spectrum", "--d", 4, "--activation", "tanh", "--repeats", 5).rows
    assert row["repeats"]["count"] == 5
    assert row["repeats"]["pvalue_5"] <= row["repeats"]["pvalue_median"] <= row["repeats"]["pvalue_95"]
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((3, 256)))
    [row] = sao("spectrum", "--d", 4, "--activation", "tanh", "--input-file", "x.npy").rows
    assert row["repeats"]["count"] == 3


def test_gain_is_the_references_too(pipe):
    assert pipe("sao spectrum --d 4 --gain 1.1").rows[0]["ks"]["pvalue"] == 1.0
    assert pipe("sao weights --d 4 --gain 1.1 | sao spectrum --gain 1.1").rows[0]["ks"]["pvalue"] == 1.0
    assert pipe("sao weights --d 4 --gain 1.1 | sao spectrum").rows[0]["ks"]["pvalue"] < 1e-9


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 7), (7, 1)])
def test_the_smallest_layers(sao, m, n):
    [row] = sao("spectrum", "--method", "dense", "--m", m, "--n", n).rows
    assert row["sigma_max"] == pytest.approx(1)
    assert row["ks"]["pvalue"] == 1.0


def test_a_zero_layer_is_a_fact_not_a_failure(sao, tmp_path):
    np.save(tmp_path / "zero.npy", np.zeros((4, 6)))
    done = sao("spectrum", "zero.npy")
    assert done.code == 0, done.err
    assert done.rows[0]["condition"] is None
    assert "zero" in done.rows[0]["reason"]


def test_far_tails_keep_their_logarithm(sao):
    [row] = sao("spectrum", "--method", "lmp", "--sparsity", 0.99, "--m", 640, "--n", 640).rows
    assert row["ks"]["pvalue"] == 0.0
    log10 = math.log10(2) - (math.lgamma(1281) - 2 * math.lgamma(641)) / math.log(10)
    assert row["ks"]["log10_pvalue"] == pytest.approx(log10, rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "lmpp"], ["unknown method 'lmpp'", "did you mean 'lmp'"]),
        (["--d", 4, "--activation", "rely"], ["unknown activation 'rely'", "did you mean 'relu'"]),
        (["--d", 4, "--reference", "nowhere.npy"], "nowhere.npy"),
        (["--method", "lmp", "--sparsity", 1], "sparsity 1.0 is outside"),
        (["--d", 4, "--gain", -2], "gain -2.0"),
        (["--d", 4, "--input-std", -1], "input_std -1.0"),
        (["--d", 4, "--within", -1], "within -1.0"),
        (["--d", 4, "--repeats", 0], "0 repeats"),
        (["--d", 4, "--resolution", "nan"], "resolution nan"),
        (["--d", 4, "--input-file", "missing.npy"], "missing.npy"),
        (["--d", 4, "--plot", "a.gif"], ".png, .svg, .pdf"),
        (["--d", 4, "--plot", "a.png", "--picture", "cdf", "--reference", "none"], "a reference layer"),
        (["missing.npy", "--d", 4], "both describe the layers"),
        ([], "it is empty"),
    ],
)
def test_bad_input_is_one_line(expect_error, arguments, said):
    expect_error("spectrum", *arguments, said=said)


def test_bad_weights_are_one_line(expect_error, tmp_path, sao):
    wrong = np.eye(4)
    wrong[2, 1] = np.nan
    np.save(tmp_path / "nan.npy", wrong)
    expect_error("spectrum", "nan.npy", said=["nan at row 3, column 2"])
    mask = sao("mask", "--m", 8, "--n", 8).out.encode()
    expect_error("spectrum", stdin=mask, said=["is a mask", "sao weights"])
    (tmp_path / "mask.mtx").write_bytes(mask)
    expect_error("spectrum", "--d", 4, "--reference", "mask.mtx", said=["the reference mask.mtx is a mask"])
    numbers = sao("weights", "--m", 8, "--n", 8).out.encode()
    expect_error("spectrum", stdin=numbers[:-2], said="cut off")
    np.save(tmp_path / "x.npy", np.zeros((2, 5)))
    expect_error("spectrum", "--d", 4, "--input-file", "x.npy", said="(256,) or (B, 256)")


def test_python_gives_the_same_row(sao):
    [row] = sao("spectrum", "--method", "lmp", "--sparsity", 0.95, "--m", 32, "--n", 32, "--seed", 4).rows
    [weight] = sao_cli.weight_stack([32, 32], method="lmp", sparsity=0.95, seed=4)
    found = sao_cli.spectrum(weight, seed=4).to_dict()
    assert {key: row[key] for key in found} == found
