"""The Jacobian of a trained network by the folder of its run: against automatic differentiation of the live network."""

import copy

import numpy as np
import pytest
import torch

from sao_cli.base.errors import FileError, FormatError, SaoError
from sao_cli.io.checkpoints import Lazy, write_checkpoint
from sao_cli.nets.jacobians.points import drawn_inputs
from sao_cli.nets.jacobians.trained import TrainedRun, _image_shape
from sao_cli.nets.training.data import load_data
from sao_cli.nets.training.folder import FINAL, RunFolder
from sao_cli.nets.training.loop import Training
from sao_cli.nets.training.methods import build_model
from sao_cli.nets.training.resume import final_tensors
from sao_cli.nets.training.settings import TrainingSettings

RUNS = {
    "blocks": {"depth": 9, "width": 16, "activation": "tanh"},
    "masks": {"depth": 9, "width": 16, "method": "lmp-s", "activation": "silu", "gain": 1.5},
    "finetuned": {"depth": 4, "width": 16, "method": "lrp-t", "activation": "relu", "epochs": 1},
    "dense": {"widths": (24, 12), "method": "dense", "activation": "gelu"},
    "cnn": {"arch": "cnn", "depth": 4, "width": 8},
    "lipconvnet": {"arch": "lipconvnet", "depth": 5, "width": 4},
    "lenet5": {"arch": "lenet5", "method": "dense"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The live network, in float64, and the folder of each run; those of images are moved, which takes no time."""
    made = {}

    def make(name):
        if name not in made:
            settings = TrainingSettings(**{"epochs": 2, "jacobian_at": (), "learning_rate": 0.05} | RUNS[name])
            folder = RunFolder(str(tmp_path_factory.mktemp(name)))
            model = (moved if "arch" in RUNS[name] else learnt)(folder, settings.resolved())
            made[name] = copy.deepcopy(model).double().eval(), folder.path
        return made[name]

    return make


def learnt(folder, settings):
    training = Training(settings, load_data(settings), device="cpu")
    folder.begin(settings, None)
    assert list(folder.epochs(training))
    return training.model


def moved(folder, settings):
    model = build_model(settings, *_image_shape(settings)[:2], classes=10)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    folder.begin(settings, None)
    write_checkpoint({name: Lazy(*one) for name, one in final_tensors(model).items()}, folder.path / FINAL, {})
    return model


def by_jacrev(model, x):
    jacobian = torch.func.jacrev(model)(torch.from_numpy(x)[None])
    return torch.linalg.svdvals(jacobian.detach().reshape(-1, x.size)).numpy()


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_jacrev_of_its_trained_network(trained, name):
    model, folder = trained(name)
    run = TrainedRun.of(folder)
    images = run.reads_images
    shape = _image_shape(run.settings) if images else (64,)
    x = drawn_inputs(3, shape, input_std=0.8, seed=5)
    [row] = run.jacobian(inputs=3, input_std=0.8, seed=5)
    for one, found in zip(x, row.log10_values, strict=True):
        exact = by_jacrev(model, one)
        np.testing.assert_allclose(10**found, exact, rtol=1e-9, atol=1e-13 * exact[0])
    assert (row.m, row.n, row.inputs) == (10, x[0].size, 3)
    assert (row.method, row.gain) == (run.settings.method, run.settings.gain)
    assert row.activation == (run.settings.activation or "max-min")
    [given] = run.jacobian(x=x, seed=9)
    np.testing.assert_array_equal(given.log10_values, row.log10_values)


def test_depths_within_a_trained_chain(trained):
    model, folder = trained("masks")
    x = drawn_inputs(1, (64,))
    rows = list(TrainedRun.of(folder).jacobian([10, 3, 1]))
    assert [row.depth for row in rows] == [1, 3, 10]
    for row in rows:
        part = model.net if row.depth == 10 else model.net[: 2 * row.depth]
        np.testing.assert_allclose(10 ** row.log10_values[0], by_jacrev(part, x[0]), rtol=1e-9)
    assert rows[0].predicted_log10_mean_square is None
    assert rows[0].reason is None
    [alone] = TrainedRun.of(folder).jacobian([2], by_layer=True)
    assert (alone.m, alone.n) == (16, 16)


def test_what_a_row_came_from(trained):
    told = TrainedRun.of(trained("masks")[1]).provenance
    assert (told["command"], told["method"], told["activation"], told["gain"]) == ("train", "lmp-s", "silu", 1.5)
    assert "d" not in told


@pytest.mark.parametrize(
    ("arch", "data", "shape"),
    [
        ("cnn", "digits", (1, 8, 8)),
        ("cnn", "mnist", (1, 32, 32)),
        ("cnn", "cifar100", (3, 32, 32)),
        ("lipconvnet", "digits", (1, 24, 24)),
        ("lipconvnet", "cifar10", (3, 24, 24)),
        ("lenet5", "digits", (1, 24, 24)),
        ("lenet5", "fashion-mnist", (1, 28, 28)),
        ("lenet5", "cinic10", (3, 32, 32)),
    ],
)
def test_the_images_of_each_data_set(arch, data, shape):
    assert _image_shape(TrainingSettings(arch=arch, data=data).resolved()) == shape


def test_a_network_of_images_is_no_chain(trained):
    run = TrainedRun.of(trained("cnn")[1])
    with pytest.raises(SaoError, match="depth 2: the run's cnn is no chain"):
        run.jacobian([2])
    with pytest.raises(SaoError, match="by layer: the run's cnn is no chain"):
        run.jacobian(by_layer=True)


def test_runs_that_can_not_be_read(trained, tmp_path):
    with pytest.raises(FileError, match="holds no run"):
        TrainedRun.of(tmp_path)
    settings = TrainingSettings(depth=3, width=16).resolved()
    RunFolder(str(tmp_path)).begin(settings, None)
    with pytest.raises(FileError, match=r"is not finished, without final.safetensors; `sao train --resume -o"):
        TrainedRun.of(tmp_path)
    write_checkpoint({"net.0.weight": torch.zeros(4, 4)}, tmp_path / "final.safetensors", {})
    with pytest.raises(FormatError, match="has not the tensors of a trained fnn"):
        TrainedRun.of(tmp_path).jacobian()
    (tmp_path / "settings.json").write_text('{"settings": {"depht": 3}}')
    with pytest.raises(FormatError, match=r"settings.json can't be read: unknown setting 'depht'"):
        TrainedRun.of(tmp_path)
