"""Defaults that a user sets: the config file, SAO_SEED and SAO_THREADS."""

import json

import click
import pytest
from click.testing import CliRunner

from sao_cli.cli import main
from sao_cli.cli.shared.config import config_file, spelled


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run("mask --json", "seed = 1"): the result with this config file, and these variables."""
    monkeypatch.chdir(tmp_path)

    def invoke(line, config="", **env):
        path = tmp_path / "config.toml"
        path.write_text(config)
        asked = {"SAO_CONFIG": str(path)} | env
        return CliRunner(env=asked).invoke(main, line.split(), prog_name="sao")

    return invoke


def row(done):
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout.splitlines()[0])


def refused(done):
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


MASK = "[mask]\nm = 16\nn = 8\nd = 2\n"


def test_a_table_has_the_defaults_of_its_command(run):
    made = row(run("mask --json", f"seed = 7\n{MASK}[weights]\nd = 1\n"))
    assert [made[key] for key in ("seed", "m", "n", "d")] == [7, 16, 8, 2]
    assert "no option describes" not in run("mask --json", MASK).stderr
    assert row(run("plan --json", MASK))["m"] == 256


def test_what_is_given_comes_first_then_the_environment_then_the_table_then_the_top(run):
    config = "seed = 1\n[mask]\nseed = 2\n"
    assert row(run("mask --json", "seed = 1"))["seed"] == 1
    assert row(run("mask --json", config))["seed"] == 2
    assert row(run("mask --json", config, SAO_SEED="3"))["seed"] == 3
    assert row(run("mask --json --seed 4", config, SAO_SEED="3"))["seed"] == 4
    assert row(run("mask --json", SAO_SEED=""))["seed"] == 0


def test_threads_are_set_too(run, monkeypatch):
    asked = []
    monkeypatch.setattr("threadpoolctl.threadpool_limits", lambda limit: asked.append(limit))
    run("plan", "threads = 1")
    run("plan", SAO_THREADS="1")
    assert asked == [1, 1]
    assert "SAO_THREADS: " in refused(run("plan", SAO_THREADS="0"))


def test_what_is_given_puts_aside_what_excludes_it(run):
    assert row(run("mask --json --sparsity 0.5 --m 8", MASK))["d"] == 4
    assert "exclude each other" in refused(run("mask --json", f"{MASK}c = 2"))


def test_flags_and_lists(run):
    config = "[spectrum]\nsingular-values = true\nmethod = ['sao', 'lmp']\nm = 8\nn = 8\nd = 2\ntable = false\n"
    rows = [json.loads(line) for line in run("spectrum -m 8", config).stdout.splitlines()]
    assert [one["method"] for one in rows] == ["sao", "lmp"]
    assert all(len(one["singular_values"]) == 8 for one in rows)
    assert row(run("spectrum --method dense", config))["method"] == "dense"
    assert row(run("jacobian --depth 2 --width 4 --json", "[jacobian]\ninput_std = 0.5\n"))["depth"] == 2


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("seed =", "config.toml is no TOML"),
        ("[mask]\nwidht = 3", "[mask]: no option 'widht'; did you mean 'widths'?"),
        ("[mask]\nd = 'four'", "[mask]: d: 'four' is not a valid integer"),
        ("[mask]\nmethod = 'soa'", "[mask]: method: unknown method 'soa'; did you mean 'sao'?"),
        ("[mask]\nd = [2, 4]", "[mask]: d = [2, 4]; it is one number, or one text"),
        ("[mask]\nd = true", "[mask]: d = True; it is one number"),
        ("[mask]\nquiet = 1", "[mask]: quiet = 1; it is true or false"),
        ("[tarin]\nepochs = 3", "no command 'tarin'; did you mean 'train'?"),
        ("epochs = 5", "above its tables stands no 'epochs'; there are: seed, threads"),
        ("seed = -1", "seed: -1 is not in the range"),
        ("seed = [1]", "seed = [1]; it is one number"),
        ("[mask.d]\nx = 1", "[mask]: d = {'x': 1}; it is one number"),
    ],
)
def test_a_wrong_file_is_one_line(run, config, said):
    told = refused(run("mask --json", config))
    assert said in told
    assert "config.toml" in told


def test_what_options_parse_themselves_is_told_with_its_place(run):
    assert "[train]: milestones: 'x' is no epoch" in refused(run("train", "[train]\nmilestones = 'x'"))


def test_a_file_that_is_named_must_be_there(run):
    assert "can't read gone.toml: no such file" in refused(run("plan", SAO_CONFIG="gone.toml"))
    assert "it is a folder" in refused(run("plan", SAO_CONFIG="."))
    assert run("plan", "seed =", SAO_CONFIG="").exit_code == 0


def test_the_file_lies_in_the_platform_s_place(run, tmp_path, monkeypatch):
    monkeypatch.delenv("SAO_CONFIG")
    monkeypatch.setattr(click, "get_app_dir", lambda name: str(tmp_path / name))
    assert config_file() == str(tmp_path / "sao" / "config.toml")
    assert run("plan", "seed =", SAO_CONFIG=None).exit_code == 0  # there is none
    (tmp_path / "sao").mkdir()
    (tmp_path / "sao" / "config.toml").write_text("seed = 5")
    assert row(run("plan --json", SAO_CONFIG=None))["seed"] == 5


def test_help_tells_the_place_and_what_is_set(run, monkeypatch):
    monkeypatch.setenv("HOME", "/home/one")
    assert "~/sao.toml" in run("--help", SAO_CONFIG="/home/one/sao.toml").stdout
    assert "SAO_SEED" in run("--help").stdout
    assert "[default: 7;" in run("mask --help", "seed = 7").stdout


def test_the_runs_of_a_sweep_have_what_is_set_in_their_words(run):
    """So that workers elsewhere, who read no file, do the same."""
    rows = run("sweep --over m=8,16 -- mask --json", f"seed = 3\n{MASK}").stdout.splitlines()
    assert [(one["m"], one["n"], one["seed"]) for one in map(json.loads, rows)] == [(8, 8, 3), (16, 8, 3)]
    rows = run("sweep --seed 5 --over m=8,16 -- mask --json", f"seed = 3\n{MASK}").stdout.splitlines()
    assert [json.loads(one)["seed"] for one in rows] == [5, 5]


def test_settings_are_spelled_as_options():
    flag = click.Option(["--a/--b"])
    assert spelled(flag, True) + spelled(flag, False) == ["--a", "--b"]
    assert spelled(click.Option(["--a"], is_flag=True), False) == []
    assert spelled(click.Option(["--a"], multiple=True), ["1", "2"]) == ["--a", "1", "--a", "2"]
