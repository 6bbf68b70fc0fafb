"""Pruning and repair of whole checkpoints from Python: what the commands print and write, and what they refuse."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import sao_cli
from sao_cli.base.errors import FileError, SaoError, SaoWarning
from sao_cli.cli import main
from sao_cli.io.checkpoints import open_checkpoint, write_checkpoint
from sao_cli.reports.changes import PrunedWeight, PruneSummary, RepairedWeight, RepairSummary, SkippedWeight


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


MODEL = {
    "net.0.weight": normal(8, 6),
    "net.2.weight": normal(12, 8, seed=1),
    "net.2.bias": normal(12, seed=2),
    "net.4.weight": normal(7, 12, seed=3),
    "net.6.weight": normal(4, 7, 3, 3, seed=4),
    "net.8.weight": normal(3, 4, seed=5),
}


@pytest.fixture
def model(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(MODEL, "model.safetensors")
    return tmp_path / "model.safetensors"


def told_by(*arguments):
    """The rows of a command, by its JSON."""
    done = CliRunner().invoke(main, [*map(str, arguments), "-o", "command.safetensors", "--json", "-q"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_the_same(changes, told):
    """What Python gives is in each line of the command, which adds where it comes from, and so is the file."""
    rows = [*changes.rows, changes.summary]
    assert len(rows) == len(told)
    for row, line in zip(rows, told, strict=True):
        assert row.to_dict().items() <= line.items()
    with open("python.safetensors", "rb") as one, open("command.safetensors", "rb") as other:
        assert one.read() == other.read()


@pytest.mark.parametrize("method", ["lmp", "gmp", "lrp", "sao"])
def test_prune_checkpoint_gives_what_the_command_gives(model, method):
    told = told_by("prune", model, "--method", method, "--sparsity", 0.75, "--seed", 3, "--exclude", "net.4.*")
    changes = sao_cli.prune_checkpoint(
        model, "python.safetensors", method=method, sparsity=0.75, seed=3, exclude=["net.4.*"]
    )
    assert_the_same(changes, told)
    assert isinstance(changes.summary, PruneSummary)
    own = {row.name: type(row) for row in changes.rows}
    assert own.pop("net.0.weight") == own.pop("net.8.weight") == SkippedWeight
    assert own.pop("net.6.weight") == (SkippedWeight if method == "sao" else PrunedWeight)  # gcd(4, 7) = 1
    assert own == {"net.2.weight": PrunedWeight}


def test_repair_checkpoint_gives_what_the_command_gives(model):
    told = told_by("repair", model, "--gain", 1.5, "--steps", 3)
    changes = sao_cli.repair_checkpoint(model, "python.safetensors", gain=1.5, steps=3)
    assert_the_same(changes, told)
    assert isinstance(changes.summary, RepairSummary)
    assert {type(row) for row in changes.changed} == {RepairedWeight}
    assert changes.summary.log10_gain == pytest.approx(4 * np.log10(1.5))


def test_an_open_checkpoint_stays_open(model):
    with open_checkpoint(model) as checkpoint:
        for change in (sao_cli.repair_checkpoint, lambda *both: sao_cli.prune_checkpoint(*both, d=2, facts=False)):
            change(checkpoint, "python.safetensors")
            assert checkpoint.read(checkpoint.entries[0]).shape == (8, 6)


def test_what_it_reads_is_not_written_over(model, tmp_path):
    whole = model.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(model)
    for read, written in [(model, model), (model, "link.safetensors"), (tmp_path, model)]:
        with pytest.raises(FileError, match="reads; write to another file"):
            sao_cli.prune_checkpoint(read, written, sparsity=0.5)
    assert model.read_bytes() == whole


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "give --sparsity or --d"),
        ({"d": 0}, "--d 0"),
        ({"sparsity": 1.0}, "outside 0 <= sparsity < 1"),
        ({"d": 2, "method": "lpm"}, "did you mean 'lrp'"),
        ({"d": 2, "include": ["net.0.*"]}, "nothing to prune: net.0.weight: the first weight"),
    ],
)
def test_what_can_not_be_is_refused_and_nothing_written(model, tmp_path, asked, said):
    with pytest.raises(SaoError, match=said):
        sao_cli.prune_checkpoint(model, "python.safetensors", **asked)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_positions_and_tokens_are_told_and_stay_as_they_are(tmp_path):
    tensors = {"positions": normal(1, 5, 4), "cls": normal(1, 1, 4)}
    tensors |= {"body.weight": normal(4, 4), "conv.weight": normal(3, 4, 2)}
    write_checkpoint(tensors, tmp_path / "m.safetensors")
    asked = {"method": "magnitude", "sparsity": 0.5, "facts": False}
    rows, summary = sao_cli.prune_checkpoint(tmp_path / "m.safetensors", tmp_path / "out.safetensors", **asked)
    assert [row.name for row in rows if isinstance(row, SkippedWeight)] == ["cls", "positions"]
    assert all("and no kernel" in row.reason for row in rows if isinstance(row, SkippedWeight))
    assert (summary.weights, summary.kept, summary.skipped_tensors) == (40, 20, 2)
    with open_checkpoint(tmp_path / "out.safetensors") as out:
        for name in ("positions", "cls"):
            np.testing.assert_array_equal(out.file.read(name), tensors[name])


def test_collapse_is_warned_of(tmp_path):
    sizes = {"a": 3.0, "b": 2.0, "c": 1.0}
    write_checkpoint({name: np.full((4, 4), size) for name, size in sizes.items()}, tmp_path / "m.safetensors")
    with pytest.warns(SaoWarning, match="nothing is left of b, c: layer collapse, unless signals pass") as caught:
        sao_cli.prune_checkpoint(
            tmp_path / "m.safetensors", tmp_path / "out.safetensors", method="gmp", sparsity=0.9, skip_ends=False
        )

    assert caught[0].filename == __file__  # at the caller's line


def test_gains_far_below_one_are_warned_of(model):
    write_checkpoint({"net.0.weight": 0.01 * normal(4, 4)}, "small.safetensors")
    with pytest.warns(SaoWarning, match="which is far below 1"):
        sao_cli.repair_checkpoint("small.safetensors", "python.safetensors")


def test_what_changes_its_form_is_warned_of(tmp_path):
    import torch

    state = {"a.weight_orig": torch.ones(4, 4), "a.weight_mask": torch.eye(4), "b.weight": torch.ones(4, 4)}
    torch.save({"state_dict": state, "optimizer": {"x": torch.ones(2)}}, tmp_path / "wrapped.pt")
    with pytest.warns(SaoWarning) as caught:
        sao_cli.prune_checkpoint(tmp_path / "wrapped.pt", tmp_path / "out.safetensors", d=1, skip_ends=False)
    said = [str(one.message) for one in caught]
    assert said[0] == "1 weight that several tensors made are one dense tensor each"
    assert said[1].startswith("left out: optimizer state")
    assert {one.filename for one in caught} == {__file__}


def test_a_text_is_one_pattern(model):
    changes = sao_cli.repair_checkpoint(model, "python.safetensors", include="net.2.*")
    assert [row.name for row in changes.changed] == ["net.2.weight"]
    assert [row.name for row in sao_cli.audit_checkpoint(model, exclude="*.weight")] == ["net.2.bias"]
    assert sao_cli.audit_checkpoint(model, include="net.2.weight", transpose="net.2.*").rows[0].m == 8


def test_rows_hold_no_weights(model):
    changes = sao_cli.repair_checkpoint(model, "python.safetensors")
    assert not any(isinstance(value, np.ndarray) for row in changes.rows for value in vars(row).values())


def test_progress_tells_how_many_weights_are_changed(model):
    calls = []
    sao_cli.prune_checkpoint(model, "python.safetensors", d=2, facts=False, progress=lambda *told: calls.append(told))
    assert [told for told in calls if told[0] == "changing weights"] == [
        ("changing weights", number, 3) for number in range(3)
    ]
