"""Networks pruned to 98 % before and after the units that they do without are taken out: parameters and forward time.

python tests/benchmarks/bench_reduce.py    two minutes
"""

import side_by_side  # before torch: it sets the thread counts

# isort: split
import copy
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sao_cli.measure.redundancy.multiples import multiples
from sao_cli.nets import digits_like_mnist, prune_, reduce_

BATCH, EPOCHS, RATE = 256, 6, 1e-3
JOBS = (  # the method, the sparsity, and whether training comes before it and goes on after it
    ("magnitude", 0.9, True),
    ("magnitude", 0.98, True),
    ("snip", 0.98, False),
    ("synflow", 0.98, False),
)
COLUMNS = ("method", "sparsity", "layers", "merged", "constant", "unread", "change of the outputs", "training accuracy")
ROWS = 4096
NOTES = """
The change of the outputs is the largest difference over their root mean square. What goes depends on where a method
leaves its weights: synflow crowds them into few units, global magnitude spreads them over the rows of the first layer.
What is left is denser than the whole was, and still mostly zeros. Where units have one weight each and no bias, many
are multiples of others; they are found by sorting random sums of rows, and only rows whose sums agree to rounding are
compared.
"""


def perceptron(width: int = 1024) -> nn.Sequential:
    """784-1024x3-10 with ReLU, of He's variance."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n, m in pairwise((784, width, width, width, 10)):
        layers += [nn.Linear(n, m), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight)
    return nn.Sequential(*layers[:-1])


def train(net: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    for _ in range(epochs):
        for places in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[places]), y[places]).backward()
            optimizer.step()


def forward(net: nn.Module, x: Tensor) -> Callable[[], object]:
    def run() -> Tensor:
        with torch.no_grad():
            return net(x)

    return run


def smaller(method: str, sparsity: float, trained: bool, x: Tensor, y: Tensor) -> tuple[object, ...]:
    """Beside the pruned network as it is stored: dense tensors with zeros, which cost what the whole network does."""
    net = perceptron()
    if trained:
        train(net, x, y, EPOCHS)
    prune_(net, method, sparsity, **({"batches": [(x, y)]} if method == "snip" else {}), **example(method, x))
    train(net, x, y, EPOCHS)
    for layer in net:
        if isinstance(layer, nn.Linear):
            prune.remove(layer, "weight")
    small = copy.deepcopy(net)
    found = reduce_(small, x[:2])
    shapes = " ".join("x".join(map(str, row.new_shape)) for row in found.layers)
    lost = [sum(getattr(row, what) for row in found.layers) for what in ("merged", "constant", "unread")]
    with torch.no_grad():
        accuracy = float((net(x).argmax(1) == y).double().mean())
        off = float((small(x) - net(x)).abs().max() / net(x).square().mean().sqrt())
    told = f"{method}, {sparsity}"
    side_by_side.print_ratio(f"{told}: parameters / before", found.new_parameters, found.parameters, unit="")
    ours, theirs = side_by_side.processor_seconds([forward(small, x[:BATCH]), forward(net, x[:BATCH])], 31)
    side_by_side.print_ratio(f"{told}: forward, batch {BATCH} / before", ours, theirs)
    return method, sparsity, shapes, *lost, off, accuracy


def example(method: str, x: Tensor) -> dict[str, object]:
    return {"inputs": x[:1]} if method == "synflow" else {}


def search() -> None:
    """The search for multiples among rows with none, beside the Gram product that comparing each with each takes."""
    rows = np.random.default_rng(0).standard_normal((ROWS, ROWS)).astype(np.float32)
    calls = [lambda: multiples(rows, lambda factor: factor > 0, "float32"), lambda: rows @ rows.T]
    ours, theirs = side_by_side.processor_seconds(calls)
    side_by_side.print_ratio(f"multiples among {ROWS} rows of {ROWS}, float32, against rows @ rows.T", ours, theirs)


if __name__ == "__main__":
    digits, labels = digits_like_mnist()
    side_by_side.print_table("What is left", COLUMNS, (smaller(*job, digits.float(), labels.long()) for job in JOBS))
    search()
