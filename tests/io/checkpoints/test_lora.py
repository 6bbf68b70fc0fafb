"""Pairs of LoRA's factors as one matrix: which belong together, and which stay apart."""

import numpy as np
import pytest

from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint
from sao_cli.io.checkpoints.structure import structure_of


def structure(tmp_path, **shapes):
    path = tmp_path / "a.safetensors"
    arrays = {name: np.random.default_rng(0).normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    write_checkpoint(arrays, path)
    with open_checkpoint(path) as checkpoint:
        read = {}
        found = structure_of(checkpoint, pairs=True)
        for entry in found.entries:
            if entry.kind == "matrix":
                read[entry.name] = checkpoint.read(entry)
    return found, arrays, read


@pytest.mark.parametrize(
    ("stem", "middle", "name"),
    [("a.q", "", "a.q"), ("a.q", ".default", "a.q"), ("a.q", ".french", "a.q.french"), ("", "", "lora")],
)
def test_a_pair_is_one_matrix(tmp_path, stem, middle, name):
    dot = "." if stem else ""
    down, up = (f"{stem}{dot}lora_{side}{middle}.weight" for side in "AB")
    found, arrays, read = structure(tmp_path, **{down: (2, 5), up: (7, 2), "a.q.base_layer.weight": (7, 5)})
    assert {entry.name: entry.shape for entry in found.entries} == {"a.q.base_layer.weight": (7, 5), name: (7, 5)}
    np.testing.assert_allclose(read[name], arrays[up] @ arrays[down], rtol=1e-5, atol=1e-6)
    layout = next(found.layout(entry) for entry in found.entries if entry.name == name)
    assert layout.assumed == ("lora_B lora_A, rank 2, without the scale lora_alpha/r",)


@pytest.mark.parametrize("written", ["x.q.lora_{}.weight", "x.q.lora.{}.weight", "x.q_lora.{}.weight"])
def test_down_and_up_are_a_pair_by_kohyas_and_diffusers_names(tmp_path, written):
    down, up = written.format("down"), written.format("up")
    found, arrays, read = structure(tmp_path, **{down: (2, 5), up: (7, 2), "x.q.alpha": ()})
    assert {entry.name: entry.shape for entry in found.entries} == {"x.q": (7, 5), "x.q.alpha": ()}
    np.testing.assert_allclose(read["x.q"], arrays[up] @ arrays[down], rtol=1e-5, atol=1e-6)
    layout = next(found.layout(entry) for entry in found.entries if entry.name == "x.q")
    assert layout.assumed == ("lora_up lora_down, rank 2, without the scale x.q.alpha/r",)
    assert not found.order.stacks


def test_factors_by_other_names_are_no_pair(tmp_path):
    shapes = {"x.lora_down.weight": (2, 5), "x.lora_B.weight": (7, 2), "y.lora_up.weight": (7, 2)}
    found, _, _ = structure(tmp_path, **shapes)
    assert [entry.name for entry in found.entries] == sorted(shapes)
    told = {entry.name: found.layout(entry).reason for entry in found.entries}
    assert told["x.lora_down.weight"] == "there is no matrix lora_up to multiply it with; it is measured by itself"


@pytest.mark.parametrize(
    ("shapes", "reasons"),
    [
        ({"A": (2, 5)}, ["there is no matrix lora_B to multiply it with"]),
        ({"B": (7, 2)}, ["there is no matrix lora_A to multiply it with"]),
        ({"A": (2, 5), "B": (7, 3)}, ["lora_B (7, 3) and lora_A (2, 5) do not fit"] * 2),
        ({"A": (2, 5, 3), "B": (7, 2)}, ["there is no matrix lora_A to multiply it with"]),
    ],
)
def test_factors_that_stay_apart_say_why(tmp_path, shapes, reasons):
    found, _, _ = structure(tmp_path, **{f"x.lora_{side}.weight": shape for side, shape in shapes.items()})
    assert [entry.name for entry in found.entries] == [f"x.lora_{side}.weight" for side in shapes]
    told = [found.layout(entry).reason for entry in found.entries if entry.kind == "matrix"]
    assert told == [f"{reason}; it is measured by itself" for reason in reasons]


def test_a_pair_is_no_layer_of_a_stack_and_other_commands_see_its_factors(tmp_path):
    shapes = {f"net.{number}.lora_{side}.weight": (4, 4) for number in (0, 2) for side in "AB"}
    found, _, _ = structure(tmp_path, **shapes)
    assert [entry.name for entry in found.entries] == ["net.0", "net.2"]
    assert not found.order.stacks
    with open_checkpoint(tmp_path / "a.safetensors") as checkpoint:
        assert {entry.name for entry in structure_of(checkpoint).entries} == shapes.keys()
