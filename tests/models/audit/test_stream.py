"""An audit from Python: what the command prints, row by row as it goes, and what it can't tell."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import sao_cli
from sao_cli.base.errors import SaoError
from sao_cli.cli import main
from sao_cli.io.checkpoints import Checkpoint, open_checkpoint, write_checkpoint


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


MODEL = {
    "net.0.weight": normal(8, 6),
    "net.0.bias": normal(8),
    "net.2.weight": normal(4, 8, seed=1) * (np.arange(8) % 2),
    "conv.weight": normal(4, 2, 3, 3, seed=2),
    "torn.weight": np.array([[np.nan, 1.0]]),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "model.safetensors"
    write_checkpoint(MODEL, path)
    return path


def told_by(*arguments):
    done = CliRunner().invoke(main, ["audit", *map(str, arguments), "--json"])
    assert done.exit_code in (0, 1), done.output
    return [json.loads(line) for line in done.stdout.splitlines()], done.exit_code


def assert_the_same(reports, told):
    assert len(reports) == len(told)
    for report, line in zip(reports, told, strict=True):
        assert report.to_dict().items() <= line.items()  # the command adds where it comes from


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], {}),
        (["--image", "6x5", "--padding", "circular", "--jobs", 3], {"image": (6, 5), "padding": "circular", "jobs": 3}),
        (
            ["--exclude", "torn.*", "--transpose", "net.2.*", "--threshold", 0.5],
            {"exclude": ["torn.*"], "transpose": ["net.2.*"], "threshold": 0.5},
        ),
    ],
)
def test_audit_checkpoint_gives_what_the_command_gives(model, options, asked):
    told, _ = told_by(model, *options)
    audit = sao_cli.audit_checkpoint(model, **asked)
    assert_the_same([*audit.rows, *audit.chains, audit.summary], told)


def test_checks_fail_where_the_command_s_do(model):
    checks = ["dead_inputs==0", "rank>=4"]
    _, code = told_by(model, *(word for check in checks for word in ("--check", check)))
    audit = sao_cli.audit_checkpoint(model, checks=checks)
    failed = [(failure.name, failure.check) for failure in audit.failures]
    assert failed == [
        ("net.2.weight", "dead_inputs==0"), ("torn.weight", "dead_inputs==0"),
        ("conv.weight", "rank>=4"), ("torn.weight", "rank>=4"),
    ]  # fmt: skip
    assert code == 1


def test_changes_since_an_earlier_checkpoint(model, tmp_path):
    sao_cli.prune_checkpoint(model, tmp_path / "pruned.safetensors", sparsity=0.5, include=["net.*"], skip_ends=False)
    told, _ = told_by(tmp_path / "pruned.safetensors", "--compare", model)
    changes = sao_cli.audit_checkpoint(tmp_path / "pruned.safetensors").since(sao_cli.audit_checkpoint(model))
    assert_the_same(changes, told[:-1])
    assert {change.name: change.status for change in changes} == {  # half of net.2.weight is zeros anyway
        "conv.weight": "same", "net.0.weight": "changed", "net.2.weight": "same"
    }  # fmt: skip


def test_rows_come_as_they_are_measured_and_stay(model, monkeypatch):
    read, names = Checkpoint.read, []
    monkeypatch.setattr(Checkpoint, "read", lambda self, entry: names.append(entry.name) or read(self, entry))
    audit = sao_cli.audit_checkpoint(model)
    assert names == []
    first = next(iter(audit))
    assert names == [first.name] == ["conv.weight"]
    assert audit.rows[0] is first
    assert audit.rows == audit.rows == list(audit)
    assert names == ["conv.weight", "net.0.weight", "net.2.weight", "torn.weight"]


def test_what_was_broken_off_is_no_audit(model, monkeypatch):
    def broken(self, entry):
        raise KeyboardInterrupt

    audit = sao_cli.audit_checkpoint(model)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "read", broken)
        with pytest.raises(KeyboardInterrupt):
            audit.rows  # noqa: B018
    with pytest.raises(SaoError, match="was broken off after 0 tensors; begin it anew"):
        audit.summary  # noqa: B018


def test_an_open_checkpoint_is_taken_and_left_open(model):
    with open_checkpoint(model) as checkpoint:
        audit = sao_cli.audit_checkpoint(checkpoint)
        assert audit.summary.rows == 3
        assert checkpoint.read(checkpoint.entries[0]).shape == (8, 6)


def test_nothing_audited_is_told_apart_from_nothing_wrong(tmp_path):
    write_checkpoint({"a.bias": np.ones(3)}, tmp_path / "model.safetensors")
    audit = sao_cli.audit_checkpoint(tmp_path / "model.safetensors", checks=["rank>=1"])
    with pytest.raises(SaoError, match="can't be checked"):
        audit.failures  # noqa: B018
    with pytest.raises(SaoError, match="was audited: all of its 1 tensors are skipped, the largest since: bias"):
        audit.require_rows()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"include": ["nothing"]}, "matches none of 5 names"),
        ({"checks": ["rank>"]}, "is no check"),
        ({"jobs": 0}, "jobs 0; it is how many"),
    ],
)
def test_bad_requests_are_refused_at_once(model, asked, said):
    with pytest.raises(SaoError, match=said):
        sao_cli.audit_checkpoint(model, **asked)
    with pytest.raises(SaoError, match="no such file"):
        sao_cli.audit_checkpoint(model.with_name("missing.safetensors"))
