"""No option writes onto an input or onto another option's file, and no single option counts twice. In this process."""

import json
import os
import pathlib

import click
import numpy as np
import pytest
from click.testing import CliRunner

from sao_cli import sao_mask, write_masks
from sao_cli.cli import COMMANDS, main
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.paths import InputFile, OutputFile, OutputFolder
from sao_cli.io.checkpoints import write_checkpoint

EYE = {"fc.weight": np.eye(4)}


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Two files, links to them, a folder with an index of a shard, and a page that is there already."""
    monkeypatch.chdir(tmp_path)
    write_masks(sao_mask(4, 4, 2), "a.mtx")
    write_checkpoint(EYE, "m.safetensors")
    os.symlink("m.safetensors", "link.safetensors")
    os.symlink("there-is-no-such.svg", "dangling.svg")
    os.link("m.safetensors", "hard.safetensors")
    os.mkdir("sharded")
    write_checkpoint(EYE, "sharded/one.safetensors")
    index = {"weight_map": dict.fromkeys(EYE, "one.safetensors")}
    pathlib.Path("sharded/model.safetensors.index.json").write_text(json.dumps(index))
    pathlib.Path("sharded/page.html").write_text("old")
    return tmp_path


def refused(line, stdin=None):
    """What the command says where it is refused, with everything as it was."""
    before = {path: path.read_bytes() for path in pathlib.Path().rglob("*") if path.is_file()}
    done = CliRunner().invoke(main, line.split(), prog_name="sao", input=stdin)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    assert {path: path.read_bytes() for path in pathlib.Path().rglob("*") if path.is_file()} == before
    return done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "weights a.mtx -o a.mtx",
        "weights a.mtx -o ./sharded/../a.mtx",
        "verify a.mtx -o a.mtx",
        "reach a.mtx -o a.mtx",
        "spectrum --d 2 --reference a.mtx -o a.mtx",
        "spectrum --d 2 --input-file a.mtx -o a.mtx",
        "audit m.safetensors -o m.safetensors",
        "audit m.safetensors --html m.safetensors",
        "audit link.safetensors --html m.safetensors",
        "audit m.safetensors --html link.safetensors",
        "audit m.safetensors --html hard.safetensors",
        "audit a.mtx --compare m.safetensors --html hard.safetensors",
        "audit sharded --html sharded/one.safetensors",
        "audit sharded --html sharded/model.safetensors.index.json",
        "audit sharded/model.safetensors.index.json -o sharded/one.safetensors",
        "prune m.safetensors --sparsity .5 -o hard.safetensors",
        "repair sharded -o sharded/one.safetensors",
    ],
)
def test_nothing_is_written_onto_an_input(folder, line):
    assert "would write over" in refused(line)


@pytest.mark.parametrize(
    "line",
    [
        "audit m.safetensors -o x --html x",
        "audit m.safetensors -o x.svg --plot ./sharded/../x.svg",
        "audit m.safetensors --html dangling.svg --plot there-is-no-such.svg",
        "audit m.safetensors --html sharded/page.html -o sharded/page.html",
        "reach a.mtx -o a.svg --plot a.svg",
    ],
)
def test_no_two_options_write_one_file(folder, line):
    assert "both write" in refused(line)


def test_an_absolute_path_is_the_same_file(folder):
    assert "would write over" in refused(f"weights a.mtx -o {folder / 'a.mtx'}")


def test_standard_input_that_comes_from_a_file_is_an_input(folder, pipe):
    for line in ("sao weights -o a.mtx < a.mtx", "sao weights - -o a.mtx < a.mtx"):
        done = pipe(line)
        assert (done.code, done.out) == (2, "")
        assert "-o would write over the file on standard input" in done.err


def test_what_is_no_input_may_be_replaced(folder):
    for line in (
        "audit sharded --html sharded/page.html -q -o /dev/null --plot p.svg",
        "audit m.safetensors --html /dev/null -o /dev/null -q",
        "prune m.safetensors --sparsity .5 --all -o sharded/new.safetensors -q",
    ):
        assert CliRunner().invoke(main, line.split()).exit_code == 0
    assert pathlib.Path("sharded/page.html").read_text() != "old"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mask -o missing/a.mtx", "there is no folder 'missing'"),
        ("mask -o sharded", "is a folder"),
        (f"mask -o {'x' * 300}.mtx", "the name is too long"),
        ("mask -o a.mtx/b.mtx", "there is no folder"),
        ("verify a.mtx --plot -", "its format is not known"),
        ("audit m.safetensors --html -", "'-' is standard output"),
        ("audit m.safetensors --html /dev/stdout", "is standard output"),
        ("train -o -", "names no folder"),
    ],
)
def test_what_could_not_be_written_is_refused_before_any_work(folder, line, said):
    assert said in refused(line)


def commands():
    with click.Context(main) as context:
        return {name: main.get_command(context, name) for name in COMMANDS}


def test_every_option_that_names_a_file_is_looked_at():
    """A new option of a file or folder needs one of these types, or it would not be known of here."""
    for name, command in commands().items():
        assert isinstance(command, SaoCommand)
        for option in command.params:
            shown = (option.metavar or "").strip("[]")
            if shown.startswith(("FILE", "OTHER", "MODEL")) or option.name in ("output", "plot", "html", "reference"):
                assert isinstance(option.type, InputFile | OutputFile | OutputFolder), (name, option.name)


def twice(option):
    """How an option that is no list is given two times."""
    value = [] if option.is_flag else ["1"]
    return [[option.opts[0], *value, (option.secondary_opts or option.opts)[-1], *value]]


def test_no_single_option_of_any_command_counts_twice(folder):
    """The second one won, silently."""
    asked = 0
    for name, command in commands().items():
        needed = ["m.safetensors"] if any(one.name == "model" for one in command.params) else []
        needed, last = (["--over", "d=2"], ["mask"]) if name == "sweep" else (needed, [])
        for option in command.params:
            if not isinstance(option, click.Option) or option.multiple or option.name in ("help", "version"):
                continue
            for arguments in twice(option):
                done = CliRunner().invoke(main, [name, *needed, *arguments, *last], prog_name="sao")
                assert done.exit_code == 2, (name, arguments)
                assert done.stderr.count("\n") == 1, done.stderr
                if not done.stderr.startswith(f"sao {name}: Invalid value"):
                    asked += 1
                    assert "is given 2 times" in done.stderr, (name, arguments, done.stderr)
    assert asked > 100


def test_lists_and_help_are_given_as_often_as_one_likes(folder):
    line = "spectrum --method sao --method lmp --d 2 --m 4 --n 4 --activation tanh --activation relu -q"
    assert CliRunner().invoke(main, line.split()).stdout.count("\n") == 4
    assert CliRunner().invoke(main, ["mask", "--d", "2", "--d", "3", "--help"]).exit_code == 0
