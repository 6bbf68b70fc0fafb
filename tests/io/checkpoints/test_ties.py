"""Weights with several names: by their storage in torch's files, by their bytes elsewhere."""

import numpy as np
import pytest

from sao_cli.io.checkpoints import Lazy, open_checkpoint, write_checkpoint

RNG = np.random.default_rng(0)
SHARED, OTHER = RNG.normal(size=(12, 8)), RNG.normal(size=(12, 8))


def ties(path):
    with open_checkpoint(path) as checkpoint:
        return [tie.names for tie in checkpoint.ties]


def saved(tmp_path, tensors):
    import torch

    torch.save(tensors, tmp_path / "a.pt")
    return tmp_path / "a.pt"


def test_equal_bytes_are_one_weight_whose_first_name_is_of_one_that_is_no_embedding(tmp_path):
    tensors = {"emb.weight": SHARED, "body.weight": OTHER, "head.weight": SHARED, "z.weight": SHARED.astype("float32")}
    write_checkpoint(tensors, tmp_path / "a.safetensors")
    assert ties(tmp_path / "a.safetensors") == [("head.weight", "emb.weight")]
    np.savez(tmp_path / "a.npz", **tensors)
    assert ties(tmp_path / "a.npz") == [("head.weight", "emb.weight")]


def test_tensors_that_begin_alike_differ_by_their_last_number(tmp_path):
    one = RNG.normal(size=(40, 40))
    two = one.copy()
    two[-1, -1] += 1
    write_checkpoint({"a": one, "b": two, "c": one, "d": two}, tmp_path / "a.safetensors")
    assert ties(tmp_path / "a.safetensors") == [("a", "c"), ("b", "d")]


@pytest.mark.parametrize("plain", [np.eye(16), np.zeros((16, 16)), np.ones((16, 16)), 2 * np.eye(16)])
def test_numbers_that_tell_nothing_are_no_tie(tmp_path, plain):
    """Identities and zeros are equal since they were initialised so."""
    write_checkpoint({"net.0.weight": plain, "net.1.weight": plain}, tmp_path / "a.safetensors")
    assert ties(tmp_path / "a.safetensors") == []


def test_half_precision_is_compared_by_its_bytes(tmp_path):
    wide = (OTHER.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
    lazy = Lazy((12, 8), "bfloat16", lambda: wide)
    write_checkpoint({"a": lazy, "b": lazy, "c": wide}, tmp_path / "a.safetensors")
    assert ties(tmp_path / "a.safetensors") == [("a", "b")]


def test_storages_decide_in_torch_files_and_equal_numbers_do_not(tmp_path):
    import torch

    shared = torch.from_numpy(SHARED)
    path = saved(tmp_path, {"emb.weight": shared, "copy.weight": shared.clone(), "head.weight": shared})
    assert ties(path) == [("head.weight", "emb.weight")]
    path = saved(tmp_path, {"rows": shared[:6], "more": shared[6:], "bias": shared[0], "same_bias": shared[0]})
    assert ties(path) == [("bias", "same_bias")]


def test_a_transposed_view_is_the_same_weight(tmp_path):
    import torch

    shared = torch.from_numpy(SHARED)
    square = torch.from_numpy(OTHER[:8])
    tensors = {"enc.weight": shared, "dec.weight": shared.t(), "one.weight": square, "two.weight": square.t()}
    with open_checkpoint(saved(tmp_path, tensors)) as checkpoint:
        assert {tie.names: tie.others for tie in checkpoint.ties} == {
            ("dec.weight", "enc.weight"): {"enc.weight": (1, 0)},
            ("one.weight", "two.weight"): {"two.weight": (1, 0)},
        }


def test_modules_that_are_used_twice_are_one(tmp_path):
    import torch
    from torch import nn

    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
    net = nn.ModuleDict({"a": normed, "b": normed, "c": nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))})
    torch.save(net.state_dict(), tmp_path / "a.pt")
    assert ("a.weight", "b.weight") in ties(tmp_path / "a.pt")
    assert not any("c.weight" in names for names in ties(tmp_path / "a.pt"))
