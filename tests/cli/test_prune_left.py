"""`sao prune`: what is left, what is checked, and the network that --module names."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sao_cli import Network

NETS = """
import torch
from torch import nn

print("made")

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(x + self.second(torch.relu(self.first(x))))
"""
NAMED = ("--module", "own.py:Residual", "--example", "1x8")


def residual():
    space = {}
    exec(NETS.replace('print("made")', ""), space)  # the same module, here
    return space["Residual"]()


@pytest.fixture
def sao(sao_in_process):
    return sao_in_process


@pytest.fixture
def model(tmp_path):
    (tmp_path / "own.py").write_text(NETS)
    torch.manual_seed(3)
    save_file(residual().state_dict(), tmp_path / "m.safetensors")
    return "m.safetensors"


@pytest.fixture
def plain(tmp_path):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 5))
    torch.save(net.state_dict(), tmp_path / "plain.pt")
    return "plain.pt"


KEYS = ["kept", "effective", "effective_sparsity", "collapsed", "dead_inputs", "dead_outputs"]
SUMMARY = ["kappa", "kept", "effective", "sparsity", "effective_sparsity", "compression", "effective_compression"]
SUMMARY += ["collapsed_layers", "reachable", "lost_inputs", "unreached_outputs"]
ASKED = ("--all", "--no-facts", "-o", "p.safetensors")


def test_a_plain_stack_tells_what_is_left(sao, plain, tmp_path):
    done = sao(
        "prune", plain, "--sparsity", 0.9, "--all", "--no-facts", "-o", "p.safetensors", "--check", "reachable>0"
    )
    *rows, summary = done.rows
    assert done.code == 0
    assert all(set(KEYS) <= set(row) for row in rows)
    assert all(summary[key] is not None for key in SUMMARY)
    kept = {name: int(one.count_nonzero()) for name, one in load_file(tmp_path / "p.safetensors").items()}
    assert [row["kept"] for row in rows] == [kept[row["name"]] for row in rows]
    assert summary["kept"] == sum(row["kept"] for row in rows)
    assert summary["compression"] == pytest.approx(528 / summary["kept"])
    chain = sao("audit", "p.safetensors").rows[-2]
    assert chain["record"] == "chain"
    for key in ("reachable", "lost_inputs", "unreached_outputs", "effective", "effective_sparsity"):
        assert chain[key] == summary[key], key


def test_a_failing_check_is_exit_1_and_the_file_is_written(sao, plain, tmp_path):
    asked = ("prune", plain, "--sparsity", 0.99, *ASKED)
    done = sao(*asked, "--check", "reachable>0", "--check", "effective_sparsity<0.5")
    assert done.code == 1
    assert "summary: reachable is 0, against 'reachable>0'" in done.err
    assert "0.weight: effective_sparsity is 1, against 'effective_sparsity<0.5'" in done.err
    assert (tmp_path / "p.safetensors").exists()
    warned = sao(*asked, "--check", "effective_compression<9")
    assert "warning: " in warned.err
    assert "prune less" in warned.err
    nothing = "no weight lies on a path from an input to an output, so that there is no effective compression"
    assert f"(can't tell: {nothing})" in warned.err
    assert (warned.rows[-1]["effective"], warned.rows[-1]["reason"]) == (0, nothing)


@pytest.mark.filterwarnings("ignore:.*names tell no order")
def test_an_empty_layer_is_told_by_what_is_known_of_the_network(sao, model, plain, tmp_path):
    tensors = load_file(tmp_path / model)
    save_file(tensors | {"second.weight": 1e-9 * tensors["second.weight"]}, tmp_path / model)
    asked = ("--method", "gmp", "--sparsity", 0.5, *ASKED)
    known = sao("prune", model, *NAMED, *asked)
    assert "nothing is left of second.weight: signals pass beside it (layer collapse)" in known.err
    assert known.rows[-1]["reachable"] > 0
    unknown = sao("prune", model, *asked)
    assert (
        "nothing is left of second.weight: layer collapse, unless signals pass beside it, which --module" in unknown.err
    )
    net = {f"net.{number}.weight": torch.eye(4) * 10.0**-number for number in range(3)}
    save_file(net, tmp_path / "stack.safetensors")
    stack = sao("prune", "stack.safetensors", "--method", "gmp", "--sparsity", 0.9, *ASKED)
    assert "nothing is left of net.2.weight: no signal passes a plain stack (layer collapse)" in stack.err


def test_without_a_module_a_check_that_can_t_be_told_fails(sao, model):
    done = sao(
        "prune", model, "--sparsity", 0.5, "--all", "--no-facts", "-o", "p.safetensors", "--check", "reachable>0"
    )
    assert done.code == 1
    assert "reachable is not known" in done.err
    assert "--module FILE.py:NAME tells" in done.err
    assert done.rows[-1]["effective"] is None


def test_with_a_module_it_is_the_network_s_own_facts(sao, model, tmp_path):
    done = sao(
        "prune", model, *NAMED, "--sparsity", 0.8, "--method", "gmp", "--all", "-o", "p.safetensors", "--no-facts"
    )
    *rows, summary = done.rows
    net = residual()
    net.load_state_dict(load_file(tmp_path / "p.safetensors"))
    network = Network.from_module(net, torch.ones(1, 8))
    assert {row["name"]: row["effective"] for row in rows} == {row.name: row.effective for row in network.layers}
    assert summary["reachable"] == network.summary.reachable > 0
    assert summary["effective_sparsity"] == pytest.approx(network.summary.effective_sparsity, abs=1e-15)
    assert "made" in done.err


def test_through_a_pipe_the_bytes_are_those_of_the_file_and_the_check_decides(sao, pipe, model, tmp_path):
    asked = f"sao prune {' '.join(NAMED)} --sparsity 0.8 --all --no-facts"
    assert sao(*asked.split()[1:2], model, *asked.split()[2:], "-o", "p.safetensors").code == 0
    done = pipe(
        f"cat {model} | {asked} - -o - --check 'reachable>0' | tee q.safetensors | sao audit - {' '.join(NAMED)}"
    )
    assert done.code == 0, done.err
    assert (tmp_path / "q.safetensors").read_bytes() == (tmp_path / "p.safetensors").read_bytes()
    network = next(row for row in map(json.loads, done.out.splitlines()) if row["record"] == "network")
    assert network["reachable"] > 0
    assert pipe(f"{asked} {model} -o - --check 'reachable>1' > q.safetensors").code == 1
    assert (tmp_path / "q.safetensors").read_bytes() == (tmp_path / "p.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--check", "reachabel>0"), "did you mean 'reachable'"),
        (("--check", "reachable"), "is no check"),
        (("--module", "own.py:Residual"), "--example 1x3x32x32"),
        (("--example", "1x8"), "of a --module"),
        ((*NAMED[:3], "1x7"), "fails on an example of shape 1x7"),
        (("--module", "torch.nn:Identity", "--example", "1x8"), "beside the module's names"),
    ],
)
def test_what_can_t_be_is_one_line_and_writes_nothing(expect_error, model, arguments, said, tmp_path):
    (tmp_path / "own.py").write_text(NETS.replace('print("made")', ""))
    expect_error("prune", model, "--sparsity", 0.5, "-o", "p.safetensors", *arguments, said=said)
