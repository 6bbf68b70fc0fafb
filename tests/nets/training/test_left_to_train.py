"""What rows of training tell of masks: against the passes of a stack, and against a run with the weights themselves."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from sao_cli.base.errors import SaoWarning
from sao_cli.masks.degrees import kappa
from sao_cli.measure.reach.effective import effective_weights
from sao_cli.models.prune_checks import epoch_checks, epoch_failures
from sao_cli.nets.tracing.network import Network
from sao_cli.nets.training.loop import Training
from sao_cli.nets.training.methods import kept_places
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.reports.changes import WhatStays
from sao_cli.reports.report import facts_of

FACTS = set(facts_of(WhatStays))


def trained(data, **given):
    asked = {"epochs": 0, "jacobian_at": (), "batch_size": 16, **given}
    return Training(TrainingSettings(**asked), data, device="cpu")


def facts(row):
    return {key: value for key, value in row.to_dict().items() if key in FACTS}


def test_a_stack_is_told_exactly_in_every_row(tiny):
    training = trained(tiny, widths=(12, 10), method="snip", sparsity=0.9, init="vs-g", epochs=2)
    rows = list(training.epochs())
    assert facts(rows[0]) == facts(rows[1]) == facts(rows[2])
    masks = kept_places(training.model, all_layers=True)
    effective = sum(int(one.sum()) for one in effective_weights(list(masks.values())))
    size, row = sum(one.size for one in masks.values()), rows[0]
    assert row.kappa == row.kept == kappa(size, 0.9) == sum(int(one.sum()) for one in masks.values())
    assert (row.effective, row.effective_sparsity) == (effective, 1 - effective / size)
    assert effective < row.kept
    assert (row.compression, row.effective_compression) == (size / row.kept, size / effective)
    paths = np.linalg.multi_dot([one.astype(float) for one in reversed(masks.values())])
    assert row.reachable == (paths > 0).mean()
    assert row.lost_inputs == (paths == 0).all(axis=0).sum() > 0
    assert (row.collapsed_layers, row.ties_at_threshold, row.zero_scores, row.reason) == (0, 0, 0, None)


@pytest.mark.parametrize(
    "given",
    [
        {"arch": "lenet5", "method": "snip", "sparsity": 0.99},
        {"arch": "cnn", "depth": 4, "width": 8, "method": "snip", "sparsity": 0.9, "init": "vs-g"},
    ],
)
def test_convolutions_are_told_as_they_run(tiny, given):
    images = {name: getattr(tiny, name).repeat(2, axis=2).repeat(2, axis=3) for name in ("train_images", "test_images")}
    training = trained(replace(tiny, **images), **given)
    [row] = training.epochs()
    network = Network.from_module(training.model, torch.ones(1, 1, 16, 16))  # of what the masks leave of the values
    assert row.effective == sum(one.effective for one in network.layers) < row.kept
    assert row.reachable == network.summary.reachable
    assert (row.unknown, row.reason) == ((), None)
    assert row.kappa == row.kept


def test_masks_tell_and_values_do_not(tiny):
    training = trained(tiny, arch="cnn", depth=3, width=8, method="lrp-s", sparsity=0.5)
    [row] = training.epochs()  # its kernels hold a value in the centre tap alone, and the other taps learn
    assert row.effective > row.kept / 2
    assert row.kappa == kappa(sum(one.size for one in training._kept.values()), 0.5)


def test_what_is_not_pruned_has_no_threshold(tiny):
    [row] = trained(tiny, depth=3, width=16, method="sao", d=2).epochs()
    assert (row.kappa, row.ties_at_threshold, row.zero_scores) == (None, None, None)
    assert row.effective == row.kept == 2 * 2 * 16
    dense, learnt, pruned = trained(tiny, depth=3, width=16, method="gmp-t", sparsity=0.5, epochs=1).epochs()
    assert (dense.kappa, learnt.kappa, learnt.kept, learnt.phase) == (None, None, 512, "train")
    assert (pruned.kappa, pruned.kept, pruned.phase) == (256, 256, "finetune")


def test_a_run_that_goes_on_tells_the_same(tiny):
    asked = {"widths": (12, 10), "method": "synflow", "sparsity": 0.9, "rounds": 3, "epochs": 1}
    whole = trained(tiny, **asked)
    rows = whole.epochs()
    next(rows)
    state = whole.state()
    tensors = {name: one.detach().numpy().copy() for name, one in state.tensors.items()}
    again = trained(tiny, **asked)
    again.restore(tensors, state.rows)
    assert facts(next(again.epochs())) == facts(next(rows)) == facts_of_row(state.rows[0])


def facts_of_row(row):
    return {key: value for key, value in row.items() if key in FACTS}


def test_a_dead_network_is_a_warning_before_training(tiny):
    training = trained(tiny, widths=(12, 10), method="erk", sparsity=0.996)
    with pytest.warns(SaoWarning, match="no input reaches an output, though no layer is empty.*prune less"):
        training.prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [row] = training.epochs()
    assert (row.reachable, row.effective, row.collapsed_layers, row.effective_compression) == (0, 0, 0, None)
    failures = epoch_failures(row, epoch_checks(["reachable>0", "kept>0", "jacobian.mean>1"]))
    assert [(one.name, one.field, one.value) for one in failures] == [("epoch 0", "reachable", 0)]


def test_what_can_not_be_told_is_null_with_a_reason(tiny):
    [row] = trained(tiny, arch="cnn", depth=3, width=8, method="sao").epochs()
    assert row.reason == "paths are told of networks that are pruned, and of fully connected ones"
    assert {row.effective, row.reachable, row.lost_inputs} == {None}
    [failure] = epoch_failures(row, epoch_checks("reachable>0"))
    assert failure.reason == f"can't tell: {row.reason}"
