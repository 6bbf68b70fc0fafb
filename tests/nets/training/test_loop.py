"""Training against a loop written out by hand, the rows, the phases, and going on from a state."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sao_cli.base.errors import FormatError
from sao_cli.catalog import ARCHITECTURES
from sao_cli.nets.initialise.masked_isometry import repair_masked_
from sao_cli.nets.networks.fnn import FNN
from sao_cli.nets.training.data import Batches
from sao_cli.nets.training.jacobian_row import input_output_jacobian
from sao_cli.nets.training.labels import randomly_labelled
from sao_cli.nets.training.loop import DivergedError, Training
from sao_cli.nets.training.methods import build_model, kept_places, prune_
from sao_cli.nets.training.resume import final_tensors, read_rows
from sao_cli.nets.training.schedule import learning_rate
from sao_cli.nets.training.settings import TrainingSettings

SMALL = {"depth": 3, "width": 16, "epochs": 2, "batch_size": 16}


def run(data, **given):
    if ARCHITECTURES[given.get("arch", "fnn")].widths or "widths" in given:
        given = {"depth": None, "width": None, "jacobian_inputs": 1, **given}
    if ARCHITECTURES[given.get("arch", "fnn")].enlarges:
        data = grown(data, 2 if given["arch"] == "lenet5" else 3)
    return Training(TrainingSettings(**{**SMALL, **given}), data, device="cpu")


def arrays(training):
    return {name: tensor.detach().numpy().copy() for name, tensor in training.state().tensors.items()}


def timeless(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("layers", ["masked", "blocks"])
def test_two_epochs_by_hand(tiny, layers):
    given = {"layers": layers, "dtype": "float64", "milestones": (1,), "weight_decay": 0.01, "jacobian_at": ()}
    training = run(tiny, **given)
    rows = list(training.epochs())
    settings = training.settings
    model = build_model(settings, 1, 8, 2)
    batches = Batches(tiny, settings, torch.device("cpu"))
    parameters = list(model.parameters())
    speed = [torch.zeros_like(one) for one in parameters]
    for epoch in (1, 2):
        losses = []
        for x, labels in batches.train(epoch):
            scores = model(x)
            loss = -torch.log_softmax(scores, 1)[torch.arange(len(labels)), labels]
            losses += loss.tolist()
            for one, grad, v in zip(parameters, torch.autograd.grad(loss.mean(), parameters), speed, strict=True):
                v.mul_(0.9).add_(grad + 0.01 * one.detach())
                one.data -= 0.01 * 0.1 ** (epoch - 1) * v
        assert rows[epoch].train_loss == pytest.approx(np.mean(losses), rel=1e-12)
        assert rows[epoch].learning_rate == learning_rate(settings, epoch - 1)
    for found, wanted in zip(training.model.parameters(), parameters, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
    right = (model(batches.probes(8)).argmax(1).numpy() == tiny.test_labels).mean()
    assert rows[2].test_accuracy == right


def test_rows_tell_what_they_measured(tiny):
    training = run(tiny, jacobian_at=(0, 1), jacobian_inputs=2, dtype="float64", method="rg-u", d=2)
    rows = list(training.epochs())
    assert [(row.epoch, row.epochs, row.phase) for row in rows] == [(0, 2, "train"), (1, 2, "train"), (2, 2, "train")]
    assert [row.jacobian is None for row in rows] == [False, False, True]
    assert rows[0].learning_rate is None
    assert rows[2].sparsity == 1 - 2 / 16
    assert rows[2].train_loss < rows[1].train_loss
    fresh = build_model(training.settings, 1, 8, 2)
    x = Batches(tiny, training.settings, torch.device("cpu")).probes(2)
    values = [np.linalg.svd(torch.autograd.functional.jacobian(fresh, one), compute_uv=False) for one in x]
    told = rows[0].jacobian
    assert (told.m, told.n, told.inputs, told.rank) == (2, 64, 2, 2)
    assert told.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert told.variance == pytest.approx(np.var(values), rel=1e-10)
    assert told.std == pytest.approx(np.std(values), rel=1e-10)
    assert told.condition == pytest.approx(max(one[0] / one[-1] for one in values), rel=1e-10)
    assert told.condition_pooled == pytest.approx(np.max(values) / np.min(values), rel=1e-10)
    assert told.condition_pooled > told.condition
    assert 10**told.log10_sigma_max == pytest.approx(np.max(values), rel=1e-12)
    assert 10**told.log10_sigma_min == pytest.approx(np.min(values), rel=1e-10)


@pytest.mark.parametrize("method", ["gmp-t", "lmp-t", "lrp-t"])
def test_pruning_after_training(tiny, method):
    training = run(tiny, method=method, d=4, jacobian_at=(), milestones=(1,))
    rows, states = [], []
    for row in training.epochs():
        rows.append(row)
        states.append(arrays(training))
    assert [(row.phase, row.sparsity) for row in rows] == [("train", 0)] * 3 + [("finetune", 0.75)] * 2
    assert [row.learning_rate for row in rows] == [None, 0.01, 0.001, 0.01, 0.001]  # the schedule begins anew
    dense = build_model(training.settings, 1, 8, 2)
    dense.load_state_dict({name[6:]: torch.tensor(one) for name, one in states[2].items() if name[:6] == "model."})
    prune_(dense, training.settings)  # what the trained network leaves
    for name, kept in kept_places(dense).items():
        np.testing.assert_array_equal(states[4][f"model.{name}.weight_mask"] != 0, kept)
        assert not states[4][f"model.{name}.weight_orig"][~kept].any()
        assert not states[4][f"momentum.{name}.weight_orig"][~kept].any()


@pytest.mark.parametrize(
    ("given", "done"),
    [
        ({}, 1),
        ({"layers": "masked"}, 0),
        ({"method": "lmp-t"}, 1),
        ({"method": "gmp-t"}, 2),
        ({"method": "lmp-t"}, 3),
        ({"widths": (16, 8, 8), "random_labels": True}, 1),
        ({"arch": "lenet300", "method": "lmp-s", "init": "vs-g"}, 1),
        ({"arch": "lenet5", "method": "lrp-t", "epochs": 1, "jacobian_at": ()}, 1),
        ({"method": "snip", "sparsity": 0.8, "init": "vs-g", "isometry": True, "jacobian_at": ()}, 0),
        ({"method": "force", "sparsity": 0.9, "rounds": 3, "control": "fresh", "arch": "lenet5", "epochs": 1}, 0),
        ({"method": "gmp-s", "sparsity": 0.8, "all_layers": True, "isometry": True, "isometry_steps": 3}, 0),
        ({"activation": "cst", "activation_sparsity": 0.6, "slope": 0.5}, 1),
        ({"activation": "crelu", "tau": 0.2, "clip": 1.0, "method": "sao", "d": 8}, 1),
    ],
)
def test_a_run_that_goes_on_ends_as_one_that_never_stopped(tiny, given, done):
    whole = run(tiny, **given)
    list(whole.epochs())
    first = run(tiny, **given)
    epochs = first.epochs()
    for _ in range(done + 1):
        next(epochs)
    state, held = first.state(), arrays(first)
    next(epochs)  # what happens after the state was taken is no part of it
    second = run(tiny, **given)
    second.restore(held, read_rows(state.metadata))
    list(second.epochs())
    assert timeless(second.rows) == timeless(whole.rows)
    expected = arrays(whole)
    found = arrays(second)
    assert found.keys() == expected.keys()
    assert any(name.startswith("momentum.") for name in found)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_state_of_another_network_is_refused(tiny):
    training = run(tiny)
    next(training.epochs())
    held, rows = arrays(training), training.rows
    with pytest.raises(FormatError, match="of another network"):
        run(tiny, depth=4).restore(held, rows)
    with pytest.raises(FormatError, match="3 epochs done, of 2"):
        run(tiny).restore(held, rows * 4)
    for metadata in ({}, {"rows": "["}, {"rows": "[]"}, {"rows": '[{"epoch": 1}]'}):
        with pytest.raises(FormatError, match="no checkpoint of a run"):
            read_rows(metadata)


@pytest.mark.parametrize("given", [{}, {"layers": "masked"}, {"method": "lmp-t"}])
def test_the_trained_network_loads_into_plain_layers(tiny, given):
    training = run(tiny, **given)
    *_, last = training.epochs()
    tensors = {name: one.make() for name, one in final_tensors(training.model).items()}
    assert {"net.2.weight": (16, 16), "net.2.bias": (16,)}.items() <= {
        k: tuple(v.shape) for k, v in tensors.items()
    }.items()
    assert int((tensors["net.2.weight"] != 0).sum()) == 64
    plain = FNN(3, (64, 16, 2), method="dense")
    plain.load_state_dict(tensors)
    x, labels = next(Batches(tiny, training.settings, torch.device("cpu")).test())
    loss = torch.nn.functional.cross_entropy(plain(x), labels)
    assert loss.item() == pytest.approx(last.test_loss, rel=1e-5)


def grown(data, times):
    """The same with images so many times as large."""
    train, test = (images.repeat(times, 2).repeat(times, 3) for images in (data.train_images, data.test_images))
    return replace(data, train_images=train, test_images=test)


def test_the_row_before_training_tells_each_step_of_the_preparation(tiny):
    told = {"method": "lmp-s", "sparsity": 0.75, "all_layers": True, "isometry": True, "gain": 1.2}
    training = run(tiny, **told, dtype="float64", epochs=1, jacobian_inputs=3)
    rows = list(training.epochs())
    model = build_model(training.settings, 1, 8, 2)
    x = Batches(tiny, training.settings, torch.device("cpu")).probes(3)
    expected = [input_output_jacobian(model, x)]
    prune_(model, training.settings)
    expected.append(input_output_jacobian(model, x))
    repairs = repair_masked_(model, gain=1.2)
    expected.append(input_output_jacobian(model, x))
    first = rows[0]
    assert [first.jacobian_dense, first.jacobian_pruned, first.jacobian_repaired] == expected
    assert first.jacobian == expected[2]
    assert len({one.mean for one in expected}) == 3
    assert [row.name for row in first.repairs] == ["net.0", "net.2", "net.4", "net.6"]
    assert [row.to_dict() for row in first.repairs] == [row.to_dict() for row in repairs]
    assert first.sparsity == pytest.approx(0.75, abs=0.02)
    after = rows[1]
    assert (after.jacobian_dense, after.jacobian_pruned, after.jacobian_repaired, after.repairs) == (None,) * 4


def test_what_is_prepared_once_stays(tiny):
    training = run(tiny, method="lmp-s", sparsity=0.75, jacobian_at=())
    assert not hasattr(training.model.net[2], "weight_mask")
    training.prepare()
    mask = training.model.net[2].weight_mask
    training.prepare()
    row = next(training.epochs())
    assert training.model.net[2].weight_mask is mask
    assert (row.jacobian_dense, row.jacobian_pruned) == (None, None)
    held = arrays(run(tiny, method="dense", jacobian_at=()))
    with pytest.raises(FormatError, match="it has no masks"):
        run(tiny, method="lmp-s", sparsity=0.75).restore(held, [{"epoch": 0}])


def test_random_labels_are_learnt_and_true_ones_are_tested(tiny):
    training = run(tiny, random_labels=True, epochs=1, jacobian_at=())
    list(training.epochs())
    batches = training._batches
    told = torch.cat([labels for _, labels in batches.all_train()]).numpy()
    np.testing.assert_array_equal(told, randomly_labelled(tiny, 0).train_labels)
    assert (told != tiny.train_labels).any()
    np.testing.assert_array_equal(torch.cat([labels for _, labels in batches.test()]), tiny.test_labels)


@pytest.mark.parametrize("arch", ["cnn", "lipconvnet"])
def test_convolutions_train(tiny, arch):
    sizes = {"depth": 5, "width": 4} if arch == "lipconvnet" else {"depth": 3, "width": 8}
    training = run(tiny, arch=arch, epochs=1, jacobian_inputs=1, **sizes)
    rows = list(training.epochs())
    assert rows[1].train_loss < rows[0].train_loss
    assert rows[1].jacobian.m == 2
    if arch == "lipconvnet":  # 1-Lipschitz in its inputs, after training too
        assert rows[1].jacobian.log10_sigma_max < 1e-4
    assert all(one.make().isfinite().all() for one in final_tensors(training.model).values())


def test_divergence_is_told(tiny):
    training = run(tiny, learning_rate=1e30)
    with pytest.raises(DivergedError, match=r"epoch 1: the \w+ loss is nan, so training diverged.*1e\+30"):
        list(training.epochs())
    assert len(training.rows) == 1


def test_weights_that_leave_their_mask_are_a_bug(tiny):
    training = run(tiny, layers="masked")
    epochs = training.epochs()
    for _ in range(3):
        next(epochs)
    with torch.no_grad():
        training.model.net[2].weight_mask.fill_(1)
        training.model.net[2].weight_orig.fill_(math.pi)
    with pytest.raises(RuntimeError, match="its mask excludes"):
        next(epochs)


def test_threads_and_algorithms_are_left_as_they_were(tiny):  # the threads: of a fixture, which puts its own back
    torch.set_num_threads(2)
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.random.get_rng_state())
    training = Training(TrainingSettings(**SMALL), tiny, device="cpu", deterministic=True)
    list(training.epochs())
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[:2]
    assert torch.equal(torch.random.get_rng_state(), before[2])


def test_a_diverging_lipconvnet_says_so(tiny):
    """Its slices come of a linear system; of weights past float32 LAPACK makes NaN or an error, as it is built."""
    with pytest.raises(DivergedError, match=r"epoch 1: .*(loss is nan|leave).* lower the learning rate \(1e\+30\)"):
        list(run(tiny, arch="lipconvnet", depth=5, width=2, epochs=1, learning_rate=1e30).epochs())
