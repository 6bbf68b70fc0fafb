"""One name, one meaning: what options were called before works in this release, and is said; lmp is lmp-s."""

import json

import pytest
from click.testing import CliRunner

from sao_cli import catalog
from sao_cli.cli import COMMANDS, main
from sao_cli.cli.shared.command import RENAMED


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda line, **env: CliRunner(env=env).invoke(main, line.split(), prog_name="sao")


@pytest.mark.parametrize(
    ("line", "old", "new"),
    [
        ("spectrum -m 8 -n 8 {}", "--values", "--singular-values"),
        ("spectrum -m 8 -n 8 {} float32", "--dtype", "--round-to"),
        ("spectrum -m 8 -n 8 {}=float32 --json", "--dtype", "--round-to"),
        ("weights -m 8 -n 8 -d 2 --json {} float32", "--dtype", "--round-to"),
        ("kernel --c-out 2 --c-in 2 --json {} float32", "--dtype", "--round-to"),
        ("spectrum -m 8 -n 8 {} gone.npy", "--inputs", "--input-file"),
        ("train --epochs 0 --depth 2 --width 8 --jacobian-at none {} mask", "--layers", "--storage"),
    ],
)
def test_an_old_name_does_what_the_new_one_does_and_is_said(run, line, old, new):
    assert RENAMED[new] == old
    before, after = run(line.format(old)), run(line.format(new))
    assert (before.exit_code, before.stdout) == (after.exit_code, after.stdout)
    said = f"{old} is called {new} now"
    assert before.stderr.count(said) == (before.exit_code == 0)
    assert said not in after.stderr
    assert said not in run(f"{line.format(old)} -q").stderr


def test_a_name_that_has_its_meaning_stays(run):
    """--values of weights, --inputs and --dtype of jacobian, --layers of mask."""
    for line in (
        "weights -m 8 -n 8 -d 2 --json --values normal",
        "jacobian --depth 2 --width 8 --inputs 2 --dtype float32",
        "mask -m 8 -n 8 -d 2 --json --layers 2",
    ):
        done = run(line)
        assert done.exit_code == 0
        assert "is called" not in done.stderr


def test_help_and_completion_know_the_new_names_alone(run):
    for command in ("spectrum", "train", "weights", "kernel"):
        told = run(f"{command} --help").stdout
        new = [name for name in RENAMED if name in told]
        assert new
        assert not any(f" {RENAMED[name]} " in told for name in new)


def test_a_value_after_two_dashes_is_no_option(run):
    assert "no command to sweep" not in run("sweep --over d=2 -- spectrum -m 8 -n 8 --values").stderr


def test_settings_and_sweeps_know_old_names_too(run, tmp_path):
    (tmp_path / "own.toml").write_text("[spectrum]\nvalues = true\n")
    [row] = map(json.loads, run("spectrum -m 8 -n 8", SAO_CONFIG="own.toml").stdout.splitlines())
    assert len(row["singular_values"]) == 8
    rows = run("sweep --over dtype=float32,float64 -- spectrum -m 8 -n 8 -d 2").stdout.splitlines()
    assert [json.loads(one)["over"] for one in rows] == [{"dtype": "float32"}, {"dtype": "float64"}]


@pytest.mark.parametrize(("short", "long"), catalog.BEFORE_TRAINING.items())
def test_pruned_before_training_is_one_method_in_a_layer_and_in_training(run, short, long):
    line = "spectrum -m 8 -n 8 -s 0.5 --method {}"
    assert run(line.format(long)).stdout == run(line.format(short)).stdout
    line = "train --epochs 0 --depth 2 --width 8 -s 0.5 --jacobian-at none -q --json --method {}"
    found = [json.loads(run(line.format(name)).stdout) for name in (short, long)]
    for row in found:
        row.pop("seconds")
    assert found[0] == found[1]


def test_the_sides_of_an_image_are_written_alike_everywhere(run):
    for line in ("plan --cnn --depth 3 --image {}", "jacobian --arch cnn --depth 2 --width 4 --image {}"):
        assert run(line.format(8)).stdout == run(line.format("8x8")).stdout
        for wrong in ("8x9", "8x8x8", "0", "x"):
            done = run(line.format(wrong))
            assert done.exit_code == 2
            assert wrong in done.stderr


def test_every_old_name_still_means_something_in_another_command():
    """Else there was no need to rename it."""
    import click

    with click.Context(main) as context:
        words = {word for name in COMMANDS for one in main.get_command(context, name).params for word in one.opts}
    assert set(RENAMED) <= words
    assert set(RENAMED.values()) <= words
