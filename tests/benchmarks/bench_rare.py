"""What training with RaRe costs beside plain training, and what fused layers gain.

python tests/benchmarks/bench_rare.py            steps at three widths, and forward passes (two minutes)
"""

import side_by_side as bench  # before torch: it sets the thread counts

# isort: split
import argparse
import itertools

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sao_cli.measure.redundancy.fusing import Fused
from sao_cli.nets import RareLinear
from sao_cli.nets.training.rare_training import make_rare_, rare_backward_, rare_step_

BATCH = 64


def network(inputs: int, width: int, hidden: int = 5) -> nn.Sequential:
    """The paper's shape: `hidden` layers of one width."""
    torch.manual_seed(0)
    widths = [inputs, *[width] * hidden, 10]
    layers = [nn.Linear(n, m) for n, m in itertools.pairwise(widths)]
    return nn.Sequential(*[one for layer in layers for one in (layer, nn.ReLU())][:-1])


NOTES = """
A step adds to a plain one a tenth of a search for pairs, n^2 m / 2 multiplications a layer, against 3 m n B of the
step itself: n / (6 B k) of its arithmetic at batches of B and a search every k steps; two passes over the weights for
the Frobenius norm and its gradient, beside the dozen that Adam makes; and the two vectors of a pair a layer. Narrow
layers feel torch's overhead of each small operation. A layer that keeps P W' Q gathers its inputs and spreads its
outputs, which narrow ones feel.
"""


class Stepping:
    """Steps of Adam, plain where `every` is None, with the loss where `strength` is not 0."""

    def __init__(self, model: nn.Module, inputs: int, every: int | None, strength: float = 20.0) -> None:
        self.model, self.every, self.strength = model, every, strength
        self.optimizer = torch.optim.Adam(model.parameters())
        self.x, self.labels = torch.randn(BATCH, inputs), torch.randint(10, (BATCH,))

    def ten(self) -> None:
        for _ in range(10):
            loss = cross_entropy(self.model(self.x), self.labels)
            self.optimizer.zero_grad()
            if self.every is None:
                loss.backward()
            else:
                rare_backward_(self.model, self.strength, loss=loss)
            self.optimizer.step()
            if self.every is not None:
                rare_step_(self.model, self.optimizer, every=self.every)


def steps(inputs: int, width: int, hidden: int, repeats: int) -> None:
    """A step at k = 1 and 10 against a plain one, with Frobenius normalisation and without."""
    job = f"step, {inputs}-{width}x{hidden}-10"
    ways = {"k = 10": (10, True), "k = 1": (1, True), "k = 10, no Frobenius": (10, False)}
    sides = [Stepping(network(inputs, width, hidden), inputs, None)]
    for every, frobenius in ways.values():
        model = make_rare_(network(inputs, width, hidden), frobenius=frobenius)
        sides.append(Stepping(model, inputs, every))
    plain, *ours = bench.processor_seconds([side.ten for side in sides], repeats)
    for way, seconds in zip(ways, ours, strict=True):
        goal = 1.25 if way == "k = 10" and width >= 500 else None
        bench.print_ratio(f"{job}, {way} / plain", seconds / 10, plain / 10, goal)


def forward(width: int, share: float) -> None:
    """A layer whose rows and columns are fused down to a share, against nn.Linear."""
    linear, layer = nn.Linear(width, width), RareLinear(width, width)
    left = int(width * share)
    index = torch.cat([torch.arange(left), torch.randint(left, (width - left,))])
    scale = torch.rand(width).double().numpy()
    layer.replace_(Fused(torch.randn(left, left).numpy(), index.numpy(), scale, index.numpy(), scale))
    x = torch.randn(BATCH, width)
    with torch.no_grad():
        ours, theirs = bench.processor_seconds([lambda: layer(x), lambda: linear(x)], 51)
    bench.print_ratio(f"forward, {width} x {width}, fused to {left} x {left} / nn.Linear", ours, theirs)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    steps(64, 128, 3, asked.repeats)
    steps(784, 500, 5, asked.repeats)
    steps(784, 1024, 5, asked.repeats)
    for share in (1.0, 0.7, 0.5):
        forward(500, share)
        forward(1024, share)


if __name__ == "__main__":
    main()
