"""Scoring changes nothing of a module, bit for bit; what it can't score is one line; and prune_ puts masks on."""

import copy
import random as python_random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError
from sao_cli.nets import prune_
from sao_cli.nets.scores import force, grasp, iter_snip, keep, magnitude, random, snip, synflow
from sao_cli.pruning.scores.chain_flow import chain_synflow

from .known_networks import batch_a, batch_cnn, net_a


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(36, 36, bias=False)
        self.again = nn.Linear(36, 36, bias=False)
        self.again.weight = self.first.weight
        self.last = nn.Linear(36, 3)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.last(torch.tanh(self.again(torch.tanh(self.first(x.flatten(1))))))


def normed():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 3)
    )
    with torch.no_grad():
        model[1].running_var.uniform_(0.5, 2)
        model[1].running_mean.normal_()
        model[1].weight.normal_()
        model[1].bias.normal_()
    return model


def masked():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3))
    prune.random_unstructured(model[1], "weight", amount=0.4)
    return model


def parametrised():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3))
    parametrizations.weight_norm(model[1])
    return model


NETS = {"normed": normed, "tied": Tied, "masked": masked, "parametrised": parametrised}
SCORES = {
    "snip": snip,
    "snip in training mode": lambda model, batches: snip(model, batches, train_mode=True, labels="random"),
    "grasp": lambda model, batches: grasp(model, batches, biases=True),
    "synflow": lambda model, batches: synflow(model, batches, sparsity=0.5, rounds=3),
    "iter_snip": lambda model, batches: iter_snip(model, batches, sparsity=0.5, rounds=3),
    "force": lambda model, batches: force(model, batches, sparsity=0.5, rounds=3),
    "magnitude": magnitude,
    "random": random,
}


def everything(model):
    """All that a module is, as bytes and plain values."""
    tensors = {name: one.detach().numpy().tobytes() for name, one in model.state_dict(keep_vars=True).items()}
    grads = {name: None if one.grad is None else one.grad.numpy().tobytes() for name, one in model.named_parameters()}
    flags = {name: one.requires_grad for name, one in model.named_parameters()}
    identities = {name: id(one) for name, one in model.named_parameters(remove_duplicate=False)}
    modes = [one.training for one in model.modules()]
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    drawn = torch.get_rng_state().numpy().tobytes(), repr(state), python_random.getstate()
    hooks = len(nn.modules.module._global_forward_hooks)
    return tensors, grads, flags, identities, modes, drawn, hooks, getattr(model, "calls", None)


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_a_module_is_what_it_was(make, score):
    model = make()
    x, y = batch_cnn()
    x = x.float()
    model.train()
    model[0].eval() if isinstance(model, nn.Sequential) else model.last.eval()
    model(x).sum().backward()
    next(model.parameters()).requires_grad_(False)
    before = everything(model)
    scores = score(model, [(x, y)])
    assert everything(model) == before
    assert all(torch.isfinite(one).all() for one in scores.values())
    again = score(model, [(x, y)])
    assert all(torch.equal(one, again[name]) for name, one in scores.items())


def test_a_score_is_of_the_weight_that_the_layer_uses():
    x, y = batch_cnn()
    for make in (masked, parametrised):
        model = make().double()
        plain = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3)).double()
        with torch.no_grad():
            plain[1].weight.copy_(model[1].weight)
            plain[1].bias.copy_(model[1].bias)
            plain[3].load_state_dict(model[3].state_dict())
        for score in (snip, grasp, synflow, magnitude):
            found, known = score(model, [(x, y)]), score(plain, [(x, y)])
            assert list(found) == list(known) == ["1.weight", "3.weight"]
            if make is parametrised or score is not grasp:  # of a masked weight g is 0, which is another g
                np.testing.assert_allclose(found["1.weight"], known["1.weight"], rtol=1e-9, atol=1e-15)


def test_a_tied_weight_is_one_and_feels_both_its_places():
    model = Tied().double()
    x, y = batch_cnn()
    scores = snip(model, [(x, y)])
    assert list(scores) == ["first.weight", "last.weight"]
    loss = nn.functional.cross_entropy(model(x), y)
    [gradient] = torch.autograd.grad(loss, [model.first.weight])
    torch.testing.assert_close(scores["first.weight"], (model.first.weight * gradient).abs().detach())


def test_batch_norms_are_the_identity_in_evaluation_and_not_in_training():
    model = nn.Sequential(
        nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5, eps=1e-12), nn.Linear(5, 3, bias=False)
    ).double()
    plain = nn.Sequential(copy.deepcopy(model[0]), copy.deepcopy(model[2]))
    batch = batch_a()
    torch.testing.assert_close(snip(model, [batch])["0.weight"], snip(plain, [batch])["0.weight"])
    torch.testing.assert_close(synflow(model)["0.weight"], synflow(plain)["0.weight"])
    trained = snip(model, [batch], train_mode=True)["0.weight"]
    assert not torch.allclose(trained, snip(plain, [batch])["0.weight"], rtol=0.1)


def test_synflow_conserves_through_biases_norms_and_activations():
    model = normed().double()
    sums = [float(one.sum()) for one in synflow(model, example=(1, 1, 6, 6)).values()]
    assert sums[0] == pytest.approx(sums[1], rel=1e-12)
    factor = model[1].weight.abs() / (model[1].running_var + 1e-5).sqrt()
    ones = nn.functional.conv2d(torch.ones(1, 1, 6, 6).double(), model[0].weight.abs()) * factor.view(1, -1, 1, 1)
    assert sums[0] == pytest.approx(float((model[5].weight.abs() @ ones.flatten()).sum().detach()), rel=1e-12)
    mlp = nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3)).double()
    first, second, third = synflow(mlp).values()
    torch.testing.assert_close(first.sum(1), second.sum(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(second.sum(1), third.sum(0), rtol=1e-12, atol=0)


def test_biases_and_activations_would_break_conservation():
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    weights = [model[0].weight.detach().abs().requires_grad_(), model[2].weight.detach().abs().requires_grad_()]
    hidden = torch.tanh(torch.ones(1, 6).double() @ weights[0].T + model[0].bias.abs())
    total = (hidden @ weights[1].T).sum()
    sums = [float((w.detach() * g).sum()) for w, g in zip(weights, torch.autograd.grad(total, weights), strict=True)]
    assert abs(sums[0] - sums[1]) > 0.1 * sums[1]
    kept = [float(one.sum()) for one in synflow(model).values()]
    assert kept[0] == pytest.approx(kept[1], rel=1e-12)


def test_synflow_of_a_deep_module_neither_overflows_nor_differs_from_the_chain():
    torch.manual_seed(0)
    layers = [nn.Linear(8, 8, bias=False) for _ in range(300)]
    with torch.no_grad():
        for one in layers:
            one.weight.mul_(1e3)
    found = synflow(nn.Sequential(*layers), sparsity=0.5, rounds=2)
    chain = chain_synflow([one.weight.detach().double().numpy() for one in layers], 0.5, 2)
    same = sum(
        int((mask.numpy() == own).sum()) for mask, own in zip(found.facts.masks.values(), chain.masks, strict=True)
    )
    assert same == 300 * 64


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


@pytest.mark.parametrize(
    ("score", "model", "error", "said"),
    [
        (snip, nn.ReLU(), SaoError, "ReLU has no linear or convolution layer"),
        (snip, nn.Linear(6, 2), FormatError, "label 2, and the module has 2 outputs: labels are 0 to 1"),
        (snip, nn.Linear(5, 3), SaoError, "can't take"),
        (snip, nn.Unflatten(1, (6, 1)), SaoError, "no linear"),
        (snip, nn.Sequential(nn.Unflatten(1, (6, 1)), nn.Linear(1, 3)), FormatError, r"makes \(8, 6, 3\) of 8 samples"),
        (synflow, nn.Sequential(nn.Linear(6, 3), Swish()), SaoError, "twice the input makes 4 times the output"),
        (synflow, nn.Conv2d(1, 1, 3), SaoError, "give example="),
        (lambda m, b: snip(m, None), nn.Linear(6, 3), SaoError, "give batches"),
        (lambda m, b: snip(m, []), nn.Linear(6, 3), FormatError, "no sample"),
        (lambda m, b: snip(m, [1]), nn.Linear(6, 3), FormatError, "batch 1 is a int"),
        (lambda m, b: snip(m, [(b[0][0], b[0][1].double())]), nn.Linear(6, 3), FormatError, "labels are whole"),
        (lambda m, b: snip(m, [(b[0][0], b[0][1][:3])]), nn.Linear(6, 3), FormatError, "one for each input"),
        (lambda m, b: snip(m, b, labels="tru"), nn.Linear(6, 3), SaoError, "did you mean 'true'"),
        (lambda m, b: snip(m, b, unit="tap"), nn.Linear(6, 3), SaoError, "unknown unit 'tap'"),
        (lambda m, b: snip(m, b, temperature=0), nn.Linear(6, 3), SaoError, "temperature 0;"),
        (lambda m, b: force(m, b, sparsity=0.99), nn.Linear(6, 3), InfeasibleError, "keeps none"),
        (lambda m, b: force(m, b, sparsity=0.5, rounds=0), nn.Linear(6, 3), SaoError, "0 rounds"),
    ],
)
def test_what_has_no_score_is_one_line(score, model, error, said):
    x, y = batch_a()
    batches = None if isinstance(model, nn.Conv2d) else [(x.float(), y)]
    with pytest.raises(error, match=said) as caught:
        score(model, batches)
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_finite_numbers_are_refused():
    model = nn.Linear(6, 3)
    with torch.no_grad():
        model.weight[0, 0] = torch.nan
    with pytest.raises(FormatError, match="weight holds numbers that are not finite"):
        magnitude(model)
    with pytest.raises(SaoError, match="no values yet"):
        magnitude(nn.LazyLinear(3))


def test_prune_puts_masks_on_and_tells_what_it_kept():
    model = net_a()
    done = prune_(model, "snip", sparsity=0.8, batches=[batch_a()])
    assert (done.kappa, sum(done.kept.values()), done.kept["0.weight"]) == (12, 12, 6)
    assert done.sparsity == pytest.approx(1 - 12 / 62)
    assert done.compression == pytest.approx(62 / 12)
    assert int(model[0].weight_mask.sum()) == 6
    assert torch.equal(model[0].weight, model[0].weight_orig * model[0].weight_mask)
    again = prune_(model, "snip", sparsity=0.9, batches=[batch_a()])
    assert sum(again.kept.values()) == 6
    assert int(sum(model[layer].weight_mask.sum() for layer in (0, 2, 4))) == 6


@pytest.mark.parametrize(
    "method", ["snip", "grasp", "grasp-abs", "synflow", "itersnip", "force", "magnitude", "random"]
)
def test_every_method_prunes_to_exactly_kappa(method):
    model = masked()
    x, y = batch_cnn()
    excluded = model[1].weight_mask == 0
    done = prune_(
        model, method, 0.7, batches=[(x.float(), y)], **({"rounds": 5} if method in ("itersnip", "force") else {})
    )
    assert int(model[1].weight_mask.sum() + model[3].weight_mask.sum()) == round(0.3 * 312) == done.kappa
    assert not model[1].weight_mask[excluded].any()


def test_scores_of_one_s_own_prune_and_others_are_refused():
    model = nn.Linear(4, 3, bias=False)
    before = model.weight.detach().clone()
    for scores, said in (
        ({"wight": torch.ones(3, 4)}, "scores of 'wight', and the module has no such weight; it has weight"),
        ({"weight": torch.ones(4, 3)}, r"the scores of weight are \(4, 3\), and the weight is \(3, 4\)"),
        ({"weight": torch.full((3, 4), torch.nan)}, "the scores of weight hold nan"),
        ({"weight": torch.zeros(3, 4)}, "all 12 scores are 0"),
    ):
        with pytest.raises(SaoError, match=said):
            prune_(model, scores, 0.5)
        assert torch.equal(model.weight, before)
        assert not hasattr(model, "weight_mask")
    with pytest.raises(SaoError, match="unknown method 'snp'; did you mean 'snip'"):
        prune_(model, "snp", 0.5)
    prune_(model, {"weight": torch.arange(12.0).view(3, 4)}, 0.75)
    assert model.weight_mask.flatten().tolist() == [0] * 9 + [1] * 3
    with pytest.raises(SaoError, match="is parametrised"):
        prune_(parametrised(), "magnitude", 0.5)


def test_the_hook_of_parametrisations_is_gone_after_an_error():
    model = parametrised()
    with pytest.raises(SaoError):
        snip(model, [(torch.ones(2, 1, 5, 5), torch.tensor([0, 1]))])
    assert not nn.modules.module._global_forward_hooks
    assert parametrize.is_parametrized(model[1])


def test_half_precision_is_scored_in_single():
    model = nn.Linear(6, 3).half()
    x, y = batch_a()
    assert torch.isfinite(keep(snip(model, [(x, y)]), 0.5)["weight"].float()).all()
    exact = snip(model, [(x, y)], dtype=torch.float64)["weight"]
    torch.testing.assert_close(snip(model, [(x, y)])["weight"], exact, rtol=1e-4, atol=1e-8)
