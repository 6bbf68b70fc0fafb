"""Forward passes of pruned layers as compact_ leaves them, beside the dense layer with its zeros written in.

python tests/benchmarks/bench_compact.py    half a minute
"""

import side_by_side as bench  # before torch: it sets the thread counts

# isort: split
from collections.abc import Iterator

import torch
from torch import nn

from sao_cli.nets import compact_, sparsify

BATCH = 256
NOTES = """
An SAO mask gains from 90 % zeros on at any width; any other from 98 % on at 256 and from 90 % at 1024, with the sparse
products of MKL that torch's x86 wheels bring. Half-empty layers stay dense, but for wide SAO ones.
"""


def main() -> None:
    torch.set_num_threads(1)
    bench.print_table(
        f"One layer of width x width, batch {BATCH}, float32",
        ["width", "method", "sparsity", "becomes", "ms", "of the dense one's time"],
        rows(),
    )


def rows() -> Iterator[tuple[object, ...]]:
    """What each layer becomes, and its time beside the dense one's."""
    for width in (256, 1024, 4096):
        for method in ("sao", "ramanujan", "lmp") if width < 4096 else ("sao",):  # the others take minutes there
            for sparsity in (0.5, 0.9, 0.98):
                model = nn.Sequential(nn.Linear(8, width), nn.Linear(width, width), nn.Linear(width, 8))
                sparsify(model, method, sparsity=sparsity)
                row = next(row for row in compact_(model, torch.randn(BATCH, 8)) if row.name == "1")
                assert row.seconds is not None
                assert row.new_seconds is not None
                became = row.replaced_by or "stays"
                yield width, method, row.sparsity, became, 1e3 * row.new_seconds, row.new_seconds / row.seconds


if __name__ == "__main__":
    main()
