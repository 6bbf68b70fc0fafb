"""Chains of checkpoints without needless units: the same outputs from the smaller tensors, and what is refused."""

import numpy as np
import pytest

from sao_cli.base.errors import SaoError
from sao_cli.io.checkpoints import Lazy, open_checkpoint, write_checkpoint
from sao_cli.io.checkpoints.copies import changed_tensors
from sao_cli.io.checkpoints.structure import structure_of
from sao_cli.models.reduce_features import reduce_stacks, reduced_tensors


def reduced(tensors, path, activation="relu", **options):
    """The reduction, and the tensors of the file that is written."""
    write_checkpoint(tensors, path / "model.safetensors")
    with open_checkpoint(path / "model.safetensors") as checkpoint:
        structure = structure_of(checkpoint)
        found = reduce_stacks(checkpoint, structure, activation, **options)
        changes, added = reduced_tensors(checkpoint, structure, found.layers)
        write_checkpoint({**changed_tensors(checkpoint, changes), **added}, path / "small.safetensors")
    with open_checkpoint(path / "small.safetensors") as small:
        return found, {name: small.file.read(name) for name in small.file.stored}


def network(rng, widths=(6, 9, 8, 3), density=0.2, names=("net.0", "net.2", "net.4"), biases=True, dtype=np.float64):
    tensors = {}
    for name, n, m in zip(names, widths, widths[1:], strict=False):
        tensors[f"{name}.weight"] = (rng.standard_normal((m, n)) * (rng.random((m, n)) < density)).astype(dtype)
        if biases:
            tensors[f"{name}.bias"] = rng.standard_normal(m).astype(dtype)
    return tensors


def forward(tensors, names, x, phi):
    for place, name in enumerate(names):
        x = x @ tensors[f"{name}.weight"].T + tensors.get(f"{name}.bias", 0)
        x = phi(x) if place < len(names) - 1 else x
    return x


def relu(x):
    return np.maximum(x, 0)


NAMES = ("net.0", "net.2", "net.4")


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize(("activation", "phi"), [("relu", relu), ("tanh", np.tanh), ("softplus", np.logaddexp)])
def test_the_smaller_file_gives_the_same_outputs(tmp_path, activation, phi, biases):
    rng = np.random.default_rng(1)
    function = (lambda x: np.logaddexp(0, x)) if activation == "softplus" else phi
    gone = 0
    for _ in range(5):
        tensors = network(rng, biases=biases)
        found, small = reduced(tensors, tmp_path, activation)
        x = rng.standard_normal((7, 6))
        np.testing.assert_allclose(
            forward(small, NAMES, x, function), forward(tensors, NAMES, x, function), rtol=1e-12, atol=1e-12
        )
        assert found.assumed == "a plain stack"
        gone += sum(layer.removed for layer in found.layers.values())
        for name, layer in found.layers.items():
            assert small[name].shape == layer.weight.shape
            assert layer.makes_bias == (name.replace("weight", "bias") in small and not biases)
    assert gone > 10


def test_float32_stays_float32_and_is_right_to_its_rounding(tmp_path):
    rng = np.random.default_rng(2)
    tensors = network(rng, (20, 40, 40, 5), 0.05, dtype=np.float32)
    _, small = reduced(tensors, tmp_path)
    x = rng.standard_normal((9, 20))
    expected = forward(tensors, NAMES, x, relu)
    np.testing.assert_allclose(forward(small, NAMES, x, relu), expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert {array.dtype for array in small.values()} == {np.dtype("float32")}
    assert small["net.2.weight"].size < tensors["net.2.weight"].size


def test_a_named_chain(tmp_path):
    rng = np.random.default_rng(3)
    names = ("fc_in", "hidden", "out")
    tensors = network(rng, names=names)
    with pytest.raises(SaoError, match=r"its layers are no chain: .*; --chain NAME,NAME names layers"):
        reduced(tensors, tmp_path)
    found, small = reduced(tensors, tmp_path, chain=names)
    x = rng.standard_normal((7, 6))
    np.testing.assert_allclose(forward(small, names, x, relu), forward(tensors, names, x, relu), atol=1e-12)
    assert (found.order, found.assumed) == ("as named", None)
    assert small["hidden.weight"].size < tensors["hidden.weight"].size


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        (("fc_in", "hiden.weight"), "--chain: no weight 'hiden.weight'; did you mean 'hidden.weight'"),
        (("hidden", "fc_in"), "--chain: fc_in.weight reads 6 inputs, and hidden.weight before it gives 8 outputs"),
        (("fc_in",), "a chain is two layers or more, each once"),
        (("fc_in", "fc_in.weight"), "a chain is two layers or more, each once"),
    ],
)
def test_chains_that_are_none(tmp_path, chain, said):
    tensors = network(np.random.default_rng(3), names=("fc_in", "hidden", "out"))
    with pytest.raises(SaoError, match=said):
        reduced(tensors, tmp_path, chain=chain)


def test_a_norm_between_layers_is_refused_by_name_and_the_others_shrink(tmp_path):
    tensors = network(np.random.default_rng(4), names=("net.0", "net.3", "net.5"), density=0.1)
    tensors |= {"net.1.weight": np.ones(9), "net.1.bias": np.zeros(9)}
    found, small = reduced(tensors, tmp_path)
    assert found.reasons == {"net.0.weight": "net.1.bias (bias) stands between net.0.weight and net.3.weight"}
    assert small["net.0.weight"].shape == (9, 6)
    assert len(small["net.3.weight"]) < 8


def test_a_slope_after_a_named_layer_is_refused(tmp_path):
    tensors = network(np.random.default_rng(4), names=("a", "b", "c")) | {"slope.weight": np.full(9, 0.25)}
    found, small = reduced(tensors, tmp_path, chain=("a", "b", "c"))
    assert found.reasons == {"a.weight": "slope.weight (1-D) stands between a.weight and b.weight"}
    assert small["b.weight"].shape[1] == 9


def test_shared_tensors_are_refused_by_name(tmp_path):
    rng = np.random.default_rng(5)
    tensors = network(rng, (6, 6, 6, 6), 0.3)
    tensors["net.2.weight"] = tensors["net.0.weight"]
    found, small = reduced(tensors, tmp_path)
    assert found.reasons["net.0.weight"] == "net.0.weight is one tensor with net.2.weight"
    assert found.reasons["net.2.weight"] == "net.2.weight is one tensor with net.0.weight"
    assert not found.layers
    assert all(np.array_equal(small[name], array) for name, array in tensors.items())


def test_kernels_keep_what_a_border_or_a_pooling_may_show(tmp_path):
    rng = np.random.default_rng(6)
    kernel, bias = rng.standard_normal((5, 1, 3, 3)), np.array([1.0, -1.0, 0.5, 0.25, 0.5])
    kernel[:2] = 0  # 1 at every pixel, and 0
    kernel[3], bias[3] = 2 * kernel[2], 2 * bias[2]
    kernel[4], bias[4] = -kernel[2], -bias[2]
    tensors = {"0.weight": kernel, "0.bias": bias, "3.weight": rng.standard_normal((2, 20)), "3.bias": np.zeros(2)}
    found, small = reduced(tensors, tmp_path)
    layer = found.layers["0.weight"]
    assert (layer.constant, layer.merged, layer.unread) == (1, 1, 0)
    assert small["0.weight"].shape == (3, 1, 3, 3)
    assert small["3.weight"].shape == (2, 12)
    images = rng.standard_normal((2, 4, 5))
    flat = [np.maximum(images.repeat(5, 1).reshape(2, 20, 5), 0)]
    assert flat[0].shape == (2, 20, 5)
    merged = tensors["3.weight"].reshape(2, 5, 4)
    np.testing.assert_allclose(small["3.weight"].reshape(2, 3, 4)[:, 1], merged[:, 3] + merged[:, 2] / 2)
    assert reduced(tensors, tmp_path, "linear")[0].layers["0.weight"].merged == 1  # and not the negative one


def test_grouped_kernels_are_refused(tmp_path):
    tensors = {
        "0.weight": np.ones((4, 3, 3, 3)),
        "0.bias": np.ones(4),
        "1.weight": np.ones((4, 1, 3, 3)),
        "1.bias": np.ones(4),
        "2.weight": np.ones((4, 4, 1, 1)),
    }
    write_checkpoint(tensors, tmp_path / "model.safetensors")
    with open_checkpoint(tmp_path / "model.safetensors") as checkpoint:
        found = reduce_stacks(checkpoint, structure_of(checkpoint), "relu", chain=("0", "1", "2"))
    assert set(found.reasons) == {"0.weight", "1.weight"}
    assert "1.weight" in found.reasons["0.weight"]


def test_pruned_tensors_become_dense_ones_and_masks_beside_weights_shrink(tmp_path):
    rng = np.random.default_rng(7)
    tensors = network(rng)
    mask = (rng.random((8, 9)) < 0.1).astype(float)
    tensors |= {"net.2.weight": rng.standard_normal((8, 9)), "net.2.weight_mask": mask}
    _, small = reduced(tensors, tmp_path)
    x = rng.standard_normal((4, 6))
    whole = tensors | {"net.2.weight": tensors["net.2.weight"] * mask}
    np.testing.assert_allclose(forward(small, NAMES, x, relu), forward(whole, NAMES, x, relu), atol=1e-12)
    np.testing.assert_array_equal(small["net.2.weight_mask"], small["net.2.weight"] != 0)


def test_bfloat16_and_transposed_layers(tmp_path):
    rng = np.random.default_rng(8)
    first, last = rng.integers(-2, 3, (6, 9)) * (rng.random((6, 9)) < 0.2), rng.integers(-2, 3, (9, 4))
    tensors = {
        "h.0.weight": Lazy((6, 9), "bfloat16", lambda: first.astype(float)),  # (in, out), as the bias says
        "h.0.bias": Lazy((9,), "bfloat16", lambda: np.ones(9)),
        "h.1.weight": Lazy((9, 4), "bfloat16", lambda: last.astype(float)),
        "h.1.bias": Lazy((4,), "bfloat16", lambda: np.zeros(4)),
    }
    found, small = reduced(tensors, tmp_path)
    x = rng.integers(-3, 4, (5, 6))
    expected = relu(x @ first + 1) @ last
    np.testing.assert_allclose(
        relu(x @ small["h.0.weight"] + small["h.0.bias"]) @ small["h.1.weight"] + small["h.1.bias"], expected
    )
    assert found.layers["h.0.weight"].removed == 9 - small["h.0.weight"].shape[1] > 0
