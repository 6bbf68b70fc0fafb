"""Networks pruned before training by scores and densities: against gradients by hand, and what each option changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sao_cli.base.errors import SaoError
from sao_cli.catalog import DENSITIES, SCORES
from sao_cli.masks.degrees import kappa
from sao_cli.nets.scores import iter_snip, shuffled_batches
from sao_cli.nets.training.data import Batches
from sao_cli.nets.training.loop import Training
from sao_cli.nets.training.methods import build_model, kept_places
from sao_cli.nets.training.preparation import first_samples
from sao_cli.nets.training.scored_masks import prune_by_scores_
from sao_cli.nets.training.settings import TrainingSettings

SMALL = {"widths": (12, 10), "sparsity": 0.7, "dtype": "float64", "jacobian_at": (), "epochs": 0, "batch_size": 16}
WEIGHTS = 64 * 12 + 12 * 10 + 10 * 2


def prepared(data, other=None, **given):
    training = Training(TrainingSettings(**{**SMALL, **given}), data, prune_data=other, device="cpu")
    training.prepare()
    return training


def kept(training):
    return np.concatenate([places.reshape(-1) for places in kept_places(training.model, all_layers=True).values()])


def by_hand(training, data, count=None):
    """|w dL/dw| of the dense network of the same settings, L the mean over the first `count` images."""
    model = build_model(training.settings, 1, 8, 2)
    batches = list(Batches(data, training.settings, torch.device("cpu")).all_train())
    x, y = (torch.cat([pair[part] for pair in batches])[:count] for part in (0, 1))
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    parts = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), y), weights)
    return torch.cat([(w * g).abs().flatten() for w, g in zip(weights, parts, strict=True)]).detach().numpy()


def largest(scores, count):
    places = np.zeros(scores.size, bool)
    places[np.argsort(-scores, kind="stable")[:count]] = True
    return places


@pytest.mark.parametrize("samples", [None, 7])
def test_snip_keeps_the_weights_whose_loss_is_felt(tiny, samples):
    training = prepared(tiny, method="snip", prune_samples=samples)
    count = kappa(WEIGHTS, 0.7)
    np.testing.assert_array_equal(kept(training), largest(by_hand(training, tiny, samples), count))
    [row] = training.epochs()
    assert row.sparsity == 1 - count / WEIGHTS
    assert row.method == "snip"


@pytest.mark.parametrize("method", [*SCORES, *(name for name, row in DENSITIES.items() if not row.kernels)])
def test_every_score_and_density_keeps_exactly_so_many(tiny, method):
    rounds = {"rounds": 4} if method in SCORES and SCORES[method].rounds else {}
    one, same = (prepared(tiny, method=method, **rounds) for _ in range(2))
    assert kept(one).sum() == kappa(WEIGHTS, 0.7)
    np.testing.assert_array_equal(kept(one), kept(same))
    model = build_model(one.settings, 1, 8, 2)
    for name, before in model.named_parameters():
        module, _, kind = name.rpartition(".")
        after = getattr(one.model.get_submodule(module), kind)
        assert torch.equal(after, torch.where(after != 0, before, 0.0))  # what stays is as it was


@pytest.mark.parametrize("method", ["snip", "force", "erk"])
def test_without_a_sparsity_as_many_stay_as_of_masks_of_four_a_row_between_dense_layers(tiny, method):
    asked = {"widths": (12, 16, 16, 10), "sparsity": None}
    of_masks = prepared(tiny, method="lmp-s", **asked)
    whole = [parameter for parameter in of_masks.model.parameters() if parameter.ndim > 1]
    left = sum(int((one != 0).sum()) for one in kept_places(of_masks.model, all_layers=True).values())
    assert 64 * 12 + 4 * (16 + 16 + 10) + 10 * 2 == left < sum(one.numel() for one in whole)
    assert kept(prepared(tiny, method=method, **asked)).sum() == left


def test_the_smart_ratio_is_of_networks_of_kernels():
    settings = TrainingSettings(method="smart-ratio", arch="cnn", depth=4, width=8, sparsity=0.8).resolved()
    model = build_model(settings, 1, 32, 10)
    prune_by_scores_(model, settings, [], lambda seed: model)
    *kernels, matrix = kept_places(model, all_layers=True).values()
    assert sum(int(one.sum()) for one in (*kernels, matrix)) == kappa(sum(one.size for one in (*kernels, matrix)), 0.8)
    assert abs(matrix.sum() - 0.3 * matrix.size) < 1
    shares = [one.mean() for one in kernels]
    assert shares == sorted(shares, reverse=True)
    with pytest.raises(SaoError, match="method 'smart-ratio' is none of a fnn's"):
        TrainingSettings(method="smart-ratio", sparsity=0.8).resolved()


def test_random_labels_are_those_that_are_pruned_by(tiny):
    true, drawn = (prepared(tiny, method="snip", random_labels=one) for one in (False, True))
    assert (kept(true) != kept(drawn)).any()
    assert (kept(prepared(tiny, method="snip", prune_labels="uniform")) != kept(true)).any()


def test_a_mask_from_other_data(tiny):
    other = replace(tiny, name="other", train_images=tiny.train_images[::-1].copy())
    training = prepared(tiny, other, method="snip", prune_data="mnist")
    np.testing.assert_array_equal(kept(training), largest(by_hand(training, other), kappa(WEIGHTS, 0.7)))
    with pytest.raises(SaoError, match="prune_data mnist: give these data too"):
        prepared(tiny, method="snip", prune_data="mnist")
    with pytest.raises(SaoError, match="has 1 channels of 8 pixels a side and 3 classes, and digits 1 channels of 8"):
        prepared(tiny, replace(other, classes=3), method="snip", prune_data="mnist")


def test_controls_change_the_mask_or_the_weights_alone(tiny):
    plain, shuffled, fresh, inverted = (
        prepared(tiny, method="snip", control=control) for control in (None, "shuffle", "fresh", "invert")
    )
    counts = [[int(places.sum()) for places in kept_places(one.model, True).values()] for one in (plain, shuffled)]
    assert counts[0] == counts[1]
    assert (kept(shuffled) != kept(plain)).any()
    np.testing.assert_array_equal(kept(fresh), kept(plain))
    assert not torch.equal(fresh.model.net[0].weight, plain.model.net[0].weight)
    assert not (kept(inverted) & kept(plain)).any()


def test_fresh_weights_are_trained_under_the_masks_of_those_that_were_scored(tiny):
    plain, fresh, again, control = (
        prepared(tiny, method="snip", init="vs-g", **given)
        for given in ({}, {"fresh_weights": True}, {"fresh_weights": True}, {"control": "fresh"})
    )
    np.testing.assert_array_equal(kept(fresh), kept(plain))
    weights = [one.model.net[0].weight[one.model.net[0].weight_mask != 0] for one in (plain, fresh, again, control)]
    assert torch.equal(weights[1], weights[2])
    assert not any(torch.equal(weights[1], weights[other]) for other in (0, 3))
    assert float(weights[1].std()) == pytest.approx(float(weights[3].std()), rel=0.2)  # of the same law


def test_each_round_reads_fresh_samples(tiny):
    fresh = prepared(tiny, method="itersnip", prune_samples=16, fresh_batches=True, rounds=3, init="vs-g")
    model = build_model(fresh.settings, 1, 8, 2)
    x, y = (
        torch.cat(parts) for parts in zip(*Batches(tiny, fresh.settings, torch.device("cpu")).all_train(), strict=True)
    )
    told = {"sparsity": 0.7, "rounds": 3, "seed": fresh.settings.seed, "fresh_batches": True}
    masks = iter_snip(model, shuffled_batches(x, y, 16, fresh.settings.seed), **told).facts.masks
    np.testing.assert_array_equal(kept(fresh), torch.cat([one.flatten() for one in masks.values()]).numpy())
    same = prepared(tiny, method="itersnip", prune_samples=16, rounds=3, init="vs-g")
    assert (kept(fresh) != kept(same)).any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "snip", "fresh_batches": True}, "fresh_batches are of the rounds of itersnip or force, and not of"),
        ({"method": "force", "fresh_batches": True}, "fresh_batches: prune_samples tells how many samples each round"),
        ({"method": "lmp-s", "fresh_weights": True}, "fresh_weights are of scores and densities, and 'lmp-s' is none"),
        ({"method": "snip", "fresh_weights": True, "control": "fresh"}, "control fresh draws the weights anew already"),
    ],
)
def test_what_is_drawn_anew_goes_with_some_methods(given, said):
    with pytest.raises(SaoError, match=said):
        TrainingSettings(**{**SMALL, **given}).resolved()


def test_samples_are_the_first_of_the_batches():
    batches = [(part, torch.zeros(len(part))) for part in torch.arange(8).split(3)]
    for count, sizes in ((None, [3, 3, 2]), (3, [3]), (5, [3, 2]), (8, [3, 3, 2]), (90, [3, 3, 2])):
        found = first_samples(batches, count)
        assert [len(x) for x, _ in found] == [len(y) for _, y in found] == sizes
        assert torch.cat([x for x, _ in found]).tolist() == list(range(sum(sizes)))
