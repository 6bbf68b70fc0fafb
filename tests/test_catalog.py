"""The catalog: every name once, its home there, and an unknown one refused with the nearest, at every door."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch

import sao_cli
from sao_cli import catalog, nets
from sao_cli.base.errors import SaoError
from sao_cli.base.names import Row, load
from sao_cli.cli import COMMANDS, main
from sao_cli.cli.shared.types import Named
from sao_cli.masks.architectures import ConvShape
from sao_cli.masks.build_masks import METHODS as OF_MASKS
from sao_cli.masks.build_masks import mask_stack
from sao_cli.measure.layer import activations
from sao_cli.nets.layers import activation
from sao_cli.weights import random
from sao_cli.weights.build_weights import METHODS, VALUES, weight_stack
from sao_cli.weights.kernels.build_kernels import build_kernel
from sao_cli.weights.plan import plan

ROOT = Path(sao_cli.__file__).parent
METHOD_HOMES = {home for row in catalog.METHODS.values() for home in (row.mask, row.weight, row.kept_kernel) if home}
SCHEME_HOMES = {home for row in catalog.SCHEMES.values() for home in (row.home, row.layer) if home}
PRUNING_HOMES = {home for row in catalog.PRUNING.values() for home in (row.score, row.mask) if home}
NETWORK_HOMES = {row.home for row in catalog.ARCHITECTURES.values()}
HOMES = sorted(METHOD_HOMES | SCHEME_HOMES | PRUNING_HOMES | NETWORK_HOMES)


@pytest.mark.parametrize("home", HOMES)
def test_a_home_loads(home):
    assert callable(load(home))


@pytest.mark.parametrize("name", [name for name, row in catalog.MASK_METHODS.items() if not row.keeps])
def test_a_construction_s_file_says_its_feasible_sizes(name):
    module = catalog.METHODS[name].mask.partition(":")[0]
    degrees, rule = (load(f"{module}:{part}")(8, 8) for part in ("feasible", "rule"))
    assert 4 in degrees
    assert "d" in rule


def test_names_stand_in_the_catalog_once():
    names = list(catalog.METHODS)

    assert set(OF_MASKS) < set(METHODS) == set(names)


@pytest.mark.parametrize("row", catalog.METHODS.values(), ids=list(catalog.METHODS))
def test_a_row_says_what_builds_it(row):
    assert bool(row.on) != bool(row.weight)
    assert not row.on or (catalog.METHODS[row.on].mask and row.values in (*VALUES, "masked orthogonal"))
    assert row.line
    assert "\n" not in row.line


@pytest.mark.parametrize(
    "door",
    [
        lambda name: mask_stack([4, 4], method=name),
        lambda name: weight_stack([4, 4], method=name),
        lambda name: plan([4, 4], method=name),
        lambda name: nets.initialize_(torch.empty(4, 4), name),
    ],
)
def test_an_unknown_method_is_refused_with_the_nearest(door):
    with pytest.raises(SaoError, match=r"^unknown method 'ramanujn'; did you mean 'ramanujan'\?"):
        door("ramanujn")


@pytest.mark.parametrize(
    "door",
    [
        lambda name: build_kernel(4, 4, scheme=name),
        lambda name: nets.kernel_(torch.empty(4, 4, 3, 3), name),
        lambda name: nets.SAOConv2d(4, 4, 3, degree=2, scheme=name),
        lambda name: ConvShape(c_out=4, c_in=4, size=3, stride=1, side=8, scheme=name),
    ],
)
def test_an_unknown_scheme_is_refused_with_the_nearest(door):
    with pytest.raises(SaoError, match=r"^unknown scheme 'delt'; did you mean 'delta'\?"):
        door("delt")


@pytest.mark.parametrize(
    "door",
    [
        lambda name: build_kernel(4, 4, method=name),
        lambda name: nets.kernel_(torch.empty(4, 4, 3, 3), method=name),
        lambda name: nets.CNN(1, 4, method=name),
    ],
)
def test_a_method_that_makes_no_kernels_is_refused(door):
    with pytest.raises(SaoError, match=r"^unknown method 'ramanujan'; .*there are: sao, rg-n"):
        door("ramanujan")


def test_what_is_looked_up_by_a_name_has_all_names():
    assert set(random._LAWS) == set(catalog.LAWS)
    assert set(activations._FUNCTIONS) == set(activation._MODULES) == set(catalog.PLAIN_ACTIVATIONS)
    assert {row.form for row in catalog.DATA.values()} <= set(catalog.FORMS)
    assert {arch for row in catalog.TRAIN_METHODS.values() for arch in row.trains} == set(catalog.ARCHITECTURES)
    assert {row.own_law for row in catalog.METHODS.values()} - {""} <= set(catalog.SCHEMES) & set(catalog.LAWS)
    assert {name for name, row in catalog.SCHEMES.items() if row.law} <= set(catalog.LAWS)


@pytest.mark.parametrize("command", ["mask", "weights", "spectrum", "plan"])
def test_an_unknown_method_of_a_command_is_refused_with_the_nearest(command, capsys):
    with pytest.raises(SystemExit) as done:
        main([command, "--method", "ramanujn", "--widths", "8,8"])
    assert done.value.code == 2
    assert "unknown method 'ramanujn'; did you mean 'ramanujan'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "option", "table"),
    [
        ("mask", "method", catalog.METHODS),
        ("weights", "method", catalog.METHODS),
        ("weights", "values", catalog.VALUES),
        ("kernel", "scheme", catalog.SCHEMES),
        ("train", "method", catalog.TRAIN_METHODS),
        ("train", "arch", catalog.ARCHITECTURES),
        ("train", "init", catalog.INITS),
        ("prune", "method", catalog.PRUNING),
    ],
)
def test_help_tells_every_name_in_a_line(command, option, table, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    default = options()[f"{command} --{option}"].default
    for row in table.values():
        marked = ["(the", "default)"] if row.name == default else []
        assert [row.name, *row.line.split(), *marked] in told, row.name


def options():
    with click.Context(main) as context:
        commands = {name: main.get_command(context, name) for name in COMMANDS}
    return {f"{name} {option.opts[0]}": option for name, command in commands.items() for option in command.params}


NAMED = {said: option for said, option in options().items() if isinstance(option.type, Named)}


def test_options_that_take_names_are_of_the_type_that_knows_them():
    texts = {said for said, option in options().items() if option.type.name == "text" and " -" in said}
    assert {said.split()[1] for said in texts} == {
        *("--tensor", "--widths", "--milestones", "--jacobian-at", "--check", "--title"),
        *("--include", "--exclude", "--transpose", "--example", "--chain"),
    }
    assert not [said for said, option in options().items() if isinstance(option.type, click.Choice)]


@pytest.mark.parametrize("said", NAMED)
def test_an_option_refuses_and_completes_names(said):
    option, context = NAMED[said], click.Context(main)
    kind = option.type
    with pytest.raises(click.BadParameter, match=f"^unknown {kind.kind} '~'; there are: {', '.join(kind.known)}"):
        kind.convert("~", option, context)
    found = {item.value: item.help for item in kind.shell_complete(context, option, "")}
    assert {row.name: row.line for row in kind.known.values()}.items() <= found.items()
    first = next(iter(found))
    assert first in [item.value for item in kind.shell_complete(context, option, first[:2])]
    assert not kind.shell_complete(context, option, "~")


def test_a_shell_completes_a_method_with_its_line():
    asked = {"_SAO_COMPLETE": "zsh_complete", "COMP_WORDS": "sao mask --method ra", "COMP_CWORD": "3"}
    called = [sys.executable, "-m", "sao_cli"]
    found = subprocess.run(called, env=os.environ | asked, capture_output=True, text=True, check=True)
    rows = [catalog.METHODS[name] for name in ("ramanujan", "radix")]
    assert found.stdout.splitlines() == [part for row in rows for part in ("plain", row.name, row.line)]


CHOSEN = {"sao", "dense", "delta", "linear", "random"}  # what is built, or compared with, where no other is named
EXPERIMENTS = ("nets/experiments/", "study/papers/")  # each with its paper's own data, networks and methods
ELSEWHERE = {  # where a name stands besides its homes, and what it is there
    "normal": {
        *("weights/random.py", "weights/isometry.py", "weights/build_weights.py"),
        *("nets/initialise/critical.py", "nets/training/methods.py"),
    },  # a law; where isometry starts; and what a mask's Gaussian weights are
    "uniform": {"weights/random.py", "nets/scores/objectives.py"},  # a law, and labels
    "eco": {"masks/architectures.py"},  # the layers of LipConvNet
    "soc": {"masks/architectures.py"},
    "biregular": {"models/audit/row.py"},  # a key of its rows
    "nm": {"measure/graph/nm_groups.py"},  # the same
    **{name: {"measure/layer/activations.py", "nets/layers/activation.py"} for name in catalog.ACTIVATIONS},
    **{
        name: {"nets/training/settings.py", "nets/training/paper_rates.py", "cli/plan.py", "cli/jacobian.py"}
        for name in catalog.ARCHITECTURES
    },
}
ELSEWHERE["relu"] |= {
    "nets/networks/cnn.py",
    "nets/training/settings.py",
    "nets/training/paper_rates.py",
    "nets/training/rare_settings.py",
}  # the paper's choices by activation
ELSEWHERE["tanh"] |= {"nets/jacobians/images.py", "nets/training/settings.py", "nets/training/paper_rates.py"}
TABLES = (
    catalog.METHODS,
    catalog.SCHEMES,
    catalog.PRUNING,
    catalog.SCORES,
    catalog.DENSITIES,
    catalog.TRAIN_METHODS,
    catalog.ARCHITECTURES,
)
ROWS = [row for table in (*TABLES, catalog.DATA, catalog.ACTIVATIONS) for row in table.values()]


def quoted(path):
    """The strings of a module, but for the defaults of arguments and options."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    defaults = [
        default for node in nodes if isinstance(node, ast.arguments) for default in (*node.defaults, *node.kw_defaults)
    ]
    defaults += [node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == "default"]
    defaults += [node.value for node in nodes if isinstance(node, ast.AnnAssign)]
    skipped = {id(default) for default in defaults}
    return {node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in skipped}


QUOTED = {str(path.relative_to(ROOT)): quoted(path) for path in ROOT.rglob("*.py")}


@pytest.mark.parametrize("name", sorted({row.name for row in ROWS} - CHOSEN))
def test_a_name_stands_in_the_catalog_and_in_its_construction_alone(name):
    traits = [trait for row in ROWS if row.name == name for trait in vars(row).values()]
    told = [text for text in traits if isinstance(text, str) and ":" in text]
    homes = {text.partition(":")[0].replace(".", "/") + ".py" for text in told}
    found = {path for path, texts in QUOTED.items() if name in texts and not path.startswith(EXPERIMENTS)}
    assert found <= {"catalog.py"} | homes | ELSEWHERE.get(name, set())


def test_one_place_refuses_what_a_user_types():
    """Others refuse what a file or a model has not; the dtypes there are safetensors'."""
    kinds = {option.type.kind for option in NAMED.values()} | {"law"}
    refused = {path: re.findall(r"unknown_name\(f?['\"]unknown (\w+)", (ROOT / path).read_text()) for path in QUOTED}
    assert {path for path, told in refused.items() if kinds & set(told)} == {"io/checkpoints/saving.py"}
    assert refused["io/checkpoints/saving.py"] == ["dtype"]


def test_a_row_is_what_it_is_told_and_stays_so():
    row = Row("a", line="b")
    assert (row.name, row.line) == ("a", "b")
    with pytest.raises(AttributeError, match="stays as it is"):
        row.name = "c"
    with pytest.raises(TypeError, match="Row takes name, line"):
        Row("a", "b", "c")
    with pytest.raises(TypeError, match="Row takes name, line"):
        Row("a", "b", colour="red")
