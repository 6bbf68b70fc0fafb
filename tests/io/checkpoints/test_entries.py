"""Which tensors of a checkpoint belong together, and what each is."""

import numpy as np
import pytest

from sao_cli.base.errors import FormatError
from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint
from sao_cli.io.checkpoints.entries import ALONE
from sao_cli.io.checkpoints.structure import structure_of


def listed(path):
    return {entry.name: entry for entry in open_checkpoint(path).entries}


def stored(tmp_path, **arrays):
    path = tmp_path / "a.safetensors"
    write_checkpoint({name.replace("__", "."): array for name, array in arrays.items()}, path)
    return path


def kinds(path):
    return {name: entry.reason or entry.kind for name, entry in listed(path).items()}


ONE, TWO, FOUR = np.ones(4, np.float32), np.ones((4, 4), np.float32), np.ones((4, 2, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("name", "array", "kind"),
    [
        ("fc.weight", TWO, "matrix"),
        ("lm_head.weight", TWO, "matrix"),
        ("text_projection", TWO, "matrix"),
        ("norm1.linear.weight", TWO, "matrix"),
        ("time_embedding.linear_1.weight", TWO, "matrix"),
        ("embeddings_project.weight", TWO, "matrix"),
        ("attn.in_proj_weight", TWO, "matrix"),
        ("conv.weight", FOUR, "kernel"),
        ("conv1d.weight", FOUR[..., 0], "kernel"),
        ("patch_embed.proj.weight", FOUR, "kernel"),
        ("embeddings.patch_embedding.weight", FOUR, "kernel"),
        ("layer.1", TWO > 0, "matrix"),
        ("fc.bias", ONE, "bias"),
        ("lstm.bias_hh_l0", ONE, "bias"),
        ("h.0.attn.bias", FOUR, "bias"),
        ("relative_position_bias_table", TWO, "bias"),
        ("ln_1.weight", ONE, "norm"),
        ("encoder.layer_norm.weight", ONE, "norm"),
        ("LayerNorm.weight", TWO, "norm"),
        ("bn1.num_batches_tracked", np.int64(3), "norm"),
        ("gamma", ONE, "1-D"),
        ("logit_scale", np.float32(3), "scalar"),
        ("embeddings.word_embeddings.weight", TWO, "embedding"),
        ("embeddings.token_type_embeddings.weight", TWO, "embedding"),
        ("wte.weight", TWO, "embedding"),
        ("shared.weight", TWO, "embedding"),
        ("pos_embed", FOUR, "embedding"),
        ("cls_token", FOUR[0], "embedding"),
        ("positions", FOUR[:1, ..., 0], ALONE),
        ("encoder.cls", FOUR[:1, :1, 0], ALONE),
        ("pe", FOUR[:, :1, 0], ALONE),
        ("map", FOUR[:1], ALONE),
        ("conv.weight", FOUR[:1, ..., 0], "kernel"),
        ("conv.weight", FOUR[:, :1, 0], "kernel"),
        ("conv.weight", FOUR[:1], "kernel"),
        ("layer.1", FOUR[:1], "kernel"),
        ("blur.filter", FOUR[:1], "kernel"),
        ("stack", FOUR[..., 0], "kernel"),
        ("gates", FOUR[:, :1], "kernel"),
        ("fc.weight", TWO.astype(np.int8), "quantised (int8): dequantise it, then save"),
        ("position_ids", TWO.astype(np.int64), "integers"),
        ("fc.weight", TWO.astype(np.complex64), "complex numbers"),
        ("fc.weight", TWO[:0], "empty"),
        ("fc.weight", np.ones((1,) * 6), "6 axes; a weight has 2 to 5"),
    ],
)
def test_what_a_tensor_is(tmp_path, name, array, kind):
    assert kinds(stored(tmp_path, **{name: array})) == {name: kind}


def test_a_kernel_of_one_channel_by_another_name_is_told_by_its_bias(tmp_path):
    path = stored(tmp_path, mix__own=FOUR[:1, ..., 0], mix__bias=ONE[:1], other__own=FOUR[:1, ..., 0])
    assert kinds(path) == {"mix.own": "kernel", "mix.bias": "bias", "other.own": ALONE}


def test_a_parameter_by_itself_is_a_kernel_where_it_is_named(tmp_path):
    with open_checkpoint(stored(tmp_path, positions=FOUR[:1, ..., 0], a__weight=TWO)) as checkpoint:
        for include, kind in (((), "skipped"), (("*",), "skipped"), (("positions",), "kernel")):
            named = {entry.name: entry for entry in structure_of(checkpoint, include=include).entries}
            assert named["positions"].kind == kind


def test_what_a_tensor_is_may_depend_on_its_neighbours(tmp_path):
    """Of a Sequential's numbered layers only running_mean tells the norm."""
    arrays = {"1.weight": ONE, "1.running_mean": ONE, "2.weight": ONE, "a.weight": TWO, "a.weight_mask": TWO}
    arrays |= {"b.weight": TWO.astype(np.int8), "b.weight_scale": TWO, "c.weight_scale": TWO}
    assert kinds(stored(tmp_path, **arrays)) == {
        "1.weight": "norm",
        "1.running_mean": "norm",
        "2.weight": "1-D",
        "a.weight": "matrix",
        "b.weight": "quantised (int8): dequantise it, then save",
        "b.weight_scale": "buffer of b.weight",
        "c.weight_scale": "matrix",
    }


@pytest.mark.parametrize("names", ["fc.weight fc.weight_mask", "fc.weight fc.mask", "scale scale_mask"])
@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.uint8])
def test_a_mask_beside_its_weight_is_multiplied_in(tmp_path, names, dtype):
    weight, mask = names.split()
    values, ones = np.arange(1.0, 17).reshape(4, 4), (np.eye(4) + np.eye(4)[::-1]).astype(dtype)
    path = stored(tmp_path, **{weight: values, mask: ones})
    (entry,) = listed(path).values()
    assert (entry.name, entry.kind, entry.masked_by) == (weight, "matrix", mask)
    np.testing.assert_array_equal(open_checkpoint(path).read(entry), values * ones)


@pytest.mark.parametrize("mask", [2 * TWO, np.full((4, 4), -np.inf)])
def test_a_mask_of_other_numbers_is_not_multiplied_in_and_says_so(tmp_path, mask):
    path = stored(tmp_path, fc__weight=TWO, fc__weight_mask=mask)
    assert kinds(path) == {
        "fc.weight": "matrix",
        "fc.weight_mask": "mask of fc.weight, which holds other numbers than 0 and 1 and is not multiplied in",
    }
    assert kinds(stored(tmp_path, fc__weight=TWO, fc__weight_mask=TWO[:2])) == {
        "fc.weight": "matrix",
        "fc.weight_mask": "matrix",
    }


def test_a_linear_layer_named_embedding_is_told_by_its_bias(tmp_path):
    arrays = {"time_embedding.weight": TWO[:3], "time_embedding.bias": TWO[0, :3], "embedding.weight": TWO}
    assert kinds(stored(tmp_path, **arrays)) == {
        "time_embedding.weight": "matrix",
        "time_embedding.bias": "bias",
        "embedding.weight": "embedding",
    }


def test_what_would_be_a_weight_and_can_not_be_read_says_so(tmp_path):
    arrays = {"a.weight": TWO.astype(np.int8), "b.scales": TWO.astype(np.int8), "c.weight": TWO.astype(np.complex64)}
    arrays |= {"ids": TWO.astype(np.int64), "d.weight_orig": TWO, "d.weight_u": ONE, "e.bias": ONE}
    unread = {name: entry.unread for name, entry in listed(stored(tmp_path, **arrays)).items()}
    weights = {"a.weight": "matrix", "c.weight": "matrix", "d.weight_orig": "matrix"}
    assert unread == dict.fromkeys(arrays) | weights


def test_pruned_pairs_are_their_product_whatever_stands_behind_the_mask(tmp_path):
    mask = np.eye(4, dtype=np.float32)
    original = np.where(mask, 2, np.nan).astype(np.float32)
    path = stored(tmp_path, fc__weight_mask=mask, fc__bias_orig=ONE, fc__bias_mask=ONE, fc__weight_orig=original)
    entries = listed(path)
    assert [(entry.name, entry.reason) for entry in entries.values()] == [("fc.weight", None), ("fc.bias", "bias")]
    np.testing.assert_array_equal(open_checkpoint(path).read(entries["fc.weight"]), 2 * mask)


def test_a_common_prefix_is_taken_off_and_another_is_not(tmp_path):
    path = stored(tmp_path, **{"module._orig_mod.fc.weight_orig": TWO, "module._orig_mod.fc.weight_mask": 0 * TWO})
    checkpoint = open_checkpoint(path)
    assert checkpoint.entries[0].name == "fc.weight"
    assert not checkpoint.read(checkpoint.entries[0]).any()
    assert kinds(stored(tmp_path, **{"module.fc.weight": TWO, "fc.weight": TWO})) == {
        "module.fc.weight": "matrix",
        "fc.weight": "matrix",
    }


def test_an_optimisers_state_is_one_row(tmp_path):
    arrays = {f"optimizer.{number}.momentum": TWO for number in range(9)}
    assert kinds(stored(tmp_path, **{"fc.weight": TWO}, **arrays)) == {
        "fc.weight": "matrix",
        "optimizer": "optimizer state (9 tensors)",
    }
    assert kinds(stored(tmp_path, **arrays)) == {"optimizer": "optimizer state (9 tensors)"}


@pytest.mark.parametrize("wrapped", ["state_dict", "model", "model_state_dict", None])
def test_wrappers_of_torch_files_are_taken_off(tmp_path, wrapped):
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    momentum = {number: {"momentum_buffer": torch.ones(2)} for number in range(4)}
    optimizer = {"state": momentum, "param_groups": [{"lr": 0.1, "params": [0, 1, 2, 3]}]}  # as torch.optim.SGD has it
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    ours = state if wrapped is None else {"epoch": 3, wrapped: state}
    torch.save({**ours, "opt": optimizer, "ema": {"a": torch.ones(2), "b": 1}}, tmp_path / "a.pt")
    found = kinds(tmp_path / "a.pt")
    assert found.pop("opt") == "optimizer state (4 tensors)"
    prefix = "module." if wrapped is None else ""
    assert found.pop("ema.a" if wrapped is None else "ema") == (
        "1-D" if wrapped is None else "beside the model (1 tensor)"
    )
    assert list(found) == [prefix + name for name in model.state_dict()]
    assert found[f"{prefix}0.weight"] == "matrix"
    torch.save(optimizer, tmp_path / "b.pt")
    assert kinds(tmp_path / "b.pt") == {"optimizer": "optimizer state (4 tensors)"}


def modules():
    from torch import nn

    from sao_cli.nets.layers.linear import SAOLinear
    from sao_cli.nets.layers.sao_conv import SAOConv2d
    from sao_cli.nets.layers.two_stage_linear import TwoStageLinear

    normed = nn.utils.parametrizations.weight_norm
    return {
        "sao": SAOLinear(16, 8, 4),
        "wide": SAOLinear(8, 16, 2, seed=3),
        "cut": SAOLinear(16, 10, 4, pad=True),
        "two": TwoStageLinear(16, 8, 8),
        "conv": SAOConv2d(8, 4, 3, degree=4),
        "length0": normed(nn.Linear(3, 4)),
        "length1": normed(nn.ConvTranspose2d(3, 4, 3), dim=1),
        "length": normed(nn.Conv2d(3, 4, 3), dim=None),
        "conv3d": nn.Conv3d(1, 2, 3),
    }


def test_layers_of_blocks_and_normed_weights_are_what_the_module_computes_with(tmp_path):
    import torch
    from torch import nn

    torch.manual_seed(1)
    net = nn.ModuleDict(modules())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.rand(parameter.shape))
    torch.save(net.state_dict(), tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    weights = [entry for entry in checkpoint.entries if entry.kind != "skipped"]
    assert [entry.name for entry in weights] == [f"{name}.weight" for name in net]
    assert {entry.reason for entry in checkpoint.entries if entry.kind == "skipped"} == {"bias"}
    for entry, module in zip(weights, net.values(), strict=True):
        dense = module.to_dense() if hasattr(module, "to_dense") else module.weight
        read = checkpoint.read(entry)
        assert read.shape == entry.shape == tuple(dense.shape)
        np.testing.assert_allclose(read, dense.detach().numpy(), rtol=4 * np.finfo(np.float32).eps)


def test_layers_whose_state_does_not_tell_their_weight_say_so(tmp_path):
    import torch
    from torch import nn

    from sao_cli.masks.sao import sao_mask
    from sao_cli.nets.layers.eco_conv import ECOConv2d
    from sao_cli.nets.layers.soc_conv import SOCConv2d
    from sao_cli.nets.layers.sparse_conv import SparseConv2d

    net = nn.ModuleDict(
        {
            "sparse": SparseConv2d(sao_mask(8, 8, 2), 3),
            "eco": ECOConv2d(8, 8, 3, degree=4),
            "dense_eco": ECOConv2d(2, 8, 3, stride=2),
            "soc": SOCConv2d(4, 8, 3),
            "grouped": SOCConv2d(8, 8, 3, degree=4),
            "orthogonal": nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)),
            "spectral": nn.utils.spectral_norm(nn.Linear(4, 4)),
        }
    )
    torch.save(net.state_dict(), tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    reasons = {entry.name: entry.reason for entry in checkpoint.entries if entry.reason != "bias"}
    expected = {"sparse": "SparseConv2d", "eco": "ECOConv2d", "dense_eco": "ECOConv2d", "soc": "SOCConv2d"}
    for name, kind in {**expected, "grouped": "SOCConv2d"}.items():
        assert kind in reasons.pop(f"{name}.weight")
    assert reasons == {
        "orthogonal.parametrizations.weight.original": "what a parametrization computes orthogonal.weight from; "
        "remove_parametrizations, then save",
        "orthogonal.parametrizations.weight.0.base": "buffer of orthogonal.weight",
        "spectral.weight_orig": "what spectral_norm computes spectral.weight from; remove_spectral_norm, then save",
        "spectral.weight_u": "buffer of spectral.weight",
        "spectral.weight_v": "buffer of spectral.weight",
    }
    with pytest.raises(FormatError, match=r"tensor eco.weight: the slices of an ECOConv2d"):
        checkpoint.read(next(entry for entry in checkpoint.entries if entry.name == "eco.weight"))


@pytest.mark.parametrize(
    ("inputs", "places", "problem"),
    [
        ([[0, 1], [2, 9]], [0, 1, 2, 3], "'inputs' holds other than whole numbers from 0 to 3"),
        ([[0, 1], [2, 1]], [0, 1, 2, 3], "'inputs' names a place twice"),
        ([[0, 1], [2, 3]], [0, 1, 2, -1], "'places' holds other"),
        ([[0.0, 1.0], [2.0, 3.0]], [0, 1, 2, 3], "'inputs' holds other"),
    ],
)
def test_buffers_that_no_layer_has(tmp_path, inputs, places, problem):
    blocks = {"a__weight": np.ones((2, 2, 2)), "a__inputs": np.array(inputs), "a__places": np.array(places)}
    checkpoint = open_checkpoint(stored(tmp_path, **blocks))
    with pytest.raises(FormatError, match=f"tensor a.weight: its buffer {problem}"):
        checkpoint.read(checkpoint.entries[0])


def test_a_hundred_thousand_names_are_listed(tmp_path):
    path = tmp_path / "many.safetensors"
    told = '"model.layers.{0}.mlp.weight":{{"dtype":"BOOL","shape":[1,1],"data_offsets":[{0},{1}]}}'
    header = "{" + ",".join(told.format(number, number + 1) for number in range(100_000)) + "}"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes([1]) * 100_000)
    checkpoint = open_checkpoint(path)
    assert len(checkpoint.entries) == 100_000
    assert checkpoint.read(checkpoint.entries[-1]) == 1


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["orthogonal", "cayley", "weight_norm", "spectral_norm", "prune"])
def test_blocks_that_are_computed_are_no_convolutions(tmp_path, kind, nested):
    import torch
    from torch import nn
    from torch.nn.utils import parametrizations, prune

    from sao_cli.nets.layers.linear import SAOLinear

    layer = SAOLinear(8, 12, 4)
    if kind == "prune":
        prune.l1_unstructured(layer, "weight", amount=0.5)
    elif kind == "cayley":
        parametrizations.orthogonal(layer, orthogonal_map="cayley", use_trivialization=False)
    else:
        getattr(parametrizations, kind)(layer)
    torch.save((nn.Sequential(layer) if nested else layer).state_dict(), tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    told = {entry.name: entry for entry in checkpoint.entries}
    prefix = "0." if nested else ""
    part = "" if kind in ("prune", "weight_norm") else "parametrizations."
    weight = told[f"{prefix}{part}weight{'.original' if part else ''}"]
    assert (weight.kind, weight.unread) == ("skipped", "matrix")
    assert "the blocks of" in weight.reason
    assert "then save" in weight.reason
    assert all(entry.kind == "skipped" for entry in told.values())


def test_parametrized_weights_at_the_top_of_a_file_are_those_that_they_are_inside(tmp_path):
    import torch
    from torch import nn

    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
    torch.save(normed.state_dict(), tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    [weight] = [entry for entry in checkpoint.entries if entry.kind == "matrix"]
    assert weight.name == "weight"
    np.testing.assert_allclose(checkpoint.read(weight), normed.weight.detach().numpy(), rtol=1e-6)


FACTORS = {
    "row_index": np.array([1, 0, 1]),
    "row_scale": np.array([1.0, 2.0, 3.0], np.float32),
    "col_index": np.array([0, 0]),
    "col_scale": np.array([1.0, -1.0], np.float32),
}


def factored(tmp_path, **changes):
    parts = {"weight": np.array([[5.0], [7.0]], np.float32)} | FACTORS | changes
    return stored(tmp_path, **{f"fc__{name}": one for name, one in parts.items()}, fc__bias=np.ones(3, np.float32))


@pytest.mark.parametrize(("more", "times"), [({}, 1), ({"norm": np.float32(4), "g": np.float32(0.5)}, 2 / 74**0.5)])
def test_a_fused_weight_is_read_whole(tmp_path, more, times):
    path = factored(tmp_path, **more)
    assert kinds(path) == {"fc.weight": "matrix", "fc.bias": "bias"}
    with open_checkpoint(path) as checkpoint:
        whole = checkpoint.read(checkpoint.entries[0])
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, times * np.array([[7, -7], [10, -10], [21, -21]]), rtol=1e-6)


def test_a_fused_weight_with_places_that_are_not_there_says_so(tmp_path):
    checkpoint = open_checkpoint(factored(tmp_path, row_index=np.array([2, 0, 1])))
    with pytest.raises(FormatError, match=r"fc\.weight: its buffer 'row_index' holds other .* from 0 to 1"):
        checkpoint.read(checkpoint.entries[0])


@pytest.mark.parametrize("wrong", [{"row_scale": np.ones(2, np.float32)}, {"norm": np.ones(2), "g": np.ones(2)}])
def test_what_only_looks_like_a_fused_weight_is_left_as_it_is(tmp_path, wrong):
    assert kinds(factored(tmp_path, **wrong))["fc.row_index"] == "1-D"
