"""The precision that weights were born in goes with them through every format that can say it."""

import io

import numpy as np
import pytest

from sao_cli.base.errors import FormatError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS, rounded
from sao_cli.io import read_matrices, write_matrices

VALUES = np.array([1 / 3, -2.5, 1e-3, 7.0])


def weight(dtype, provenance=None):
    mask = Mask.from_entries([0, 0, 1, 2], [0, 2, 1, 1], (3, 3), provenance)
    return Matrix(mask, rounded(VALUES, dtype), dtype)


@pytest.mark.parametrize("suffix", [".mtx", ".mtx.gz", ".npz", ".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_every_format_with_provenance_keeps_the_dtype(tmp_path, suffix, dtype):
    path = tmp_path / f"weight{suffix}"
    write_matrices(weight(dtype, {"method": "given"}), path)
    [found] = read_matrices(path)
    assert found == weight(dtype)
    assert dict(found.mask.provenance) == {"method": "given"}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_npy_keeps_numpys_own_types(tmp_path, dtype):
    write_matrices(weight(dtype), tmp_path / "weight.npy")
    assert np.load(tmp_path / "weight.npy").dtype == dtype
    assert read_matrices(tmp_path / "weight.npy") == [weight(dtype)]


def test_npy_has_no_name_for_bfloat16_and_is_not_written(tmp_path):
    with pytest.raises(
        FormatError, match=r"w\.npy: a \.npy file can't say that numbers are bfloat16.*--round-to float32"
    ):
        write_matrices(weight("bfloat16"), tmp_path / "w.npy")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_a_precision_that_no_test_knows_is_refused(tmp_path, name):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.eye(3).to(getattr(torch, name))}, tmp_path / "w.pt")
    with pytest.raises(FormatError, match=rf"its type is {name}; convert it to one of float64, float32"):
        read_matrices(tmp_path / "w.pt")


@pytest.mark.parametrize("told", ['"float32"', '"float33"', "null", "[1]", "32"])
def test_a_dtype_that_is_not_true_of_the_values_is_only_provenance(told):
    text = f'%%MatrixMarket matrix coordinate real general\n%sao {{"dtype": {told}}}\n1 1 1\n1 1 0.1\n'
    [found] = read_matrices(io.BytesIO(text.encode()))
    assert found.dtype == "float64"
    assert "dtype" in found.mask.provenance


def test_torch_agrees_with_every_rounding():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_normal(2000) * 10.0 ** rng.integers(-40, 5, 2000), [1e-8, 65519.9, 3.0e38]])
    for dtype in PRECISIONS:
        expected = torch.from_numpy(values).to(getattr(torch, dtype)).double().numpy()
        np.testing.assert_array_equal(rounded(values, dtype), expected)


def test_eps_is_the_unit_of_each_precision():
    torch = pytest.importorskip("torch")
    for dtype in PRECISIONS:
        assert weight(dtype).eps == torch.finfo(getattr(torch, dtype)).eps
