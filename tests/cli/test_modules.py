"""`--module`: a network of the user's own, as it runs, told by `sao reach` and `sao audit`."""

import importlib.util
from subprocess import DEVNULL

import matplotlib.image
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from sao_cli import Network, SaoError, audit_model, audit_weight, load_network

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
def sao(sao_in_process):
    return sao_in_process


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
    done = sao("reach", *NAMED, stdin=DEVNULL)
    assert [row["reachable"] for row in done.rows[:-1]] == [1, 1, 1, 1]
    assert done.rows[-1]["full_at"] == 1
    assert done.err.splitlines() == ["made", "sao reach: no checkpoint is named, and the module's own weights count"]
    assert "lost_input_units" not in done.rows[0]


def test_words_and_norms(sao, nets):
    network = sao("reach", "--module", "own.py:words", "--example", "ids:1x6", "--norms", "strict", stdin=DEVNULL).rows[
        -2
    ]
    assert (network["example"], network["norms"]) == ("ids:1x6", "strict")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--module", "own.py:residual"), ("--module needs the shape", "--example 1x3x32x32")),
        (("--example", "1x4"), ("of a --module FILE.py:NAME",)),
        (("--norms", "strict"), ("of a --module FILE.py:NAME",)),
        ((*NAMED, "--rank"), ("no room for --rank",)),
        ((*NAMED, "-o", "R.npz", "--layers", 2), ("no room for -o --layers",)),
        (("--module", "absent.py:residual", "--example", "1x4"), ("absent.py", "no such file")),
        (("--module", "absent.py", "--example", "1x4"), ("named as FILE.py:NAME",)),
        ((*NAMED, "--norms", "strct"), ("strct", "strict")),
        (("--module", "torch.nn:Identity", "--example", "1x0"), ("1x0", "1 or more")),
        (("absent.pt", "--module", "torch.nn:Identity", "--example", "1x4"), ("absent.pt",)),
    ],
)
def test_what_can_t_be_is_one_line(expect_error, nets, arguments, said):
    expect_error("reach", *arguments, said=said, stdin=DEVNULL)


def test_the_units_of_a_plain_stack(sao, nets):
    stack = sao("mask", "--layers", 2, "--m", 4, "--n", 4, "--d", 2).out.encode()
    assert [row["lost_input_units"] for row in sao("reach", "--list", stdin=stack).rows[:-1]] == [[], []]
    dead = b"%%MatrixMarket matrix coordinate pattern general\n3 3 2\n1 2\n3 2\n"
    done = sao("reach", "--list", stdin=dead)
    assert done.err.splitlines() == [
        "sao reach: inputs that reach no output (2, counted from 0): 0, 2",
        "sao reach: outputs that no input reaches (1, counted from 0): 1",
    ]
    row = done.rows[0]
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


CONTEXT = ["effective", "effective_sparsity", "unreached_inputs", "unreached_outputs", "lost_inputs", "lost_outputs"]


def test_audit_tells_the_network(sao, pruned, nets):
    *rows, network, summary = sao("audit", pruned, *NAMED, "--list", "--html", "page.html").rows
    ran = [row for row in rows if not row["skipped"]]
    assert [row["name"] for row in ran] == ["first.weight", "second.weight", "head.weight"]
    assert [row["effective"] for row in ran] == [0, 0, 2]
    assert ran[2]["sigma_max"] == pytest.approx(5**0.5)
    assert [row["name"] for row in rows if row["skipped"]] == ["second.bias", "head.bias"]
    assert (network["record"], network["reachable"], network["lost_input_units"]) == ("network", 2 / 8, [2, 3])
    assert network["effective_sparsity"] == 1 - 2 / 40
    assert (summary["rows"], summary["skipped_tensors"]) == (3, 2)
    page = (nets / "page.html").read_text()
    assert '<section id="network">' in page
    assert "first.weight (collapsed)" in page


def test_the_facts_are_the_network_s(sao, nets, pruned, monkeypatch):
    monkeypatch.chdir(nets)
    network = load_network("own.py:residual", ["1x4"], pruned)
    rows = sao("audit", pruned, *NAMED).rows
    for row, layer in zip(rows, network.layers, strict=False):
        assert [row[key] for key in CONTEXT] == [getattr(layer, key) for key in CONTEXT]
        assert layer.effective == network.effective(row["name"]).sum()


@pytest.mark.parametrize(
    ("check", "code"),
    [("reachable>0", 0), ("reachable>0.5", 1), ("effective_sparsity<0.96", 1), ("sigma_max<3", 0), ("effective>0", 1)],
)
def test_checks_look_at_rows_and_at_the_network(sao, pruned, check, code):
    assert sao("audit", pruned, *NAMED, "--check", check).code == code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a file, or pipe one in, as in `cat model.safetensors | sao audit`"),
        ((*NAMED, "--image", "8"), "no room for --image"),
        (("--module", "torch.nn:Identity", "--example", "1x4", "--check", "reachabel>0"), "did you mean 'reachable'"),
    ],
)
def test_an_audit_that_can_t_be_is_one_line(expect_error, nets, arguments, said):
    expect_error("audit", *arguments, said=said, stdin=DEVNULL)


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2, groups=2, bias=False)
        self.turned = nn.Parameter(torch.randn(2, 3, generator=torch.Generator().manual_seed(1)))

    def forward(self, x):
        return self.up(self.down(x)).mean((2, 3)) @ self.turned


def operator(layer, shape):
    """The singular values of the map, from unit images."""
    units = torch.eye(int(np.prod(shape))).reshape(-1, *shape)
    return torch.linalg.svdvals(layer(units).flatten(1).detach().double())[0].item()


def test_the_run_tells_geometry_and_orientation():
    torch.manual_seed(0)
    module = Convolutional()
    down, up, turned = audit_model(module, torch.randn(1, 2, 6, 6)).rows
    assert down.sigma_max == pytest.approx(operator(module.down, (2, 6, 6)), rel=1e-5)
    assert up.sigma_max == pytest.approx(operator(module.up, (4, 3, 3)), rel=1e-5)
    assert (up.transposed, up.groups, up.m, up.n, up.image, up.output_image) == (True, 2, 2, 4, (3, 3), (6, 6))
    assert (turned.transposed, turned.m, turned.n) == (True, 3, 2)


def test_a_pruned_or_normalised_weight_is_the_one_that_ran():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))
    prune.l1_unstructured(module[0], "weight", 0.5)
    with torch.no_grad():
        module[0].weight_orig.mul_(2)  # the attribute still has the weights of before
    rows = [row for row in audit_model(module, torch.ones(1, 4)).rows if not row.skipped]
    weights = (module[0].weight_orig * module[0].weight_mask, module[1].weight)
    for row, weight in zip(rows, weights, strict=True):
        assert row.sigma_max == audit_weight(weight.detach().numpy(), name="w").sigma_max
        assert row.nnz == torch.count_nonzero(weight)


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return torch.linalg.matrix_exp(self.fc(x))


def test_no_check_on_the_network_passes_where_an_operation_is_unknown():
    found = audit_model(Unknown(), torch.randn(4, 4), checks=["reachable>0", "effective>0", "rank==4", "inputs==4"])
    assert found.network.unknown
    assert [(failure.name, failure.field) for failure in found.failures] == [
        ("network", "reachable"),
        ("fc.weight", "effective"),
    ]
    assert all("can't tell" in failure.reason for failure in found.failures)


def test_a_sequence_of_reports_that_notebooks_show():
    found = audit_model(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), torch.ones(1, 3))
    assert len(found) == 5
    assert found[-1] is found.network
    assert [one.record for one in found] == ["layer"] * 4 + ["network"]
    assert "<td>0.weight</td>" in found._repr_html_()
    if importlib.util.find_spec("pandas") is None:
        with pytest.raises(SaoError, match="pip install pandas"):
            found.to_frame()


class Scaled(nn.Module):
    """Weights that the run computes: one times a tensor, one under a mask that adds zeros."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.scale = nn.Linear(4, 3), nn.Linear(3, 2), nn.Parameter(torch.tensor(3.0))
        self.register_buffer("mask", torch.tensor([[1.0, 0, 1], [1, 1, 0]]))

    def forward(self, x):
        h = functional.linear(x, self.a.weight * self.scale, self.a.bias)
        return functional.linear(h, self.b.weight * self.mask)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_a_weight_that_the_run_computes_is_measured_as_it_ran():
    torch.manual_seed(0)
    net = Scaled()
    rows = [row for row in audit_model(net, torch.randn(1, 4)).rows if not row.skipped]
    expected = [net.a.weight * 3, net.b.weight * net.mask]
    assert [row.nnz for row in rows] == [12, 4]
    for row, weight in zip(rows, expected, strict=True):
        assert row.sigma_max == pytest.approx(torch.linalg.svdvals(weight.detach().double())[0].item(), rel=1e-6)


def test_no_option_writes_onto_the_code_that_is_run(sao, pruned, nets):
    done = sao("audit", pruned, *NAMED, "--html", "own.py")
    assert (done.code, done.out) == (2, "")
    assert "own.py" in done.err
    assert (nets / "own.py").read_text() == NETS
