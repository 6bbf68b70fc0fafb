"""`--module`: a network of the user's own, as it runs, told by `sao reach`."""

import matplotlib.image
import pytest
import torch
from safetensors.torch import save_file

from sao_cli import Network, load_network

NETS = """
import torch
from torch import nn

print("made")

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(x + self.second(torch.relu(self.first(x))))

def residual():
    torch.manual_seed(0)
    return Residual()

def words():
    return nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
"""
HEAD = torch.tensor([[1.0, 2, 0, 0], [0, 0, 0, 0]])  # the second output reads nothing
FIRST, SECOND = torch.zeros(4, 4), torch.eye(4)
NAMED = ("--module", "own.py:residual", "--example", "1x4")


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "own.py").write_text(NETS)
    return tmp_path


@pytest.fixture
def pruned(nets):
    bias = torch.zeros(4)
    tensors = {"first.weight": FIRST, "second.weight": SECOND, "second.bias": bias}
    save_file(tensors | {"head.weight": HEAD, "head.bias": torch.zeros(2)}, nets / "pruned.safetensors")
    return "pruned.safetensors"


def test_reach_through_a_shortcut(sao, pruned):
    *depths, network, summary = sao("reach", pruned, *NAMED, "--list").rows
    assert [(row["layer"], row["name"]) for row in depths] == [
        (1, "first.weight"),
        (2, "second.weight"),
        (3, "head.weight"),
    ]
    assert [row["reachable"] for row in depths] == [0, 0, 2 / 8]  # only the shortcut leads from the input to the head
    assert [row["lost_input_units"] for row in depths] == [[0, 1, 2, 3], [0, 1, 2, 3], [2, 3]]
    assert [row["unreached_output_units"] for row in depths] == [[0, 1, 2, 3], [0, 1, 2, 3], [1]]
    assert network["record"] == "network"
    assert (network["lost_inputs"], network["lost_input_units"]) == (2, [2, 3])
    assert (network["unreached_outputs"], network["unreached_output_units"]) == (1, [1])
    assert network["collapsed"] == ["first.weight", "second.weight"]
    assert network["example"] == "1x4"
    assert {row["source"] for row in (*depths, network, summary)} == {pruned}
    assert {key: summary[key] for key in ("layers", "full_at", "minimum_possible")} == {
        "layers": 3,
        "full_at": None,
        "minimum_possible": None,
    }


def test_without_a_checkpoint_the_module_s_own_weights_count(sao, nets):
    done = sao("reach", *NAMED)
    assert [row["reachable"] for row in done.rows[:-1]] == [1, 1, 1, 1]
    assert done.rows[-1]["full_at"] == 1
    assert done.err.splitlines() == ["made", "sao reach: no checkpoint is named, and the module's own weights count"]
    assert "lost_input_units" not in done.rows[0]


def test_words_and_norms(sao, nets):
    network = sao("reach", "--module", "own.py:words", "--example", "ids:1x6", "--norms", "strict").rows[-2]
    assert (network["example"], network["norms"]) == ("ids:1x6", "strict")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--module", "own.py:residual"), ("--module needs the shape", "--example 1x3x32x32")),
        (("--example", "1x4"), ("of a --module FILE.py:NAME",)),
        (("--norms", "strict"), ("of a --module FILE.py:NAME",)),
        ((*NAMED, "--rank"), ("--rank is of stacks",)),
        ((*NAMED, "-o", "R.npz", "--layers", 2), ("-o --layers is of stacks",)),
        (("--module", "absent.py:residual", "--example", "1x4"), ("absent.py", "no such file")),
        (("--module", "absent.py", "--example", "1x4"), ("named as FILE.py:NAME",)),
        ((*NAMED, "--norms", "strct"), ("strct", "strict")),
        (("--module", "torch.nn:Identity", "--example", "1x0"), ("1x0", "1 or more")),
        (("absent.pt", "--module", "torch.nn:Identity", "--example", "1x4"), ("absent.pt",)),
    ],
)
def test_what_can_t_be_is_one_line(expect_error, nets, arguments, said):
    expect_error("reach", *arguments, said=said)


def test_the_units_of_a_plain_stack(sao, nets):
    stack = sao("mask", "--layers", 2, "--m", 4, "--n", 4, "--d", 2).out.encode()
    assert [row["lost_input_units"] for row in sao("reach", "--list", stdin=stack).rows[:-1]] == [[], []]
    dead = b"%%MatrixMarket matrix coordinate pattern general\n3 3 2\n1 2\n3 2\n"
    row = sao("reach", "--list", stdin=dead).rows[0]
    assert (row["lost_input_units"], row["unreached_output_units"]) == ([0, 2], [1])
    assert (row["lost_inputs"], row["unreached_outputs"]) == (2, 1)


def test_in_python(nets, pruned, monkeypatch):
    monkeypatch.chdir(nets)
    network = load_network("own.py:residual", ["1x4"], pruned)
    assert isinstance(network, Network)
    assert network.summary.lost_inputs == (2, 3)
    assert load_network("own.py:residual", "2x4").summary.example == "2x4"
    assert [depth.pairs.shape for depth in network.reach()] == [(4, 4), (4, 4), (4, 2)]
    assert load_network("torch.nn:Identity", ["1x2x3"]).summary.example == "1x2x3"


def test_the_picture_and_the_table(sao, pruned, tmp_path):
    done = sao("reach", pruned, *NAMED, "--plot", "reach.png", "--table")
    assert matplotlib.image.imread(tmp_path / "reach.png").std() > 0.05
    *_, whole, summary = done.out.splitlines()
    assert "collapsed: first.weight, second.weight" in whole
    assert "layers: 3" in summary
