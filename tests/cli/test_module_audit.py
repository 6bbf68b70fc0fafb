"""`sao audit --module` beside its other options, and of one network in every form that a file may have."""

import contextlib
import json
from types import SimpleNamespace

import click.testing
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sao_cli.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch.compile's own imports

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.deep, self.up = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.ConvTranspose2d(4, 2, 2, 2)
        self.body = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 6))
        self.words, self.head = nn.Embedding(6, 6), nn.Linear(6, 6, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x):
        h = self.up(self.deep(torch.relu(self.norm(self.conv(x)))))
        return self.head(self.body(h.flatten(1)[:, :12]))

def net():
    torch.manual_seed(0)
    made = Net()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter *= (torch.rand_like(parameter) < 0.5) | (parameter.ndim < 2)
    return made

def compiled():
    return torch.compile(net())
"""
NAMED = ("--module", "own.py:net", "--example", "1x2x4x4")
BEFORE, AFTER = "before.safetensors", "after.safetensors"


@pytest.fixture(scope="module")
def module():
    made = {}
    exec(NETS, made)
    return made["net"]()


@pytest.fixture(scope="module")
def nets(tmp_path_factory, module):
    folder = tmp_path_factory.mktemp("nets")
    (folder / "own.py").write_text(NETS)
    tensors = copied(module)
    save_file(tensors, folder / BEFORE)
    tensors["body.2.weight"][:3] = 0
    save_file(tensors, folder / AFTER)
    return folder


@pytest.fixture(scope="module")
def sao(nets):
    """The command in this process, where torch is there already."""

    def run(*arguments):
        with contextlib.chdir(nets):
            done = click.testing.CliRunner().invoke(main, [str(one) for one in arguments])
        lines = done.stdout.splitlines()
        rows = [json.loads(line) for line in lines if line.startswith("{")]
        return SimpleNamespace(code=done.exit_code, out=done.stdout, err=done.stderr, rows=rows)

    return run


@pytest.fixture(scope="module")
def expected(sao):
    """The rows of the plain file, without a module and with it."""
    return {options: facts(sao("audit", BEFORE, *options)) for options in ((), NAMED)}


def copied(module, prefix=""):
    return {prefix + name: tensor.clone() for name, tensor in module.state_dict().items()}


def sharded(module, folder):
    tensors = copied(module)
    places = {name: f"model-0000{number % 3 + 1}-of-00003.safetensors" for number, name in enumerate(tensors)}
    for file in set(places.values()):
        save_file({name: one for name, one in tensors.items() if places[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return "model.safetensors.index.json"


def saved(state, folder):
    torch.save(state, folder / "m.pt")
    return "m.pt"


def in_safetensors(prefix, module, folder):
    save_file(copied(module, prefix), folder / "m.safetensors")
    return "m.safetensors"


def arrays(module, folder):
    np.savez(folder / "m.npz", **{name: tensor.numpy() for name, tensor in module.state_dict().items()})
    return "m.npz"


WAYS = {  # how a network may be kept
    "a state dict": lambda module, folder: saved(module.state_dict(), folder),
    "wrapped": lambda module, folder: saved({"state_dict": module.state_dict(), "epoch": 3}, folder),
    "as a model": lambda module, folder: saved({"model": module.state_dict()}, folder),
    "sharded": sharded,
    "an npz": arrays,
    "compiled": lambda module, folder: saved(torch.compile(module).state_dict(), folder),
    "parallel": lambda module, folder: saved({"state_dict": nn.DataParallel(module).state_dict()}, folder),
    "module.": lambda module, folder: in_safetensors("module.", module, folder),
    "_orig_mod.": lambda module, folder: in_safetensors("_orig_mod.", module, folder),
    "module._orig_mod.": lambda module, folder: in_safetensors("module._orig_mod.", module, folder),
}


@pytest.mark.parametrize("options", [(), NAMED], ids=["a file", "a module"])
@pytest.mark.parametrize("way", WAYS)
def test_every_form_of_a_file_gives_the_same_rows(sao, nets, module, expected, way, options):
    name = WAYS[way](module, nets)
    assert facts(sao("audit", name, *options)) == expected[options]


@pytest.mark.parametrize("prefix", ["model.", "module.model."])
def test_a_prefix_that_names_may_have_goes_where_the_module_has_none(sao, nets, module, expected, prefix):
    in_safetensors(prefix, module, nets)
    assert facts(sao("audit", "m.safetensors", *NAMED)) == expected[NAMED]
    names = [row["name"] for row in facts(sao("audit", "m.safetensors")) if row["record"] == "layer"]
    assert "model.body.0.weight" in names  # a file alone may mean it


def test_a_compiled_module_takes_plain_names(sao, expected):
    compiled = ("--module", "own.py:compiled", "--example", "1x2x4x4")
    assert facts(sao("audit", BEFORE, *compiled)) == expected[NAMED]


def facts(done):
    assert done.code == 0, done.err
    return [{key: value for key, value in row.items() if key not in ("source", "provenance")} for row in done.rows]


def test_some_rows_of_a_whole_network(sao, expected):
    *_, network, summary = expected[NAMED]
    *rows, some_network, some_summary = facts(
        sao("audit", BEFORE, *NAMED, "--include", "body.*.weight", "--exclude", "*.4.*", "--jobs", 2)
    )
    assert [row["name"] for row in rows] == ["body.0.weight", "body.2.weight"]
    assert some_network == network
    assert (some_summary["tensors"], summary["tensors"]) == (2, 14)


def test_a_check_looks_at_the_rows_that_are_asked_for(sao):
    checked = ("audit", AFTER, *NAMED, "--check", "dead_outputs==0")
    assert sao(*checked).code == 1
    assert sao(*checked, "--exclude", "body.2.*").code == 0


def test_two_checkpoints_of_a_module(sao, nets, expected):
    done = sao("audit", AFTER, *NAMED, "--compare", BEFORE, "--html", "page.html")
    *changes, network, summary = done.rows
    told = {row["name"]: row for row in changes}
    assert {name: row["status"] for name, row in told.items() if row["status"] != "same"} == {
        "body.2.weight": "changed",
        "body.4.weight": "changed",
    }
    whole = [expected[NAMED], facts(sao("audit", AFTER, *NAMED))]
    effective = [next(row["effective"] for row in rows if row["name"] == "body.4.weight") for rows in whole]
    change = told["body.4.weight"]["changes"]["effective"]
    assert [change["before"], change["after"]] == effective
    assert (network["record"], network["name"]) == ("change", "network")
    for key, change in network["changes"].items():
        assert [change["before"], change["after"]] == [rows[-2][key] for rows in whole], key
    assert summary["statuses"] == {"same": 5, "changed": 2}
    assert '<section id="changes">' in (nets / "page.html").read_text()
    lines = sao("audit", AFTER, *NAMED, "--compare", BEFORE, "--table").out.splitlines()
    assert "name: network, status: changed, effective_sparsity:" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--groups", "deep.*=4"), "no room for --groups"),
        (("--transpose", "body.*"), "no room for --transpose"),
        (("--padding", "circular", "--stride", "2"), "no room for --padding --stride"),
        (("--include", "boody.*"), "the pattern 'boody.*' matches none of 14 names"),
        (("--compare", "absent.pt"), "absent.pt"),
    ],
)
def test_what_the_run_tells_can_t_be_said(sao, arguments, said):
    done = sao("audit", BEFORE, *NAMED, *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
