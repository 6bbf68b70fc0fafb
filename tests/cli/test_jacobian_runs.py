"""`sao jacobian run/`: a network that `sao train` made, by its folder."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from sao_cli.cli import main
from sao_cli.nets.jacobians.trained import TrainedRun

from .conftest import Done

SIZES = {"fnn": ["--width", 16, "--epochs", 2], "cnn": ["--width", 4, "--epochs", 0]}


def sao(*arguments):
    done = CliRunner().invoke(main, list(map(str, arguments)), prog_name="sao", input=b"")
    return Done(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folders of an fnn of two epochs and a cnn of none."""
    folder = tmp_path_factory.mktemp("runs")
    for arch, sizes in SIZES.items():
        done = sao("train", "--depth", 3, *sizes, "--jacobian-at", 0, "--arch", arch, "-q", "-o", folder / arch)
        assert done.code == 0, done.err
    return folder


def test_a_chain_by_depth(run):
    done = sao("jacobian", run / "fnn", "--inputs", 16, "--depth", 2, "--depth", 4, "--seed", 3)
    assert (done.code, done.err) == (0, "")
    expected = TrainedRun.of(run / "fnn").jacobian([2, 4], inputs=16, seed=3)
    for row, one in zip(done.rows, expected, strict=True):
        assert {key: row[key] for key in one.to_dict()} == one.to_dict()
        assert (row["source"], row["seed"], row["inputs"]) == (str(run / "fnn"), 3, 16)
        assert (row["gain"], row["method"], row["activation"]) == (1.1, "sao", "tanh")
        assert row["provenance"]["data"] == "digits"
        assert row["reason"] is None


def test_chains_on_a_cpu_load_no_torch(run, tmp_path):
    """Built, read from a file and from a run's folder: in one fresh process."""
    commands = [
        "weights --layers 3 --m 16 --n 16 -o stack.safetensors",
        "jacobian stack.safetensors --device cpu --inputs 2 --activation silu --dtype float32",
        "jacobian --device cpu --width 16 --depth 3 --method sao --method lmp --d 4 --by-layer",
        "jacobian --device cpu --width 16 --depth 3 --method rg-n --activation relu-tau --q-star 1 --tau 1",
        f"jacobian {run / 'fnn'} --device cpu",
    ]
    told = (
        f"import sys\nfrom sao_cli.cli import main\nfor words in {commands!r}:\n"
        "    try: main(words.split())\n"
        "    except SystemExit as done: print(done.code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert [line for line in done.stderr.splitlines() if line[1:] in (" True", " False")] == ["0 False"] * len(commands)


def test_all_layers_by_default_and_the_same_activation_may_be_told(run):
    one, two = sao("jacobian", f"{run}/fnn/"), sao("jacobian", f"{run}/fnn/", "--activation", "tanh")
    assert one.rows == two.rows
    assert [row["depth"] for row in one.rows] == [4]


def test_a_network_of_images(run):
    done = sao("jacobian", run / "cnn", "--inputs", 2)
    assert done.code == 0
    assert done.err == "sao jacobian: J leads from an image to the 10 outputs of the trained network\n"
    [row] = done.rows
    assert (row["m"], row["n"], row["depth"]) == (10, 64, 3)


@pytest.mark.parametrize("picture", ["depth", "histogram"])
def test_its_picture(run, tmp_path, picture):
    file = tmp_path / "a.svg"
    done = sao("jacobian", run / "fnn", "--depth", 2, "--depth", 4, "--plot", file, "--picture", picture, "--table")
    assert done.code == 0, done.err
    assert "sao" in file.read_text()
    assert "█" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fnn", "--activation", "relu"], "activation 'relu': the run's network has 'tanh'"),
        (["fnn", "--activation", "all"], "the run's network has 'tanh'"),
        (["fnn", "--width", 3], "--width both describe the layers"),
        (["fnn", "--gain", 2], "--gain both describe the layers"),
        (["fnn", "--tensor", "net.0.weight"], "--tensor: the run in"),
        (["fnn", "--image", 8], "--image: the run in"),
        (["fnn", "--depth", 5], "depth 5: the network has 4 layers"),
        (["fnn", "--inputs", 0], "0 inputs"),
        (["cnn", "--inputs", 0], "0 inputs"),
        (["cnn", "--input-std", -1], "input_std -1"),
        (["cnn", "--depth", 2], "no chain of matrices"),
        (["cnn", "--dtype", "float16"], "can't resolve"),
        ([""], "is a folder without a checkpoint"),
        (["fnn", "--include", "net.0.*"], "--include: the run in"),
    ],
)
def test_what_does_not_go_with_a_run_is_one_line(run, arguments, said):
    folder, *rest = arguments
    done = sao("jacobian", run / folder, *rest)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("sao jacobian: ")
    assert done.err.count("\n") == 1
    assert said in done.err


def test_a_run_that_is_not_finished_is_one_line(run, tmp_path):
    settings = json.loads((run / "fnn" / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    done = sao("jacobian", tmp_path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "is not finished" in done.err
    (tmp_path / "settings.json").write_text("{")
    done = sao("jacobian", tmp_path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "settings.json can't be read" in done.err
