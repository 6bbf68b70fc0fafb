"""Known values of scores, by autograd here and by differences or the complex step beside them."""

import numpy as np
import pytest
import torch
from torch import nn

from sao_cli.nets.scores import force, grasp, grasp_abs, iter_snip, keep, magnitude, random, snip, synflow
from sao_cli.nets.scores.foresight import kept_in_rounds
from sao_cli.pruning.scores.chain_flow import chain_synflow

from .known_networks import batch_a, batch_cnn, cnn, net_a, places

SNIP_PLACES = [10, 12, 13, 15, 22, 28, 39, 48, 49, 53, 60, 61]


def shares(scores):
    total = sum(one.sum() for one in scores.values())
    return [float(one.sum() / total) for one in scores.values()]


def flat(scores):
    return torch.cat([one.reshape(-1) for one in scores.values()]).numpy()


def complex_loss(weights, x, y, temperature=1.0):
    """Mean cross-entropy of net A in complex numbers, whose imaginary part is a derivative."""
    h = x
    for layer, w in enumerate(weights):
        h = h @ w.T
        h = np.tanh(h) if layer < len(weights) - 1 else h / temperature
    h = h - h.real.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(h).sum(axis=1)) - h[np.arange(len(y)), y])


def complex_gradient(weights, x, y, temperature=1.0):
    """dL/dw by the complex step, which subtracts nothing: as exact as the loss."""
    found = []
    for layer, w in enumerate(weights):
        own = np.zeros_like(w)
        for place in np.ndindex(*w.shape):
            moved = [one.astype(complex) for one in weights]
            moved[layer][place] += 1e-30j
            own[place] = complex_loss(moved, x, y, temperature).imag / 1e-30
        found.append(own)
    return found


def arrays():
    x, y = batch_a()
    return [one.detach().numpy() for one in net_a().parameters()], x.numpy(), y.numpy()


def test_snip_of_net_a():
    scores = snip(net_a(), [batch_a()])
    assert list(scores) == ["0.weight", "2.weight", "4.weight"]
    assert {one.dtype for one in scores.values()} == {torch.float64}
    assert (scores.facts.loss, scores.facts.samples) == (pytest.approx(1.1498414632412413, rel=1e-12), 8)
    assert flat(scores).sum() == pytest.approx(0.49333875353956563, rel=1e-12)
    known = [0.4914096388477034, 0.2747829589255536, 0.23380740222674307]
    assert shares(scores) == pytest.approx(known, rel=1e-12)
    masks = keep(scores, 0.8)
    assert [int(mask.sum()) for mask in masks.values()] == [6, 3, 3]
    assert places(masks) == SNIP_PLACES
    assert places(keep(scores, 0.9)) == [13, 15, 39, 49, 60, 61]  # alive in each layer, and dead as a whole


def test_snip_is_the_derivative_by_the_complex_step():
    weights, x, y = arrays()
    found = snip(net_a(), [batch_a()])
    for w, g, one in zip(weights, complex_gradient(weights, x, y), found.values(), strict=True):
        np.testing.assert_allclose(one.numpy(), np.abs(w * g), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("size", [1, 3, 5, 8])
def test_batches_of_any_sizes_give_one_answer(size):
    x, y = batch_a()
    batches = [(x[start : start + size], y[start : start + size]) for start in range(0, 8, size)]
    for score in (snip, grasp):
        np.testing.assert_allclose(flat(score(net_a(), iter(batches))), flat(score(net_a(), (x, y))), atol=1e-16)
        drawn = [flat(score(net_a(), one, labels="random", seed=3)) for one in (batches, [(x, y)])]
        np.testing.assert_allclose(*drawn, atol=1e-16)


def test_batch_means_added_without_their_sizes_are_another_method():
    weights, x, y = arrays()
    parts = [complex_gradient(weights, x[part], y[part]) for part in (slice(0, 3), slice(3, 6), slice(6, 8))]
    summed = {
        str(layer): torch.from_numpy(abs(w * sum(part[layer] for part in parts))) for layer, w in enumerate(weights)
    }
    assert places(keep(summed, 0.8)) == [10, 13, 15, 22, 28, 39, 48, 49, 53, 55, 60, 61]


def test_signed_sums_of_all_layers_are_equal_without_biases():
    for activation in (nn.ReLU, nn.Identity, nn.LeakyReLU):
        sums = list(snip(net_a(activation), [batch_a()]).facts.signed.values())
        assert sums == pytest.approx([sums[0]] * 3, rel=1e-11)
    relu = snip(net_a(nn.ReLU), [batch_a()]).facts.signed
    assert list(relu.values()) == pytest.approx([0.002627686400143921] * 3, rel=1e-11)
    tanh = list(snip(net_a(), [batch_a()]).facts.signed.values())
    assert max(tanh) - min(tanh) > 1e-3


def test_uniform_labels():
    scores = snip(net_a(), [batch_a()], labels="uniform")
    assert flat(scores).sum() == pytest.approx(0.1291244293006889, rel=1e-12)
    known = [0.33039547758229065, 0.31975964748299207, 0.34984487493471733]
    assert shares(scores) == pytest.approx(known, rel=1e-12)
    assert places(keep(scores, 0.8)) == [14, 15, 27, 37, 39, 47, 48, 49, 51, 53, 60, 61]


def test_labels_of_the_network_itself():
    x, y = batch_a()
    model = net_a()
    predicted = model(x).argmax(dim=1)
    np.testing.assert_allclose(flat(snip(model, (x, y), labels="argmax")), flat(snip(model, (x, predicted))))
    weights, pixels, _ = arrays()

    def entropy(moved):
        h = pixels
        for layer, w in enumerate(moved):
            h = h @ w.T if layer == 2 else np.tanh(h @ w.T)
        p = np.exp(h) / np.exp(h).sum(axis=1, keepdims=True)
        return -(p * np.log(p)).sum(axis=1).mean()

    found = snip(model, (x, y), labels="prediction")["0.weight"].numpy()
    for place in np.ndindex(5, 6):
        moved = [one.astype(complex) for one in weights]
        moved[0][place] += 1e-30j
        assert found[place] == pytest.approx(abs(weights[0][place] * entropy(moved).imag / 1e-30), rel=1e-10)


def test_the_sum_of_logits_needs_no_labels():
    weights, pixels, _ = arrays()
    h = [pixels, np.tanh(pixels @ weights[0].T)]
    h.append(np.tanh(h[1] @ weights[1].T))
    back, by_hand = np.full((8, 3), 1 / 8), []
    for layer in (2, 1, 0):
        by_hand.insert(0, np.abs(weights[layer] * (back.T @ h[layer])).ravel())
        back = back @ weights[layer] * (1 - h[layer] ** 2)
    found = flat(snip(net_a(), [batch_a()], labels="logits"))
    np.testing.assert_allclose(found, np.concatenate(by_hand), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize(
    ("temperature", "known", "kept", "kept_places"),
    [
        (
            1.0,
            (-0.17429904063180018, -0.0025706994752148263),
            [1, 4, 7],
            [15, 37, 42, 44, 47, 51, 53, 55, 57, 59, 60, 61],
        ),
        (
            200.0,
            (-2.5978456930295593e-06, -7.187785299991677e-08),
            [2, 3, 7],
            [7, 10, 37, 45, 47, 51, 53, 55, 57, 59, 60, 61],
        ),
    ],
)
def test_grasp_of_net_a(temperature, known, kept, kept_places):
    scores = grasp(net_a(), [batch_a()], temperature=temperature)
    found = flat(scores)
    assert (-found.sum(), -found[0]) == pytest.approx(known, rel=1e-9)
    masks = keep(scores, 0.8)
    assert ([int(mask.sum()) for mask in masks.values()], places(masks)) == (kept, kept_places)
    np.testing.assert_array_equal(flat(grasp_abs(net_a(), [batch_a()], temperature=temperature)), np.abs(found))


def test_grasp_is_a_hessian_times_the_gradient_by_differences_of_complex_steps():
    weights, x, y = arrays()
    g = complex_gradient(weights, x, y)
    step = 1e-5
    ahead, behind = (
        complex_gradient([w + sign * step * one for w, one in zip(weights, g, strict=True)], x, y) for sign in (1, -1)
    )
    scores = grasp(net_a(), [batch_a()], temperature=1.0)
    for w, up, down, one in zip(weights, ahead, behind, scores.values(), strict=True):
        np.testing.assert_allclose(one.numpy(), w * (up - down) / (2 * step), rtol=1e-6, atol=1e-11)


def test_synflow_of_net_a_and_of_its_chain():
    scores = synflow(net_a())
    assert [float(one.sum()) for one in scores.values()] == pytest.approx([8.254363987259964] * 3, rel=1e-12)
    assert float(scores["0.weight"][0, 0]) == pytest.approx(0.3454007896334132, rel=1e-12)
    for sparsity, rounds in ((0.8, 1), (0.8, 100), (1 - 3 / 62, 100)):
        chain = chain_synflow([one.detach().numpy() for one in net_a().parameters()], sparsity, rounds)
        found = synflow(net_a(), sparsity=sparsity, rounds=rounds)
        assert all(
            (found.facts.masks[name].numpy() == mask).all() for name, mask in zip(found, chain.masks, strict=True)
        )
        for one, own in zip(found.values(), chain.scores, strict=True):
            np.testing.assert_allclose(one.numpy(), own, rtol=1e-11)


@pytest.mark.parametrize(
    ("method", "kept_places", "foresight"),
    [
        (iter_snip, [1, 25, 28, 29, 39, 44, 45, 49, 55, 56, 60, 61], 0.14645294525680003),
        (force, [0, 5, 28, 35, 44, 51, 52, 53, 55, 57, 59, 60], 0.08369068463691046),
    ],
)
def test_methods_in_rounds(method, kept_places, foresight):
    scores = method(net_a(), [batch_a()], sparsity=0.8, rounds=20)
    assert places(scores.facts.masks) == kept_places
    assert scores.facts.foresight == pytest.approx(foresight, rel=1e-9)
    assert places(keep(scores, 0.8)) == kept_places


def test_weights_return_in_force_alone():
    def scored(masks):
        return {"a": torch.where(masks["a"], 1.0, 5.0) + torch.arange(8.0) / 8}

    weights = {"a": torch.ones(8)}
    assert places(kept_in_rounds(weights, scored, 0.5, 2, returning=True)[0]) == [0, 1, 6, 7]
    assert places(kept_in_rounds(weights, scored, 0.5, 2, returning=False)[0]) == [4, 5, 6, 7]


def test_a_convolutional_network():
    scores = snip(cnn(), [batch_cnn()])
    assert flat(scores).sum() == pytest.approx(0.8206729388151089, rel=1e-12)
    known = [0.19929035859281433, 0.37309290477729773, 0.427616736629888]
    assert shares(scores) == pytest.approx(known, rel=1e-12)
    assert [int(mask.sum()) for mask in keep(scores, 0.8).values()] == [9, 14, 22]
    kernels = snip(cnn(), [batch_cnn()], unit="kernel")
    sums = [float(one.sum()) for one in kernels.values()]
    assert sums == pytest.approx([0.030191143752667952, 0.09874777931684664, 0.3509334839365766], rel=1e-12)
    masks = keep(kernels, 0.5)
    assert [mask.shape for mask in masks.values()] == [one.shape for one in cnn().parameters()]
    assert {int(one) for one in masks["0.weight"].sum((2, 3)).flatten()} <= {0, 9}
    flow = synflow(cnn(), [batch_cnn()])
    assert [float(one.sum()) for one in flow.values()] == pytest.approx([47.662576234839875] * 3, rel=1e-12)


def test_scores_without_data():
    model = cnn()
    for (name, one), w in zip(magnitude(model).items(), model.parameters(), strict=True):
        assert torch.equal(one, w.detach().abs()), name
    assert torch.allclose(magnitude(model, unit="kernel")["2.weight"], model[2].weight.square().mean((2, 3)).sqrt())
    drawn = random(model, seed=3)
    assert torch.equal(drawn["0.weight"], random(model, seed=3)["0.weight"])
    assert not torch.equal(drawn["0.weight"], random(model, seed=4)["0.weight"])
    assert all(((one > 0) & (one <= 1)).all() for one in drawn.values())
