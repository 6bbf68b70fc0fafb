"""`--module` of `sao spectrum` and `sao verify`: a row for each weight that ran."""

from subprocess import DEVNULL

import matplotlib.image
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False)
        self.head = nn.Linear(4, 4, bias=False)
        self.blocks = nn.Parameter(torch.ones(1, 4, 2))

    def plain(self, x):
        return self.head(self.conv(x).mean((2, 3)))

    def forward(self, x):
        return self.plain(x)

class Blocks(Net):
    def forward(self, x):
        return torch.stack([self.plain(x)] * 3) @ self.blocks.repeat(3, 1, 1)
"""
NAMED = ("--module", "own.py:Net", "--example", "1x2x8x8")
BLOCKS = ("--module", "own.py:Blocks", "--example", "1x2x8x8")


@pytest.fixture
def sao(sao_in_process):
    return sao_in_process


@pytest.fixture
def model(tmp_path):
    (tmp_path / "own.py").write_text(NETS)
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 4, 3, groups=2).weight.detach()
    head = torch.zeros(4, 4)
    head[0, 0] = head[1, 1] = 2.0
    save_file({"conv.weight": conv, "head.weight": head, "blocks": torch.ones(1, 4, 2)}, tmp_path / "m.safetensors")
    return "m.safetensors"


def test_spectrum_tells_each_weight_as_it_ran(sao, model, tmp_path):
    done = sao("spectrum", model, *NAMED, "--singular-values", "--plot", "values.png")
    conv, head = done.rows
    assert (conv["name"], conv["layer"], conv["source"]) == ("conv.weight", 1, model)
    assert [conv[key] for key in ("image", "output_image", "stride", "padding", "groups")] == [
        [8, 8],
        [4, 4],
        [2, 2],
        1,
        2,
    ]
    assert (conv["m"], conv["n"]) == (64, 128)
    assert len(conv["singular_values"]) == 64
    assert (head["name"], head["sigma_max"], head["rank"]) == ("head.weight", 2.0, 2)
    assert matplotlib.image.imread(tmp_path / "values.png").std() > 0.01
    assert "head.weight" in sao("spectrum", model, *NAMED, "--table").out


def test_a_table_of_nameless_layers_has_no_column_for_names(sao):
    assert "name" not in sao("spectrum", "--layers", 2, "--m", 4, "--n", 4, "--table").out


def test_spectrum_says_what_it_could_not_measure(sao, model):
    done = sao("spectrum", model, *BLOCKS, "--activation", "tanh")
    assert done.code == 0
    assert [row["activation"] for row in done.rows] == ["linear", "tanh"]
    assert "blocks was not measured: 3 axes" in done.err
    assert "--activation is for matrices; the convolution is measured as a linear map" in done.err


def test_verify_decides_by_every_weight(sao, model, tmp_path):
    done = sao("verify", model, *NAMED, "--plot", "eigenvalues.png")
    conv, head = done.rows
    assert done.code == 1  # the head is no regular mask
    assert [(row["name"], row["m"], row["n"], row["nnz"]) for row in (conv, head)] == [
        ("conv.weight", 4, 2, 4),
        ("head.weight", 4, 4, 2),
    ]
    assert (conv["ramanujan_paper"], conv["ramanujan"], conv["components"]) == (True, False, 2)
    assert (head["dead_inputs"], head["holds"]) == (2, False)
    assert matplotlib.image.imread(tmp_path / "eigenvalues.png").std() > 0.01


def test_verify_can_t_tell_where_a_weight_has_no_mask(sao, model):
    assert sao("verify", *NAMED, stdin=DEVNULL).code == 0  # dense layers of its own
    done = sao("verify", *BLOCKS, stdin=DEVNULL)
    assert (done.code, [row["holds"] for row in done.rows]) == (2, [True, True])
    assert "blocks was not measured" in done.err


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("spectrum", ("--image", "8"), "no room for --image"),
        (
            "spectrum",
            ("--padding", "zeros", "--stride", "2", "--groups", "2"),
            "no room for --padding --stride --groups",
        ),
        ("spectrum", ("--tensor", "conv.weight"), "no room for --tensor"),
        ("spectrum", ("--method", "sao", "--m", "8"), "no room for --m --method"),
        ("spectrum", ("--repeats", "0"), "0 repeats"),
        ("verify", ("--tensor", "conv.weight"), "no room for --tensor"),
    ],
)
def test_what_the_run_decides_is_refused(expect_error, model, command, arguments, said):
    expect_error(command, model, *NAMED, *arguments, said=said)


@pytest.mark.parametrize("command", ["spectrum", "verify"])
def test_a_module_without_weights_is_one_line(expect_error, command):
    named = ("--module", "torch.nn:Identity", "--example", "1x4")
    expect_error(command, *named, said="no weight of the module", stdin=DEVNULL)
