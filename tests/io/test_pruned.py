"""Tensors that torch.nn.utils.prune keeps in two parts are read as what they compute."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.utils import prune

from sao_cli.base.errors import FormatError, SaoWarning
from sao_cli.io import read_matrices


@pytest.fixture(params=["model.pt", "model.safetensors"])
def saved(request, tmp_path):
    """A model of two pruned layers and a plain one, saved; and its effective weights."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 3))
    prune.l1_unstructured(model[0], "weight", 0.5)
    prune.random_unstructured(model[1], "weight", 0.25)
    state = model.state_dict()
    assert "0.weight_orig" in state
    path = tmp_path / request.param
    torch.save(state, path) if path.suffix == ".pt" else save_file(state, path)
    return path, [layer.weight.detach().numpy() for layer in model]


def test_a_pruned_tensor_goes_by_its_own_name(saved):
    path, weights = saved
    for number, expected in enumerate(weights):
        [found] = read_matrices(path, tensor=f"{number}.weight")
        np.testing.assert_array_equal(found.to_dense(), expected)
        assert found.dtype == "float32"
        assert found.mask.nnz == np.count_nonzero(expected)


def test_its_parts_can_still_be_had(saved):
    path, weights = saved
    [mask] = read_matrices(path, tensor="0.weight_mask")
    assert mask.mask.nnz == np.count_nonzero(weights[0])
    [original] = read_matrices(path, tensor="0.weight_orig")
    assert original.mask.nnz == 24


def test_the_choice_offers_each_once(saved):
    with pytest.raises(FormatError, match=r"holds 3 matrices: 0\.weight 4x6, 1\.weight 4x4, 2\.weight 3x4") as error:
        read_matrices(saved[0])
    assert "_orig" not in str(error.value)


def test_what_is_masked_may_be_anything(tmp_path):
    state = {"w_orig": torch.tensor([[1.0, float("nan")]]), "w_mask": torch.tensor([[1.0, 0.0]])}
    torch.save(state, tmp_path / "a.pt")
    save_file(state, tmp_path / "a.safetensors")
    for name in ("a.pt", "a.safetensors"):
        [found] = read_matrices(tmp_path / name)
        np.testing.assert_array_equal(found.to_dense(), [[1.0, 0.0]])


def test_a_pair_that_does_not_fit_stays_apart(tmp_path):
    save_file({"w_orig": torch.ones(2, 3), "w_mask": torch.ones(3, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match="w_mask 3x2, w_orig 2x3"):
        read_matrices(tmp_path / "a.safetensors")


@pytest.fixture(params=["a.pt", "a.safetensors", "a.npz"])
def beside(request, tmp_path):
    """Saves a weight with a mask beside it, under given names."""

    def save(**tensors):
        named = {name.replace("__", "."): torch.as_tensor(tensor) for name, tensor in tensors.items()}
        path = tmp_path / request.param
        if path.suffix == ".npz":
            np.savez(path, **{name: tensor.numpy() for name, tensor in named.items()})
        else:
            torch.save(named, path) if path.suffix == ".pt" else save_file(named, path)
        return path

    return save


@pytest.mark.parametrize("mask", ["fc__weight_mask", "fc__mask"])
@pytest.mark.parametrize("dtype", [np.float32, np.bool_])
def test_a_mask_beside_its_weight_is_multiplied_in_and_said(beside, mask, dtype):
    ones = np.eye(3, 4).astype(dtype)
    path = beside(fc__weight=np.full((3, 4), 2.0, np.float32), **{mask: ones})
    with pytest.warns(SaoWarning, match=rf"{mask.replace('__', '.')}, which stands beside fc\.weight, is multiplied"):
        [found] = read_matrices(path)
    np.testing.assert_array_equal(found.to_dense(), 2 * np.eye(3, 4))
    [alone] = read_matrices(path, tensor=mask.replace("__", "."))
    np.testing.assert_array_equal(alone.to_dense(), np.eye(3, 4))


def test_what_is_no_mask_is_not_multiplied_in_and_said(beside):
    path = beside(fc__weight=np.full((2, 2), 2.0), fc__weight_mask=np.full((2, 2), 0.5))
    with pytest.warns(SaoWarning, match="holds other numbers than 0 and 1 and is not multiplied in"):
        [found] = read_matrices(path, tensor="fc.weight")
    np.testing.assert_array_equal(found.to_dense(), np.full((2, 2), 2.0))
    path = beside(fc__weight=np.ones((2, 2)), fc__weight_mask=np.ones((1, 2)))
    with pytest.raises(FormatError, match="holds 2 matrices"):
        read_matrices(path)
