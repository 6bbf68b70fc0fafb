"""Help, its headings, short names of options, and what shells complete."""

import os
import pty
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from sao_cli.cli import COMMANDS, main
from sao_cli.cli.shared.command import HEADINGS, REST, SaoCommand


def commands():
    with click.Context(main) as context:
        return {name: main.get_command(context, name) for name in COMMANDS}


def invoke(line, **env):
    return CliRunner(env=env).invoke(main, line.split(), prog_name="sao", terminal_width=80)


def test_bare_sao_prints_its_help_and_is_no_success(sao):
    bare = sao()
    assert (bare.code, bare.err) == (2, "")
    assert bare.out == sao("--help").out == sao("help").out
    assert bare.out.count("\n") > len(COMMANDS)


@pytest.mark.parametrize("command", ["train", "completion", "help"])
def test_help_of_a_command_is_what_its_option_prints(command):
    done = invoke(f"help {command}")
    assert (done.exit_code, done.stdout) == (0, invoke(f"{command} --help").stdout)


def test_help_names_the_nearest_command():
    done = invoke("help tarin")
    assert done.exit_code == 2
    assert "did you mean 'train'?" in done.stderr


def test_version_is_short_too():
    assert invoke("-V").stdout == invoke("--version").stdout


def test_short_options_are_the_long_ones():
    long = invoke("mask --m 8 --n 4 --d 2 --json").stdout
    assert invoke("mask -m 8 -n4 -d 2 --json").stdout == long
    assert invoke("mask -m 8 -n 4 -c 4 --json").stdout == long
    assert invoke("mask -m 8 -n 4 -s 0.5 --json").stdout == long
    assert [name for name, command in commands().items() if "-j" in words(command)] == [
        name for name, command in commands().items() if "--jobs" in words(command)
    ]


def words(command):
    return [word for option in command.params for word in option.opts]


def test_a_short_name_means_one_option_everywhere():
    meant = {(word, option.name) for one in commands().values() for option in one.params for word in option.opts}
    short = [word for word, _ in meant if len(word) == 2]
    assert len(short) == len(set(short))


def test_every_option_stands_under_one_heading():
    shared = " ".join(HEADINGS.values()).split()
    assert len(shared) == len(set(shared))
    for name, command in commands().items():
        assert isinstance(command, SaoCommand)
        own = " ".join(command.headings.values()).split()
        options = [option.name for option in command.params if isinstance(option, click.Option)]
        assert len(own) == len(set(own)), name
        assert set(own) <= set(options), name
        assert set(options) <= {*own, *shared}, name
        told = invoke(f"{name} --help").stdout
        assert f"\n{REST}:\n" not in told
        for option in options:
            [flag] = [one.opts[0] for one in command.params if one.name == option]
            assert sum(f" {flag}" in line[:24] for line in told.splitlines()) >= 1, (name, flag)


def test_headings_come_in_the_order_that_a_command_gives_them():
    told = invoke("train --help").stdout
    headings = ["Data:", "Network:", "Edge of chaos:", "Training:", "Pruning:", "Rank reduction:", "Running:"]
    places = [told.index(f"\n{heading}\n") for heading in headings]
    assert places == sorted(places)
    assert told.index("\nRunning:\n") < told.index("-h, --help")


def completed(line, shell="bash"):
    """What is offered after `line`, whose last word is begun, or empty after a blank."""
    number = len(line.split()) - (not line.endswith(" "))
    asked = {"_SAO_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": str(number)}
    return CliRunner(env=asked).invoke(main, [], prog_name="sao").stdout.splitlines()


def test_commands_are_completed_without_loading_any(monkeypatch):
    monkeypatch.setattr(type(main), "get_command", lambda *_: pytest.fail("a command was loaded"))
    assert completed("sao ") == [f"plain,{name}" for name in COMMANDS]
    assert completed("sao re") == ["plain,reach", "plain,reduce", "plain,repair"]
    assert completed("sao --v") == ["plain,--version"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sao mask --method ra", ["plain,ramanujan", "plain,radix"]),
        ("sao mask --arr", ["plain,--arrangement"]),
        ("sao jacobian --device c", ["plain,cpu", "plain,cuda"]),
        ("sao audit ", ["file,"]),
        ("sao spectrum --reference m", ["file,m", "plain,marchenko-pastur"]),
        ("sao sensitivity --data fa", ["file,fa", "plain,fashion-mnist"]),
        ("sao train --data-folder d", ["dir,d"]),
        ("sao mask -o a", ["file,a"]),
        ("sao train -o a", ["dir,a"]),
        ("sao help tr", ["plain,train"]),
        ("sao completion f", ["plain,fish"]),
    ],
)
def test_values_are_completed(line, offered):
    assert completed(line) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_asks_sao(shell):
    done = invoke(f"completion {shell}")
    assert done.exit_code == 0
    assert f"_SAO_COMPLETE={shell}_complete" in done.stdout


def test_bash_completes_by_the_script(pipe):
    line = "COMP_WORDS=(sao mask --method ra); COMP_CWORD=3; _sao_completion sao; echo ${COMPREPLY[@]}"
    assert pipe(f'eval "$(sao completion bash)"; {line}').out == "ramanujan radix\n"


@pytest.mark.parametrize("arguments", [["help", "audit"], ["spectrum", "-h"], ["train", "--help"], ["reach", "--help"]])
def test_help_needs_no_numpy(arguments):
    told = f"import sys\nfrom sao_cli.cli import main\ntry: main({arguments})\nexcept SystemExit: pass\n"
    told += "sys.exit('numpy' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_completion_needs_no_numpy():
    asked = {"_SAO_COMPLETE": "bash_complete", "COMP_WORDS": "sao verify --criterion ", "COMP_CWORD": "3"}
    told = "import sys\nfrom sao_cli.cli import main\ntry: main(prog_name='sao')\nexcept SystemExit: pass\n"
    told += "sys.exit('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], env=os.environ | asked, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"plain,paper\nplain,standard\n")


def test_help_on_a_terminal_without_colours_has_none(monkeypatch):
    here, there = pty.openpty()
    env = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-m", "sao_cli"], stdout=there, stderr=there, env=env, check=False)
    os.close(there)
    told = os.read(here, 1 << 16)
    os.close(here)
    assert done.returncode == 2
    assert told.startswith(b"Usage: ")
    assert b"\x1b" not in told
