"""A network's facts beside one forward, and one forward and backward, pass of the module itself, and its memory.

python tests/benchmarks/bench_network.py            about a minute
"""

from collections.abc import Callable

import side_by_side as bench  # before torch: it sets the number of BLAS threads

# isort: split
import torch
from torch import nn

from sao_cli import Network

torch.set_num_threads(1)
NOTES = """
A record and its three bits cost a few milliseconds a layer, of which nearly all is Python's and torch's own overhead
for a dozen small operations: where a layer does some work, as in a residual network on images, they are fewer of its
passes than in a chain of small linear layers.
"""
PASSES_GOAL, DEEP_GOAL, MEMORY_GOAL = 20.0, 5.0, 4.0


class Bottleneck(nn.Module):
    """ResNet's block of three convolutions."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1, bias=False),
            nn.BatchNorm2d(4 * width),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != 4 * width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's answer."""
        return torch.relu(self.convolutions(x) + self.shortcut(x))


def residual_network() -> nn.Module:
    """A network of ResNet-50's shape."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, 2 if stage and not block else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def thinned(module: nn.Module) -> nn.Module:
    """The module with a tenth of its weights."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter *= torch.rand_like(parameter) < 0.1
    return module.eval()


def compare(job: str, module: nn.Module, example: torch.Tensor, goal: float | None) -> float:
    """Print recording and facts against passes of the module; returns the seconds of the former."""

    def forward() -> object:
        with torch.no_grad():
            return module(example)

    def both() -> None:
        module(example).sum().backward()

    def facts() -> object:
        return Network.from_module(module, example).summary

    calls: list[Callable[[], object]] = [facts, forward, both]
    found, once, trained = bench.interleaved(calls, 5)
    bench.print_ratio(f"{job}, facts against a forward pass", found, once, goal)
    bench.print_ratio(f"{job}, facts against a forward and backward pass", found, trained)
    return found


def activations(module: nn.Module, example: torch.Tensor) -> float:
    """MB of all tensors that the layers of a module make."""
    held: list[int] = []
    handles = [
        one.register_forward_hook(lambda _, __, made: held.append(made.numel() * made.element_size()))
        for one in module.modules()
        if not list(one.children())
    ]
    with torch.no_grad():
        module(example)
    for handle in handles:
        handle.remove()
    return sum(held) / 1e6


MEMORY = """
import sys
sys.path.insert(0, {folder!r})
from bench_network import residual_network, thinned, torch
module, example = thinned(residual_network()), torch.ones(1, 3, 224, 224)
with torch.no_grad():
    module(example)
"""
FACTS = "from sao_cli import Network; Network.from_module(module, example).summary\n"


def main() -> None:
    """Print the ratios."""
    linear = thinned(nn.Sequential(*[nn.Sequential(nn.Linear(256, 256), nn.ReLU()) for _ in range(50)]))
    compare("50 linear layers of 256", linear, torch.ones(1, 256), None)
    deep = thinned(nn.Sequential(*[nn.Linear(64, 64) for _ in range(1000)]))
    example = torch.ones(1, 64)
    seconds = bench.median_seconds(lambda: Network.from_module(deep, example).summary)
    bench.print_value("1000 linear layers of 64, facts", seconds, "s", DEEP_GOAL)
    images, example = thinned(residual_network()), torch.ones(1, 3, 224, 224)
    compare("ResNet-50's shape, 224 x 224", images, example, PASSES_GOAL)
    folder = __file__.rpartition("/")[0]
    before = bench.peak_memory_mb(MEMORY.format(folder=folder))
    after = bench.peak_memory_mb(MEMORY.format(folder=folder) + FACTS)
    held = activations(images, example)
    told = "ResNet-50's shape, memory beyond a forward pass, against all activations"
    bench.print_ratio(told, after - before, held, MEMORY_GOAL, "MB")


if __name__ == "__main__":
    main()
