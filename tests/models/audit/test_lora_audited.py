"""An audit of LoRA's pairs: the facts of the product, from its factors, against numpy's SVD of the whole matrix."""

import numpy as np
import pytest

import sao_cli
from sao_cli.base.errors import FormatError
from sao_cli.data.product import Product
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.measure.values.by_factors import product_singular_values
from sao_cli.models.audit.row import audit_weight


def factors(m, r, n, dtype=np.float32):
    rng = np.random.default_rng(m + r + n)
    return rng.normal(size=(m, r)).astype(dtype), rng.normal(size=(r, n)).astype(dtype)


def audited(tmp_path, tensors, **asked):
    path = tmp_path / "adapter.safetensors"
    write_checkpoint(tensors, path)
    return {row.name: row for row in sao_cli.audit_checkpoint(path, **asked)}


@pytest.mark.parametrize(("m", "r", "n"), [(40, 3, 25), (25, 3, 40), (1, 1, 9), (4, 9, 6), (12, 12, 5)])
def test_values_are_those_of_the_product(m, r, n):
    up, down = factors(m, r, n, np.float64)
    found = product_singular_values(Product(up, down)).values
    expected = np.linalg.svd(up @ down, compute_uv=False)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=100 * max(m, n) * 2.0**-52 * expected[0])


def test_a_product_beyond_the_numbers_is_refused():
    with pytest.raises(FormatError, match="leaves the range of float64"):
        product_singular_values(Product(np.full((2, 1), 1e200), np.full((1, 2), 1e200)))


@pytest.mark.parametrize("transpose", [False, True])
def test_a_pair_is_a_row_with_the_facts_of_the_whole(tmp_path, transpose):
    up, down = factors(30, 3, 20)
    up[4], down[:, 7] = 0, 0
    asked = {"transpose": ["q"]} if transpose else {}
    row = audited(tmp_path, {"q.lora_A.default.weight": down, "q.lora_B.default.weight": up}, **asked)["q"]
    whole = audit_weight(up.astype(np.float64) @ down, name="q", dtype="float32", transposed=transpose)
    assert row.assumed == "lora_B lora_A, rank 3, without the scale lora_alpha/r"
    assert (row.rank, row.shape, row.dtype, row.transposed) == (3, (30, 20), "float32", transpose)
    for key in (
        "m",
        "n",
        "nnz",
        "sparsity",
        "dead_inputs",
        "dead_outputs",
        "row_degree",
        "column_degree",
        "rank",
        "nm",
    ):
        assert getattr(row, key) == getattr(whole, key), key
    for key in ("sigma_max", "frobenius_norm", "stable_rank", "effective_rank", "scale", "mean", "std"):
        assert getattr(row, key) == pytest.approx(getattr(whole, key), rel=1e-5), key
    np.testing.assert_allclose(row.singular_values, whole.singular_values, rtol=0, atol=1e-5 * row.sigma_max)
    assert np.count_nonzero(row.singular_values) <= 3


def test_an_untrained_pair_is_zero_and_a_threshold_needs_the_whole(tmp_path):
    up, down = factors(8, 2, 6)
    pair = {"q.lora_A.weight": down, "q.lora_B.weight": np.zeros_like(up)}
    row = audited(tmp_path, pair)["q"]
    assert (row.nnz, row.rank, row.sigma_max, row.dead_outputs) == (0, 0, 0.0, 8)
    assert "the matrix is zero" in row.reason
    row = audited(tmp_path, pair | {"q.lora_B.weight": up}, threshold=1.0)["q"]
    assert row.nnz == np.count_nonzero(np.abs(up.astype(np.float64) @ down) > 1)


def test_a_pair_of_large_sides_is_never_there_as_a_whole(tmp_path, monkeypatch):
    up, down = factors(3000, 2, 2000)
    asked = []
    monkeypatch.setattr("sao_cli.measure.values.by_factors.require_memory", lambda needed, what: asked.append(needed))
    monkeypatch.setattr("sao_cli.models.audit.tensor._whole", lambda product: pytest.fail("the whole product"))
    row = audit_weight(Product(up, down), name="q")
    assert asked == [24.0 * 5000 * 2]
    assert (row.rank, row.exact) == (2, True)
    assert row.frobenius_norm == pytest.approx(np.sqrt(np.trace((up.T @ up) @ (down @ down.T))), rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_half_precision_adds_the_rounding_of_the_factors(dtype):
    up, down = factors(50, 2, 40, np.float64)
    up[:, 1], down[1] = 1e-3 * up[:, 1] - up[:, 0], down[0]  # whose product is small
    row = audit_weight(Product(up.astype(dtype), down.astype(dtype)), name="q")
    moved = np.abs(row.singular_values - np.linalg.svd(up @ down, compute_uv=False)).max()
    assert moved <= 3 * row.error
    assert (moved > 1e-3) == (dtype is np.float16)


def test_a_pattern_is_that_of_all_rows():
    up, down = np.zeros((600, 1)), np.tile([1.0, 1.0, 0.0, 0.0], 512)[None]
    up[590:] = 1  # beyond the rows that are looked at together
    row = audit_weight(Product(up, down), name="q")
    assert (row.nm, row.ones_of_4, row.nnz, row.dead_outputs, row.dead_inputs) == ("2:4", 2, 10240, 590, 1024)


def test_a_factor_alone_is_measured_with_the_reason(tmp_path):
    up, down = factors(8, 2, 6)
    rows = audited(tmp_path, {"q.lora_A.weight": down, "v.lora_B.weight": up})
    assert rows.keys() == {"q.lora_A.weight", "v.lora_B.weight"}
    assert rows["q.lora_A.weight"].shape == (2, 6)
    assert "there is no matrix lora_B to multiply it with" in rows["q.lora_A.weight"].reason
