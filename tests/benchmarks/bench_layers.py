"""Sparse layers beside torch.nn.Linear, which a masked dense layer costs too: forward, and forward with backward.

python tests/benchmarks/bench_layers.py    a minute
"""

import side_by_side  # before torch: it sets the thread counts

# isort: split
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sao_cli.nets import SAOLinear, SAOSequential, TwoStageLinear

BATCH = 256
LAYERS = [  # the goals are for SAOLinear, forward and forward + backward
    (4096, 64, 0.06, 0.12, 15),
    (256, 4, 1.0, 1.0, 300),
]
DEPTH = 10


NOTES = """
Without gradients the groups of an SAOLinear are taken in turns of a megabyte, so that only the result is as large as
the batch: fresh pages for whole copies of it took longer than the products. With gradients the copies are kept.
"""


def evaluated(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    def forward() -> None:
        with torch.no_grad():
            layer(x)

    return forward


def trained(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    """Forward and backward, with the gradients of inputs, weights and bias."""
    upstream = torch.randn(layer(x).shape)

    def step() -> None:
        x.grad = None
        layer.zero_grad()
        layer(x).backward(upstream)

    return step


def against_dense(width: int, degree: int, forward_goal: float, step_goal: float, repeats: int) -> None:
    ours, two_stage, dense = (
        SAOLinear(width, width, degree),
        TwoStageLinear(width, width, degree),
        nn.Linear(width, width),
    )
    x = torch.randn(BATCH, width, requires_grad=True)
    for job, run, goals in (
        ("forward", evaluated, (forward_goal, None)),
        ("forward + backward", trained, (step_goal, None)),
    ):
        for layer, goal in zip((ours, two_stage), goals, strict=True):
            name = f"{type(layer).__name__} n={width}, d={degree}, batch {BATCH}, {job}"
            times = side_by_side.processor_seconds([run(layer, x), run(dense, x)], repeats)
            side_by_side.print_ratio(name, *times, goal, instead="torch.nn.Linear")


def merged_against_not(width: int, degree: int, repeats: int) -> None:
    """The gain of one gather between layers: SAOSequential against nn.Sequential of the same modules."""
    modules: list[nn.Module] = []
    for layer in range(1, DEPTH + 1):
        modules += [SAOLinear(width, width, degree, layer=layer), nn.ReLU()]
    models = (SAOSequential(*modules), nn.Sequential(*modules))
    x = torch.randn(BATCH, width, requires_grad=True)
    for job, run in (("forward", evaluated), ("forward + backward", trained)):
        merged, plain = side_by_side.processor_seconds([run(model, x) for model in models], repeats)
        side_by_side.print_ratio(f"SAOSequential of {DEPTH}, n={width}, d={degree}, {job}, unmerged", merged, plain)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for layer in LAYERS:
        against_dense(*layer)
    merged_against_not(4096, 64, 5)
    merged_against_not(256, 4, 50)
