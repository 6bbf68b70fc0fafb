"""Scores beside the passes that they must contain: SNIP and GraSP of two networks, SynFlow of 1,000 layers.

python tests/benchmarks/bench_scores.py            about a minute and a half
"""

import side_by_side as bench  # before torch: it sets the number of BLAS threads

# isort: split
import numpy as np
import torch
from torch import nn

from sao_cli import chain_synflow
from sao_cli.nets.scores import grasp, snip

torch.set_num_threads(1)
SNIP_GOAL, GRASP_GOAL, SYNFLOW_GOAL = 1.3, 2.6, 10.0
LAYERS, WIDTH, ROUNDS = 1000, 100, 20
NOTES = """
SNIP is one forward and one backward pass, a copy of the module's state, and a few passes over the weights in float64,
which a network as small as LeNet feels and convolutions do not. GraSP of one batch is a forward, a backward and a
double backward pass; public code takes the gradient by itself before, which is a pass more. Why convolutions take
longer than the goal: a forward and a backward pass make three products of a layer's size, W x, W^T y' and y' x^T, and
the exact H g six more, W x' + V x, W^T z' + V^T y' and z' x^T + y' x'^T, V the direction; the first layer, which has
no x', two beside two. Counted so, the four convolutions need 2.94 times their passes. Fewer would do by differences,
at the price of half the digits; forward-mode tangents of the gradient are slower, and so is one convolution of twice
the channels in the place of two, since it copies the images. A round of SynFlow reads the weights five times: two
products, the scores, the threshold, and zeroing what is dropped.
"""


def lenet() -> nn.Module:
    """LeNet-300-100."""
    return nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def convolutional() -> nn.Module:
    """Four convolutions with batch norms, of 32 x 32 pixels."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def compare_passes(what: str, model: nn.Module, x: torch.Tensor, repeats: int) -> None:
    """A score against one forward and backward pass over the same samples in one batch."""
    y = torch.arange(len(x)) % 10
    model.eval()
    weights = [one for one in model.parameters() if one.ndim > 1]

    def passes() -> None:
        torch.autograd.grad(nn.functional.cross_entropy(model(x), y), weights)

    scores = {"snip": (snip, SNIP_GOAL), "grasp": (grasp, GRASP_GOAL)}
    calls = [passes, *(lambda score=score: score(model, [(x, y)]) for score, _ in scores.values())]
    least, *others = bench.processor_seconds(calls, repeats)
    for (name, (_, goal)), taken in zip(scores.items(), others, strict=True):
        bench.print_ratio(f"{name} of {what} against forward and backward", taken, least, goal)


def compare_synflow() -> None:
    """A round of SynFlow against a pass of a vector through the same chain."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(WIDTH, WIDTH)) * np.sqrt(2 / WIDTH) for _ in range(LAYERS)]

    def forward() -> None:
        value = np.ones(WIDTH)
        for one in weights:
            value = one @ value

    for sparsity in (0.9, 0.99):
        calls = [lambda sparsity=sparsity: chain_synflow(weights, sparsity, ROUNDS), forward]
        rounds, least = bench.processor_seconds(calls)
        taken = bench.Median(seconds / ROUNDS for seconds in rounds.times)
        what = f"a round of synflow to {sparsity}, {LAYERS} layers of {WIDTH}, against a forward pass in numpy"
        bench.print_ratio(what, taken, least, SYNFLOW_GOAL)


if __name__ == "__main__":
    torch.manual_seed(0)
    compare_passes("LeNet-300-100, 1,000 samples", lenet(), torch.randn(1000, 784), 15)
    compare_passes("four convolutions, 128 samples", convolutional(), torch.randn(128, 3, 32, 32), 5)
    compare_synflow()
